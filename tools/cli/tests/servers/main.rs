//! One list of tests, by the client and by the real binary, against every kind of server: upstream's
//! of both dialects, the instrument of this project, and the scope's firmware on a chip.
//!
//! `cargo xtask upstream` runs it against all but the last, `cargo xtask device` against that. All
//! have the methods of `examples/scope`; what one lacks beyond them stands in [`server::LACKS`].
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod client;
mod command;
#[allow(dead_code, reason = "the other tests need more of it")]
#[path = "../command/common.rs"]
mod common;
mod faults;
mod line;
mod server;

use core::panic::AssertUnwindSafe;
use server::{Kind, LACKS, Server};
use std::panic::catch_unwind;
use std::time::Instant;
use wslink_core::wire::Dialect;

/// A test of the list: what holds, and whether it does.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Server),
}

impl Case {
    pub(crate) const fn new(name: &'static str, run: fn(&mut Server)) -> Self {
        Self { name, run }
    }
}

/// All of them, in their order.
fn cases() -> impl Iterator<Item = &'static Case> {
    [client::CASES, command::CASES, faults::CASES].into_iter().flatten()
}

/// Runs the list, or of it what has the text of `WSLINK_CASE` in its name; what a server lacks is told
/// with its reason.
fn list(kind: Kind, dialects: &[Dialect]) {
    let wanted = std::env::var("WSLINK_CASE").unwrap_or_default();
    let mut failed = Vec::new();
    for dialect in dialects {
        let mut server = Server::start(kind, *dialect);
        for case in cases().filter(|case| case.name.contains(&*wanted)) {
            let what = format!("{kind}, {dialect:?}: {}", case.name);
            if let Some(why) = server.lacks(case.name) {
                println!("{what}: not run, {why}");
                continue;
            }
            let start = Instant::now();
            let run = AssertUnwindSafe(|| (case.run)(&mut server));
            if catch_unwind(run).is_err() {
                failed.push(what);
                // Whatever it has left there.
                server.restart();
                continue;
            }
            println!("{what}: ok ({:.1} s)", start.elapsed().as_secs_f32());
        }
    }
    assert!(failed.is_empty(), "failed: {failed:#?}");
}

#[test]
#[ignore = "needs Python: cargo xtask upstream"]
fn upstream_1() {
    list(Kind::Upstream("1.12.4"), &[Dialect::V1]);
}

#[test]
#[ignore = "needs Python: cargo xtask upstream"]
fn upstream_2() {
    list(Kind::Upstream("2.6.0"), &[Dialect::V2]);
}

#[test]
#[ignore = "needs the binary of the instrument: cargo xtask upstream"]
fn instrument() {
    list(Kind::Instrument, &[Dialect::V1, Dialect::V2]);
}

#[test]
#[ignore = "needs a device: cargo xtask device"]
fn device() {
    list(Kind::Device, &[Dialect::V1, Dialect::V2]);
}

#[test]
fn what_is_lacking_is_in_the_list() {
    for lack in LACKS {
        assert!(cases().any(|case| case.name == lack.case), "{}", lack.case);
    }
}
