//! Which web pages may connect.

use hyper::Uri;
use hyper::header::{self, HeaderMap};

/// Which web pages a browser lets talk to the server.
///
/// A browser says with each WebSocket from which site the page came that opened it, and any page
/// on the web can try. Programs that are no browsers say nothing, or whatever they like: this
/// protects users of browsers, not the server, which has the secret for that. A page whose owner
/// lets its own name stand for this server's address (DNS rebinding) comes from the same host as
/// well: where that matters, have a secret that nobody knows, or name the [only](Self::only) pages.
///
/// ```
/// use wslink_smol::{Options, Origins};
///
/// let options = Options::new("wslink-secret")
///     .with_origins(Origins::same_host().and("https://lab.example").and("http://localhost:5173"));
/// # let _ = options;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    same_host: bool,
    without: bool,
    list: Vec<String>,
}

impl Default for Origins {
    fn default() -> Self {
        Self::same_host()
    }
}

impl Origins {
    /// Pages from the host and port to which the request goes, and whoever names no origin. Behind
    /// a proxy that needs the proxy to hand on the `Host` header.
    #[must_use]
    pub fn same_host() -> Self {
        Self { any: false, same_host: true, without: true, list: Vec::new() }
    }

    /// None but those that are added, and whoever names no origin.
    #[must_use]
    pub fn only() -> Self {
        Self { same_host: false, ..Self::same_host() }
    }

    /// All.
    #[must_use]
    pub fn any() -> Self {
        Self { any: true, ..Self::same_host() }
    }

    /// One more: as browsers say it (`https://lab.example`, `http://localhost:5173`), or `*` for
    /// all.
    #[must_use]
    pub fn and(mut self, origin: impl Into<String>) -> Self {
        let origin = origin.into();
        self.any |= origin == "*";
        self.list.push(origin);
        self
    }

    /// Whether a request that names no origin is let in, as programs make it that are no browsers.
    #[must_use]
    pub fn with_none(self, allowed: bool) -> Self {
        Self { without: allowed, ..self }
    }

    /// Whether a request may become a WebSocket.
    pub(crate) fn allow(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (origin, others) = (origins.next(), origins.next());
        let Some(origin) = origin else { return self.without };
        if self.any {
            return true;
        }
        let (Ok(origin), None) = (origin.to_str(), others) else { return false };
        let host = uri.authority().map(|authority| authority.as_str());
        let host = host.or_else(|| headers.get(header::HOST).and_then(|host| host.to_str().ok()));
        let same_host = self.same_host && host.is_some_and(|host| is_at(origin, host));
        same_host || self.list.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }
}

/// Whether a page of `origin` came from `host`. The port of a scheme may be left out.
fn is_at(origin: &str, host: &str) -> bool {
    let Some((scheme, from)) = origin.split_once("://") else { return false };
    let default = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let bare =
        |authority: &str| authority.strip_suffix(default).unwrap_or(authority).to_ascii_lowercase();
    !from.is_empty() && bare(from) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(origins: &Origins, origin: Option<&str>, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        origins.allow(&Uri::from_static("/ws"), &headers)
    }

    #[test]
    fn by_default_pages_of_the_same_host() {
        let same = Origins::default();
        for (origin, host) in [
            ("http://scope.local", "scope.local"),
            ("http://Scope.local", "scope.LOCAL"),
            ("http://127.0.0.1:1234", "127.0.0.1:1234"),
            ("http://[::1]:1234", "[::1]:1234"),
            ("https://lab.example", "lab.example:443"),
            ("http://lab.example:80", "lab.example"),
        ] {
            assert!(asks(&same, Some(origin), host), "{origin} at {host}");
        }
        for (origin, host) in [
            ("http://evil.example", "scope.local"),
            ("http://scope.local.evil.example", "scope.local"),
            ("http://evilscope.local", "scope.local"),
            ("http://scope.local@evil.example", "scope.local"),
            ("http://127.0.0.1:1235", "127.0.0.1:1234"),
            ("http://127.0.0.1", "127.0.0.1:1234"),
            ("https://lab.example", "lab.example:80"),
            ("null", "null"),
            ("null", "scope.local"),
            ("scope.local", "scope.local"),
            ("http://", ""),
            ("", ""),
        ] {
            assert!(!asks(&same, Some(origin), host), "{origin} at {host}");
        }
        assert!(asks(&same, None, "scope.local"));
    }

    #[test]
    fn others_where_they_are_named() {
        let listed = Origins::only().and("https://lab.example").and("null");
        assert!(asks(&listed, Some("https://lab.example"), "scope.local"));
        assert!(asks(&listed, Some("HTTPS://LAB.example"), "scope.local"));
        assert!(asks(&listed, Some("null"), "scope.local"));
        for origin in ["http://lab.example", "https://lab.example:8443", "http://scope.local", "*"]
        {
            assert!(!asks(&listed, Some(origin), "scope.local"), "{origin}");
        }
        for any in [Origins::any(), Origins::only().and("*")] {
            assert!(asks(&any, Some("http://evil.example"), "scope.local"));
            assert!(asks(&any, None, "scope.local"));
        }
        let browsers = Origins::same_host().with_none(false);
        assert!(!asks(&browsers, None, "scope.local"));
        assert!(asks(&browsers, Some("http://scope.local"), "scope.local"));
    }

    #[test]
    fn two_origins_are_no_origin() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, "a".parse().unwrap());
        for _ in 0..2 {
            headers.append(header::ORIGIN, "http://a".parse().unwrap());
        }
        assert!(!Origins::same_host().allow(&Uri::from_static("/ws"), &headers));
    }
}
