//! The command line. `build.rs` reads this file too, for completions and man pages.

use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  the server answered with an error
    2  the command line makes no sense
    3  no connection: refused, unknown host, TLS, not a WebSocket
    4  the secret was refused
    5  the peer does not speak wslink, or not that dialect
    6  the connection was lost, or an answer did not come in time
    7  a local file cannot be read or written
  130  interrupted by Ctrl-C before it was done";

/// Talks to wslink servers, and listens in on them.
///
/// Results go to standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(name = "wslink", version, after_help = EXIT_CODES, propagate_version = true)]
#[command(infer_subcommands = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Print results as JSON, one value a line, for other programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours; NO_COLOR is respected.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Proxy(Proxy),
    Completions(Completions),
    Man(Man),
}

/// Shows what passes between a client and a server, and changes no byte of it.
///
/// Clients connect to LISTEN instead of the server. Secrets are not shown.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct Proxy {
    /// Where to listen: a port, or an address and a port. 0 is any port that is free.
    #[arg(value_name = "LISTEN")]
    pub(crate) listen: String,
    /// The server, like ws://127.0.0.1:1234/ws.
    #[arg(value_name = "URL", required_unless_present = "replay")]
    pub(crate) url: Option<String>,
    /// Write a transcript, and binary data and long texts into the directory FILE.bin beside it.
    #[arg(long, value_name = "FILE")]
    pub(crate) transcript: Option<PathBuf>,
    /// Answer clients from such a transcript, without any server and whatever their secret.
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub(crate) replay: Option<PathBuf>,
    /// Show hellos as they are, with their secrets.
    #[arg(long)]
    pub(crate) show_secrets: bool,
    /// Show long messages to their end.
    #[arg(long)]
    pub(crate) full: bool,
    /// Show no frames, only keep the transcript.
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// The largest message that is decoded; of larger ones the length is told.
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    pub(crate) max_message: usize,
    /// End after this many clients have come and gone.
    #[arg(long, value_name = "COUNT")]
    pub(crate) clients: Option<usize>,
}

/// Prints a script that completes command lines.
///
/// For bash: `wslink completions bash > ~/.local/share/bash-completion/completions/wslink`.
/// For zsh, into a directory of $fpath: `wslink completions zsh > ~/.zfunc/_wslink`.
/// For fish: `wslink completions fish > ~/.config/fish/completions/wslink.fish`.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// For which shell.
    pub(crate) shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints a manual page, in roff.
///
/// To read it: `wslink man proxy | man -l -`.
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// Of which command; without one, of `wslink` itself.
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,
}
