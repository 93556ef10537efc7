//! Answering clients from a transcript.

use super::frames::Seen;
use super::record::{directory_of, file_name};
use super::script::{Action, HELLO, Script, Session, Unknown};
use super::tap::Tap;
use crate::fault::{Exit, Fault};
use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use async_tungstenite::tungstenite::{Error, Message as WsMessage};
use core::cell::Cell;
use futures_util::StreamExt as _;
use smol::net::TcpStream;
use std::fs;
use std::path::Path;
use wslink_core::OpCode;
use wslink_core::wire::Dialect;
use wslink_testkit::{Encoder, Frame, Kept, Line, Transcript, Val, Way, val};

/// The connections of a transcript.
pub(crate) struct Replay {
    scripts: Vec<Script>,
    next: Cell<usize>,
    most: usize,
}

impl Replay {
    pub(crate) fn read(path: &Path, most: usize) -> Result<Self, Fault> {
        let text = fs::read_to_string(path).map_err(|error| Fault::file(path, error))?;
        let transcript: Transcript = text.parse().map_err(|fault| {
            let hint = "transcripts are what `wslink proxy --transcript` writes";
            Fault::file(path, fault).hint(hint)
        })?;
        let directory = directory_of(path);
        let mut find = |kept: &Kept| fs::read(directory.join(file_name(kept))).ok();
        let clients = transcript.lines().iter().map(|line| line.client).max();
        let mut scripts = Vec::new();
        for client in 0..=clients.unwrap_or_default() {
            let of_client = |line: &&Line| line.client == client;
            let lines: Vec<&Line> = transcript.lines().iter().filter(of_client).collect();
            let script = Script::read(&lines, &mut find).map_err(|(line, why)| {
                let at = line.at.as_millis();
                let fault = Fault::file(path, format_args!("the line of {at} ms: {why}"));
                fault.hint(format!("binary data belongs into {}", directory.display()))
            })?;
            scripts.extend(script);
        }
        if scripts.is_empty() {
            return Err(Fault::new(
                Exit::File,
                format!("{}: no client said anything", path.display()),
            ));
        }
        Ok(Self { scripts, next: Cell::new(0), most })
    }

    pub(crate) const fn len(&self) -> usize {
        self.scripts.len()
    }

    /// Answers a client as the next recorded one was; after the last the first is the next.
    pub(crate) async fn answer(&self, client: TcpStream, mut tap: Tap) {
        let config = WebSocketConfig::default()
            .max_message_size(Some(self.most))
            .max_frame_size(Some(self.most));
        let accepted = async_tungstenite::accept_async_with_config(client, Some(config)).await;
        let mut socket = match accepted {
            Ok(socket) => socket,
            Err(error) => return tap.event(&format!("no WebSocket: {error}")),
        };
        let nth = self.next.get();
        self.next.set((nth + 1) % self.scripts.len().max(1));
        let Some(script) = self.scripts.get(nth) else { return };
        let outcome = Speaker::new(script, &mut socket, &mut tap).speak().await;
        match outcome {
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => {}
            Err(error) => tap.event(&error.to_string()),
        }
        tap.ended(Way::Up, "eof");
    }
}

struct Speaker<'a> {
    session: Session<'a>,
    dialect: Dialect,
    encoder: Encoder,
    socket: &'a mut WebSocketStream<TcpStream>,
    tap: &'a mut Tap,
}

impl<'a> Speaker<'a> {
    fn new(
        script: &'a Script,
        socket: &'a mut WebSocketStream<TcpStream>,
        tap: &'a mut Tap,
    ) -> Self {
        let dialect = script.dialect;
        let encoder = Encoder::new(dialect, 0);
        Self { session: Session::new(script), dialect, encoder, socket, tap }
    }

    async fn speak(mut self) -> Result<(), Error> {
        loop {
            for action in self.session.due() {
                match action {
                    Action::Send(envelope) => self.send(envelope).await?,
                    Action::Close(code, reason) => return self.close(code, reason).await,
                    Action::End => return Ok(()),
                }
            }
            let Some(message) = self.socket.next().await else { return Ok(()) };
            let frame = match message? {
                WsMessage::Text(text) => Frame::text(text.as_str()),
                WsMessage::Binary(bytes) => Frame::binary(bytes),
                WsMessage::Close(close) => {
                    let code = close.map(|close| close.code.into());
                    Frame::close(code)
                }
                // tungstenite answers pings by itself.
                _ => continue,
            };
            let message = self.tap.frame(Way::Up, Seen::Frame(frame));
            if let Some(dialect) = self.tap.dialect()
                && dialect != self.dialect
            {
                let reason = format!(
                    "the client speaks {}, the transcript {}",
                    name_of(dialect),
                    name_of(self.dialect)
                );
                self.tap.event(&reason);
                return self.close(Some(1002), reason).await;
            }
            if let Some(message) = message
                && let Err(unknown) = self.session.message(message)
            {
                self.refuse(unknown).await?;
            }
        }
    }

    async fn refuse(&mut self, Unknown { id, method }: Unknown) -> Result<(), Error> {
        self.tap.event(&format!("not in the transcript, or not so often: {method}"));
        let (code, text) = match method.as_str() {
            Some(HELLO) => (-32000, "Authentication failed"),
            _ => (-32601, "Not in the transcript"),
        };
        let error = val!({"code": (code), "message": (text), "data": method});
        self.send(val!({"wslink": "1.0", "id": id, "error": error})).await
    }

    async fn send(&mut self, envelope: Val) -> Result<(), Error> {
        let announced = envelope.field("result").and_then(|result| result.field("maxMsgSize"));
        if let Some(Val::Int(bytes)) = announced
            && let Ok(bytes @ 1..) = usize::try_from(*bytes)
        {
            self.encoder.set_max_msg_size(bytes);
        }
        for frame in self.encoder.frames(envelope) {
            let message = match (frame.opcode, String::from_utf8(frame.payload.clone())) {
                (OpCode::Text, Ok(text)) => WsMessage::text(text),
                _ => WsMessage::binary(frame.payload.clone()),
            };
            self.tap.frame(Way::Down, Seen::Frame(frame));
            self.socket.send(message).await?;
        }
        Ok(())
    }

    async fn close(&mut self, code: Option<u16>, reason: String) -> Result<(), Error> {
        self.tap.frame(Way::Down, Seen::Frame(Frame::close(code)));
        let close = code.map(|code| CloseFrame {
            code: CloseCode::from(code),
            reason: Utf8Bytes::from(reason),
        });
        self.socket.close(close).await?;
        while let Some(message) = self.socket.next().await {
            message?;
        }
        Ok(())
    }
}

const fn name_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::V1 => "1.x",
        _ => "2.x",
    }
}
