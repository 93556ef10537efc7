//! Upstream's command line.

use crate::site::{Endpoints, Site};
use crate::{BadSetting, Ended, Options, Origins, Server};
use async_signal::{Signal, Signals};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use core::error::Error;
use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use smol::future;
use smol::net::TcpListener;
use smol::stream::StreamExt as _;
use std::path::PathBuf;
use wslink_core::Service;

/// Upstream's flags, for the command line of one's own program.
///
/// ```
/// use clap::Parser;
/// use wslink_smol::ServerArgs;
///
/// /// A thermometer in the browser.
/// #[derive(Parser)]
/// struct Arguments {
///     #[command(flatten)]
///     server: ServerArgs,
///     /// Where the sensor is.
///     #[arg(long, default_value = "/dev/ttyUSB0")]
///     sensor: String,
/// }
///
/// let arguments = Arguments::parse_from(["thermometer", "--port", "0", "--timeout", "1"]);
/// let options = arguments.server.options()?;
/// # let _ = (options, arguments.sensor);
/// # Ok::<(), wslink_smol::BadSetting>(())
/// ```
/// [`run`](Self::run) does the rest. Another default is set by
/// [`mut_arg`](clap::Command::mut_arg).
///
/// Unlike upstream's servers, these listen on 127.0.0.1 whatever `localhost` means, end after a
/// time without clients only where that is asked for, and end on SIGTERM as on SIGINT.
#[derive(Args, Clone)]
#[non_exhaustive]
pub struct ServerArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// On which port; 0 for any that is free.
    #[arg(long, short, default_value_t = 8080)]
    pub port: u16,
    /// End after this many seconds without a client; 0 for never.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub timeout: u64,
    /// Serve the files of this directory.
    #[arg(long, value_name = "DIRECTORY")]
    pub content: Option<PathBuf>,
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
    pub auth_key: String,
    /// The path of the WebSocket.
    #[arg(long, value_name = "PATH", default_value = "ws")]
    pub ws_endpoint: String,
    /// No WebSocket, files only.
    #[arg(long, conflicts_with = "ws_endpoint")]
    pub no_ws_endpoint: bool,
    /// Serve more directories, each below a path of its own.
    #[arg(long, value_name = "NAME=DIRECTORY|..", default_value = "", hide_default_value = true)]
    pub fs_endpoints: Directories,
    /// Let web pages from there connect (`https://lab.example`, or `*` for all), beside those of
    /// this server.
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
    /// Say more in the log.
    #[arg(long)]
    pub debug: bool,
    /// Leave signals to others.
    #[arg(long)]
    pub nosignalhandlers: bool,
}

impl ServerArgs {
    /// What the flags say, and the [variables of the environment](Options::from_env).
    ///
    /// # Errors
    /// The first flag or variable whose value makes no sense.
    pub fn options(&self) -> Result<Options, BadSetting> {
        let mut options = Options::from_env(&self.auth_key)?
            .with_timeout(Duration::from_secs(self.timeout))
            .with_ws_path(&self.ws_endpoint);
        if self.no_ws_endpoint {
            options = options.without_ws();
        }
        let origins = self.allow_origin.iter().fold(Origins::same_host(), Origins::and);
        options = options.with_origins(origins);
        if let Some(directory) = &self.content {
            options = options.with_content(directory).map_err(|error| error.of("--content"))?;
        }
        for (name, directory) in &self.fs_endpoints.0 {
            options = options
                .with_directory(name, directory)
                .map_err(|error| error.of("--fs-endpoints"))?;
        }
        Ok(options)
    }

    /// Listens, [says](Options::say_ready) so, and serves until a signal comes, or nobody.
    ///
    /// # Errors
    /// If it cannot listen where it shall, or watch for signals.
    pub async fn run<S: Service<Blob: Send + 'static>>(
        &self,
        server: &Server<S>,
    ) -> Result<Ended, Box<dyn Error + Send + Sync>> {
        self.run_site(&Site::new(server.clone())).await
    }

    /// The same for several servers on one port.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_site<E: Endpoints>(
        &self,
        site: &Site<E>,
    ) -> Result<Ended, Box<dyn Error + Send + Sync>> {
        let Self { host, port, .. } = self;
        let listener = TcpListener::bind((host.as_str(), *port))
            .await
            .map_err(|error| format!("cannot listen on {host}:{port}: {error}"))?;
        let signals = if self.nosignalhandlers { None } else { Some(Signals::new(STOP)?) };
        log::info!("http://{}/", listener.local_addr()?);
        site.options().say_ready()?;
        let stopping = async {
            if let Some(mut signals) = signals {
                while signals.next().await.is_some() {
                    site.stop();
                }
            }
            future::pending().await
        };
        let ended = future::or(site.run(listener), stopping).await;
        log::info!("{ended:?}");
        Ok(ended)
    }
}

#[cfg(unix)]
const STOP: [Signal; 2] = [Signal::Int, Signal::Term];
#[cfg(not(unix))]
const STOP: [Signal; 1] = [Signal::Int];

impl fmt::Debug for ServerArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerArgs")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Directories by name, as `data=/srv/data|images=/srv/images`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directories(Vec<(String, PathBuf)>);

impl FromStr for Directories {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = text.split('|').filter(|part| !part.is_empty()).map(|part| {
            let (name, path) =
                part.split_once('=').ok_or_else(|| format!("{part:?} is not NAME=DIRECTORY"))?;
            Ok((name.to_owned(), path.into()))
        });
        named.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Arguments {
        #[command(flatten)]
        server: ServerArgs,
    }

    fn parse(arguments: &[&str]) -> Result<ServerArgs, String> {
        let arguments = core::iter::once("server").chain(arguments.iter().copied());
        let parsed = Arguments::try_parse_from(arguments);
        parsed.map(|arguments| arguments.server).map_err(|error| error.to_string())
    }

    #[test]
    fn the_flags_are_upstreams() {
        let directory = std::env::temp_dir();
        let named = format!("data={0}|more/data={0}", directory.display());
        let arguments = parse(&[
            "--host",
            "0.0.0.0",
            "-p",
            "9000",
            "--timeout",
            "60",
            "--content",
            directory.to_str().unwrap(),
            "--authKey",
            "hush",
            "--ws-endpoint",
            "/a/ws",
            "--fs-endpoints",
            &named,
            "--debug",
            "--nosignalhandlers",
            "--allow-origin",
            "https://lab.example",
        ])
        .unwrap();
        assert_eq!((arguments.host.as_str(), arguments.port), ("0.0.0.0", 9000));
        assert!(arguments.debug && arguments.nosignalhandlers);
        let options = arguments.options().unwrap();
        assert_eq!(options.ws_path.as_deref(), Some("/a/ws"));
        assert_eq!(options.timeout, Some(Duration::from_secs(60)));
        assert_eq!(options.origins, Origins::same_host().and("https://lab.example"));
        assert_eq!(options.directories.len(), 2);
        assert!(options.content.is_some());
        assert!(!format!("{arguments:?} {options:?}").contains("hush"));
        let files = parse(&["--no-ws-endpoint"]).unwrap().options().unwrap();
        assert_eq!(files.ws_path, None);
        assert_eq!(parse(&[]).unwrap().options().unwrap().timeout, None);
    }

    #[test]
    fn a_bad_value_is_refused_with_the_name_of_its_flag() {
        for (flag, value) in [
            ("--port", "70000"),
            ("--timeout", "-1"),
            ("--authKey", ""),
            ("--fs-endpoints", "data"),
        ] {
            let error = parse(&[&format!("{flag}={value}")]).unwrap_err();
            assert!(error.contains(flag), "{error}");
        }
        let error = parse(&["--no-ws-endpoint", "--ws-endpoint", "x"]).unwrap_err();
        assert!(error.contains("--ws-endpoint"), "{error}");

        let temp = std::env::temp_dir();
        let twice = format!("a={0}|/a/={0}", temp.display());
        let nameless = format!("={}", temp.display());
        let escaped = format!("a%20b={}", temp.display());
        for (flag, value) in [
            ("--content", "/nowhere/at/all"),
            ("--content", file!()),
            ("--fs-endpoints", "data=/nowhere/at/all"),
            ("--fs-endpoints", &twice),
            ("--fs-endpoints", &nameless),
            ("--fs-endpoints", &escaped),
        ] {
            let error = parse(&[flag, value]).unwrap().options().unwrap_err();
            assert_eq!(error.name(), flag, "{value}");
        }
    }
}
