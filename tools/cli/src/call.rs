//! `wslink call`.

use crate::args::{Call, Global};
use crate::arguments::Arguments;
use crate::connection::{no_answer, seconds, with_client};
use crate::fault::Fault;
use crate::json::{self, Files};
use core::time::Duration;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal as _, Write as _};
use wslink_smol::client::{Progress, Value};

/// Nobody needs to be told that a fast call is under way.
const SOON: Duration = Duration::from_millis(300);
const TICK: Duration = Duration::from_millis(100);
/// What is no larger takes no time to speak of.
const SMALL: u64 = 64 << 10;

pub(crate) async fn run(global: &Global, options: Call) -> Result<(), Fault> {
    let arguments = Arguments::parse(&options.arguments)?;
    let timeout = seconds(options.timeout)?;
    let settings = options.connection.options(false)?;
    let method = options.method.as_str();
    let result: Value = with_client(&options.url, settings, async |client| {
        let progress = Progress::default();
        let call = arguments.call(client, method)?.within(timeout).progress(&progress).send();
        let call = async { call.await.map_err(|error| no_answer(method, &error)) };
        smol::future::or(call, show(method, &progress)).await
    })
    .await?;
    let mut files = Files::new(options.output);
    let bare = matches!(result, Value::Binary(_)) && files.is_wanted();
    let shown = json::of_value(&result, &mut files)?;
    if bare && !global.json || files.wrote_stdout() {
        return Ok(());
    }
    print(global, &shown)
}

/// Prints a result: on one line for programs, on several for people.
pub(crate) fn print(global: &Global, value: &serde_json::Value) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    let people = !global.json && out.is_terminal();
    let text = if people { format!("{value:#}") } else { value.to_string() };
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Fault::stdout)
}

/// Shows on a terminal how far a call has come, and never ends.
async fn show<T>(method: &str, progress: &Progress) -> T {
    smol::Timer::after(SOON).await;
    // Not shown unless standard error is a terminal; gone when it is dropped.
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(TICK);
    let style = |template| {
        // The templates are good: what is drawn is tested.
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
    };
    let moving = style("{msg} {wide_bar} {binary_bytes} of {binary_total_bytes}, {eta}");
    let waiting = style("{spinner} {msg} {elapsed}");
    loop {
        let (sent, to_send) = (progress.sent(), progress.to_send());
        let (received, to_receive) = (progress.received(), progress.to_receive());
        let (text, part, whole) = match () {
            () if to_receive > 0 && received < to_receive => ("receiving", received, to_receive),
            () if sent < to_send => ("sending", sent, to_send),
            () => ("waiting for", 0, 0),
        };
        if whole > SMALL {
            bar.set_style(moving.clone());
            bar.set_length(whole);
            bar.set_position(part);
        } else {
            bar.set_style(waiting.clone());
        }
        bar.set_message(format!("{text} {method}"));
        smol::Timer::after(TICK).await;
    }
}
