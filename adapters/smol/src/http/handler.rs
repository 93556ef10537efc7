//! Requests that the user answers.

use crate::http::Body;
use core::fmt;
use core::pin::Pin;
use hyper::body::Incoming;
use std::sync::Arc;

/// Answers the requests of one path.
pub(crate) type Handler = dyn Fn(hyper::Request<Incoming>) -> Answer + Send + Sync;

type Answer = Pin<Box<dyn Future<Output = hyper::Response<Body>> + Send>>;

/// Handlers by path.
#[derive(Clone, Default)]
pub(crate) struct Handlers(Vec<(String, Arc<Handler>)>);

impl Handlers {
    pub(crate) fn add(&mut self, path: String, handler: Arc<Handler>) {
        self.0.retain(|(other, _)| *other != path);
        self.0.push((path, handler));
        // The longest first, so that the first that fits is the one that fits best.
        self.0.sort_by_key(|(path, _)| core::cmp::Reverse(path.len()));
    }

    /// A path that ends in a slash stands for all behind it, any other for itself.
    pub(crate) fn find(&self, asked: &str) -> Option<&Arc<Handler>> {
        let fits = |path: &str| asked == path || path.ends_with('/') && asked.starts_with(path);
        self.0.iter().find(|(path, _)| fits(path)).map(|(_, handler)| handler)
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(path, _)| path)).finish()
    }
}

/// HTTP for [handlers](crate::Options::with_handler): hyper's types, and what they are short of.
pub mod web {
    pub use crate::http::Body;
    pub use hyper::{Method, StatusCode, header};

    use bytes::Bytes;
    use core::pin::Pin;
    use core::time::Duration;
    use futures_util::future::{self, Either, poll_fn};
    use hyper::body::{Body as _, Incoming};
    use smol::Timer;

    /// A request. Its extensions have the peer's [`SocketAddr`](core::net::SocketAddr), if it is
    /// known.
    pub type Request = hyper::Request<Incoming>;

    /// An answer.
    pub type Response = hyper::Response<Body>;

    /// Reads the body of a request, waiting `patience` for each piece of it.
    ///
    /// # Errors
    /// What to answer: 413 if there are more than `most` bytes, 408 if they come too slowly, 400 if
    /// they are no HTTP. [`status`] makes a page of it.
    pub async fn read(
        request: &mut Request,
        most: usize,
        patience: Duration,
    ) -> Result<Vec<u8>, StatusCode> {
        let body = request.body_mut();
        if body.size_hint().lower() > most as u64 {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let mut bytes = Vec::new();
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
            let frame = match future::select(frame, Timer::after(patience)).await {
                Either::Left((Some(frame), _)) => frame.map_err(|_| StatusCode::BAD_REQUEST)?,
                Either::Left((None, _)) => return Ok(bytes),
                Either::Right(_) => return Err(StatusCode::REQUEST_TIMEOUT),
            };
            // Trailers are of no use here.
            let piece: Bytes = frame.into_data().unwrap_or_default();
            if piece.len() > most - bytes.len() {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            bytes.extend_from_slice(&piece);
        }
    }

    /// A page that says what its status says.
    #[must_use]
    pub fn status(status: StatusCode) -> Response {
        crate::http::status_page(status)
    }

    /// A page of plain text.
    #[must_use]
    pub fn text(status: StatusCode, text: &str) -> Response {
        crate::http::plain(status, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_that_fits_wins() {
        let mut handlers = Handlers::default();
        for path in ["/api/", "/api/v2/", "/one"] {
            let handler = move |_| -> Answer {
                Box::pin(core::future::ready(hyper::Response::new(Body::from(path))))
            };
            handlers.add(path.to_owned(), Arc::new(handler));
        }
        let at = |path: &str| {
            let found = handlers.find(path)?;
            handlers.0.iter().find(|(_, it)| Arc::ptr_eq(it, found)).map(|(path, _)| path.as_str())
        };
        assert_eq!(at("/api/x"), Some("/api/"));
        assert_eq!(at("/api/"), Some("/api/"));
        assert_eq!(at("/api/v2/x"), Some("/api/v2/"));
        assert_eq!(at("/one"), Some("/one"));
        for none in ["/api", "/apix", "/one/", "/onex", "/", ""] {
            assert_eq!(at(none), None, "{none:?}");
        }
        assert_eq!(format!("{handlers:?}"), r#"{"/api/v2/", "/api/", "/one"}"#);
    }
}
