//! What a client is told, and what can go wrong.

use crate::wire::{EncodeError, Malformed, Value};
use crate::{CallId, CloseReason, LimitExceeded};
use core::fmt::{self, Display};

/// What happened, borrowed from the frame and from the client.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event<'a> {
    /// The hello was accepted: calls may be made from now on.
    Welcome {
        /// What the server said: a map with `clientID`, in 2.x with `maxMsgSize`.
        answer: Value<'a>,
    },
    /// The hello was refused. The connection stays open, and another hello may be said.
    Refused(Failure<'a>),
    /// A call is over. Each call ends exactly once, and in one of these ways.
    Ended {
        /// Which.
        call: CallId,
        /// How.
        outcome: Outcome<'a>,
    },
    /// The server published something.
    Publication {
        /// The topic.
        topic: &'a str,
        /// Whether the value was published before and kept; only servers of this project tell.
        retained: bool,
        /// The value.
        value: Value<'a>,
    },
    /// The server failed to publish something.
    Unpublished {
        /// The topic.
        topic: &'a str,
        /// Why.
        failure: Failure<'a>,
    },
    /// A message was passed over that could not be read, and that answers no call.
    Unreadable(Unreadable),
    /// The connection is over; nothing follows.
    Closed(CloseReason),
}

/// How a call ended.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// With this result.
    Answer(Value<'a>),
    /// With an error from the server.
    Error(Failure<'a>),
    /// An answer came that could not be read.
    Unreadable(Unreadable),
    /// Its deadline passed.
    Expired,
    /// [`cancel`](super::Client::cancel) was called.
    Cancelled,
    /// The connection ended.
    Lost {
        /// Whether all of the call was handed to the transport, so that the server may have run it.
        may_have_run: bool,
    },
}

/// The `error` of an answer.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Failure<'a> {
    /// Its code ([`code`](crate::code) names the standard ones); 0 if it had none.
    pub code: i64,
    /// Its message.
    pub message: &'a str,
    /// What else it said.
    pub data: Option<Value<'a>>,
}

impl Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// Why a message could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Unreadable {
    /// It is more than this client's limits allow, or one of its attachments is.
    Limit(LimitExceeded),
    /// It is not well-formed, or has a map with keys that are not strings.
    Malformed(Malformed),
    /// Neither `result` nor `error`.
    NoAnswer,
    /// So many 2.x messages were begun and not finished in time; servers do that to publications
    /// that have become stale.
    Unfinished(usize),
}

impl Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(exceeded) => write!(f, "{exceeded}"),
            Self::Malformed(malformed) => {
                write!(f, "not well-formed at byte {}: {:?}", malformed.at, malformed.kind)
            }
            Self::NoAnswer => f.write_str("neither a result nor an error"),
            Self::Unfinished(count) => write!(f, "{count} messages were not finished"),
        }
    }
}

/// Why a hello or a call was not taken. Nothing was queued.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CallError {
    /// No hello was accepted yet, the connection is about to end, or (for a hello) one waits for
    /// its answer.
    NotOpen,
    /// No room just now: try again after more has been sent or answered.
    Full(LimitExceeded),
    /// It can never fit.
    TooLarge(LimitExceeded),
    /// It cannot be serialized, or `args` are no list, or `kwargs` no map.
    Unserializable(EncodeError),
}

impl Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen => f.write_str("the connection is not open for calls"),
            Self::Full(limit) => write!(f, "no room yet: {limit}"),
            Self::TooLarge(limit) => write!(f, "the call is too large: {limit}"),
            Self::Unserializable(error) => write!(f, "the call cannot be serialized: {error}"),
        }
    }
}

impl core::error::Error for CallError {}
