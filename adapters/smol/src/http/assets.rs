//! Files that are in the binary.

use crate::http::{Body, plain, with};
use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use std::collections::BTreeMap;

/// Files that are part of the program, by their paths.
///
/// They are served with a strong `ETag` made from the bytes, in ranges and as 304 where the client
/// asks for that. A path that ends in `/` stands for the `index.html` behind it.
///
/// ```
/// use wslink_smol::{Assets, Options};
///
/// let assets = Assets::new()
///     .with("/index.html", "text/html; charset=utf-8", b"<h1>Scope</h1>")
///     .with("/app.js", "text/javascript; charset=utf-8", b"connect();");
/// let options = Options::new("wslink-secret").with_assets(assets);
/// # let _ = options;
/// ```
/// Real ones come from [`include_bytes!`].
#[derive(Clone, Debug, Default)]
pub struct Assets(BTreeMap<&'static str, Asset>);

#[derive(Clone, Debug)]
struct Asset {
    content_type: HeaderValue,
    plain: Option<Variant>,
    gzipped: Option<Variant>,
}

#[derive(Clone, Debug)]
struct Variant {
    bytes: Bytes,
    etag: HeaderValue,
}

impl Variant {
    fn new(bytes: &'static [u8]) -> Self {
        // FNV-1a: the bytes are our own, so nobody looks for two that collide.
        let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, add);
        let etag = HeaderValue::try_from(format!("\"{hash:016x}-{:x}\"", bytes.len()));
        let etag = etag.unwrap_or_else(|_| unreachable!("hexadecimal digits are a header"));
        Self { bytes: Bytes::from_static(bytes), etag }
    }
}

impl Assets {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more file.
    ///
    /// # Panics
    /// If `path` does not begin with `/`, or `content_type` is no header.
    #[must_use]
    pub fn with(
        mut self,
        path: &'static str,
        content_type: &'static str,
        bytes: &'static [u8],
    ) -> Self {
        self.entry(path, content_type).plain = Some(Variant::new(bytes));
        self
    }

    /// One more file, compressed by gzip. Clients that do not take that get the
    /// [plain](Self::with) bytes of the same path, or 406 if there are none.
    ///
    /// # Panics
    /// As [`with`](Self::with).
    #[must_use]
    pub fn with_gzipped(
        mut self,
        path: &'static str,
        content_type: &'static str,
        gzipped: &'static [u8],
    ) -> Self {
        self.entry(path, content_type).gzipped = Some(Variant::new(gzipped));
        self
    }

    fn entry(&mut self, path: &'static str, content_type: &'static str) -> &mut Asset {
        assert!(path.starts_with('/'), "an asset's path begins with a slash: {path:?}");
        let content_type = HeaderValue::from_static(content_type);
        let asset = Asset { content_type: content_type.clone(), plain: None, gzipped: None };
        let asset = self.0.entry(path).or_insert(asset);
        asset.content_type = content_type;
        asset
    }

    /// The answer for `path`, if there is something.
    pub(crate) fn respond(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<Response<Body>> {
        let asset = self.0.get(path).or_else(|| {
            path.ends_with('/').then(|| self.0.get(format!("{path}index.html").as_str()))?
        })?;
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Some(super::only_get_and_head());
        }
        let takes_gzip = takes_gzip(headers);
        let (variant, encoded) = match (&asset.gzipped, &asset.plain) {
            (Some(gzipped), _) if takes_gzip => (gzipped, true),
            (_, Some(plain)) => (plain, false),
            _ => return Some(plain(StatusCode::NOT_ACCEPTABLE, "there is this in gzip only")),
        };
        let mut response = variant.respond(headers);
        if response.status().is_success() {
            response = with(response, header::CONTENT_TYPE, asset.content_type.clone());
            if encoded {
                let gzip = HeaderValue::from_static("gzip");
                response = with(response, header::CONTENT_ENCODING, gzip);
            }
        }
        if asset.gzipped.is_some() {
            let vary = HeaderValue::from_static("accept-encoding");
            response = with(response, header::VARY, vary);
        }
        Some(response)
    }
}

impl Variant {
    /// What the conditions and the range of a request make of it (RFC 9110 §13 and §14).
    fn respond(&self, headers: &HeaderMap) -> Response<Body> {
        let len = self.bytes.len();
        let mut response = Response::new(Body::default());
        if names(headers, header::IF_MATCH, &self.etag, false) == Some(false) {
            *response.status_mut() = StatusCode::PRECONDITION_FAILED;
            return response;
        }
        let response = with(response, header::ETAG, self.etag.clone());
        let mut response = with(response, header::CACHE_CONTROL, super::REVALIDATE);
        if names(headers, header::IF_NONE_MATCH, &self.etag, true) == Some(true) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let response = with(response, header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let same = headers.get(header::IF_RANGE).is_none_or(|etag| *etag == self.etag);
        let range = headers.get(header::RANGE).filter(|_| same).and_then(|it| it.to_str().ok());
        let range = range.and_then(|range| http_range_header::parse_range_header(range).ok());
        // Several ranges at once may be answered by the whole.
        let Some(range) = range.filter(|range| range.ranges.len() == 1) else {
            return response.map(|_| self.bytes.clone().into());
        };
        let range = range.validate(len as u64).ok().and_then(|ranges| ranges.into_iter().next());
        // Nothing of nothing is no range.
        let (status, range, bytes) = match range.filter(|_| len > 0) {
            Some(range) => {
                let (start, end) = (*range.start() as usize, *range.end() as usize);
                let text = format!("bytes {start}-{end}/{len}");
                (StatusCode::PARTIAL_CONTENT, text, self.bytes.slice(start..=end))
            }
            None => (StatusCode::RANGE_NOT_SATISFIABLE, format!("bytes */{len}"), Bytes::new()),
        };
        let mut response = response.map(|_| bytes.into());
        *response.status_mut() = status;
        match HeaderValue::try_from(range) {
            Ok(range) => with(response, header::CONTENT_RANGE, range),
            Err(_) => response,
        }
    }
}

/// Whether a list of entity tags names this one; `None` if there is no list.
fn names(headers: &HeaderMap, list: HeaderName, etag: &HeaderValue, weak: bool) -> Option<bool> {
    let mut lists = headers.get_all(list).iter().peekable();
    lists.peek()?;
    let mut tags = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    Some(tags.any(|tag| {
        let tag = tag.trim();
        let tag = if weak { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
        tag == "*" || tag.as_bytes() == etag.as_bytes()
    }))
}

/// Whether `Accept-Encoding` names gzip, and not with `q=0`.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = values.filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|it| it.trim().parse::<f32>().ok());
        matches!(name.trim(), "gzip" | "x-gzip" | "*") && weight.is_none_or(|it| it > 0.0)
    })
}
