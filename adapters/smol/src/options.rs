//! What a server may be told.

use crate::attempts::FailedHellos;
use crate::http::{Assets, Content, Handlers, Origins, web};
use core::error::Error;
use core::fmt;
use core::time::Duration;
use hyper::header::{HeaderName, HeaderValue};
use std::path::Path;
use std::sync::Arc;
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
///
/// [`from_env`](Self::from_env) takes what upstream's environment variables say, and `ServerArgs`
/// (with feature `cli`) upstream's command line.
///
/// # What is answered at which path
/// The WebSocket first, then [handlers](Self::with_handler), `/health`,
/// [directories](Self::with_directory), [assets](Self::with_assets) and last the
/// [content](Self::with_content). All paths can be behind a reverse proxy under a path of its own;
/// nothing that is answered names an absolute one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    pub(crate) secret: Hidden,
    pub(crate) config: Config,
    pub(crate) hub: HubLimits,
    pub(crate) ws_path: Option<String>,
    pub(crate) max_connections: usize,
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) origins: Origins,
    pub(crate) failed_hellos: FailedHellos,
    pub(crate) health: bool,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) assets: Assets,
    pub(crate) content: Option<Content>,
    pub(crate) directories: Vec<(String, Content)>,
    pub(crate) follow_symlinks: bool,
    pub(crate) handlers: Handlers,
    pub(crate) ready_message: String,
}

impl Options {
    /// Desktop limits, the WebSocket at `/ws` for pages of the same host, up to 1024 connections,
    /// no end when idle, and 5 s for running calls when the server stops.
    ///
    /// `secret` is what clients have to say; the stock clients say `wslink-secret` unless told
    /// otherwise.
    pub fn new(secret: impl Into<String>) -> Self {
        Self {
            secret: Hidden(secret.into()),
            config: Config::desktop(),
            hub: HubLimits::desktop(),
            ws_path: Some("/ws".to_owned()),
            max_connections: 1024,
            timeout: None,
            grace: Duration::from_secs(5),
            origins: Origins::same_host(),
            failed_hellos: FailedHellos::default(),
            health: true,
            headers: Vec::new(),
            assets: Assets::new(),
            content: None,
            directories: Vec::new(),
            follow_symlinks: false,
            handlers: Handlers::default(),
            ready_message: "wslink: Starting factory".to_owned(),
        }
    }

    /// Limits and deadlines of each connection.
    #[must_use]
    pub fn with_config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    /// Limits and deadlines as they are now, to change some of them.
    pub fn config(&self) -> Config {
        self.config
    }

    /// Whether clients may end the server ([`Config::exit`]).
    #[must_use]
    pub fn with_exit(mut self, allowed: bool) -> Self {
        self.config.exit = allowed;
        self
    }

    /// Limits of what is published.
    #[must_use]
    pub fn with_hub(self, hub: HubLimits) -> Self {
        Self { hub, ..self }
    }

    /// The path of the WebSocket. A query behind it is ignored.
    #[must_use]
    pub fn with_ws_path(self, path: impl Into<String>) -> Self {
        Self { ws_path: Some(absolute(path.into())), ..self }
    }

    /// No WebSocket, as upstream's `--no-ws-endpoint`: files and handlers only.
    #[must_use]
    pub fn without_ws(self) -> Self {
        Self { ws_path: None, ..self }
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

    /// The web pages that may connect; others are answered with 403.
    #[must_use]
    pub fn with_origins(self, origins: Origins) -> Self {
        Self { origins, ..self }
    }

    /// What guessing the secret costs.
    #[must_use]
    pub fn with_failed_hellos(self, failed_hellos: FailedHellos) -> Self {
        Self { failed_hellos, ..self }
    }

    /// Whether `GET /health` tells in JSON how many are connected:
    /// `{"status":"ok","peers":1,"websockets":1,"connections":2,"publications":17,"uptime":60}`.
    /// While the server stops, the status is 503 and `"stopping"`.
    #[must_use]
    pub fn with_health(self, health: bool) -> Self {
        Self { health, ..self }
    }

    /// A header for each answer over HTTP, in the place of one that is there already.
    ///
    /// # Errors
    /// If that is no header.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, BadSetting> {
        let bad = |what| BadSetting::new(name, format_args!("this is no {what} of a header"));
        let name = HeaderName::try_from(name).map_err(|_| bad("name"))?;
        let value = HeaderValue::try_from(value).map_err(|_| bad("value"))?;
        self.headers.push((name, value));
        Ok(self)
    }

    /// Files that are in the program.
    #[must_use]
    pub fn with_assets(self, assets: Assets) -> Self {
        Self { assets, ..self }
    }

    /// A directory whose files are served, as upstream's `--content`; `/` leads to its
    /// `index.html`, and a query with it. What is outside of the directory can't be reached.
    ///
    /// # Errors
    /// If there is no such directory.
    pub fn with_content(self, directory: impl AsRef<Path>) -> Result<Self, BadSetting> {
        let content = open("content", directory.as_ref())?;
        Ok(Self { content: Some(content), ..self })
    }

    /// One more directory, served below `/name/`, as one of upstream's `--fs-endpoints`.
    ///
    /// # Errors
    /// If there is no such directory, or no or not only a name.
    pub fn with_directory(
        mut self,
        name: &str,
        directory: impl AsRef<Path>,
    ) -> Result<Self, BadSetting> {
        let content = open(name, directory.as_ref())?;
        let bare = name.trim_matches('/');
        if bare.is_empty() || !bare.bytes().all(is_unreserved) {
            let what = "the name of a directory is letters, digits and any of -._~/";
            return Err(BadSetting::new(name, what));
        }
        let path = format!("/{bare}/");
        if self.directories.iter().any(|(other, _)| *other == path) {
            return Err(BadSetting::new(name, "there are two directories of this name"));
        }
        self.directories.push((path, content));
        self.directories.sort_by_key(|(path, _)| core::cmp::Reverse(path.len()));
        Ok(self)
    }

    /// Whether links lead out of the directories that are served.
    #[must_use]
    pub fn with_symlinks(self, follow: bool) -> Self {
        Self { follow_symlinks: follow, ..self }
    }

    /// A handler for the requests at `path`, and if that ends in a slash, for all below it; of
    /// several the longest path counts.
    ///
    /// Whether the request comes from one's own page is the handler's to find out, by its `Origin`
    /// header or a token.
    ///
    /// ```
    /// use core::time::Duration;
    /// use wslink_smol::Options;
    /// use wslink_smol::web::{self, Body, Response};
    ///
    /// let options = Options::new("wslink-secret").with_handler("/api/echo", async |mut request| {
    ///     match web::read(&mut request, 64 << 10, Duration::from_secs(10)).await {
    ///         Ok(bytes) => Response::new(Body::from(bytes)),
    ///         Err(status) => web::status(status),
    ///     }
    /// });
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn with_handler<H, F>(mut self, path: impl Into<String>, handler: H) -> Self
    where
        H: Fn(web::Request) -> F + Send + Sync + 'static,
        F: Future<Output = web::Response> + Send + 'static,
    {
        let handler = move |request| -> core::pin::Pin<Box<dyn Future<Output = _> + Send>> {
            Box::pin(handler(request))
        };
        self.handlers.add(absolute(path.into()), Arc::new(handler));
        self
    }

    /// What [`say_ready`](Self::say_ready) says.
    #[must_use]
    pub fn with_ready_message(self, message: impl Into<String>) -> Self {
        Self { ready_message: message.into(), ..self }
    }

    /// Tells a launcher, which reads standard output, that the server listens: upstream's
    /// `wslink: Starting factory`, unless told otherwise.
    ///
    /// # Errors
    /// If nobody can be told.
    pub fn say_ready(&self) -> std::io::Result<()> {
        use std::io::Write as _;
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}", self.ready_message)?;
        stdout.flush()
    }

    /// The directory that is served at a path, and the path within it.
    pub(crate) fn directory<'p>(&self, path: &'p str) -> Option<(&Content, &'p str)> {
        self.directories.iter().find_map(|(prefix, content)| {
            // What follows keeps the slash of the prefix.
            let slash = prefix.len() - 1;
            path.starts_with(prefix).then(|| (content, &path[slash..]))
        })
    }
}

/// As requests have it.
fn absolute(path: String) -> String {
    if path.starts_with('/') { path } else { format!("/{path}") }
}

fn open(name: &str, directory: &Path) -> Result<Content, BadSetting> {
    Content::new(directory).map_err(|error| {
        BadSetting::new(name, format_args!("cannot serve {}: {error}", directory.display()))
    })
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte)
}

/// A setting that makes no sense, by the name under which it was given: a variable, a flag, a
/// directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSetting {
    name: String,
    what: String,
}

impl BadSetting {
    pub(crate) fn new(name: &str, what: impl fmt::Display) -> Self {
        Self { name: name.to_owned(), what: what.to_string() }
    }

    /// The same under the name by which the user knows it.
    #[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "flags have other names"))]
    pub(crate) fn of(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// What it was that made no sense.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.what)
    }
}

impl Error for BadSetting {}

/// A secret that is owned and that no log can print.
#[derive(Clone)]
pub(crate) struct Hidden(pub(crate) String);

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
