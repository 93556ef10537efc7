//! `wslink watch`.

use crate::args::{Global, Watch};
use crate::connection::{lost, seconds, with_client};
use crate::fault::{Exit, Fault};
use crate::json::{self, Files};
use crate::template::Template;
use core::time::Duration;
use futures_util::StreamExt as _;
use serde_json::json;
use smol::future;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;
use wslink_core::Policy;
use wslink_smol::client::{Client, Error, Publication, TopicError, Value};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) async fn run(global: &Global, options: Watch) -> Result<(), Fault> {
    let template = options.template.as_deref().map(Template::parse).transpose()?;
    let timeout = options.timeout.map(seconds).transpose()?;
    if let Some(directory) = &options.output {
        fs::create_dir_all(directory).map_err(|error| Fault::file(directory, error))?;
    }
    let settings = options.connection.options(!options.no_reconnect)?;
    let outcome = with_client(&options.url, settings, async |client| {
        let watching = watch(global, &options, template.as_ref(), client);
        let late = async {
            match timeout {
                Some(timeout) => smol::Timer::after(timeout).await,
                None => future::pending().await,
            };
            Ok(())
        };
        future::or(watching, late).await
    })
    .await;
    match outcome {
        // That is how one ends it.
        Err(fault) if fault.exit == Exit::Interrupted && options.count.is_none() => Ok(()),
        outcome => outcome,
    }
}

async fn watch(
    global: &Global,
    options: &Watch,
    template: Option<&Template>,
    client: &Client,
) -> Result<(), Fault> {
    let topics: Vec<&str> = match options.topics.as_slice() {
        [] => vec!["*"],
        topics => topics.iter().map(String::as_str).collect(),
    };
    let queue = Policy::DropOldest(options.queue.max(1));
    let mut publications = client.subscribe_with::<Value>(&topics, queue);
    if let Some(rate) = options.max_rate {
        limit(global, client, &topics, rate).await?;
    }
    let mut show = Show { global, options, template, start: Instant::now(), count: 0 };
    let mut rates = options.rate.then(Rates::default);
    let mut tick = smol::Timer::interval(SECOND);
    loop {
        let ticking = async {
            match rates {
                Some(_) => tick.next().await,
                None => future::pending().await,
            };
            None
        };
        let next = async { Some(publications.next().await) };
        match future::or(ticking, next).await {
            None => {
                if let Some(rates) = &mut rates {
                    rates.print(global, show.start)?;
                }
            }
            Some(None) => return Err(lost("the connection was lost")),
            Some(Some(Ok(publication))) => {
                match &mut rates {
                    Some(rates) => rates.count(&publication.topic),
                    None => show.publication(&publication)?,
                }
                show.count += 1;
                if options.count == Some(show.count) {
                    return Ok(());
                }
            }
            Some(Some(Err(error))) => {
                note(global, &error);
                if let (TopicError::Reconnected { .. }, Some(rate)) = (&error, options.max_rate) {
                    limit(global, client, &topics, rate).await?;
                }
            }
        }
    }
}

fn note(global: &Global, error: &TopicError) {
    let hint = match error {
        TopicError::Lagged(_) => " here, as they were not printed fast enough; see --queue",
        _ => "",
    };
    say(global, &format!("{error}{hint}"));
}

/// What is no result and no fault.
fn say(global: &Global, note: &str) {
    if global.json {
        eprintln!("{}", json!({ "note": note }));
    } else {
        anstream::eprintln!("{0}note:{0:#} {note}", crate::style::HINT);
    }
}

async fn limit(global: &Global, client: &Client, topics: &[&str], rate: f64) -> Result<(), Fault> {
    if !(rate > 0.0 && rate.is_finite()) {
        return Err(Fault::usage(format!("{rate} is no rate")));
    }
    // The client itself asks for its topics when the server has described itself. What is asked after
    // that counts.
    _ = client.call("wslink.describe").send::<Value>().await;
    let answer = client.call("wslink.subscribe").arg(topics).arg(rate).send::<Value>().await;
    match answer {
        Ok(_) => Ok(()),
        Err(Error::Server(error)) if error.is_unknown_method() => {
            say(global, "this server cannot limit the rate: everything is sent");
            Ok(())
        }
        Err(error) => Err(crate::connection::no_answer("wslink.subscribe", &error)),
    }
}

struct Show<'a> {
    global: &'a Global,
    options: &'a Watch,
    template: Option<&'a Template>,
    start: Instant,
    count: u64,
}

impl Show<'_> {
    fn publication(&self, publication: &Publication<Value>) -> Result<(), Fault> {
        let Publication { topic, value, retained, .. } = publication;
        let number = self.count + 1;
        let path = self.options.output.as_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let name = topic.replace(|c| !plain(c), "_");
        let path = path.map(|directory| directory.join(format!("{number:06}-{name}")));
        let value = json::of_value(value, &mut Files::new(path))?;
        let seconds = self.start.elapsed().as_secs_f64();
        let mut out = anstream::stdout().lock();
        let written = match self.template {
            Some(template) => writeln!(out, "{}", template.fill(topic, &value, number, seconds)),
            None if self.global.json => {
                let line = json!({ "topic": &**topic, "retained": retained, "value": value });
                writeln!(out, "{line}")
            }
            None => {
                let style = crate::style::DOWN;
                let topic = crate::style::harmless(topic);
                let text = crate::style::harmless(&value.to_string());
                let text = if out.is_terminal() { crate::style::message(&text) } else { text };
                writeln!(out, "{style}{topic}{style:#} {text}")
            }
        };
        written.and_then(|()| out.flush()).map_err(Fault::stdout)
    }
}

/// How many came of each topic since the last time.
#[derive(Default)]
struct Rates {
    counts: BTreeMap<Arc<str>, u64>,
    since: Option<Instant>,
}

impl Rates {
    fn count(&mut self, topic: &Arc<str>) {
        *self.counts.entry(Arc::clone(topic)).or_default() += 1;
    }

    fn print(&mut self, global: &Global, start: Instant) -> Result<(), Fault> {
        let now = Instant::now();
        let passed = now - self.since.replace(now).unwrap_or(start);
        let mut out = std::io::stdout().lock();
        for (topic, count) in &mut self.counts {
            let rate = core::mem::take(count) as f64 / passed.as_secs_f64();
            let written = if global.json {
                writeln!(out, "{}", json!({ "topic": &**topic, "rate": rate }))
            } else {
                writeln!(out, "{topic} {rate:.1}/s")
            };
            written.map_err(Fault::stdout)?;
        }
        out.flush().map_err(Fault::stdout)
    }
}
