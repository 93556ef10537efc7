//! An oscilloscope in the terminal.

use clap::Parser as _;
use scope_view::Arguments;
use std::io::{Write as _, stderr};
use std::process::ExitCode;

fn main() -> ExitCode {
    match smol::block_on(scope_view::run(Arguments::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With the terminal may have gone whoever would read it.
            _ = writeln!(stderr(), "scope-view: {error}");
            ExitCode::FAILURE
        }
    }
}
