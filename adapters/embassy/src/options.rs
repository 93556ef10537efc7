//! How a server behaves, chosen once.

use core::fmt;
use wslink_core::{Config, Entropy, HubLimits, Secret};

/// Settings of a [`Server`](crate::Server).
#[derive(Clone, Copy)]
pub struct Options<'o> {
    pub(crate) secret: Secret<'o>,
    pub(crate) entropy: fn() -> Entropy,
    pub(crate) config: Config,
    pub(crate) hub: HubLimits,
    pub(crate) paths: &'o [&'o str],
    pub(crate) origins: Origins<'o>,
    pub(crate) pages: &'o [Page<'o>],
}

impl<'o> Options<'o> {
    /// Clients have to say `secret`; `entropy` is asked once for the server and once for each
    /// WebSocket, and comes from the chip's generator of random numbers.
    ///
    /// With the limits of [`Config::device`] and [`HubLimits::device`], the WebSocket at `/ws`, for
    /// pages of the same host, and no pages.
    pub const fn new(secret: &'o str, entropy: fn() -> Entropy) -> Self {
        Self {
            secret: Secret::new(secret),
            entropy,
            config: Config::device(),
            hub: HubLimits::device(),
            paths: &["/ws"],
            origins: Origins::SameHost,
            pages: &[],
        }
    }

    /// With these limits and deadlines for each connection. [`Config::exit`] is taken as false: a
    /// device does not end.
    #[must_use]
    pub const fn with_config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    /// With these limits for publications.
    #[must_use]
    pub const fn with_hub(self, hub: HubLimits) -> Self {
        Self { hub, ..self }
    }

    /// With the WebSocket at any of these paths, as it is asked for without its query.
    #[must_use]
    pub const fn with_paths(self, paths: &'o [&'o str]) -> Self {
        Self { paths, ..self }
    }

    /// With WebSockets for pages from these origins.
    #[must_use]
    pub const fn with_origins(self, origins: Origins<'o>) -> Self {
        Self { origins, ..self }
    }

    /// With these pages.
    #[must_use]
    pub const fn with_pages(self, pages: &'o [Page<'o>]) -> Self {
        Self { pages, ..self }
    }
}

/// Prints no secret.
impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("config", &self.config)
            .field("hub", &self.hub)
            .field("paths", &self.paths)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}

/// Pages of which origin may open a WebSocket. Whoever is not a browser says no origin, and may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Origins<'o> {
    /// Those that came from the host that is asked.
    #[default]
    SameHost,
    /// Those, and these: `https://example.org`.
    Also(&'o [&'o str]),
    /// All.
    Any,
}

/// A page that lies in flash, ready to be sent.
#[derive(Clone, Copy)]
pub struct Page<'o> {
    path: &'o str,
    content_type: &'o str,
    encoding: Option<&'o str>,
    etag: Option<&'o str>,
    pub(crate) body: &'o [u8],
}

impl<'o> Page<'o> {
    /// A page at `path`, for example of type `text/html; charset=utf-8`.
    pub const fn new(path: &'o str, content_type: &'o str, body: &'o [u8]) -> Self {
        Self { path, content_type, encoding: None, etag: None, body }
    }

    /// The same page, whose body is gzipped. It is sent so to whoever asks.
    #[must_use]
    pub const fn gzipped(self) -> Self {
        Self { encoding: Some("gzip"), ..self }
    }

    /// The same page with a name for its content, without quotes: who has it already is not sent
    /// it again.
    #[must_use]
    pub const fn with_etag(self, etag: &'o str) -> Self {
        Self { etag: Some(etag), ..self }
    }

    pub(crate) const fn path(&self) -> &'o str {
        self.path
    }

    pub(crate) const fn content_type(&self) -> &'o str {
        self.content_type
    }

    pub(crate) const fn encoding(&self) -> Option<&'o str> {
        self.encoding
    }

    pub(crate) const fn etag(&self) -> Option<&'o str> {
        self.etag
    }
}

impl fmt::Debug for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("path", &self.path)
            .field("len", &self.body.len())
            .finish_non_exhaustive()
    }
}
