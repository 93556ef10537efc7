//! From messages to frames, as either end sends them.

use crate::{Frame, Val, val};
use wslink_core::wire::Dialect;

/// Content of a 2.x chunk as long as nobody said how large a message may be.
const CHUNK: usize = 512 << 10;

/// Writes the frames of envelopes with all their attachments, in one direction of a connection.
///
/// ```
/// use wslink_core::wire::Dialect;
/// use wslink_testkit::{Encoder, Frame, Val, val};
///
/// let answer = val!({"id": "x", "result": (Val::Bin(vec![7]))});
/// assert_eq!(Encoder::new(Dialect::V1, 0).frames(answer.clone()), [
///     Frame::text(r#"{"wslink":"1.0","method":"wslink.binary.attachment","args":["wslink_bin0"]}"#),
///     Frame::binary([7]),
///     Frame::text(r#"{"id":"x","result":"wslink_bin0"}"#),
/// ]);
/// let [chunk] = Encoder::new(Dialect::V2, 0).frames(answer).try_into().unwrap();
/// assert!(chunk.payload.starts_with(b"\x01\0\0\0\0\0\0\0\x10\0\0\0\x82\xa2id"));
/// ```
#[derive(Debug)]
pub struct Encoder {
    dialect: Dialect,
    /// Content of a chunk.
    pub(crate) chunk: usize,
    next_chunk: u32,
    next_key: u32,
}

impl Encoder {
    /// In 1.x the first attachment is called by the number `first_key`: stock clients begin with
    /// 1, servers with 0.
    #[must_use]
    pub const fn new(dialect: Dialect, first_key: u32) -> Self {
        Self { dialect, chunk: CHUNK, next_chunk: 1, next_key: first_key }
    }

    /// Cuts 2.x messages by the `maxMsgSize` of the answer to a hello.
    pub const fn set_max_msg_size(&mut self, bytes: usize) {
        let content = bytes.saturating_sub(12);
        self.chunk = if content == 0 { 1 } else { content };
    }

    /// The frames of an envelope.
    pub fn frames(&mut self, envelope: Val) -> Vec<Frame> {
        match self.dialect {
            Dialect::V1 => {
                let mut frames = Vec::new();
                let envelope = envelope.take_binary(&mut |bytes| {
                    let key = format!("wslink_bin{}", self.next_key);
                    self.next_key += 1;
                    frames.push(Frame::text(attachment_header(&[&key]).to_json()));
                    frames.push(Frame::binary(bytes));
                    Val::Str(key)
                });
                frames.push(Frame::text(envelope.to_json()));
                frames
            }
            _ => {
                let id = self.next_chunk;
                self.next_chunk = self.next_chunk.wrapping_add(1);
                let most = self.chunk.max(1);
                let bytes = envelope.to_msgpack();
                let frame =
                    |(nth, part)| Frame::chunk(id, (nth * most) as u32, bytes.len() as u32, part);
                bytes.chunks(most).enumerate().map(frame).collect()
            }
        }
    }
}

/// The 1.x header that announces attachments of these keys.
pub(crate) fn attachment_header(keys: &[&str]) -> Val {
    let keys: Vec<Val> = keys.iter().map(|key| Val::from(*key)).collect();
    val!({"wslink": "1.0", "method": "wslink.binary.attachment", "args": keys})
}
