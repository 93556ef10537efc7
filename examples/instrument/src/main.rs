//! An oscilloscope that browsers control: the scope's service on a server of `wslink-smol`.

mod test_methods;

use async_signal::{Signal as Signum, Signals};
use clap::Parser;
use clap::builder::NonEmptyStringValueParser;
use core::borrow::Borrow;
use core::error::Error;
use core::time::Duration;
use env_logger::Env;
use log::LevelFilter;
use smol::future;
use smol::net::TcpListener;
use smol::stream::StreamExt as _;
use std::env;
use std::io::{Write as _, stdout};
use std::process::ExitCode;
use test_methods::WithTestMethods;
use wslink_core::Service;
use wslink_scope::{Scope, Signal, Timer};
use wslink_smol::{Options, Server};

/// Time from one published trace to the next.
const PERIOD: Duration = Duration::from_millis(100);

/// An oscilloscope that browsers control over wslink.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// On which port; 0 for any that is free.
    #[arg(long, short, default_value_t = 1234)]
    port: u16,
    /// End after this many seconds without a client; 0 for never.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    timeout: u64,
    /// What clients have to say. Other users of this machine can see a command line, but not the
    /// environment.
    #[arg(
        long = "authKey",
        value_name = "SECRET",
        env = "WSLINK_AUTH_KEY",
        hide_env_values = true,
        default_value = "wslink-secret",
        value_parser = NonEmptyStringValueParser::new()
    )]
    auth_key: String,
    /// Offer scope.echo, scope.fail and scope.unserializable.
    #[arg(long)]
    test_methods: bool,
}

fn main() -> ExitCode {
    start_logging();
    let arguments = Arguments::parse();
    let scope = Scope::new(SmolTimer);
    let end = if arguments.test_methods {
        smol::block_on(serve(WithTestMethods(scope), &arguments))
    } else {
        smol::block_on(serve(scope, &arguments))
    };
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instrument: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal comes, or nobody does.
async fn serve<S>(service: S, arguments: &Arguments) -> Result<(), Box<dyn Error>>
where
    S: Service<Blob = Signal> + Borrow<Scope<SmolTimer>>,
{
    let Arguments { host, port, .. } = arguments;
    let listener = TcpListener::bind((host.as_str(), *port))
        .await
        .map_err(|error| format!("cannot listen on {host}:{port}: {error}"))?;
    let options =
        Options::new(&arguments.auth_key).with_timeout(Duration::from_secs(arguments.timeout));
    let mut signals = Signals::new(STOP)?;
    log::info!("http://{}/", listener.local_addr()?);
    say_ready()?;

    let server = Server::new(service, options);
    let scope: &Scope<SmolTimer> = server.service().borrow();
    let serving = async {
        let ended = server.run(listener).await;
        log::info!("{ended:?}");
        Ok(())
    };
    let sampling = async {
        let Err(error) = scope.run(server.publications(), PERIOD).await;
        Err(error.into())
    };
    let stopping = async {
        while signals.next().await.is_some() {
            server.stop();
        }
        future::pending().await
    };
    future::or(serving, future::or(sampling, stopping)).await
}

/// `RUST_LOG` says how much; but no more of tungstenite, which would log whole messages.
fn start_logging() {
    env_logger::Builder::from_env(Env::default().default_filter_or("info"))
        .filter_module("tungstenite", LevelFilter::Info)
        .format_target(false)
        .init();
}

#[cfg(unix)]
const STOP: [Signum; 2] = [Signum::Int, Signum::Term];
#[cfg(not(unix))]
const STOP: [Signum; 1] = [Signum::Int];

/// Launchers wait for this line.
fn say_ready() -> std::io::Result<()> {
    let line = env::var("WSLINK_READY_MSG");
    let mut stdout = stdout().lock();
    writeln!(stdout, "{}", line.as_deref().unwrap_or("wslink: Starting factory"))?;
    stdout.flush()
}

/// The timer of smol.
struct SmolTimer;

impl Timer for SmolTimer {
    async fn after(&self, duration: Duration) {
        smol::Timer::after(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_futures_may_change_threads() {
        fn is_send<T: Send>(_: &T) {}

        let server = Server::new(Scope::new(SmolTimer), Options::new("wslink-secret"));
        is_send(&server.serve(smol::io::Cursor::new(Vec::new())));
        is_send(&server.service().run(server.publications(), PERIOD));
    }
}
