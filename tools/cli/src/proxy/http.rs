//! The head of a request and of its answer, as far as one has to know them to read what follows.

use httparse::{EMPTY_HEADER, Header, Request, Response};

/// A longer head is not followed.
pub(crate) const MOST: usize = 64 << 10;
const HEADERS: usize = 256;

/// The beginning of a connection.
pub(crate) enum Head<T> {
    Part,
    /// It is no HTTP.
    Foreign,
    /// What it says, and how long it is.
    Whole(T, usize),
}

pub(crate) struct Asked {
    /// Method and path, without the query, which may have a secret in it.
    pub(crate) line: String,
    pub(crate) upgrade: bool,
}

pub(crate) struct Answered {
    /// Code and reason.
    pub(crate) line: String,
    pub(crate) switched: bool,
    pub(crate) deflate: bool,
}

pub(crate) fn request(bytes: &[u8]) -> Head<Asked> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut request = Request::new(&mut headers);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < MOST => return Head::Part,
        _ => return Head::Foreign,
    };
    let (method, path) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let path =
        path.split_once('?').map_or_else(|| path.to_owned(), |(path, _)| format!("{path}?.."));
    let upgrade = says(request.headers, "upgrade", "websocket");
    Head::Whole(Asked { line: format!("{method} {path}"), upgrade }, len)
}

pub(crate) fn response(bytes: &[u8]) -> Head<Answered> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut response = Response::new(&mut headers);
    let len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < MOST => return Head::Part,
        _ => return Head::Foreign,
    };
    let code = response.code.unwrap_or_default();
    let line = format!("{code} {}", response.reason.unwrap_or_default());
    let deflate = says(response.headers, "sec-websocket-extensions", "permessage-deflate");
    Head::Whole(Answered { line: line.trim_end().to_owned(), switched: code == 101, deflate }, len)
}

fn says(headers: &[Header<'_>], name: &str, word: &str) -> bool {
    let mut values = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    values.any(|header| String::from_utf8_lossy(header.value).to_ascii_lowercase().contains(word))
}
