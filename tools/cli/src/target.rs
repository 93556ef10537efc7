//! The address of a server.

use crate::fault::{Exit, Fault};
use async_tungstenite::tungstenite::http::Uri;
use smol::net::TcpStream;
use std::io;

/// A `ws://` address.
pub(crate) struct Target {
    uri: Uri,
    host: String,
    port: u16,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, Fault> {
        const HINT: &str = "an address looks like ws://127.0.0.1:1234/ws";
        let bad = |why: &str| Fault::usage(format!("`{url}` is no address: {why}")).hint(HINT);
        let uri: Uri = url.parse().map_err(|_| bad("it cannot be parsed"))?;
        let port = match uri.scheme_str() {
            Some("ws") => 80,
            Some("wss") => return Err(bad("wss:// is not supported here")),
            Some("http" | "https") => return Err(bad("WebSockets begin with ws:// or wss://")),
            _ => return Err(bad("ws:// is missing")),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| bad("it names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(port);
        Ok(Self { uri, host, port })
    }

    pub(crate) fn path_and_query(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    pub(crate) const fn url(&self) -> &Uri {
        &self.uri
    }

    pub(crate) async fn connect(&self) -> Result<TcpStream, Fault> {
        let Self { host, port, .. } = self;
        let connected = TcpStream::connect((host.as_str(), *port)).await;
        let stream = connected.map_err(|error| no_connection(host, *port, &error))?;
        // Without it frames only come later.
        _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

fn no_connection(host: &str, port: u16, error: &io::Error) -> Fault {
    let (why, hint) = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            ("refused", "nothing listens there: is the server running, and is the port right?")
        }
        io::ErrorKind::TimedOut => ("no answer", "is there a firewall between?"),
        _ => {
            let fault = Fault::new(Exit::NoConnection, format!("{host}:{port}: {error}"));
            return fault.hint("is the name of the host right?");
        }
    };
    Fault::new(Exit::NoConnection, format!("{host}:{port}: {why}")).hint(hint)
}
