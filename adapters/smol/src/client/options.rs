//! What a client may be told.

#[cfg(feature = "tls")]
use super::error::ConnectError;
use super::proxy::Proxies;
#[cfg(feature = "tls")]
use super::tls::Tls;
use core::fmt;
use core::time::Duration;
use erased_serde::Serialize as Erased;
use hyper::header::{HeaderName, HeaderValue};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use std::sync::Arc;
use wslink_core::client::Config;
use wslink_core::wire::Dialect;

/// Settings of a [`Client`](super::Client).
///
/// ```
/// use wslink_smol::client::Options;
///
/// let options = Options::new("wslink-secret").without_reconnect();
/// assert!(!format!("{options:?}").contains("wslink-secret"));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    pub(super) credentials: Arc<dyn Erased + Send + Sync>,
    pub(super) dialect: Option<Dialect>,
    pub(super) config: Config,
    pub(super) connect_deadline: Duration,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) reconnect: Option<Backoff>,
    pub(super) proxy: Proxies,
    #[cfg(feature = "tls")]
    pub(super) tls: Tls,
}

/// How long to wait before a lost connection is made anew: twice as long after each failure, and
/// each time between half of that and all of it, so that clients do not come back all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Default for Backoff {
    /// From 250 ms to 30 s.
    fn default() -> Self {
        Self { first: Duration::from_millis(250), longest: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// From `first` to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// The wait after so many failures, the connection that was lost being the first.
    pub(super) fn wait(&self, failures: u32, random: u8) -> Duration {
        let doubled = self.first.saturating_mul(1_u32 << failures.saturating_sub(1).min(20));
        let most = doubled.min(self.longest);
        most / 2 + most.saturating_mul(random.into()) / 2 / u32::from(u8::MAX)
    }
}

impl Options {
    /// Says hello with this secret, in the dialect that the server turns out to speak; 10 s to
    /// connect; reconnects for good.
    pub fn new(secret: impl Into<String>) -> Self {
        Self::with_hello(Secret(secret.into()))
    }

    /// As [`new`](Self::new), but says hello with a map (a struct, a map) of the application's own.
    pub fn with_hello(credentials: impl Serialize + Send + Sync + 'static) -> Self {
        Self {
            credentials: Arc::new(credentials),
            dialect: None,
            config: Config::desktop(),
            connect_deadline: Duration::from_secs(10),
            headers: Vec::new(),
            reconnect: Some(Backoff::default()),
            proxy: Proxies::Environment,
            #[cfg(feature = "tls")]
            tls: Tls::default(),
        }
    }

    /// Speaks this dialect and tries no other.
    #[must_use]
    pub const fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = Some(dialect);
        self
    }

    /// Other limits and deadlines.
    #[must_use]
    pub const fn with_config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// How long name, socket, proxy, TLS and WebSocket may take together; the hello has a
    /// [deadline](wslink_core::Deadlines::hello) of its own.
    #[must_use]
    pub const fn with_connect_deadline(mut self, deadline: Duration) -> Self {
        self.connect_deadline = deadline;
        self
    }

    /// Sends this header with the request for the WebSocket: `Origin`, a cookie, a token.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Waits differently before a lost connection is made anew.
    #[must_use]
    pub const fn with_reconnect(mut self, backoff: Backoff) -> Self {
        self.reconnect = Some(backoff);
        self
    }

    /// Goes through this proxy, `http://user:password@host:port`, whatever the environment says. It
    /// is asked by CONNECT, for `ws://` too; one at `socks5://` or `socks5h://` by SOCKS 5.
    #[must_use]
    pub fn with_proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Proxies::This(url.into());
        self
    }

    /// Goes through no proxy. Otherwise the environment is asked, as curl and others do:
    /// `HTTP_PROXY` for `ws://`, `HTTPS_PROXY` for `wss://`, `ALL_PROXY` for both, and `NO_PROXY`
    /// for what is reached without.
    #[must_use]
    pub fn without_proxy(mut self) -> Self {
        self.proxy = Proxies::None;
        self
    }

    /// Trusts these roots, certificates in PEM, in place of the system's.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] if there is none in it.
    #[cfg(feature = "tls")]
    pub fn with_roots(mut self, pem: &[u8]) -> Result<Self, ConnectError> {
        self.tls = self.tls.with_roots(pem)?;
        Ok(self)
    }

    /// Shows this certificate to servers that ask for one: its chain and its key, in PEM.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] if either cannot be read.
    #[cfg(feature = "tls")]
    pub fn with_certificate(mut self, chain: &[u8], key: &[u8]) -> Result<Self, ConnectError> {
        self.tls = self.tls.with_certificate(chain, key)?;
        Ok(self)
    }

    /// Ends with the first connection.
    #[must_use]
    pub const fn without_reconnect(mut self) -> Self {
        self.reconnect = None;
        self
    }
}

impl Default for Options {
    /// With the secret of all upstream's clients, `wslink-secret`.
    fn default() -> Self {
        Self::new("wslink-secret")
    }
}

/// Prints neither secret nor headers.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("dialect", &self.dialect)
            .field("connect_deadline", &self.connect_deadline)
            .field("reconnect", &self.reconnect)
            .finish_non_exhaustive()
    }
}

struct Secret(String);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("secret", &self.0)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_differ() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let millis = |failures, random| backoff.wait(failures, random).as_millis();
        assert_eq!([millis(1, 0), millis(1, 255)], [50, 100]);
        assert_eq!([millis(2, 0), millis(2, 255)], [100, 200]);
        assert_eq!([millis(4, 0), millis(4, 255)], [400, 800]);
        assert_eq!([millis(5, 255), millis(40, 255), millis(u32::MAX, 0)], [1000, 1000, 500]);
    }
}
