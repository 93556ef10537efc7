//! What goes into a connection and what comes out of it.

use crate::{Call, CloseReason, Hello};
use core::fmt;
use core::time::Duration;

/// The memory that a connection is lent.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Buffers<B> {
    /// Pending chunks, fragments and 1.x attachments. A message that comes in one frame does not
    /// pass through it.
    pub receive: B,
    /// Ids of running calls, and answers that are not yet sent.
    pub transmit: B,
}

/// 16 random bytes: for a connection its client id and the start of its chunk ids, for a
/// [`Hub`](crate::Hub) the session that tells one start of the server from another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entropy(pub [u8; 16]);

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

/// Names a connection within its server. Given out by [`Hub::next_peer`](crate::Hub::next_peer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub(crate) u64);

impl PeerId {
    /// The number behind the name, for logs.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {}", self.0)
    }
}

/// Names a call within its connection. A name is used once: a late answer to a call that is over
/// is refused, never given to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(pub(crate) u32);

/// A WebSocket frame without its RFC 6455 header, unmasked.
///
/// A frame that is too long for the transport's buffer may be handed on in pieces, as if the peer
/// had fragmented it: all but the last with `fin` false, the further ones as continuations.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Frame<'a> {
    /// The start of a text message. Read in place, which changes the bytes.
    Text {
        /// Whether it is also the end.
        fin: bool,
        /// The payload.
        payload: &'a mut [u8],
    },
    /// The start of a binary message.
    Binary {
        /// Whether it is also the end.
        fin: bool,
        /// The payload.
        payload: &'a [u8],
    },
    /// A further piece of the message under way.
    Continuation {
        /// Whether it is the last.
        fin: bool,
        /// The payload.
        payload: &'a [u8],
    },
    /// A ping, up to 125 bytes. Transports that answer pings themselves call
    /// [`handle_alive`](crate::Connection::handle_alive) instead.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// A Close, with its code if it had one.
    Close(Option<u16>),
}

/// What happened, borrowed from the frame and from the connection.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event<'a> {
    /// The peer said hello; answer with [`authorize`](crate::Connection::authorize). Until then the
    /// connection has no room for another frame.
    Hello(Hello<'a>),
    /// The peer called a method; answer with [`reply`](crate::Connection::reply) or
    /// [`fail`](crate::Connection::fail).
    Call(Call<'a>),
    /// The deadline of this call passed and the peer has been told; drop what runs for it.
    Expired(CallId),
    /// The client cancelled this call and has been answered; drop what runs for it.
    Cancelled(CallId),
    /// A built-in method was called that needs the hub; serve it with
    /// [`handle_builtin`](crate::Connection::handle_builtin).
    Builtin,
    /// The client asked for the server's end after this time, and has been answered; only where
    /// [`Config::exit`](crate::Config::exit) allows that.
    Exit(Duration),
    /// Publications of this topic were passed over that were for this peer and had not been sent to
    /// it; `*` stands for all topics that were not declared. Each is counted once. What a client
    /// is not sent because it asked for few a second is not among them.
    Lagged {
        /// The topic.
        topic: &'static str,
        /// How many.
        missed: u64,
    },
    /// The connection is over; nothing follows.
    Closed(CloseReason),
}

/// The opcode of a frame to be sent (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum OpCode {
    /// A further piece of the message under way.
    Continuation,
    /// The start of a text message.
    Text,
    /// The start of a binary message.
    Binary,
    /// The end; the payload is empty or a code and a reason.
    Close,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
}

/// The next bytes to send: the frame under way, or the next frame.
///
/// Send `head`, then `body`; tell [`advance`](crate::Connection::advance) how many bytes were
/// taken. A frame is lent again, from where it stands, until all of it is taken.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Transmit<'a, B> {
    /// Its opcode.
    pub opcode: OpCode,
    /// Whether it ends its message.
    pub fin: bool,
    /// Length of the frame's whole payload.
    pub len: usize,
    /// How much of it was taken before.
    pub taken: usize,
    /// Bytes made for this frame: a chunk header, an attachment header, a control payload.
    pub head: &'a [u8],
    /// What follows them; it may be less than the rest of the frame.
    pub body: Body<'a, B>,
}

/// Bytes that are somebody else's.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Body<'a, B> {
    /// Encoded bytes of the connection or of the hub.
    Bytes(&'a [u8]),
    /// `len` bytes of a blob from `offset` on.
    Blob {
        /// The blob.
        blob: &'a B,
        /// Where to read.
        offset: u64,
        /// How much.
        len: usize,
    },
}

impl<B> Body<'_, B> {
    /// How many bytes it has.
    pub const fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Blob { len, .. } => *len,
        }
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
