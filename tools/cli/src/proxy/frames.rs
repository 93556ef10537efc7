//! The frames of RFC 6455 in a stream of bytes that somebody else reads and answers.

use async_tungstenite::tungstenite::protocol::frame::FrameHeader;
use async_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode as WsOpCode};
use flate2::{Decompress, FlushDecompress, Status};
use std::io::Cursor;
use wslink_core::OpCode;
use wslink_testkit::Frame;

/// The head of a frame is at most so long.
const HEAD: usize = 14;

/// What [`FrameReader`] found.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    /// A frame; inflated, if it came compressed.
    Frame(Frame),
    /// A frame that is too large to be kept.
    Large { opcode: OpCode, fin: bool, len: u64 },
}

/// Finds the frames of one direction, however its bytes are cut.
pub(crate) struct FrameReader {
    most: usize,
    inflater: Option<Inflater>,
    head: Vec<u8>,
    body: Option<Body>,
}

struct Body {
    opcode: OpCode,
    fin: bool,
    compressed: bool,
    mask: [u8; 4],
    len: u64,
    left: u64,
    /// `None`: it is too large.
    payload: Option<Vec<u8>>,
}

impl FrameReader {
    /// Keeps payloads of at most `most` bytes. `deflate`: the ends agreed on permessage-deflate.
    pub(crate) fn new(most: usize, deflate: bool) -> Self {
        let inflater = deflate.then(|| Inflater::new(most));
        Self { most, inflater, head: Vec::with_capacity(HEAD), body: None }
    }

    /// Takes further bytes in and gives each frame that is whole.
    ///
    /// # Errors
    /// What breaks RFC 6455. Nothing after that can be read.
    pub(crate) fn read(
        &mut self,
        mut bytes: &[u8],
        each: &mut dyn FnMut(Seen),
    ) -> Result<(), String> {
        loop {
            let mut body = match self.body.take() {
                Some(body) => body,
                None => match self.begin(&mut bytes)? {
                    Some(body) => body,
                    None => return Ok(()),
                },
            };
            let most = usize::try_from(body.left).unwrap_or(usize::MAX);
            let (part, rest) = bytes.split_at(most.min(bytes.len()));
            bytes = rest;
            if let Some(payload) = &mut body.payload {
                let done = payload.len();
                let unmasked = part.iter().enumerate();
                payload.extend(unmasked.map(|(at, byte)| byte ^ body.mask[(done + at) % 4]));
            }
            body.left -= part.len() as u64;
            if body.left > 0 {
                self.body = Some(body);
                return Ok(());
            }
            each(self.end(body)?);
        }
    }

    /// Reads on until a head is whole.
    fn begin(&mut self, bytes: &mut &[u8]) -> Result<Option<Body>, String> {
        loop {
            let mut cursor = Cursor::new(&self.head);
            match FrameHeader::parse(&mut cursor) {
                Ok(Some((header, len))) => {
                    self.head.clear();
                    return self.body_of(&header, len).map(Some);
                }
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
            let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
            self.head.push(*first);
            *bytes = rest;
        }
    }

    fn body_of(&self, header: &FrameHeader, len: u64) -> Result<Body, String> {
        let opcode = match header.opcode {
            WsOpCode::Data(Data::Continue) => OpCode::Continuation,
            WsOpCode::Data(Data::Text) => OpCode::Text,
            WsOpCode::Data(Data::Binary) => OpCode::Binary,
            WsOpCode::Control(Control::Close) => OpCode::Close,
            WsOpCode::Control(Control::Ping) => OpCode::Ping,
            WsOpCode::Control(Control::Pong) => OpCode::Pong,
            other => return Err(format!("the opcode {other}")),
        };
        let data = matches!(header.opcode, WsOpCode::Data(_));
        if header.rsv2 || header.rsv3 || header.rsv1 && !(self.inflater.is_some() && data) {
            return Err("a reserved bit is set".to_owned());
        }
        let fits = len <= self.most as u64;
        Ok(Body {
            opcode,
            fin: header.is_final,
            compressed: header.rsv1,
            mask: header.mask.unwrap_or_default(),
            len,
            left: len,
            payload: fits.then(Vec::new),
        })
    }

    fn end(&mut self, body: Body) -> Result<Seen, String> {
        let Body { opcode, fin, compressed, len, payload, .. } = body;
        let large = Seen::Large { opcode, fin, len };
        let data = matches!(opcode, OpCode::Continuation | OpCode::Text | OpCode::Binary);
        let (Some(inflater), true) = (&mut self.inflater, data) else {
            return Ok(payload.map_or(large, |payload| Seen::Frame(Frame { opcode, fin, payload })));
        };
        if opcode != OpCode::Continuation {
            inflater.inside = compressed;
        }
        let Some(payload) = payload else {
            if inflater.inside {
                return Err(format!("a compressed frame of {len} bytes, more than is decoded"));
            }
            return Ok(large);
        };
        if !inflater.inside {
            return Ok(Seen::Frame(Frame { opcode, fin, payload }));
        }
        let payload = inflater.inflate(&payload, fin)?;
        Ok(payload.map_or(large, |payload| Seen::Frame(Frame { opcode, fin, payload })))
    }
}

/// permessage-deflate (RFC 7692). Whether the ends keep their window between messages makes no
/// difference for reading.
struct Inflater {
    stream: Decompress,
    most: usize,
    /// The message under way is compressed.
    inside: bool,
}

impl Inflater {
    fn new(most: usize) -> Self {
        Self { stream: Decompress::new(false), most, inside: false }
    }

    /// The content of a frame; `None` if it is too large.
    fn inflate(&mut self, payload: &[u8], fin: bool) -> Result<Option<Vec<u8>>, String> {
        // What the sender left out.
        const TAIL: &[u8] = &[0, 0, 0xff, 0xff];
        let mut out = Vec::new();
        let mut too_large = self.feed(payload, &mut out)?;
        if fin {
            too_large |= self.feed(TAIL, &mut out)?;
        }
        Ok((!too_large).then_some(out))
    }

    /// Whether more came out than is kept. The rest is still read, as later messages refer to it.
    fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<bool, String> {
        let mut piece = vec![0; 32 << 10];
        let mut too_large = false;
        loop {
            let (read, written) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.decompress(input, &mut piece, FlushDecompress::Sync);
            let status = status.map_err(|error| format!("permessage-deflate: {error}"))?;
            let read = usize::try_from(self.stream.total_in() - read).unwrap_or(usize::MAX);
            let written = usize::try_from(self.stream.total_out() - written).unwrap_or(usize::MAX);
            input = input.get(read..).unwrap_or_default();
            out.extend(piece.iter().take(written));
            if out.len() > self.most {
                too_large = true;
                out.clear();
            }
            if status == Status::StreamEnd {
                // The sender ended it, and begins anew.
                self.stream.reset(false);
            }
            let full = written == piece.len();
            if !full && (input.is_empty() || read == 0 && written == 0) {
                return Ok(too_large);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_tungstenite::tungstenite::protocol::frame::Frame as WsFrame;
    use flate2::{Compress, Compression, FlushCompress};

    fn written(mut frame: WsFrame, mask: Option<[u8; 4]>) -> Vec<u8> {
        frame.header_mut().mask = mask;
        let mut bytes = Vec::new();
        frame.format(&mut bytes).unwrap();
        bytes
    }

    fn message(opcode: Data, fin: bool, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
        written(WsFrame::message(payload.to_vec(), WsOpCode::Data(opcode), fin), mask)
    }

    /// All that is found, with the bytes cut into pieces of `size`.
    fn read(reader: &mut FrameReader, bytes: &[u8], size: usize) -> Result<Vec<Seen>, String> {
        let mut seen = Vec::new();
        for piece in bytes.chunks(size) {
            reader.read(piece, &mut |it| seen.push(it))?;
        }
        Ok(seen)
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let long = vec![9; 70_000];
        let bytes = [
            message(Data::Text, false, b"abc", Some([1, 2, 3, 4])),
            written(WsFrame::ping(b"p".to_vec()), None),
            message(Data::Continue, true, b"defgh", Some([0xff, 0, 7, 9])),
            message(Data::Binary, true, &long, None),
            message(Data::Binary, true, b"", Some([5; 4])),
            written(WsFrame::close(None), None),
        ]
        .concat();
        let expected = [
            Frame::text("abc").more(),
            Frame::ping("p"),
            Frame::continuation("defgh"),
            Frame::binary(long),
            Frame::binary([]),
            Frame::close(None),
        ]
        .map(Seen::Frame);
        for size in [1, 2, 3, 7, 1000, bytes.len()] {
            let seen = read(&mut FrameReader::new(70_000, false), &bytes, size).unwrap();
            assert_eq!(seen, expected, "in pieces of {size}");
        }
        let seen = read(&mut FrameReader::new(69_999, false), &bytes, 5000).unwrap();
        let large = Seen::Large { opcode: OpCode::Binary, fin: true, len: 70_000 };
        assert_eq!(seen[3], large);
        assert_eq!(seen[4..], expected[4..], "what follows is still found");
    }

    /// Messages as an end with a window of its own sends them.
    struct Deflater(Compress);

    impl Deflater {
        fn message(&mut self, content: &[u8], cuts: &[usize]) -> Vec<u8> {
            let mut out = Vec::with_capacity(content.len() + 1000);
            self.0.compress_vec(content, &mut out, FlushCompress::Sync).unwrap();
            let out = out.strip_suffix(&[0, 0, 0xff, 0xff]).unwrap();
            let mut bytes = Vec::new();
            let mut from = 0;
            for (nth, to) in cuts.iter().copied().chain([out.len()]).enumerate() {
                let opcode = if nth == 0 { Data::Text } else { Data::Continue };
                let payload = out[from..to].to_vec();
                let mut frame = WsFrame::message(payload, WsOpCode::Data(opcode), to == out.len());
                frame.header_mut().rsv1 = nth == 0;
                bytes.extend(written(frame, Some([4, 3, 2, 1])));
                from = to;
            }
            bytes
        }
    }

    #[test]
    fn compressed_messages_are_inflated_also_those_that_refer_to_earlier_ones() {
        let mut deflater = Deflater(Compress::new(Compression::default(), false));
        let first = b"a text that comes twice, a text that comes twice".repeat(3);
        let one = deflater.message(&first, &[3, 9]);
        let two = deflater.message(&first, &[]);
        assert!(two.len() < one.len(), "it refers to the first");
        let large = deflater.message(&vec![b'x'; 5000], &[]);
        let plain = message(Data::Text, true, b"not compressed", None);
        let bytes = [one, two.clone(), large, plain, deflater.message(&first, &[])].concat();
        for size in [1, 10, bytes.len()] {
            let mut reader = FrameReader::new(1000, true);
            let seen = read(&mut reader, &bytes, size).unwrap();
            let [a, b, c, two, large, plain, last] = seen.try_into().unwrap();
            let content = |seen: Seen| match seen {
                Seen::Frame(frame) => frame.payload,
                other => panic!("{other:?}"),
            };
            assert_eq!([a, b, c].map(content).concat(), first);
            assert_eq!(content(two), first);
            assert!(matches!(large, Seen::Large { .. }), "{large:?}");
            assert_eq!(content(plain), b"not compressed");
            assert_eq!(content(last), first);
        }
        let uninvited = read(&mut FrameReader::new(1000, false), &two, 100);
        assert_eq!(uninvited, Err("a reserved bit is set".to_owned()));
    }

    #[test]
    fn what_breaks_the_rules_is_an_error() {
        let mut bytes = message(Data::Text, true, b"x", None);
        bytes[0] |= 0x20;
        assert!(read(&mut FrameReader::new(10, true), &bytes, 1).is_err());
        bytes[0] = 0x83;
        assert!(read(&mut FrameReader::new(10, true), &bytes, 1).is_err());
        let garbage = [0xc1, 3, 0xff, 0xff, 0xff];
        assert!(read(&mut FrameReader::new(10, true), &garbage, 5).is_err());
    }
}
