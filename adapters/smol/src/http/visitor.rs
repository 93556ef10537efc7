//! Who asked for a WebSocket, and how.

use crate::attempts::FailedHellos;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU32, Ordering};
use hyper::{HeaderMap, Uri};
use wslink_core::HttpRequest;

/// The request behind a WebSocket, in one piece of memory: hyper's own would keep its read buffer
/// for as long.
pub(crate) struct Visitor {
    /// Path, query and headers, each behind what it is and ended by a line feed, which none of them
    /// can hold.
    head: Box<str>,
    remote: Option<SocketAddr>,
    /// Hellos that were refused.
    failures: AtomicU32,
}

impl Visitor {
    pub(crate) fn new(uri: &Uri, headers: &HeaderMap, remote: Option<SocketAddr>) -> Self {
        let mut head = format!("{}\n", uri.path());
        if let Some(query) = uri.query() {
            head.push('?');
            head.push_str(query);
        }
        for (name, value) in headers {
            if let Ok(value) = value.to_str() {
                head.extend(["\n", name.as_str(), ":", value]);
            }
        }
        Self { head: head.into(), remote, failures: AtomicU32::new(0) }
    }

    /// Counts a hello that was refused.
    pub(crate) fn fail(&self) -> u32 {
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Whether no further hello is waited for.
    pub(crate) fn is_spent(&self, allowed: &FailedHellos) -> bool {
        self.failures.load(Ordering::Relaxed) >= allowed.most
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.head.split('\n')
    }
}

impl HttpRequest for Visitor {
    fn path(&self) -> &str {
        self.lines().next().unwrap_or_default()
    }

    fn query(&self) -> Option<&str> {
        self.lines().nth(1)?.strip_prefix('?')
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.lines().skip(2).filter_map(|line| line.split_once(':'));
        headers.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{COOKIE, HOST};

    #[test]
    fn a_request_is_kept_as_it_was() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "scope.local:1234".parse().unwrap());
        headers.append(COOKIE, "a=1".parse().unwrap());
        headers.append(COOKIE, "a=2".parse().unwrap());
        let remote = SocketAddr::from(([127, 0, 0, 1], 4321));
        let uri = Uri::from_static("/w%20s?a=b&c=:?");
        let visitor = Visitor::new(&uri, &headers, Some(remote));
        let request: &dyn HttpRequest = &visitor;
        assert_eq!((request.path(), request.query()), ("/w%20s", Some("a=b&c=:?")));
        assert_eq!(request.header("HOST"), Some("scope.local:1234"));
        assert_eq!(request.cookie("a"), Some("1"));
        assert_eq!((request.header("origin"), request.remote()), (None, Some(remote)));

        let bare = Visitor::new(&Uri::from_static("/"), &HeaderMap::new(), None);
        assert_eq!((bare.path(), bare.query(), bare.header("host")), ("/", None, None));
        let empty = Visitor::new(&Uri::from_static("/?"), &HeaderMap::new(), None);
        assert_eq!(empty.query(), Some(""));
    }
}
