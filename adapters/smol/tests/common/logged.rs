//! What is logged. A process has one logger, so tests that read it do not run side by side.

use log::{LevelFilter, Log, Metadata, Record};
use std::sync::Mutex;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keep;

impl Log for Keep {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // tungstenite logs whole messages at `trace`, as the documentation of the crate says.
        let target = metadata.target();
        !target.starts_with("tungstenite") || metadata.level() < LevelFilter::Trace
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format!("{} {} {}", record.level(), record.target(), record.args());
            LINES.lock().unwrap().push(line);
        }
    }

    fn flush(&self) {}
}

/// Everything that is logged from now on is kept, and nothing from before.
pub fn start() {
    // It is there already if another test was first.
    _ = log::set_logger(&Keep);
    LINES.lock().unwrap().clear();
    log::set_max_level(LevelFilter::Trace);
}

/// What was logged; nothing further is.
pub fn stop() -> Vec<String> {
    log::set_max_level(LevelFilter::Off);
    core::mem::take(&mut *LINES.lock().unwrap())
}

/// How many lines of this crate's own hold `text`.
pub fn ours(lines: &[String], text: &str) -> usize {
    lines.iter().filter(|line| line.contains(" wslink_smol::") && line.contains(text)).count()
}
