//! WebSocket frames as the client end sends and receives them.

use crate::Val;
use wslink_core::{Blob, Body, OpCode, Transmit};

/// A WebSocket frame without its RFC 6455 header, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its opcode.
    pub opcode: OpCode,
    /// Whether it ends its message.
    pub fin: bool,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A whole frame.
    pub fn new(opcode: OpCode, payload: impl Into<Vec<u8>>) -> Self {
        Self { opcode, fin: true, payload: payload.into() }
    }

    /// A text message.
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self::new(OpCode::Text, text)
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(OpCode::Binary, bytes)
    }

    /// A further piece of the message under way.
    pub fn continuation(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(OpCode::Continuation, bytes)
    }

    /// A ping.
    pub fn ping(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(OpCode::Ping, payload)
    }

    /// A Close, with a code or empty.
    #[must_use]
    pub fn close(code: Option<u16>) -> Self {
        let payload = code.map(|code| code.to_be_bytes().to_vec());
        Self::new(OpCode::Close, payload.unwrap_or_default())
    }

    /// A 2.x chunk.
    #[must_use]
    pub fn chunk(id: u32, offset: u32, total: u32, content: &[u8]) -> Self {
        let mut payload: Vec<u8> =
            [id, offset, total].iter().flat_map(|number| number.to_le_bytes()).collect();
        payload.extend(content);
        Self::binary(payload)
    }

    /// A 2.x message in one chunk.
    #[must_use]
    pub fn message(id: u32, value: &Val) -> Self {
        let content = value.to_msgpack();
        Self::chunk(id, 0, content.len() as u32, &content)
    }

    /// The same frame as a fragment that more follow.
    #[must_use]
    pub fn more(self) -> Self {
        Self { fin: false, ..self }
    }

    /// Whether this is a ping, a pong or a Close.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        matches!(self.opcode, OpCode::Ping | OpCode::Pong | OpCode::Close)
    }

    /// The code of a Close, if it has one.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        self.payload.first_chunk().map(|code| u16::from_be_bytes(*code))
    }
}

/// A copy of the bytes that an engine lends with `transmit`: its head, and the body behind it.
///
/// # Panics
/// A blob is shorter than it said.
///
/// ```
/// use wslink_core::{Body, OpCode, Transmit};
/// let blob: &[u8] = b"0123";
/// let body = Body::Blob { blob: &blob, offset: 1, len: 2 };
/// let (opcode, fin, len, taken) = (OpCode::Binary, true, 4, 0);
/// let transmit = Transmit { opcode, fin, len, taken, head: b"ab", body };
/// assert_eq!(wslink_testkit::lent(&transmit), b"ab12");
/// ```
pub fn lent<B: Blob>(transmit: &Transmit<'_, B>) -> Vec<u8> {
    let mut bytes = transmit.head.to_vec();
    match &transmit.body {
        Body::Bytes(body) => bytes.extend(*body),
        Body::Blob { blob, offset, len } => {
            let start = bytes.len();
            bytes.resize(start + len, 0);
            let read = blob.read(*offset, &mut bytes[start..]);
            assert_eq!(read, *len, "a blob that is shorter than it said");
        }
        _ => panic!("a body of an unknown kind"),
    }
    bytes
}
