//! A WebSocket client that sends whatever it is told: any frame, in any order.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, Read, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

/// Opcodes of RFC 6455 §5.2.
pub(crate) mod op {
    pub(crate) const CONTINUATION: u8 = 0;
    pub(crate) const TEXT: u8 = 1;
    pub(crate) const BINARY: u8 = 2;
    pub(crate) const CLOSE: u8 = 8;
    pub(crate) const PING: u8 = 9;
    pub(crate) const PONG: u8 = 10;
}

/// What came in. Fragments are put together.
#[derive(Debug)]
pub(crate) enum Incoming {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Vec<u8>),
    /// The end of TCP.
    Eof,
    /// The server broke RFC 6455.
    Broken(String),
}

pub(crate) struct Client {
    stream: TcpStream,
    incoming: Receiver<(Instant, Incoming)>,
}

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        write!(
            stream,
            "GET /ws HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(read(&mut stream, 1)?[0]);
        }
        // Of RFC 6455 §1.3.
        let head = String::from_utf8_lossy(&head);
        if !head.starts_with("HTTP/1.1 101 ") || !head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
            return Err(io::Error::other(format!("no upgrade: {head}")));
        }
        let (sender, incoming) = channel();
        let reader = stream.try_clone()?;
        thread::spawn(move || listen(reader, &sender));
        Ok(Self { stream, incoming })
    }

    /// Sends one frame. A server that has gone is found out by what it sends.
    pub(crate) fn send(&mut self, opcode: u8, fin: bool, payload: &[u8]) {
        let frame = wslink_adapters::mask(u8::from(fin) << 7 | opcode, payload);
        _ = self.stream.write_all(&frame);
    }

    pub(crate) fn cut(&self) {
        _ = self.stream.shutdown(Shutdown::Both);
    }

    pub(crate) fn next(&self, within: Duration) -> Option<(Instant, Incoming)> {
        self.incoming.recv_timeout(within).ok()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.cut();
    }
}

fn listen(mut stream: TcpStream, sender: &Sender<(Instant, Incoming)>) {
    let mut fragments: Option<(u8, Vec<u8>)> = None;
    loop {
        let Ok((fin, opcode, payload)) = frame(&mut stream) else {
            _ = sender.send((Instant::now(), Incoming::Eof));
            return;
        };
        let incoming = match (opcode, fragments.take()) {
            (op::PING, kept) => {
                fragments = kept;
                Incoming::Ping(payload)
            }
            (op::PONG, kept) => {
                fragments = kept;
                Incoming::Pong(payload)
            }
            (op::CLOSE, _) => Incoming::Close(payload),
            (op::CONTINUATION, Some((opcode, mut message))) => {
                message.extend(payload);
                if !fin {
                    fragments = Some((opcode, message));
                    continue;
                }
                whole(opcode, message)
            }
            (op::TEXT | op::BINARY, None) => {
                if !fin {
                    fragments = Some((opcode, payload));
                    continue;
                }
                whole(opcode, payload)
            }
            (opcode, _) => Incoming::Broken(format!("the opcode {opcode} here")),
        };
        if sender.send((Instant::now(), incoming)).is_err() {
            return;
        }
    }
}

fn whole(opcode: u8, message: Vec<u8>) -> Incoming {
    if opcode == op::TEXT { Incoming::Text(message) } else { Incoming::Binary(message) }
}

fn frame(stream: &mut TcpStream) -> io::Result<(bool, u8, Vec<u8>)> {
    let head = read(stream, 2)?;
    if head[0] & 0x70 != 0 || head[1] & 0x80 != 0 {
        return Err(io::Error::other("reserved bits, or a mask"));
    }
    let len = match head[1] {
        126 => read(stream, 2)?,
        127 => read(stream, 8)?,
        len => vec![len],
    };
    let len = len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    Ok((head[0] & 0x80 != 0, head[0] & 0xf, read(stream, len)?))
}

fn read(stream: &mut TcpStream, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).map(|()| bytes)
}
