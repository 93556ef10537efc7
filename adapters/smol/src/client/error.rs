//! What can go wrong at a client's end.

use super::Value;
use core::error::Error as StdError;
use core::fmt::{self, Display};
use std::io;
use wslink_core::client::{CallError, Failure, Outcome};
use wslink_core::wire::DecodeError;
use wslink_core::{CloseReason, code};

/// Why a call gave no answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// There is no connection just now; the call was not sent.
    NotConnected,
    /// The connection ended before the answer came.
    Lost {
        /// Whether the server may have run the call: all of it had been handed to the system.
        may_have_run: bool,
    },
    /// The server answered with an error.
    Server(ServerError),
    /// The deadline of the call passed.
    Deadline,
    /// The call cannot be written, or does not fit the limits.
    Call(String),
    /// The reader of its binary data failed, or had too little. The connection was ended with it.
    Read(String),
    /// The answer cannot be read, or not as what was asked for.
    Answer(String),
    /// The answer came, and could not be written to where it was to go.
    Write(String),
}

/// An error that the server answered.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServerError {
    /// Its code ([`code`] names the standard ones).
    pub code: i64,
    /// Its message.
    pub message: String,
    /// What else it said.
    pub data: Option<Value>,
}

impl ServerError {
    pub(super) fn of(failure: Failure<'_>) -> Self {
        let data = failure.data.and_then(|data| data.deserialize().ok());
        Self { code: failure.code, message: failure.message.to_owned(), data }
    }

    /// Whether the server has no such method.
    pub const fn is_unknown_method(&self) -> bool {
        self.code == code::METHOD_NOT_FOUND as i64
    }

    /// What went wrong in the method, if this is [`code::EXCEPTION`].
    pub fn exception(&self) -> Option<&str> {
        self.data.as_ref()?.get("exception")?.as_str()
    }
}

impl Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)?;
        match (&self.data, self.exception()) {
            (_, Some(exception)) => write!(f, ": {exception}"),
            (Some(Value::Str(text)), _) => write!(f, ": {text}"),
            _ => Ok(()),
        }
    }
}

impl StdError for ServerError {}

impl Error {
    /// Whether the server may have run the call.
    pub const fn may_have_run(&self) -> bool {
        match self {
            Self::NotConnected | Self::Call(_) | Self::Read(_) => false,
            Self::Lost { may_have_run } => *may_have_run,
            Self::Server(_) | Self::Deadline | Self::Answer(_) | Self::Write(_) => true,
        }
    }

    /// What became of a call that gave no result.
    pub(super) fn of(outcome: Outcome<'_>) -> Self {
        match outcome {
            Outcome::Error(failure) => Self::Server(ServerError::of(failure)),
            Outcome::Lost { may_have_run } => Self::Lost { may_have_run },
            Outcome::Expired => Self::Deadline,
            Outcome::Unreadable(why) => Self::Answer(why.to_string()),
            other => Self::Answer(format!("{other:?}")),
        }
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotOpen => Self::NotConnected,
            other => Self::Call(other.to_string()),
        }
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::Answer(error.to_string())
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => f.write_str("not connected"),
            Self::Lost { may_have_run: true } => {
                f.write_str("the connection was lost; the call may have run")
            }
            Self::Lost { may_have_run: false } => {
                f.write_str("the connection was lost before the call was sent")
            }
            Self::Server(error) => error.fmt(f),
            Self::Deadline => f.write_str("no answer in time"),
            Self::Call(why) => f.write_str(why),
            Self::Read(why) => write!(f, "what is to be sent cannot be read: {why}"),
            Self::Answer(why) => write!(f, "the answer cannot be read: {why}"),
            Self::Write(why) => write!(f, "the answer cannot be written: {why}"),
        }
    }
}

impl StdError for Error {}

/// Why there is no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address makes no sense.
    Url(String),
    /// No connection to the server, or to the proxy.
    Io(io::Error),
    /// No secure connection: which certificate was refused, and why.
    Tls(String),
    /// The proxy, of this address, did not let us through.
    Proxy(String),
    /// What answers is no WebSocket: the status of its answer, or what is wrong with it.
    NotAWebSocket(String),
    /// The server refused the hello: a wrong secret.
    Refused(ServerError),
    /// The connection ended before the hello was answered, in the dialect tried last.
    Closed(CloseReason),
    /// It took too long.
    Deadline,
    /// The settings make no sense.
    Settings(String),
}

impl Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(why) => write!(f, "not an address of a server: {why}"),
            Self::Io(error) => {
                write!(f, "no connection: {error}")?;
                // What is inside says more.
                let mut inner = error.get_ref().and_then(|it| it.source());
                while let Some(error) = inner {
                    write!(f, ": {error}")?;
                    inner = error.source();
                }
                Ok(())
            }
            Self::Tls(why) => write!(f, "no secure connection: {why}"),
            Self::Proxy(why) => write!(f, "no way through the proxy: {why}"),
            Self::NotAWebSocket(why) => write!(f, "no WebSocket there: {why}"),
            Self::Refused(error) => write!(f, "the server refused the hello: {error}"),
            Self::Closed(reason) => {
                write!(f, "the connection ended before the hello was answered: {reason:?}")
            }
            Self::Deadline => f.write_str("no connection in time"),
            Self::Settings(why) => write!(f, "the settings make no sense: {why}"),
        }
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        #[cfg(feature = "tls")]
        if let Some(why) = super::tls::alert(&error) {
            return Self::Tls(why);
        }
        Self::Io(error)
    }
}
