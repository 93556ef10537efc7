//! The command line.

use clap::Parser;
use std::env::{self, VarError};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use wslink_scope::MAX_SAMPLES;

/// Shows a scope in the terminal, and sets it by keys; `?` lists them.
///
/// The secret is that of WSLINK_SECRET, or else `wslink-secret`.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    /// The server.
    #[arg(default_value = "ws://127.0.0.1:1234/ws")]
    pub(crate) url: String,
    /// The file whose first line is the secret.
    #[arg(long, value_name = "FILE", conflicts_with = "ask_secret")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Ask for the secret first.
    #[arg(long)]
    pub(crate) ask_secret: bool,
    /// Where captures are written.
    #[arg(long, value_name = "DIRECTORY", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// Samples of a capture.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SAMPLES)))]
    pub(crate) samples: u32,
}

impl Arguments {
    /// The secret, unless it is asked for.
    pub(crate) fn secret(&self) -> Result<String, String> {
        let Some(path) = &self.secret_file else {
            // That of all of upstream's clients, unless the environment has another.
            return match env::var("WSLINK_SECRET") {
                Ok(secret) => Ok(secret),
                Err(VarError::NotPresent) => Ok("wslink-secret".to_owned()),
                Err(error) => Err(format!("WSLINK_SECRET: {error}")),
            };
        };
        let mut line = String::new();
        let read = File::open(path).and_then(|file| BufReader::new(file).read_line(&mut line));
        read.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}
