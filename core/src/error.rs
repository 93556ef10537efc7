//! Everything that can go wrong, each with what the peer and the caller are told of it.

use crate::wire::EncodeError;
use core::fmt::{self, Display, Write as _};

/// Codes of the `error` object. The first block is upstream's, the second JSON-RPC's, the third
/// ours.
pub mod code {
    /// `Authentication failed`, `Unauthorized: Skip message processing`.
    pub const UNAUTHORIZED: i32 = -32000;
    /// `Exception raised`: the handler failed.
    pub const EXCEPTION: i32 = -32001;
    /// `Method result cannot be serialized`.
    pub const UNSERIALIZABLE: i32 = -32002;
    /// `Unregistered method called`, `Unknown system method called`.
    pub const METHOD_NOT_FOUND: i32 = -32601;

    /// The envelope is not a request.
    pub const INVALID_REQUEST: i32 = -32600;
    /// The arguments do not fit the method.
    pub const INVALID_PARAMS: i32 = -32602;
    /// The message is not well-formed.
    pub const PARSE_ERROR: i32 = -32700;

    /// A limit was reached; `data` is `{"limit", "needed", "available"}`.
    pub const LIMIT: i32 = -32003;
    /// The call's deadline passed; `data` is the method's name.
    pub const DEADLINE: i32 = -32004;
    /// The client cancelled the call; `data` is the method's name.
    pub const CANCELLED: i32 = -32005;
}

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::frame`](crate::Limits::frame).
    Frame,
    /// [`Limits::max_msg_size`](crate::Limits::max_msg_size) with its
    /// [`overhead`](crate::Limits::overhead), or 13 with that.
    MaxMsgSize,
    /// [`Limits::message`](crate::Limits::message).
    Message,
    /// [`Limits::message_before_hello`](crate::Limits::message_before_hello).
    MessageBeforeHello,
    /// [`Limits::upload`](crate::Limits::upload).
    Upload,
    /// Uploads of a connection that are under way: one.
    Uploads,
    /// [`Limits::depth`](crate::Limits::depth).
    Depth,
    /// [`Limits::id`](crate::Limits::id).
    Id,
    /// [`Limits::calls`](crate::Limits::calls).
    Calls,
    /// [`Limits::pending`](crate::Limits::pending).
    Pending,
    /// [`Limits::ranges`](crate::Limits::ranges).
    Ranges,
    /// [`Limits::ahead`](crate::Limits::ahead).
    Ahead,
    /// [`Limits::attachments`](crate::Limits::attachments), or the blobs of one answer.
    Attachments,
    /// [`Limits::receive_bytes`](crate::Limits::receive_bytes), or what the buffer holds.
    ReceiveBytes,
    /// [`Limits::transmit_bytes`](crate::Limits::transmit_bytes), or what the buffer holds.
    TransmitBytes,
    /// The hub's buffer ([`HubLimits::bytes`](crate::HubLimits::bytes)).
    HubBytes,
    /// Attached bytes in the hub ([`HubLimits::blob_bytes`](crate::HubLimits::blob_bytes)).
    HubBlobBytes,
    /// The retained values ([`HubLimits::retained_bytes`](crate::HubLimits::retained_bytes)).
    HubRetainedBytes,
    /// Topics, which the memory's tables have to hold with one more.
    Topics,
    /// Authenticated peers, which the hub's table of them has to hold.
    Peers,
    /// 4 GiB, the largest total that a 2.x chunk header can say.
    Total,
}

impl Limit {
    /// The name that stands in an error's `data`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::MaxMsgSize => "max_msg_size",
            Self::Message => "message",
            Self::MessageBeforeHello => "message_before_hello",
            Self::Upload => "upload",
            Self::Uploads => "uploads",
            Self::Depth => "depth",
            Self::Id => "id",
            Self::Calls => "calls",
            Self::Pending => "pending",
            Self::Ranges => "ranges",
            Self::Ahead => "ahead",
            Self::Attachments => "attachments",
            Self::ReceiveBytes => "receive_bytes",
            Self::TransmitBytes => "transmit_bytes",
            Self::HubBytes => "hub_bytes",
            Self::HubBlobBytes => "hub_blob_bytes",
            Self::HubRetainedBytes => "hub_retained_bytes",
            Self::Topics => "topics",
            Self::Peers => "peers",
            Self::Total => "total",
        }
    }
}

/// A limit with the two numbers that say by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LimitExceeded {
    /// Which one.
    pub limit: Limit,
    /// What was asked for, in the limit's unit.
    pub needed: u64,
    /// What there was.
    pub available: u64,
}

impl LimitExceeded {
    pub(crate) const fn new(limit: Limit, needed: u64, available: u64) -> Self {
        Self { limit, needed, available }
    }
}

impl Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, needed, available } = self;
        write!(f, "Limit `{}` exceeded: needed {needed}, available {available}", limit.name())
    }
}

impl core::error::Error for LimitExceeded {}

/// Text of an error message: up to 80 bytes; a longer one ends in `…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ErrorText(heapless::String<80, u8>);

impl ErrorText {
    const ELLIPSIS: &'static str = "…";

    /// Formats `text`, cutting what is too long.
    pub fn new(text: impl Display) -> Self {
        let mut it = Self::default();
        // A full text is not an error: it is cut, and ends in an ellipsis that says so.
        let _ = write!(it, "{text}");
        it
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Write for ErrorText {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            if self.0.push(c).is_err() {
                while self.0.len() + Self::ELLIPSIS.len() > self.0.capacity() {
                    self.0.pop();
                }
                return self
                    .0
                    .push_str(Self::ELLIPSIS)
                    .map_err(|_| fmt::Error)
                    .and(Err(fmt::Error));
            }
        }
        Ok(())
    }
}

/// What stands in `data` of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) enum ErrorData {
    None,
    /// The name of the method that was called.
    Method,
    /// The name of a parameter.
    Param(&'static str),
    /// `{"method", "exception"}`: the text is the exception, and the message is upstream's.
    Exception,
    Limit(LimitExceeded),
}

/// An error that is sent to the client that called.
///
/// ```
/// use wslink_core::RpcError;
///
/// // A failure of the handler: -32001 `Exception raised`, the text in `data.exception`.
/// let failed = RpcError::failed("the trigger never came");
/// assert_eq!(failed.code(), -32001);
/// // An argument out of range: -32602, the parameter's name in `data`.
/// let range = RpcError::invalid_param("samples", format_args!("{} is above {}", 9, 8));
/// assert_eq!(range.message(), "Invalid params: samples: 9 is above 8");
/// // Any code of the application's own.
/// assert_eq!(RpcError::new(17, "the valve is shut").code(), 17);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RpcError {
    code: i32,
    pub(crate) text: ErrorText,
    pub(crate) data: ErrorData,
}

impl RpcError {
    /// An error with a code and a message of the application's own, without `data`.
    pub fn new(code: i32, message: impl Display) -> Self {
        Self { code, text: ErrorText::new(message), data: ErrorData::None }
    }

    /// The handler failed: -32001 `Exception raised`, as upstream, with `{"method", "exception"}`
    /// in `data`. Upstream sends its call stack too; here nothing leaks but `exception`.
    pub fn failed(exception: impl Display) -> Self {
        Self { code: code::EXCEPTION, text: ErrorText::new(exception), data: ErrorData::Exception }
    }

    /// An argument does not fit: -32602, the parameter's name in the message and in `data`.
    pub fn invalid_param(name: &'static str, why: impl Display) -> Self {
        Self {
            code: code::INVALID_PARAMS,
            text: ErrorText::new(format_args!("Invalid params: {name}: {why}")),
            data: ErrorData::Param(name),
        }
    }

    /// The arguments as a whole do not fit: -32602.
    pub fn invalid_params(why: impl Display) -> Self {
        Self::new(code::INVALID_PARAMS, format_args!("Invalid params: {why}"))
    }

    pub(crate) fn with_method(code: i32, message: &str) -> Self {
        Self { code, text: ErrorText::new(message), data: ErrorData::Method }
    }

    /// The code ([`code`] names the standard ones).
    pub const fn code(&self) -> i32 {
        self.code
    }

    /// The message.
    pub fn message(&self) -> &str {
        match self.data {
            ErrorData::Exception => "Exception raised",
            _ => self.text.as_str(),
        }
    }
}

impl Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message(), self.code)?;
        if self.data == ErrorData::Exception {
            write!(f, ": {}", self.text.as_str())?;
        }
        Ok(())
    }
}

impl core::error::Error for RpcError {}

impl From<LimitExceeded> for RpcError {
    fn from(exceeded: LimitExceeded) -> Self {
        Self { code: code::LIMIT, text: ErrorText::new(exceeded), data: ErrorData::Limit(exceeded) }
    }
}

impl From<PublishError> for RpcError {
    /// The publication was refused, so the call that made it fails: -32001.
    fn from(error: PublishError) -> Self {
        Self::failed(error)
    }
}

/// Why an answer was not taken as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SendError {
    /// No room just now: try again after more has been sent. Nothing was queued.
    Full(LimitExceeded),
    /// The call was started ahead of its request, by an upload of 1.x: try again after more has
    /// been received, and go on receiving.
    Early,
    /// It can never fit; the client has been answered with an error that says so.
    TooLarge(LimitExceeded),
    /// It cannot be serialized; the client has been answered with -32002.
    Unserializable(EncodeError),
    /// The call is over (answered, expired), or the connection is.
    Gone,
}

impl Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(limit) => write!(f, "no room yet: {limit}"),
            Self::Early => f.write_str("the request is still to come"),
            Self::TooLarge(limit) => write!(f, "the answer is too large: {limit}"),
            Self::Unserializable(error) => write!(f, "the answer cannot be serialized: {error}"),
            Self::Gone => f.write_str("the call is over"),
        }
    }
}

impl core::error::Error for SendError {}

/// Why a publication was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PublishError {
    /// It does not fit the hub, now or ever.
    TooLarge(LimitExceeded),
    /// It cannot be serialized.
    Unserializable(EncodeError),
}

impl Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(limit) => write!(f, "the publication is too large: {limit}"),
            Self::Unserializable(error) => {
                write!(f, "the publication cannot be serialized: {error}")
            }
        }
    }
}

impl core::error::Error for PublishError {}

/// The caller broke the contract of [`Connection`](crate::Connection).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum UsageError {
    /// A frame was given while [`has_room`](crate::Connection::has_room) was false.
    NoRoom,
    /// More bytes were said to be taken than had been lent.
    AdvancedTooFar,
    /// A verdict was given without a hello that waits for one.
    NoHello,
    /// The buffers or limits are too small to answer even one request with an error.
    TooSmall(LimitExceeded),
}

impl Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom => f.write_str("a frame was given while the connection had no room"),
            Self::AdvancedTooFar => f.write_str("more bytes were taken than lent"),
            Self::NoHello => f.write_str("no hello waits for a verdict"),
            Self::TooSmall(limit) => write!(f, "too little memory for a connection: {limit}"),
        }
    }
}

impl core::error::Error for UsageError {}

/// Close codes of RFC 6455 §7.4.1 that the engine sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CloseCode {
    /// 1000: the answer to the peer's Close, as upstream.
    Normal,
    /// 1001: the server ends.
    GoingAway,
    /// 1002: frames or chunks out of order.
    Protocol,
    /// 1007: text that is not UTF-8, a message that is not well-formed and has no readable id.
    Invalid,
    /// 1008: a deadline, or too much of something.
    Policy,
    /// 1009: too big.
    TooBig,
}

impl CloseCode {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::Invalid => 1007,
            Self::Policy => 1008,
            Self::TooBig => 1009,
        }
    }
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer sent a Close frame; `None` without a code.
    Peer(Option<u16>),
    /// The transport ended without a Close frame.
    Eof,
    /// [`close`](crate::Connection::close) was called.
    Local(CloseCode),
    /// The peer broke the protocol; it was sent a Close with this code and reason.
    Violation(CloseCode, &'static str),
    /// A limit was reached by a message whose id could not be read.
    Limit(LimitExceeded),
    /// A deadline passed.
    Timeout(TimeoutReason),
    /// It fell behind on a topic that disconnects those who do, or a publication was passed over
    /// when half of it had been sent.
    Lagged,
}

/// Which deadline comes next, or has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum TimeoutReason {
    /// [`Deadlines::hello`](crate::Deadlines::hello).
    Hello,
    /// [`Deadlines::ping`](crate::Deadlines::ping): a ping will be sent.
    Ping,
    /// [`Deadlines::pong`](crate::Deadlines::pong).
    Pong,
    /// [`Deadlines::partial`](crate::Deadlines::partial).
    Partial,
    /// [`Deadlines::write`](crate::Deadlines::write).
    Write,
    /// [`Deadlines::call`](crate::Deadlines::call).
    Call,
    /// [`Deadlines::close`](crate::Deadlines::close).
    Close,
    /// The peer asked for a topic, or to be told of losses, at most so often, and the time has come.
    Rate,
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn a_text_is_cut_only_when_it_must_be() {
        let whole = "x".repeat(80);
        assert_eq!(ErrorText::new(&whole).as_str(), whole);
        let cut = ErrorText::new("x".repeat(81));
        assert_eq!(cut.as_str(), std::format!("{}…", "x".repeat(77)));
        let wide = ErrorText::new("é".repeat(41));
        assert_eq!(wide.as_str(), std::format!("{}…", "é".repeat(38)));
    }

    #[test]
    fn an_error_stays_small_on_a_small_stack() {
        assert!(size_of::<RpcError>() <= 128, "{}", size_of::<RpcError>());
    }
}
