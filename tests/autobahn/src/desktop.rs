//! The echo on the layer of `wslink-smol`.

use crate::LARGEST;
use crate::socket::{Incoming, Socket};
use async_tungstenite::tungstenite::protocol::Role;
use core::future::poll_fn;
use smol::Async;
use std::io;
use std::net::TcpStream;
use wslink_core::OpCode;

pub(crate) fn echo(stream: TcpStream, ahead: Vec<u8>) -> io::Result<()> {
    smol::block_on(async {
        let stream = Async::new(stream)?;
        let mut socket = Socket::new(Role::Server, stream, &ahead, LARGEST, LARGEST);
        loop {
            let mut ends = false;
            match poll_fn(|cx| socket.poll_next(cx)).await {
                Incoming::Text(text) => socket.queue(OpCode::Text, true, &[&text]),
                // As an attachment leaves.
                Incoming::Binary(bytes) => {
                    socket.queue_shared(OpCode::Binary, true, &mut vec![bytes]);
                }
                Incoming::Ping | Incoming::Pong(_) => {}
                Incoming::Close(_) | Incoming::End => ends = true,
                Incoming::TooBig(_) => {
                    socket.queue(OpCode::Close, true, &[&1009_u16.to_be_bytes()]);
                    ends = true;
                }
                Incoming::Violation(code, reason) => {
                    let code = code.number().to_be_bytes();
                    socket.queue(OpCode::Close, true, &[&code, reason.as_bytes()]);
                    ends = true;
                }
            }
            poll_fn(|cx| socket.poll_flush(cx)).await?;
            if ends {
                return Ok(());
            }
        }
    })
}
