//! What a server may be told.

use core::fmt;
use core::time::Duration;
use wslink_core::{Config, HubLimits, Secret};

/// Settings of a [`Server`](crate::Server).
///
/// ```
/// use core::time::Duration;
/// use wslink_smol::Options;
///
/// let options = Options::new("wslink-secret").with_timeout(Duration::from_secs(60));
/// assert!(!format!("{options:?}").contains("wslink-secret"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    pub(crate) secret: Hidden,
    pub(crate) config: Config,
    pub(crate) hub: HubLimits,
    pub(crate) ws_path: String,
    pub(crate) max_connections: usize,
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
}

impl Options {
    /// Desktop limits, the WebSocket at `/ws`, up to 1024 connections, no end when idle, and 5 s
    /// for running calls when the server stops.
    ///
    /// `secret` is what clients have to say; the stock clients say `wslink-secret` unless told
    /// otherwise.
    pub fn new(secret: impl Into<String>) -> Self {
        Self {
            secret: Hidden(secret.into()),
            config: Config::desktop(),
            hub: HubLimits::desktop(),
            ws_path: "/ws".to_owned(),
            max_connections: 1024,
            timeout: None,
            grace: Duration::from_secs(5),
        }
    }

    /// Limits and deadlines of each connection.
    #[must_use]
    pub fn with_config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    /// Limits of what is published.
    #[must_use]
    pub fn with_hub(self, hub: HubLimits) -> Self {
        Self { hub, ..self }
    }

    /// The path of the WebSocket. A query behind it is ignored.
    #[must_use]
    pub fn with_ws_path(self, path: impl Into<String>) -> Self {
        Self { ws_path: path.into(), ..self }
    }

    /// How many WebSockets may be open at once; one more is answered with 503.
    #[must_use]
    pub fn with_max_connections(self, max_connections: usize) -> Self {
        Self { max_connections, ..self }
    }

    /// Ends [`Server::run`](crate::Server::run) after this long without a client, as upstream's
    /// `--timeout`; zero means never.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: (!timeout.is_zero()).then_some(timeout), ..self }
    }

    /// How long running calls may go on once the server stops.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }
}

/// A secret that is owned and that no log can print.
#[derive(Clone)]
pub(crate) struct Hidden(String);

impl Hidden {
    pub(crate) fn as_secret(&self) -> Secret<'_> {
        Secret::new(&self.0)
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
