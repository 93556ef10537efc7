//! What a client holds of a connection, and RFC 6455 on it.

use crate::{Receiver, Sender};
use embedded_io_async::{Read as _, Write as _};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::TcpStream;
use std::io;
use wslink_core::OpCode;
use wslink_testkit::Frame;

/// The head of an upgrade to `/ws`.
pub const UPGRADE: &str = "GET /ws?sessionURL=x HTTP/1.1\r\nHost: device\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What a client masks with.
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// A frame as a client sends it; `first` is its first byte, `fin` and opcode.
pub fn mask(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A client's end of a connection.
#[derive(Debug)]
pub enum Stream {
    /// In memory.
    Pipe(Receiver, Sender),
    /// A socket of the system.
    Tcp(TcpStream),
}

impl Stream {
    /// Asks for the WebSocket and reads the answer's head.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn upgrade(&mut self) {
        self.write_all(UPGRADE.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.read_exact(&mut byte).await.unwrap();
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    }

    /// Sends a frame as a client does.
    ///
    /// # Errors
    /// If nobody reads any more.
    pub async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let opcode = match frame.opcode {
            OpCode::Text => 1,
            OpCode::Binary => 2,
            OpCode::Close => 8,
            OpCode::Ping => 9,
            OpCode::Pong => 10,
            _ => 0,
        };
        let bytes = mask(u8::from(frame.fin) << 7 | opcode, &frame.payload);
        self.write_all(&bytes).await
    }

    /// The next frame; `None` at the end.
    ///
    /// # Panics
    /// At what RFC 6455 forbids.
    pub async fn receive(&mut self) -> Option<Frame> {
        let mut header = [0; 2];
        self.read_exact(&mut header).await.ok()?;
        let [first, second] = header;
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let len = match second {
            126 => {
                let mut len = [0; 2];
                self.read_exact(&mut len).await.unwrap();
                let len = u16::from_be_bytes(len);
                assert!(len > 125, "a length that is not minimal");
                len.into()
            }
            127 => {
                let mut len = [0; 8];
                self.read_exact(&mut len).await.unwrap();
                let len = u64::from_be_bytes(len) as usize;
                assert!(len > 0xffff, "a length that is not minimal");
                len
            }
            len => len.into(),
        };
        let mut payload = vec![0; len];
        self.read_exact(&mut payload).await.ok()?;
        let opcode = match first & 0x7f {
            0 => OpCode::Continuation,
            1 => OpCode::Text,
            2 => OpCode::Binary,
            8 => OpCode::Close,
            9 => OpCode::Ping,
            10 => OpCode::Pong,
            other => panic!("{other:#x} is no opcode"),
        };
        Some(Frame { opcode, fin: first & 0x80 != 0, payload })
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// If nobody reads any more.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Pipe(_, tx) => tx.write_all(bytes).await.map_err(|_| gone()),
            Self::Tcp(stream) => stream.write_all(bytes).await,
        }
    }

    /// Reads so many bytes.
    ///
    /// # Errors
    /// If they do not come.
    pub async fn read_exact(&mut self, into: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Pipe(rx, _) => rx.read_exact(into).await.map_err(|_| gone()),
            Self::Tcp(stream) => stream.read_exact(into).await,
        }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
