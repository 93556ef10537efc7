//! An oscilloscope in the terminal.

use clap::Parser as _;
use scope_view::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    match smol::block_on(scope_view::run(Arguments::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scope-view: {error}");
            ExitCode::FAILURE
        }
    }
}
