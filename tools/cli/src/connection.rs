//! A connection for as long as a command needs it.

use crate::args::{Connection, Dialect};
use crate::fault::{Exit, Fault};
use crate::signals;
use async_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use core::pin::pin;
use core::time::Duration;
use futures_util::FutureExt as _;
use futures_util::future::FusedFuture as _;
use smol::future;
use std::io::{self, BufRead as _, ErrorKind, IsTerminal as _, Read as _};
use std::path::Path;
use std::{env, fs};
use wslink_core::CloseReason;
use wslink_core::wire;
use wslink_smol::client::{Backoff, Client, ConnectError, Error, Options, ServerError};

/// How long the end of a connection may take.
const FAREWELL: Duration = Duration::from_secs(1);
const SECRET: &str = "WSLINK_SECRET";

/// Connects, does what is wanted, and ends the connection in order, also after Ctrl-C.
pub(crate) async fn with_client<T>(
    url: &str,
    options: Options,
    work: impl AsyncFnOnce(&Client) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut interrupted = pin!(async {
        signals::interrupted().await;
        Fault::new(Exit::Interrupted, "interrupted")
    });
    let connecting = async {
        let connected = Client::connect(url, options).await;
        connected.map_err(|error| no_connection(url, error))
    };
    let connected = future::or(async { Err(interrupted.as_mut().await) }, connecting).await;
    let (client, driver) = connected?;
    let mut driver = pin!(driver.fuse());
    let driving = async {
        let end = driver.as_mut().await;
        // What the work was told by it comes first.
        future::yield_now().await;
        match end {
            Ok(()) => Err(lost("the connection was lost")),
            // There was one before.
            Err(ConnectError::Closed(reason)) => {
                Err(lost(format!("the connection was lost: {}", why(&reason))))
            }
            Err(error) => Err(no_connection(url, error)),
        }
    };
    let interrupted = async { Err(interrupted.await) };
    // The work first: it knows more about an end.
    let outcome = future::or(work(&client), future::or(interrupted, driving)).await;
    // With it the connection is closed.
    drop(client);
    if !driver.is_terminated() {
        let patience = async {
            smol::Timer::after(FAREWELL).await;
            Ok(())
        };
        // What is to be told is told already.
        _ = future::or(driver, patience).await;
    }
    outcome
}

impl Connection {
    /// As the command line says; without coming back after a loss, unless `reconnect`.
    pub(crate) fn options(&self, reconnect: bool) -> Result<Options, Fault> {
        let mut options = match &self.hello {
            Some(path) => Options::with_hello(hello(path)?),
            None => Options::new(self.secret()?),
        };
        options = options.with_connect_deadline(seconds(self.connect_timeout)?);
        options = match self.dialect {
            Some(Dialect::V1) => options.with_dialect(wire::Dialect::V1),
            Some(Dialect::V2) => options.with_dialect(wire::Dialect::V2),
            None => options,
        };
        for header in &self.header {
            let (name, value) = parse_header(header).ok_or_else(|| {
                Fault::usage(format!("`{header}` is no header"))
                    .hint("a header looks like `Origin: https://lab.example`")
            })?;
            options = options.with_header(name, value);
        }
        let fault = |path: &Path| {
            let path = path.to_owned();
            move |error: ConnectError| Fault::file(&path, error)
        };
        if let Some(path) = &self.ca {
            options = options.with_roots(&read(path)?).map_err(fault(path))?;
        }
        if let (Some(chain), Some(key)) = (&self.cert, &self.key) {
            let read = options.with_certificate(&read(chain)?, &read(key)?);
            options = read.map_err(fault(chain))?;
        }
        options = match self.via.as_deref() {
            Some("") => options.without_proxy(),
            Some(url) => options.with_proxy(url),
            None => options,
        };
        if reconnect {
            options = options.with_reconnect(Backoff::default());
        } else {
            options = options.without_reconnect();
        }
        Ok(options)
    }

    fn secret(&self) -> Result<String, Fault> {
        if let Some(path) = &self.secret_file {
            return first_line(path).map_err(|error| Fault::file(path, error));
        }
        if self.ask_secret {
            if !io::stdin().is_terminal() {
                let fault = Fault::usage("there is no terminal to ask for the secret on");
                return Err(fault.hint(format!("use --secret-file, or {SECRET}")));
            }
            let asked = rpassword::prompt_password("Secret: ");
            return asked.map_err(|error| Fault::usage(format!("no secret: {error}")));
        }
        match env::var(SECRET) {
            Ok(secret) => Ok(secret),
            Err(env::VarError::NotPresent) => Ok("wslink-secret".to_owned()),
            Err(error) => Err(Fault::usage(format!("{SECRET}: {error}"))),
        }
    }
}

fn first_line(path: &Path) -> io::Result<String> {
    let mut line = String::new();
    if path == Path::new("-") {
        io::stdin().lock().read_line(&mut line)?;
    } else {
        io::BufReader::new(fs::File::open(path)?).read_line(&mut line)?;
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn hello(path: &Path) -> Result<serde_json::Value, Fault> {
    let bytes = read(path)?;
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| Fault::file(path, error))?;
    if value.is_object() { Ok(value) } else { Err(Fault::file(path, "it is no JSON object")) }
}

/// The content of a file, or of standard input if it is called `-`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut bytes);
        return read.map(|_| bytes).map_err(|error| Fault::file(path, error));
    }
    fs::read(path).map_err(|error| Fault::file(path, error))
}

fn parse_header(header: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = header.split_once(':')?;
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}

/// A time on the command line.
pub(crate) fn seconds(number: f64) -> Result<Duration, Fault> {
    Duration::try_from_secs_f64(number)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| Fault::usage(format!("{number} is no time in seconds")))
}

/// Why there is no connection, and what to do about it.
fn no_connection(url: &str, error: ConnectError) -> Fault {
    let text = error.to_string();
    match error {
        ConnectError::Url(_) | ConnectError::Settings(_) => {
            Fault::usage(text).hint("an address looks like ws://127.0.0.1:1234/ws")
        }
        ConnectError::Io(error) => {
            let fault = Fault::new(Exit::NoConnection, format!("{url}: {error}"));
            match error.kind() {
                ErrorKind::ConnectionRefused => fault.hint(
                    "nothing listens there: is the server running, and are host and port right?",
                ),
                ErrorKind::TimedOut => fault.hint("is there a firewall between?"),
                ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => {
                    fault.hint("the server hung up: does it want wss:// instead of ws://?")
                }
                ErrorKind::Other => fault.hint("is it a web server at all that listens there?"),
                _ => fault.hint("is the name of the host right?"),
            }
        }
        ConnectError::Tls(_) => {
            let hint = tls_hint(&text);
            Fault::new(Exit::NoConnection, text).hint(hint)
        }
        ConnectError::Proxy(_) => {
            Fault::new(Exit::NoConnection, text).hint("--via '' and NO_PROXY go around a proxy")
        }
        ConnectError::NotAWebSocket(_) => Fault::new(Exit::NoConnection, text)
            .hint("is the path right? wslink's servers have their WebSocket at /ws"),
        ConnectError::Refused(error) => {
            let fault = Fault::new(Exit::Refused, format!("the secret was refused: {error}"));
            fault.hint(format!(
                "tell it by --secret-file, {SECRET} or --ask-secret; upstream's default is \
                 wslink-secret, ParaView's vtkweb-secret"
            ))
        }
        ConnectError::Closed(reason) => {
            let why = why(&reason);
            Fault::new(Exit::Foreign, format!("the hello was not answered: {why}")).hint(
                "is it a wslink server at all? If --dialect is given, it may speak the other one",
            )
        }
        ConnectError::Deadline => Fault::new(Exit::NoConnection, format!("{url}: {text}"))
            .hint("is there a firewall between? See --connect-timeout"),
        _ => Fault::new(Exit::NoConnection, text),
    }
}

/// What to do about TLS that was refused. rustls names its reasons in words, which stay.
fn tls_hint(text: &str) -> &'static str {
    match text {
        _ if text.contains("expired") => "whoever runs the server has to renew its certificate",
        _ if text.contains("not valid for name") => {
            "the certificate is for another name: reach the server by that one"
        }
        _ if text.contains("CertificateRequired") => {
            "the server wants to see a certificate: name one by --cert and --key"
        }
        _ if text.contains("UnknownIssuer") || text.contains("BadSignature") => {
            "--ca names a file with the certificate that has signed it, if that is to be trusted"
        }
        _ => "a server that speaks no TLS is ws://, not wss://; --ca names a certificate to trust",
    }
}

fn why(reason: &CloseReason) -> String {
    match reason {
        CloseReason::Eof => "the server hung up".to_owned(),
        CloseReason::Peer(Some(code)) => format!("the server closed it with {code}"),
        CloseReason::Peer(None) => "the server closed it".to_owned(),
        CloseReason::Timeout(_) => "the server said nothing".to_owned(),
        other => format!("{other:?}"),
    }
}

/// There is no connection any more.
pub(crate) fn lost(text: impl Into<String>) -> Fault {
    Fault::new(Exit::Lost, text).hint("the server is gone, or hangs; it can be tried again")
}

/// Why a call gave no result.
pub(crate) fn no_answer(method: &str, error: &Error) -> Fault {
    match error {
        Error::Server(error) => answered(method, error),
        Error::Deadline => Fault::new(Exit::Lost, format!("{method}: {error}"))
            .hint("it may still be running; see --timeout"),
        Error::Read(_) => Fault::new(Exit::File, format!("{method}: {error}")),
        Error::Lost { may_have_run: true } => lost(format!("{method}: {error}")).hint(
            "the server is gone, or hangs; look whether it has run before it is called again",
        ),
        Error::NotConnected | Error::Lost { .. } => lost(format!("{method}: {error}")),
        _ => Fault::new(Exit::Foreign, format!("{method}: {error}")),
    }
}

fn answered(method: &str, error: &ServerError) -> Fault {
    let fault =
        Fault::new(Exit::Answered, format!("{method}: {error}")).about(crate::json::error(error));
    match error.code {
        -32601 => fault.hint("`wslink describe` lists the methods of a server"),
        -32602 => fault.hint("`wslink describe` lists the arguments of a method"),
        _ => fault,
    }
}
