//! The load: one client of one server, the same for all of them.

use crate::Outcome;
use crate::serve::bare;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::tungstenite::{Bytes, Message};
use async_tungstenite::{WebSocketStream, client_async_with_config};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Serialize;
use smol::net::TcpStream;
use std::collections::HashMap;
use std::io::{self, Write};

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Wire {
    /// The bare server's single letters.
    Bare,
    /// JSON, with attachments in frames of their own.
    V1,
    /// MessagePack in chunks.
    V2,
}

/// What is asked of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask<'a> {
    Echo(&'a str),
    Down(usize),
    Up(&'a [u8]),
    Publish(usize),
}

/// What a client receives, as far as the benchmark cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// An answer, with so many bytes of the WebSocket.
    Answer(usize),
    /// A publication.
    News(usize),
}

#[derive(Serialize)]
struct Request<'a, A> {
    wslink: &'a str,
    id: &'a str,
    method: &'a str,
    args: [A; 1],
    kwargs: HashMap<&'a str, ()>,
}

pub(crate) struct Client {
    wire: Wire,
    ws: WebSocketStream<TcpStream>,
    /// 2.x: content of the largest chunk, and what has come of messages in several.
    chunk: usize,
    parts: HashMap<[u8; 4], (usize, Vec<u8>)>,
    /// 1.x: bytes of attachments, for the message that follows.
    attached: usize,
    number: u32,
}

/// What all servers expect.
pub(crate) const SECRET: &str = "wslink-secret";

const HEADER: usize = 12;
/// Frames of upstream are larger than tungstenite's default allows.
const LARGEST: usize = 256 << 20;

impl Client {
    /// Connects and says hello.
    pub(crate) async fn connect(wire: Wire, port: u16, path: &str) -> Outcome<Self> {
        Self::connect_with(wire, port, path, SECRET).await
    }

    /// Says hello with that secret; an error if it is refused.
    pub(crate) async fn connect_with(
        wire: Wire,
        port: u16,
        path: &str,
        secret: &str,
    ) -> Outcome<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let url = format!("ws://127.0.0.1:{port}{path}");
        let config = WebSocketConfig::default()
            .max_message_size(Some(LARGEST))
            .max_frame_size(Some(LARGEST));
        let (ws, _) = client_async_with_config(url, stream, Some(config)).await?;
        let mut client = Self {
            wire,
            ws,
            chunk: (512 << 10) - HEADER,
            parts: HashMap::new(),
            attached: 0,
            number: 0,
        };
        if wire != Wire::Bare {
            client.hello(secret).await?;
        }
        Ok(client)
    }

    async fn hello(&mut self, secret: &str) -> Outcome {
        let secret = HashMap::from([("secret", secret)]);
        self.send("system:c0:0", "wslink.hello", secret).await?;
        self.ws.flush().await?;
        let message = self.ws.next().await.ok_or("the server hung up at the hello")??;
        let data = message.into_data();
        if self.wire == Wire::V2 {
            let answer: serde_json::Value = rmp_serde::from_slice(&data[HEADER..])?;
            let announced = answer["result"]["maxMsgSize"].as_u64().ok_or("no maxMsgSize")?;
            self.chunk = (announced as usize).saturating_sub(HEADER).max(1);
        } else {
            let answer: serde_json::Value = serde_json::from_slice(&data)?;
            answer["result"]["clientID"].as_str().ok_or("no clientID")?;
        }
        Ok(())
    }

    /// Sends a request without waiting for its answer, nor for it to leave.
    pub(crate) async fn ask(&mut self, ask: Ask<'_>) -> Outcome {
        self.number = self.number.wrapping_add(1);
        let id = format!("rpc:c0:{}", self.number);
        match (self.wire, ask) {
            (Wire::Bare, ask) => self.ask_bare(ask).await,
            (_, Ask::Echo(text)) => self.send(&id, "bench.echo", text).await,
            (_, Ask::Down(length)) => self.send(&id, "bench.down", length).await,
            (_, Ask::Publish(length)) => self.send(&id, "bench.publish", length).await,
            (Wire::V1, Ask::Up(data)) => {
                let key = format!("wslink_bin{}", self.number);
                let header = format!(
                    r#"{{"wslink":"1.0","method":"wslink.binary.attachment","args":["{key}"]}}"#
                );
                self.ws.feed(Message::text(header)).await?;
                self.ws.feed(Message::binary(data.to_vec())).await?;
                self.send(&id, "bench.up", key).await
            }
            (Wire::V2, Ask::Up(data)) => {
                self.send(&id, "bench.up", serde_bytes::Bytes::new(data)).await
            }
        }
    }

    /// What was asked leaves.
    pub(crate) async fn flush(&mut self) -> Outcome {
        Ok(self.ws.flush().await?)
    }

    async fn ask_bare(&mut self, ask: Ask<'_>) -> Outcome {
        let message = |letter: u8, rest: &[u8]| Message::binary([&[letter], rest].concat());
        let message = match ask {
            Ask::Echo(text) => message(bare::ECHO, text.as_bytes()),
            Ask::Down(length) => message(bare::DOWN, length.to_string().as_bytes()),
            Ask::Up(data) => message(bare::UP, data),
            Ask::Publish(length) => message(bare::PUBLISH, length.to_string().as_bytes()),
        };
        Ok(self.ws.feed(message).await?)
    }

    async fn send<A: Serialize>(&mut self, id: &str, method: &str, argument: A) -> Outcome {
        let kwargs = HashMap::new();
        let request = Request { wslink: "1.0", id, method, args: [argument], kwargs };
        if self.wire == Wire::V1 {
            return Ok(self.ws.feed(Message::text(serde_json::to_string(&request)?)).await?);
        }
        let mut total = Count(0);
        rmp_serde::encode::write_named(&mut total, &request)?;
        let mut chunks = Chunks::new(self.number, total.0, self.chunk);
        rmp_serde::encode::write_named(&mut chunks, &request)?;
        for frame in chunks.frames {
            self.ws.feed(Message::binary(frame)).await?;
        }
        Ok(())
    }

    /// Waits for the next whole message.
    pub(crate) async fn next(&mut self) -> Outcome<Got> {
        loop {
            let message = self.ws.next().await.ok_or("the server hung up")??;
            let whole = match (self.wire, message) {
                (Wire::Bare, Message::Binary(data)) => {
                    return Ok(match data.first() {
                        Some(&bare::NEWS) => Got::News(data.len()),
                        _ => Got::Answer(data.len()),
                    });
                }
                (Wire::V1, Message::Text(text)) => self.text(&text)?,
                (Wire::V1, Message::Binary(data)) => {
                    self.attached += data.len();
                    None
                }
                (Wire::V2, Message::Binary(data)) => self.part(&data)?,
                (_, Message::Close(_)) => return Err("the server closed".into()),
                _ => None,
            };
            if let Some(got) = whole {
                return Ok(got);
            }
        }
    }

    /// The next answer; publications in between are passed over.
    pub(crate) async fn answer(&mut self) -> Outcome<usize> {
        loop {
            if let Got::Answer(bytes) = self.next().await? {
                return Ok(bytes);
            }
        }
    }

    fn text(&mut self, text: &str) -> Outcome<Option<Got>> {
        // Where they stand in the text differs from server to server.
        let start = &text.as_bytes()[..text.len().min(100)];
        if contains(start, b"wslink.binary.attachment") {
            return Ok(None);
        }
        let bytes = text.len() + core::mem::take(&mut self.attached);
        if contains(start, b"\"publish:") {
            return Ok(Some(Got::News(bytes)));
        }
        if contains(start, b"\"error\"") {
            return Err(format!("an error: {text}").into());
        }
        Ok(Some(Got::Answer(bytes)))
    }

    fn part(&mut self, data: &Bytes) -> Outcome<Option<Got>> {
        let (header, content) = data.split_first_chunk::<HEADER>().ok_or("a chunk too short")?;
        let [id, _, total] = [0, 4, 8].map(|at| [0, 1, 2, 3].map(|i| header[at + i]));
        let total = u32::from_le_bytes(total) as usize;
        let start = &content[..content.len().min(100)];
        if content.len() == total {
            return kind(start, total).map(Some);
        }
        let (had, first) = self.parts.entry(id).or_insert_with(|| (0, start.to_vec()));
        *had += content.len();
        if *had < total {
            return Ok(None);
        }
        let got = kind(first, total);
        self.parts.remove(&id);
        got.map(Some)
    }
}

/// How long a message will be.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A message of 2.x that is encoded where it will be sent from: it is copied once, as what is sent
/// in 1.x and to the bare server is.
struct Chunks {
    number: u32,
    /// Bytes of the message, and most of them in a chunk.
    total: usize,
    size: usize,
    /// Bytes that are there already.
    len: usize,
    frames: Vec<Vec<u8>>,
}

impl Chunks {
    fn new(number: u32, total: usize, size: usize) -> Self {
        Self { number, total, size, len: 0, frames: Vec::new() }
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.len.is_multiple_of(self.size) {
            let mut frame = Vec::with_capacity(HEADER + self.size.min(self.total - self.len));
            for field in [self.number, self.len as u32, self.total as u32] {
                frame.extend_from_slice(&field.to_le_bytes());
            }
            self.frames.push(frame);
        }
        let taken = bytes.len().min(self.size - self.len % self.size);
        if let Some(frame) = self.frames.last_mut() {
            frame.extend_from_slice(&bytes[..taken]);
        }
        self.len += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn kind(start: &[u8], bytes: usize) -> Outcome<Got> {
    if contains(start, b"publish:") {
        return Ok(Got::News(bytes));
    }
    if contains(start, b"\xa5error") {
        return Err(format!("an error: {}", String::from_utf8_lossy(start)).into());
    }
    Ok(Got::Answer(bytes))
}

fn contains(data: &[u8], what: &[u8]) -> bool {
    data.windows(what.len()).any(|window| window == what)
}
