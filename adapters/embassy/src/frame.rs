//! RFC 6455 on a buffer of bytes: headers, masks, control frames between fragments.
//!
//! `edge-ws` has a frame header without I/O as well, and this one is our own all the same: that one
//! takes lengths that are not minimal, forgets the fin bit of control frames, and has one error for
//! all that it refuses, where a peer is to be told.

use core::ops::Range;
use wslink_core::{CloseCode, OpCode};

/// The longest header that a server writes.
pub(crate) const MAX_HEADER: usize = 10;

/// The longest payload of a control frame.
const MAX_CONTROL: u64 = 125;

/// Writes the header of a frame to be sent, and tells its length.
pub(crate) fn write_header(
    opcode: OpCode,
    fin: bool,
    len: usize,
    to: &mut [u8; MAX_HEADER],
) -> usize {
    let opcode = match opcode {
        OpCode::Text => 1,
        OpCode::Binary => 2,
        OpCode::Close => 8,
        OpCode::Ping => 9,
        OpCode::Pong => 10,
        _ => 0,
    };
    to[0] = u8::from(fin) << 7 | opcode;
    if let Ok(len @ 0..=125) = u8::try_from(len) {
        to[1] = len;
        2
    } else if let Ok(len) = u16::try_from(len) {
        to[1] = 126;
        to[2..4].copy_from_slice(&len.to_be_bytes());
        4
    } else {
        to[1] = 127;
        to[2..10].copy_from_slice(&(len as u64).to_be_bytes());
        10
    }
}

/// The length of such a header.
pub(crate) const fn header_len(len: usize) -> usize {
    match len {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// What the bytes in the buffer come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing yet: more has to be read.
    More,
    /// A data frame, for which there is no room.
    Held,
    /// A piece of a data frame, unmasked: all of it, unless it is longer than the buffer.
    Piece { opcode: OpCode, fin: bool, payload: Range<usize> },
    /// A control frame, unmasked.
    Ping(Range<usize>),
    /// A control frame, unmasked.
    Pong(Range<usize>),
    /// The peer's Close; nothing follows it.
    Close(Option<u16>),
    /// A message of this length, which is too much. What follows cannot be read.
    TooBig(u64),
    /// What follows cannot be read.
    Violation(CloseCode, &'static str),
}

/// What comes in: a buffer, of which a part is filled, and where its bytes belong.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    filled: Range<usize>,
    /// The data frame under way, behind its header.
    frame: Option<Data>,
    /// A message is under way: of this kind, with so many bytes up to now.
    message: Option<(OpCode, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Data {
    /// [`OpCode::Continuation`] once a piece was handed on.
    opcode: OpCode,
    fin: bool,
    mask: [u8; 4],
    left: u64,
}

impl Incoming {
    /// What was read ahead stands there.
    pub(crate) fn new(filled: Range<usize>) -> Self {
        Self { filled, frame: None, message: None }
    }

    /// Where more can be read to, below `window`. Moves what is there to the front when that is
    /// needed.
    pub(crate) fn room<'b>(&mut self, buffer: &'b mut [u8], window: usize) -> &'b mut [u8] {
        if self.filled.is_empty() {
            self.filled = 0..0;
        } else if self.filled.end >= window {
            buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        buffer.get_mut(self.filled.end..window).unwrap_or_default()
    }

    /// So many bytes were read.
    pub(crate) const fn fill(&mut self, count: usize) {
        self.filled.end += count;
    }

    /// Behind it the buffer is free.
    pub(crate) const fn end(&self) -> usize {
        self.filled.end
    }

    /// Forgets what is there and was not looked at.
    pub(crate) fn discard(&mut self) {
        self.filled = 0..0;
    }

    /// Looks at what is there. Frames up to `window` and `piece` bytes are handed on whole, longer
    /// ones in pieces; messages above what there may be of their kind at `most` are refused. Data is
    /// handed on only if there is `room`; what is not needed is not asked.
    pub(crate) fn next(
        &mut self,
        buffer: &mut [u8],
        window: usize,
        piece: impl FnOnce(u64) -> usize,
        most: impl Fn(OpCode) -> u64,
        room: impl FnOnce() -> bool,
    ) -> Found {
        if self.frame.is_none() {
            match self.header(buffer, most) {
                None => {}
                Some(found) => return found,
            }
        }
        let Some(data) = &mut self.frame else { return Found::More };
        if !room() {
            return Found::Held;
        }
        // A header was taken off the front, so that the whole window is free for the payload.
        let fits = data.opcode != OpCode::Continuation && data.left <= window as u64;
        // A text is taken whole wherever it fits.
        let piece = match data.opcode {
            OpCode::Text if fits => usize::MAX,
            _ => piece(if fits { data.left } else { u64::MAX }),
        };
        let available = self.filled.len() as u64;
        let whole = data.left <= available.min(piece as u64);
        let comes_whole = data.left <= window.min(piece) as u64;
        if !whole && (comes_whole || available == 0) {
            return Found::More;
        }
        let count = data.left.min(available).min(piece as u64) as usize;
        let payload = self.filled.start..self.filled.start + count;
        self.filled.start = payload.end;
        unmask(buffer.get_mut(payload.clone()).unwrap_or_default(), data.mask);
        let (opcode, fin) = (data.opcode, data.fin && whole);
        if whole {
            self.message = if data.fin { None } else { self.message };
            self.frame = None;
        } else {
            data.mask.rotate_left(count % 4);
            data.left -= count as u64;
            data.opcode = OpCode::Continuation;
        }
        Found::Piece { opcode, fin, payload }
    }

    /// Takes a header off the front: that of a data frame is kept, a control frame is taken whole.
    fn header(&mut self, buffer: &mut [u8], most: impl Fn(OpCode) -> u64) -> Option<Found> {
        const fn violation(reason: &'static str) -> Option<Found> {
            Some(Found::Violation(CloseCode::Protocol, reason))
        }
        let bytes = buffer.get_mut(self.filled.clone()).unwrap_or_default();
        let &mut [first, second, ref mut rest @ ..] = bytes else { return Some(Found::More) };
        if first & 0x70 != 0 {
            return violation("reserved bits are set");
        }
        if second & 0x80 == 0 {
            return violation("a client has to mask");
        }
        let fin = first & 0x80 != 0;
        let opcode = match first & 0x0f {
            0 => OpCode::Continuation,
            1 => OpCode::Text,
            2 => OpCode::Binary,
            8 => OpCode::Close,
            9 => OpCode::Ping,
            10 => OpCode::Pong,
            _ => return violation("an opcode without a meaning"),
        };
        let is_control = matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong);
        match (is_control, opcode, self.message) {
            (true, ..) if !fin => return violation("a control frame in pieces"),
            (true, ..) if second & 0x7f > 125 => return violation("a long control frame"),
            (false, OpCode::Continuation, None) => return violation("continuation of nothing"),
            (false, OpCode::Text | OpCode::Binary, Some(_)) => {
                return violation("a message begins inside of another");
            }
            _ => {}
        }
        let (len, rest) = match (second & 0x7f, rest) {
            (126, [a, b, rest @ ..]) => {
                let len = u16::from_be_bytes([*a, *b]).into();
                if len <= MAX_CONTROL {
                    return violation("a length that is not minimal");
                }
                (len, rest)
            }
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                let len = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                if len <= 0xffff || len >> 63 != 0 {
                    return violation("a length that is not minimal");
                }
                (len, rest)
            }
            (126 | 127, _) => return Some(Found::More),
            (len, rest) => (len.into(), rest),
        };
        let Some((&mut mask, payload)) = rest.split_first_chunk_mut::<4>() else {
            return Some(Found::More);
        };
        let start = self.filled.end - payload.len();
        if !is_control {
            let (kind, before) = self.message.unwrap_or((opcode, 0));
            let total = before.saturating_add(len);
            if total > most(kind) {
                return Some(Found::TooBig(total));
            }
            self.filled.start = start;
            self.message = Some((kind, total));
            self.frame = Some(Data { opcode, fin, mask, left: len });
            return None;
        }
        let Some(payload) = payload.get_mut(..len as usize) else { return Some(Found::More) };
        unmask(payload, mask);
        let range = start..start + payload.len();
        self.filled.start = range.end;
        Some(match opcode {
            OpCode::Ping => Found::Ping(range),
            OpCode::Pong => Found::Pong(range),
            _ => close(payload),
        })
    }
}

/// Reads the payload of a Close (RFC 6455 §5.5.1, §7.4).
fn close(payload: &[u8]) -> Found {
    let (code, reason) = match payload {
        [] => return Found::Close(None),
        [a, b, reason @ ..] => (u16::from_be_bytes([*a, *b]), reason),
        _ => return Found::Violation(CloseCode::Protocol, "half a close code"),
    };
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Found::Violation(CloseCode::Protocol, "a close code that may not be sent");
    }
    if core::str::from_utf8(reason).is_err() {
        return Found::Violation(CloseCode::Invalid, "a close reason that is not UTF-8");
    }
    Found::Close(Some(code))
}

/// Word by word where it can: a device has no wider registers, and a desktop's compiler finds them.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = bytes.as_chunks_mut::<4>();
    let key = u32::from_ne_bytes(mask);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;
    use std::{format, vec};

    const WINDOW: usize = 300;
    const MOST: u64 = 1000;

    /// Numbers that look random and are the same each time ("splitmix64").
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, most: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut x = self.0;
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (x ^ (x >> 31)) as usize % most
        }
    }

    /// What comes of bytes that are read in pieces, as text; pieces of a frame are put together.
    fn read(bytes: &[u8], mut cut: impl FnMut() -> usize) -> String {
        let (mut buffer, mut incoming) = ([0; WINDOW], Incoming::default());
        let (mut said, mut data) = (String::new(), Vec::new());
        let mut rest = bytes;
        loop {
            let found = incoming.next(&mut buffer, WINDOW, |_| usize::MAX, |_| MOST, || true);
            match found {
                Found::More => {
                    let room = incoming.room(&mut buffer, WINDOW);
                    assert!(!room.is_empty(), "a read without room looks like the end");
                    let count = cut().min(room.len()).min(rest.len());
                    if count == 0 {
                        return said;
                    }
                    room[..count].copy_from_slice(&rest[..count]);
                    rest = &rest[count..];
                    incoming.fill(count);
                }
                Found::Piece { opcode, fin, payload } => {
                    if opcode != OpCode::Continuation {
                        said += &format!("{opcode:?} ");
                    }
                    data.extend_from_slice(&buffer[payload]);
                    if fin {
                        said += &format!("{data:?}\n");
                        data.clear();
                    }
                }
                Found::Ping(payload) => said += &format!("ping {:?}\n", &buffer[payload]),
                Found::Pong(payload) => said += &format!("pong {:?}\n", &buffer[payload]),
                Found::Held => unreachable!("there is room"),
                end => return said + &format!("{end:?}"),
            }
        }
    }

    /// Frames as a client sends them, now and then a wrong one.
    fn frames(numbers: &mut Numbers) -> Vec<u8> {
        let mut bytes = vec![];
        for _ in 0..1 + numbers.below(6) {
            let first = [0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88][numbers.below(9)];
            let first = if numbers.below(20) == 0 { numbers.below(256) as u8 } else { first };
            let control = first & 8 != 0;
            let len = if control { numbers.below(126) } else { numbers.below(700) };
            let mut header = [0; MAX_HEADER];
            let count = write_header(OpCode::Binary, true, len, &mut header);
            header[0] = first;
            header[1] |= if numbers.below(40) == 0 { 0 } else { 0x80 };
            bytes.extend_from_slice(&header[..count]);
            bytes.extend((0..4 + len).map(|_| numbers.below(256) as u8));
        }
        bytes
    }

    #[test]
    fn any_cut_reads_the_same() {
        let mut numbers = Numbers(1);
        for _ in 0..3000 {
            let bytes = frames(&mut numbers);
            let whole = read(&bytes, || usize::MAX);
            assert_eq!(read(&bytes, || 1), whole);
            assert_eq!(read(&bytes, || 1 + numbers.below(200)), whole);
        }
    }

    #[test]
    fn no_bytes_are_too_strange() {
        let mut numbers = Numbers(2);
        for _ in 0..20_000 {
            let len = numbers.below(600);
            let mut bytes: Vec<_> = (0..len).map(|_| numbers.below(256) as u8).collect();
            if let [first, second, ..] = &mut *bytes {
                // Otherwise nearly all of it would end at its first byte.
                *first &= 0x8f;
                *second |= 0x80;
            }
            let whole = read(&bytes, || usize::MAX);
            assert_eq!(read(&bytes, || 1 + numbers.below(50)), whole);
        }
    }

    #[test]
    fn headers_are_as_long_as_told() {
        for len in [0, 125, 126, 0xffff, 0x1_0000, 1 << 20] {
            let count = write_header(OpCode::Text, true, len, &mut [0; MAX_HEADER]);
            assert_eq!(count, header_len(len));
        }
    }
}
