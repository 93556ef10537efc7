//! RFC 6455 as `wslink-embassy` reads it: any bytes, cut anywhere, in a buffer of any size, with
//! and without room for data, against a model that has all bytes at once.

#![no_main]
#![allow(unexpected_cfgs, reason = "features of the adapter, whose source this is")]

#[path = "../../../adapters/embassy/src/frame.rs"]
#[allow(dead_code, reason = "the adapter's, of which a part is used here")]
mod frame;

use frame::{Found, Incoming};
use libfuzzer_sys::fuzz_target;
use wslink_core::OpCode;
use wslink_fuzz::Input;

/// The longest header of a client and the longest payload of a control frame: less than that is
/// no buffer.
const SMALLEST: usize = 14 + 125;

#[derive(Debug, PartialEq)]
enum Said {
    Message(OpCode, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    TooBig(u64),
    /// The code to close with.
    Violation(u16),
}

#[derive(Debug, Default)]
struct Read {
    said: Vec<Said>,
    /// What has come of a message that is not complete.
    partial: Vec<u8>,
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let how = input.u8();
    let window = SMALLEST + usize::from(input.u8()) * 4;
    let most = [1000, 200, 70_000, 0, 125][usize::from(how % 5)];
    let seed = input.u32();
    let bytes =
        if how & 0x80 == 0 { data.get(6..).unwrap_or_default().to_vec() } else { frames(input) };
    let (expected, whole_frames) = model(&bytes, most);
    for how in [Cut::Never, Cut::Always, Cut::Random(seed | 1)] {
        let read = read(&bytes, window, most, how);
        assert_eq!(read.said, expected.said, "{how:?}");
        let partial = &read.partial;
        assert!(expected.partial.starts_with(partial), "{how:?}");
        assert!(partial.len() >= whole_frames, "{how:?}: less than the frames that are there");
    }
});

/// Frames that are nearly right, so that more than one of them is read.
fn frames(mut input: Input<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !input.is_empty() && bytes.len() < 8000 {
        let (first, how) = (input.u8(), input.u8());
        // Bits that end all are rarer.
        let first = if how & 3 == 0 { first } else { first & 0x8b };
        let control = first & 8 != 0;
        let first = if control && how & 3 != 0 { first | 0x80 } else { first };
        let len = match how >> 2 & 3 {
            0 => u64::from(input.u8() & 127),
            1 => u64::from(input.u8()),
            2 if !control => u64::from(input.u16() % 2000),
            // What needs a length of eight bytes is slow.
            3 if !control && how >> 4 == 15 => u64::from(input.u32() % 80_000),
            _ => u64::from(input.u8() % 126),
        };
        bytes.push(first);
        // The mask's bit, and the form of the length, which may be longer than it has to be.
        let masked = if how >> 4 & 15 == 1 { 0 } else { 0x80 };
        let stretch = if how >> 4 & 15 == 2 { 1 } else { 0 };
        match usize::from(len > 125) + usize::from(len > 0xffff) + stretch {
            0 => bytes.push(masked | len as u8),
            1 => {
                bytes.push(masked | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            _ => {
                bytes.push(masked | 127);
                let high = if how >> 4 & 15 == 3 { 1 << 63 } else { 0 };
                bytes.extend((len | high).to_be_bytes());
            }
        }
        let mask = input.u32().to_le_bytes();
        bytes.extend(mask);
        let seed = input.u8();
        bytes.extend((0..len).map(|at| seed.wrapping_add(at as u8)));
    }
    bytes
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    Never,
    Always,
    Random(u32),
}

impl Cut {
    /// "xorshift32".
    fn next(&mut self) -> usize {
        match self {
            Self::Never => usize::MAX,
            Self::Always => 1,
            Self::Random(state) => {
                *state ^= *state << 13;
                *state ^= *state >> 17;
                *state ^= *state << 5;
                1 + (*state >> 8) as usize % (1 << (*state % 11))
            }
        }
    }
}

/// What the adapter's reader finds. As in the adapter the window is smaller at first, and what
/// stands behind it is not the reader's.
fn read(bytes: &[u8], window: usize, most: u64, mut cut: Cut) -> Read {
    let mut buffer = vec![0x55; 2 * window];
    let (mut incoming, mut rest) = (Incoming::new(0..0), bytes);
    let mut read = Read::default();
    let (mut opcode, mut small) = (OpCode::Continuation, matches!(cut, Cut::Random(_)));
    loop {
        let now = if small { window } else { 2 * window };
        let room = !matches!(cut, Cut::Random(_)) || !cut.next().is_multiple_of(4);
        match incoming.next(&mut buffer, now, |_| usize::MAX, |_| most, || room) {
            Found::More => {
                let room = incoming.room(&mut buffer, now);
                assert!(!room.is_empty(), "a read without room looks like the end");
                let count = cut.next().min(room.len()).min(rest.len());
                if count == 0 {
                    break;
                }
                room[..count].copy_from_slice(&rest[..count]);
                rest = &rest[count..];
                incoming.fill(count);
            }
            Found::Held => assert!(!room, "it was said that there is room"),
            Found::Piece { opcode: kind, fin, payload } => {
                assert!(room, "there was no room");
                assert!(payload.end <= incoming.end() && incoming.end() <= now);
                if kind == OpCode::Continuation {
                    assert_ne!(opcode, OpCode::Continuation, "a piece of nothing");
                } else {
                    assert_eq!(opcode, OpCode::Continuation, "the last one is not over");
                    opcode = kind;
                }
                read.partial.extend_from_slice(&buffer[payload]);
                if fin {
                    let message = core::mem::take(&mut read.partial);
                    read.said.push(Said::Message(opcode, message));
                    opcode = OpCode::Continuation;
                    small = false;
                }
            }
            Found::Ping(payload) => read.said.push(Said::Ping(buffer[payload].to_vec())),
            Found::Pong(payload) => read.said.push(Said::Pong(buffer[payload].to_vec())),
            Found::Close(code) => {
                read.said.push(Said::Close(code));
                break;
            }
            Found::TooBig(needed) => {
                read.said.push(Said::TooBig(needed));
                break;
            }
            Found::Violation(code, _) => {
                read.said.push(Said::Violation(code.number()));
                break;
            }
        }
    }
    read
}

/// What RFC 6455 says about these bytes, and how much of an incomplete message is in whole frames.
fn model(mut bytes: &[u8], most: u64) -> (Read, usize) {
    let mut read = Read::default();
    let (mut message, mut whole_frames) = (None::<(OpCode, Vec<u8>)>, 0);
    while let [first, second, rest @ ..] = bytes {
        let (fin, opcode, masked) = (first >> 7 == 1, first & 15, second >> 7 == 1);
        let control = opcode >= 8;
        let wrong = first & 0x70 != 0
            || !masked
            || !matches!(opcode, 0..=2 | 8..=10)
            || control && (!fin || second & 127 > 125)
            || opcode == 0 && message.is_none()
            || matches!(opcode, 1 | 2) && message.is_some();
        let (len, least, size) = match second & 127 {
            126 => (number(rest, 2), 126, 2),
            127 => (number(rest, 8), 0x1_0000, 8),
            len => (Some(len.into()), 0, 0),
        };
        if wrong || len.is_some_and(|len| len < least || len >> 63 == 1) {
            read.said.push(Said::Violation(1002));
            break;
        }
        let Some(len) = len else { break };
        let Some((mask, rest)) = rest[size..].split_at_checked(4) else { break };
        let total = message.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64).saturating_add(len);
        if !control && total > most {
            read.said.push(Said::TooBig(total));
            break;
        }
        let there = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len());
        let key = mask.iter().cycle();
        let payload: Vec<_> = rest[..there].iter().zip(key).map(|(byte, key)| byte ^ key).collect();
        let complete = there as u64 == len;
        bytes = &rest[there..];
        match opcode {
            8 if complete => {
                read.said.push(close(&payload));
                break;
            }
            9 if complete => read.said.push(Said::Ping(payload)),
            10 if complete => read.said.push(Said::Pong(payload)),
            8.. => break,
            _ => {
                let kind = if opcode == 1 { OpCode::Text } else { OpCode::Binary };
                let (kind, mut all) = message.take().unwrap_or((kind, Vec::new()));
                all.extend(payload);
                if !complete {
                    read.partial = all;
                    return (read, whole_frames);
                }
                if fin {
                    read.said.push(Said::Message(kind, all));
                    whole_frames = 0;
                } else {
                    whole_frames = all.len();
                    message = Some((kind, all));
                }
            }
        }
    }
    read.partial = message.map_or_else(Vec::new, |(_, bytes)| bytes);
    (read, whole_frames)
}

fn number(bytes: &[u8], size: usize) -> Option<u64> {
    Some(bytes.get(..size)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn close(payload: &[u8]) -> Said {
    let [a, b, reason @ ..] = payload else {
        return if payload.is_empty() { Said::Close(None) } else { Said::Violation(1002) };
    };
    let code = u16::from_be_bytes([*a, *b]);
    match code {
        0..1000 | 1004..=1006 | 1015..3000 | 5000.. => Said::Violation(1002),
        _ if String::from_utf8(reason.to_vec()).is_err() => Said::Violation(1007),
        _ => Said::Close(Some(code)),
    }
}
