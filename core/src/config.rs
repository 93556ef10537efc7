//! Every limit and every deadline of a connection, in one place.

use core::time::Duration;

/// What one connection may cost. All sizes are in bytes; every limit is the largest value still
/// accepted. Reaching one gives an error that names it ([`Limit`](crate::Limit)) with what was
/// needed and what there was, or a Close where no request can be answered.
///
/// The tables of a [`Memory`](crate::Memory) bound the counts as well; the smaller one holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Limits {
    /// One incoming WebSocket message of 1.x. Above: Close 1009; a text that was read all the same
    /// is refused under its id.
    pub frame: u32,
    /// The `maxMsgSize` of the 2.x hello: the largest chunk, with its header, that either side
    /// sends. Below 13 a chunk carries one byte.
    pub max_msg_size: u32,
    /// The largest frame that leaves, if that is to be less: a chunk, or the piece of a 1.x message.
    /// What is urgent waits for one of them at most, where a chunk that comes in is cheaper the
    /// more it holds.
    pub sent: u32,
    /// The largest frame of a publication, if that is to be less still. Of what is published no half
    /// is kept for a peer that reads slowly, so an adapter with a small buffer wants each frame of it
    /// to fit there whole.
    pub published: u32,
    /// How much longer than [`max_msg_size`](Self::max_msg_size) (or 13) a chunk may come in.
    /// Above: Close 1009. Upstream: 4095.
    pub overhead: u32,
    /// One message put together, or one 1.x attachment, before hello. Upstream: 512.
    pub message_before_hello: u32,
    /// One message put together, or one 1.x attachment, after hello.
    pub message: u32,
    /// The bytes of an [`Upload`](crate::Upload), which need no memory here.
    pub upload: u32,
    /// Nesting of lists and maps, at most [`MAX_DEPTH`](crate::wire::MAX_DEPTH); the envelope itself is one.
    pub depth: u8,
    /// An id as it is written in an answer, JSON escapes counted.
    pub id: u16,
    /// Calls and answers that are under way at once; when all are busy the connection is not read.
    pub calls: u16,
    /// 2.x messages of which some chunks have come.
    pub pending: u16,
    /// Stretches without a gap, of all pending 2.x messages together; one suffices for chunks that
    /// come in order.
    pub ranges: u16,
    /// How far a 2.x chunk may lie ahead of the number of bytes that have come of its message, so
    /// that memory grows with what a peer sends, not with what it claims.
    pub ahead: u32,
    /// 1.x attachments announced or received and not yet named by a call.
    pub attachments: u16,
    /// The receive buffer: pending messages and attachments together.
    pub receive_bytes: u32,
    /// The transmit buffer: ids of running calls and answers not yet sent, attachments not counted.
    pub transmit_bytes: u32,
}

impl Limits {
    /// The largest frame that leaves, publications apart.
    pub(crate) fn largest_sent(&self) -> u32 {
        self.max_msg_size.min(self.sent)
    }
}

/// How long things may take. `None` switches a deadline off where that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Deadlines {
    /// From the start of the connection to an accepted hello, and from a further hello to its
    /// verdict.
    pub hello: Duration,
    /// Silence after which a ping is sent. Upstream: 30 s, `None` never.
    pub ping: Option<Duration>,
    /// Silence after a ping until the peer is given up. Upstream: half of `ping`.
    pub pong: Duration,
    /// From the last piece of an unfinished message to its next one.
    pub partial: Duration,
    /// From a write that the transport refused to the next byte it takes.
    pub write: Duration,
    /// From a call to its answer; a method can have its own
    /// ([`MethodInfo::deadline`](crate::MethodInfo::deadline)).
    pub call: Option<Duration>,
    /// From the wish to close, over what is queued and our Close frame, to the peer's.
    pub close: Duration,
}

/// Limits and deadlines of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Config {
    /// What it may cost.
    pub limits: Limits,
    /// How long it may take.
    pub deadlines: Deadlines,
    /// Whether clients may end the server by `application.exit` and `application.exit.later`. The
    /// stock client calls the latter when it is destroyed, so upstream's servers end with their
    /// first client; here that is off unless wanted.
    pub exit: bool,
}

impl Config {
    /// For hosts with a heap: messages of up to 64 MiB. They leave in frames of 64 KiB and come in
    /// chunks of up to 2 MiB (upstream's take 4 MiB), which a link of 300 kbit/s carries within
    /// [`partial`](Deadlines::partial).
    pub const fn desktop() -> Self {
        Self {
            limits: Limits {
                frame: 64 << 20,
                max_msg_size: 2 << 20,
                sent: 64 << 10,
                published: u32::MAX,
                overhead: 4095,
                message_before_hello: 8 << 10,
                message: 64 << 20,
                upload: 1 << 30,
                depth: 32,
                id: 64,
                calls: 32,
                pending: 8,
                ranges: 64,
                ahead: 2 << 20,
                attachments: 256,
                receive_bytes: 128 << 20,
                transmit_bytes: 64 << 20,
            },
            deadlines: Deadlines::standard(),
            exit: false,
        }
    }

    /// For devices: messages of up to 1 KiB, one chunk each.
    pub const fn device() -> Self {
        Self {
            limits: Limits {
                frame: 1024,
                max_msg_size: 1024,
                sent: u32::MAX,
                published: u32::MAX,
                overhead: 0,
                message_before_hello: 1012,
                message: 1012,
                upload: 16 << 20,
                depth: 16,
                id: 64,
                calls: 4,
                pending: 2,
                ranges: 4,
                ahead: 1024,
                attachments: 4,
                receive_bytes: 1024,
                transmit_bytes: 2048,
            },
            deadlines: Deadlines::standard(),
            exit: false,
        }
    }
}

impl Deadlines {
    /// Pings after 20 s of silence, gives up 10 s later; upstream's 30 s lie beyond what some
    /// proxies wait.
    pub const fn standard() -> Self {
        Self {
            hello: Duration::from_secs(10),
            ping: Some(Duration::from_secs(20)),
            pong: Duration::from_secs(10),
            partial: Duration::from_secs(60),
            write: Duration::from_secs(20),
            call: None,
            close: Duration::from_secs(5),
        }
    }
}
