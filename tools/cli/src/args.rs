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
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
    /// When to use colours; NO_COLOR is respected.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Output"
    )]
    pub(crate) color: ColorChoice,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Call(Call),
    Watch(Watch),
    Describe(Describe),
    Bench(Bench),
    Proxy(Proxy),
    Completions(Completions),
    Man(Man),
}

/// How to reach the server, and what to say hello with.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The file whose first line is the secret; `-` is standard input.
    ///
    /// Without this and the two others the secret is `wslink-secret`, that of upstream's clients.
    #[arg(long, value_name = "FILE", group = "credentials")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Ask for the secret.
    #[arg(long, group = "credentials")]
    pub(crate) ask_secret: bool,
    /// The file with a JSON object to say hello with, where a server wants more than a secret.
    #[arg(long, value_name = "FILE", group = "credentials")]
    pub(crate) hello: Option<PathBuf>,
    /// What the server speaks; found out by trying unless told.
    #[arg(long, value_name = "VERSION")]
    pub(crate) dialect: Option<Dialect>,
    /// How long to try to connect.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub(crate) connect_timeout: f64,
    /// Send this header with the request for the WebSocket, like `Origin: https://lab.example`.
    #[arg(long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// Trust the certificates in this file, in PEM, instead of the system's (wss://).
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Show the certificate in this file, in PEM, to servers that ask for one (wss://).
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Go through this proxy, http:// or socks5://; an empty one is none. Without it HTTP_PROXY,
    /// HTTPS_PROXY, ALL_PROXY and NO_PROXY say.
    #[arg(long, value_name = "URL")]
    pub(crate) via: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Dialect {
    /// wslink 1.x: JSON.
    #[value(name = "1")]
    V1,
    /// wslink 2.x: MessagePack.
    #[value(name = "2")]
    V2,
}

/// Calls a method and prints its result.
///
/// An argument is JSON, or else text: 1, true, null, '[1, 2]', '{"a": 1}', hello. `'"1"'` is the text 1.
/// `@FILE` is the binary content of a file, `@-` of standard input. `NAME=VALUE` is a keyword argument.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct Call {
    /// The server, like ws://127.0.0.1:1234/ws.
    pub(crate) url: String,
    /// The method.
    pub(crate) method: String,
    /// Arguments of the method.
    #[arg(value_name = "ARGUMENT", allow_negative_numbers = true)]
    pub(crate) arguments: Vec<String>,
    /// Write binary data of the result there; `-` is standard output. Where there are several, the
    /// second goes to FILE.1, and so on.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// How long to wait for the result.
    #[arg(long, short, value_name = "SECONDS", default_value_t = 60.0)]
    pub(crate) timeout: f64,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Prints what a server publishes, a line each, until Ctrl-C.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct Watch {
    /// The server, like ws://127.0.0.1:1234/ws.
    pub(crate) url: String,
    /// Topics; `tank.*` is all that begin so, and without any it is everything.
    #[arg(value_name = "TOPIC")]
    pub(crate) topics: Vec<String>,
    /// What to print of each: {topic}, {value}, {value.KEY}, {nth}, {seconds} since the start.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["json", "rate"])]
    pub(crate) template: Option<String>,
    /// Print each second how many came of each topic, and not what they say.
    #[arg(long)]
    pub(crate) rate: bool,
    /// Ask the server for at most so many a second of each topic; only this project's can.
    #[arg(long, value_name = "HERTZ")]
    pub(crate) max_rate: Option<f64>,
    /// End after so many.
    #[arg(long, short = 'n', value_name = "COUNT")]
    pub(crate) count: Option<u64>,
    /// End after so long.
    #[arg(long, short, value_name = "SECONDS")]
    pub(crate) timeout: Option<f64>,
    /// Write binary data into this directory, a file each.
    #[arg(long, short, value_name = "DIRECTORY")]
    pub(crate) output: Option<PathBuf>,
    /// How many may wait to be printed; the oldest beyond that are passed over, and counted.
    #[arg(long, value_name = "COUNT", default_value_t = 1024)]
    pub(crate) queue: u16,
    /// End when the connection is lost, instead of connecting again.
    #[arg(long)]
    pub(crate) no_reconnect: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Lists the methods and topics of a server.
///
/// Upstream's servers do not describe themselves: of them it tells what the handshake told, and the
/// topics that are published while it listens.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct Describe {
    /// The server, like ws://127.0.0.1:1234/ws.
    pub(crate) url: String,
    /// How long to listen for topics where a server does not describe itself.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub(crate) listen: f64,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Measures how long calls of a method take, and how many there are a second.
///
/// Arguments are written as for `wslink call`.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct Bench {
    /// The server, like ws://127.0.0.1:1234/ws.
    pub(crate) url: String,
    /// The method.
    pub(crate) method: String,
    /// Arguments of the method.
    #[arg(value_name = "ARGUMENT", allow_negative_numbers = true)]
    pub(crate) arguments: Vec<String>,
    /// How many calls are under way at any time.
    #[arg(long, short, value_name = "COUNT", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) concurrency: u16,
    /// For how long.
    #[arg(long, short, value_name = "SECONDS", default_value_t = 5.0)]
    pub(crate) duration: f64,
    /// End after so many calls.
    #[arg(long, short = 'n', value_name = "COUNT")]
    pub(crate) calls: Option<u64>,
    /// Calls before that, which are not counted.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub(crate) warm_up: u64,
    #[command(flatten)]
    pub(crate) connection: Connection,
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
    /// Trust the certificates in this file, in PEM, instead of the system's (wss://).
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub(crate) ca: Option<PathBuf>,
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
