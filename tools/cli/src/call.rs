//! `wslink call`.

use crate::args::{Call, Global};
use crate::arguments::Arguments;
use crate::connection::{no_answer, seconds, with_client};
use crate::fault::Fault;
use crate::json::{self, Files};
use core::time::Duration;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use std::io::{IsTerminal as _, Write as _};
use wslink_smol::client::Value;

/// Nobody needs to be told that a fast call is under way.
const SOON: Duration = Duration::from_millis(300);

pub(crate) async fn run(global: &Global, options: Call) -> Result<(), Fault> {
    let arguments = Arguments::parse(&options.arguments)?;
    let timeout = seconds(options.timeout)?;
    let settings = options.connection.options(false)?;
    let method = options.method.as_str();
    let result: Value = with_client(&options.url, settings, async |client| {
        let call = arguments.call(client, method).within(timeout).send();
        let call = async { call.await.map_err(|error| no_answer(method, &error)) };
        let waiting = async {
            smol::Timer::after(SOON).await;
            let _bar = spinner(method, arguments.binary_len());
            core::future::pending().await
        };
        smol::future::or(call, waiting).await
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

/// Seen only on a terminal; gone when it is dropped.
fn spinner(method: &str, sent: usize) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    let with = match sent {
        0 => String::new(),
        sent => format!(" with {}", HumanBytes(sent as u64)),
    };
    bar.set_message(format!("{method}{with}"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
