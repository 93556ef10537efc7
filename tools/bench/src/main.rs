//! Servers of wslink side by side, under the same load: ours in both dialects, a bare WebSocket,
//! upstream's Python servers, and `wslink-rs`. `cargo xtask bench` prepares and runs it all.

mod client;
mod count;
mod drive;
mod growth;
mod measure;
mod pages;
mod peers;
mod plot;
mod report;
mod secrets;
mod serve;
mod work;

use clap::{Parser, Subcommand};
use core::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// What goes wrong ends the run: half a comparison says nothing.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Measures wslink servers side by side.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Runs the comparison.
    Run(Settings),
    /// Loads a server that runs already, for a profiler or a server that is not in the comparison.
    Drive(drive::Drive),
    /// Goes one path of the engine many times, for callgrind.
    Count {
        /// Which.
        #[arg(value_enum)]
        path: count::Hot,
        /// In which dialect.
        #[arg(value_enum)]
        wire: client::Wire,
    },
    /// One of the servers, until it is killed. Prints its port.
    Serve {
        /// Which.
        #[arg(value_enum)]
        server: serve::Kind,
    },
}

/// What is measured, and where the results go.
#[derive(clap::Args)]
pub(crate) struct Settings {
    /// Rounds in which all servers take their turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only the work whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Idle connections that are held at once, in steps.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    idle: Vec<usize>,
    /// Root of the checkout: with it the results of all work are written to `docs/bench`, and
    /// into the tables of `docs/performance.md` and `README.md`.
    #[arg(long)]
    root: Option<PathBuf>,
    /// Python with upstream's 2.x, and with its 1.x; not measured if missing.
    #[arg(long)]
    python2: Option<PathBuf>,
    /// Python with upstream's 1.x.
    #[arg(long)]
    python1: Option<PathBuf>,
    /// The server of `peers/wslink-rs`.
    #[arg(long)]
    wslink_rs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().what {
        What::Run(settings) => work::run(&settings),
        What::Drive(drive) => drive::run(&drive),
        What::Count { path, wire } => count::one(path, wire),
        What::Serve { server } => serve::run(server),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wslink-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
