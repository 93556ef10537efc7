//! The echo on the layer of `wslink-embassy`.

use crate::engine::Engine;
use crate::frame::{Found, Incoming, MAX_HEADER, write_header};
use crate::{Blocking, LARGEST};
use embedded_io_async::Read as _;
use std::io::{self, Write as _};
use std::net::TcpStream;
use wslink_core::{CloseCode, Frame, OpCode};

/// As small as on a device, so that most of what the suite sends has to be taken in pieces.
const BUFFER: usize = 1100;

pub(crate) fn echo(stream: TcpStream, ahead: Vec<u8>) -> io::Result<()> {
    let (mut buffer, filled) = (ahead, 0..0);
    let filled = filled.start..buffer.len();
    buffer.resize(buffer.len().max(BUFFER), 0);
    let window = buffer.len();
    let mut incoming = Incoming::new(filled);
    let mut engine = Engine::new();
    let (mut kind, mut message) = (OpCode::Binary, Vec::new());
    loop {
        let mut ends = true;
        match incoming.next(&mut buffer, window, |_| usize::MAX, |_| LARGEST, || true) {
            Found::More => {
                let room = incoming.room(&mut buffer, window);
                match smol::block_on(Blocking(&stream).read(room))? {
                    0 => return Ok(()),
                    count => incoming.fill(count),
                }
                ends = false;
            }
            Found::Piece { opcode, fin, payload } => {
                if opcode != OpCode::Continuation {
                    kind = opcode;
                }
                message.extend_from_slice(buffer.get(payload).unwrap_or_default());
                ends = false;
                // As the engine does, at the end of the message.
                if fin && kind == OpCode::Text && core::str::from_utf8(&message).is_err() {
                    engine.violation(CloseCode::Invalid, "text is not UTF-8");
                    ends = true;
                } else if fin {
                    send(&stream, kind, &message)?;
                    message.clear();
                }
            }
            Found::Ping(payload) => {
                engine.frame(Frame::Ping(buffer.get(payload).unwrap_or_default()));
                ends = false;
            }
            Found::Pong(payload) => {
                engine.frame(Frame::Pong(buffer.get(payload).unwrap_or_default()));
                ends = false;
            }
            Found::Close(code) => engine.frame(Frame::Close(code)),
            Found::TooBig(needed) => engine.too_big(needed),
            Found::Violation(code, reason) => engine.violation(code, reason),
            Found::Held => return Err(io::Error::other("there is room")),
        }
        while let Some((opcode, payload)) = engine.transmit() {
            send(&stream, opcode, &payload)?;
        }
        if ends {
            return Ok(());
        }
    }
}

fn send(mut stream: &TcpStream, opcode: OpCode, payload: &[u8]) -> io::Result<()> {
    let mut header = [0; MAX_HEADER];
    let count = write_header(opcode, true, payload.len(), &mut header);
    stream.write_all(&[header.get(..count).unwrap_or_default(), payload].concat())
}
