//! An oscilloscope that browsers control: the scope's service on a server of `wslink-smol`.

mod test_methods;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use core::borrow::Borrow;
use core::error::Error;
use core::time::Duration;
use env_logger::Env;
use log::LevelFilter;
use smol::future;
use std::process::ExitCode;
use test_methods::WithTestMethods;
use wslink_core::Service;
use wslink_scope::{Scope, Signal, Timer};
use wslink_smol::{Assets, Options, Server, ServerArgs};

/// Time from one published trace to the next.
const PERIOD: Duration = Duration::from_millis(100);

/// An oscilloscope that browsers control over wslink.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    server: ServerArgs,
    /// Offer scope.echo, scope.fail, scope.unserializable and scope.publish.
    #[arg(long)]
    test_methods: bool,
    /// Let clients end the instrument, as upstream's servers do.
    #[arg(long)]
    allow_exit: bool,
}

fn main() -> ExitCode {
    let command = Arguments::command().mut_arg("port", |port| port.default_value("1234"));
    let arguments = Arguments::from_arg_matches(&command.get_matches());
    let arguments = arguments.unwrap_or_else(|error| error.exit());
    start_logging(arguments.server.debug);
    let options = match arguments.server.options() {
        Ok(options) => options.with_exit(arguments.allow_exit),
        Err(error) => {
            eprintln!("instrument: {error}");
            return ExitCode::from(2);
        }
    };
    // The memory for firmware that an instrument has.
    let mut config = options.config();
    config.limits.upload = 64 << 20;
    let options = options.with_config(config);
    // Somebody who works on the page has it in a directory.
    let options = match arguments.server.content {
        Some(_) => options,
        None => options.with_assets(page()),
    };
    let scope = Scope::new(SmolTimer);
    let end = if arguments.test_methods {
        smol::block_on(serve(WithTestMethods(scope), options, &arguments.server))
    } else {
        smol::block_on(serve(scope, options, &arguments.server))
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
async fn serve<S>(
    service: S,
    options: Options,
    arguments: &ServerArgs,
) -> Result<(), Box<dyn Error + Send + Sync>>
where
    S: Service<Blob = Signal> + Borrow<Scope<SmolTimer>>,
{
    let server = Server::new(service, options);
    let scope: &Scope<SmolTimer> = server.service().borrow();
    let serving = async { arguments.run(&server).await.map(|_| ()) };
    let sampling = async {
        let Err(error) = scope.run(server.publications(), PERIOD).await;
        Err(error.into())
    };
    future::or(serving, sampling).await
}

/// The oscilloscope in the browser.
fn page() -> Assets {
    const HTML: &str = "text/html; charset=utf-8";
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    Assets::new()
        .with("/index.html", HTML, include_bytes!("../page/index.html"))
        .with("/style.css", "text/css; charset=utf-8", include_bytes!("../page/style.css"))
        .with("/app.js", SCRIPT, include_bytes!("../page/app.js"))
        .with("/wslink.js", SCRIPT, include_bytes!("../../../adapters/browser/wslink.js"))
}

/// `RUST_LOG` says how much; but no more of tungstenite, which would log whole messages.
fn start_logging(debug: bool) {
    let usual = if debug { "debug" } else { "info" };
    env_logger::Builder::from_env(Env::default().default_filter_or(usual))
        .filter_module("tungstenite", LevelFilter::Info)
        .format_target(false)
        .init();
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
