//! `wslink bench`.

use crate::args::{Bench, Global};
use crate::arguments::Arguments;
use crate::call::print;
use crate::connection::{no_answer, seconds, with_client};
use crate::fault::{Exit, Fault};
use core::cell::{Cell, RefCell};
use core::time::Duration;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use smol::future;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Instant;
use wslink_smol::client::{Client, Error, Value};

/// The longest latency that is told apart, in microseconds.
const LONGEST: u64 = 3_600_000_000;
const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 100.0];
/// Width of the longest bar of the histogram.
const BAR: u64 = 40;

pub(crate) async fn run(global: &Global, options: Bench) -> Result<(), Fault> {
    let arguments = Arguments::parse(&options.arguments)?.load()?;
    let duration = seconds(options.duration)?;
    let settings = options.connection.options(false)?;
    let measured = with_client(&options.url, settings, async |client| {
        measure(client, &options, &arguments, duration).await
    })
    .await?;
    if global.json {
        print(global, &measured.object(&options.method))?;
    } else {
        let text = measured.table(&options);
        let mut out = anstream::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Fault::stdout)?;
    }
    match measured.errors.iter().next() {
        None => Ok(()),
        Some((error, _)) => {
            let failed: u64 = measured.errors.values().sum();
            Err(Fault::new(Exit::Answered, format!("{failed} calls failed: {error}")))
        }
    }
}

struct Measured {
    latencies: Histogram<u64>,
    errors: BTreeMap<String, u64>,
    took: Duration,
}

async fn measure(
    client: &Client,
    options: &Bench,
    arguments: &Arguments,
    duration: Duration,
) -> Result<Measured, Fault> {
    let method = options.method.as_str();
    for _ in 0..options.warm_up {
        let warm = arguments.call(client, method)?.send::<Value>().await;
        // If the first one fails, so do all others.
        warm.map_err(|error| no_answer(method, &error))?;
    }
    let latencies = Histogram::new_with_max(LONGEST, 3);
    let latencies = latencies.map_err(|error| Fault::usage(error.to_string()))?;
    let latencies = RefCell::new(latencies);
    let errors = RefCell::new(BTreeMap::<String, u64>::new());
    let left = Cell::new(options.calls.unwrap_or(u64::MAX));
    let start = Instant::now();
    let caller = || async {
        while left.get() > 0 && start.elapsed() < duration {
            left.set(left.get() - 1);
            let begin = Instant::now();
            match arguments.call(client, method)?.send::<Value>().await {
                Ok(_) => {
                    let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(LONGEST);
                    latencies.borrow_mut().saturating_record(micros);
                }
                Err(error @ Error::Server(_)) => {
                    *errors.borrow_mut().entry(error.to_string()).or_default() += 1;
                }
                Err(error) => return Err(no_answer(method, &error)),
            }
        }
        Ok(())
    };
    let mut callers: FuturesUnordered<_> = (0..options.concurrency).map(|_| caller()).collect();
    let calling = async {
        while let Some(outcome) = callers.next().await {
            outcome?;
        }
        Ok(())
    };
    let bar = async {
        let bar = bar(method, duration);
        loop {
            smol::Timer::after(Duration::from_millis(200)).await;
            bar.set_position(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
        }
    };
    future::or(calling, bar).await?;
    let took = start.elapsed();
    drop(callers);
    Ok(Measured { latencies: latencies.into_inner(), errors: errors.into_inner(), took })
}

/// Seen only on a terminal; gone when it is dropped.
fn bar(method: &str, duration: Duration) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(method.to_owned());
    bar
}

impl Measured {
    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64().max(1e-9)
    }

    fn object(&self, method: &str) -> serde_json::Value {
        let Self { latencies, errors, took } = self;
        let percentiles = PERCENTILES
            .map(|percent| (format!("p{percent}"), json!(latencies.value_at_percentile(percent))));
        json!({
            "method": method,
            "calls": latencies.len(),
            "seconds": took.as_secs_f64(),
            "rate": self.rate(),
            "microseconds": {
                "min": latencies.min(),
                "mean": latencies.mean(),
                "percentiles": serde_json::Value::Object(percentiles.into_iter().collect()),
            },
            "errors": errors,
        })
    }

    fn table(&self, options: &Bench) -> String {
        let Self { latencies, errors, took } = self;
        let calls = latencies.len();
        let mut text = format!(
            "{}: {calls} calls in {:.2} s, {} at a time: {:.0} a second\n",
            options.method,
            took.as_secs_f64(),
            options.concurrency,
            self.rate()
        );
        for (error, count) in errors {
            text += &format!("{count} failed: {error}\n");
        }
        if calls == 0 {
            return text;
        }
        let heading = crate::style::HEADING;
        text += &format!("\n{heading}Latency{heading:#}\n");
        text += &format!("  {:>7} {:>10}\n", "least", millis(latencies.min()));
        text += &format!("  {:>7} {:>10}\n", "mean", millis(latencies.mean() as u64));
        for percent in PERCENTILES {
            let value = millis(latencies.value_at_percentile(percent));
            text += &format!("  {:>7} {value:>10}\n", format!("{percent} %"));
        }
        text += &format!("\n{heading}Histogram{heading:#}\n");
        for (upper, count) in self.buckets() {
            let bar = "#".repeat(usize::try_from((count * BAR).div_ceil(calls)).unwrap_or(0));
            text += format!("  {:>10} {count:>9} {bar}", millis(upper)).trim_end();
            text.push('\n');
        }
        text
    }

    /// Upper ends, each twice the one before, and how many calls took so long.
    fn buckets(&self) -> Vec<(u64, u64)> {
        let mut buckets = Vec::new();
        let mut lower = 0;
        let mut upper = self.latencies.min().max(1).next_power_of_two();
        while lower < self.latencies.max() {
            buckets.push((upper, self.latencies.count_between(lower + 1, upper)));
            lower = upper;
            upper = upper.saturating_mul(2);
        }
        buckets
    }
}

fn millis(micros: u64) -> String {
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}
