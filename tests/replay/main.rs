//! Every recorded conversation with upstream's servers, held against this one.
//!
//! A recording is replayed against a fresh server, with upstream's settings and its handlers
//! written again in Rust. What each client is sent has to be the same, or differ exactly as
//! [`differences::ALL`] says, where the reasons are.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod client;
mod differences;
mod formats;
mod record;
mod replay;
mod service;
mod value;

use core::sync::atomic::{AtomicUsize, Ordering};
use replay::Outcome;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::{env, fs, panic, thread};

/// Replays wait more than they work.
const THREADS: usize = 8;

/// The recordings that there are, so that none is lost.
const COUNT: usize = 125;

#[test]
fn our_answers_are_upstreams() {
    let mut cases = Vec::new();
    for dialect in ["v1", "v2"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces").join(dialect);
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            cases.push((dialect, name, path));
        }
    }
    cases.sort();
    assert_eq!(cases.len(), COUNT, "recordings");
    for row in differences::ALL {
        assert!(
            row.rows().all(|(dialect, case)| {
                cases.iter().any(|(d, name, _)| *d == dialect && name == case)
            }),
            "no recording is called {}",
            row.case
        );
    }
    // One alone: WSLINK_REPLAY=v1/hello_ok
    if let Ok(only) = env::var("WSLINK_REPLAY") {
        cases.retain(|(dialect, name, _)| format!("{dialect}/{name}").contains(&only));
    }

    let next = AtomicUsize::new(0);
    let reports = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = report(case);
                    reports.lock().unwrap().push((case, report));
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap();
    reports.sort_by_key(|(case, _)| *case);
    let mut counts = [0; 3];
    for ((dialect, name, _), (kind, text)) in &reports {
        counts[*kind] += 1;
        println!("{dialect} {name}: {text}");
    }
    let [same, listed, failed] = counts;
    println!("{same} the same, {listed} differ as listed, {failed} FAIL");
    assert_eq!(failed, 0, "recordings differ otherwise than listed; the report is above");
}

fn report((dialect, name, path): &(&str, String, PathBuf)) -> (usize, String) {
    let listed = differences::of(dialect, name);
    let mut found = Vec::new();
    // A machine under load can make a server look slow or silent: who differs otherwise than
    // listed is asked again, with more patience.
    for patience in [1, 5] {
        let replayed = panic::catch_unwind(|| replay::replay(dialect, name, path, patience));
        let Ok(Outcome { differences }) = replayed else { return (2, "FAIL: panicked".into()) };
        found = differences;
        let mut sorted: Vec<_> = found.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        if sorted == listed {
            let again = if patience > 1 { ", at the second try" } else { "" };
            return if listed.is_empty() {
                (0, format!("ok{again}"))
            } else {
                let reasons = differences::reasons(dialect, name).join("; ");
                (1, format!("differs as listed{again}: {reasons}"))
            };
        }
    }
    let mut text = String::from("FAIL; found (- upstream, + ours):");
    for line in &found {
        let known = if listed.contains(&line.as_str()) { ' ' } else { '!' };
        text += &format!("\n  {known} r#\"{line}\"#,");
    }
    for line in listed.iter().filter(|line| !found.iter().any(|other| other == *line)) {
        text += &format!("\n  listed, but not found: {line}");
    }
    (2, text)
}
