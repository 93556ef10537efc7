//! What connections cost: serves an echo, or opens clients to it and leaves them idle.
//!
//! ```text
//! cargo run --release -p wslink-smol --example many -- serve 127.0.0.1:1999
//! cargo run --release -p wslink-smol --example many -- idle 127.0.0.1:1999 1000
//! ```
//! The server prints its resident memory whenever it has grown or shrunk, on Linux only.

use async_tungstenite::tungstenite::Message;
use core::error::Error;
use core::net::SocketAddr;
use core::time::Duration;
use futures_util::StreamExt as _;
use serde::Serialize;
use smol::net::{TcpListener, TcpStream};
use std::env;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use wslink_core::{
    Attachment, Binary, Call, Cx, MethodInfo, ParamInfo, RpcError, Service, TopicInfo,
};
use wslink_smol::{Options, Server};

#[derive(Default)]
struct Echo {
    /// The blob that was asked for last.
    blob: Mutex<Arc<[u8]>>,
}

enum Request {
    Echo(i64),
    Blob(usize),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Reply {
    Value(i64),
    Blob(Attachment),
}

impl Service for Echo {
    type Request = Request;
    type Reply = Reply;
    type Blob = Arc<[u8]>;
    const METHODS: &'static [MethodInfo] = &[
        MethodInfo::new("many.echo").with_params(&[ParamInfo::required("value")]),
        MethodInfo::new("many.len").with_params(&[ParamInfo::required("data")]),
        MethodInfo::new("many.blob").with_params(&[ParamInfo::required("len")]),
    ];
    const TOPICS: &'static [TopicInfo] = &[];

    fn decode(&self, call: &Call<'_>) -> Result<Request, RpcError> {
        let params = call.params()?;
        Ok(match call.method.name {
            "many.echo" => Request::Echo(params.required(0)?),
            "many.len" => Request::Echo(params.required::<Binary<'_>>(0)?.0.len() as i64),
            _ => Request::Blob(params.required(0)?),
        })
    }

    async fn call(&self, cx: Cx<'_, Arc<[u8]>>, request: Request) -> Result<Reply, RpcError> {
        match request {
            Request::Echo(value) => Ok(Reply::Value(value)),
            Request::Blob(len) => {
                let mut blob = self.blob.lock().unwrap_or_else(PoisonError::into_inner);
                if blob.len() != len {
                    *blob = vec![7; len].into();
                }
                Ok(Reply::Blob(cx.attach(Arc::clone(&blob))?))
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", address] => smol::block_on(serve(address.parse()?)),
        ["idle", address, count] => smol::block_on(idle(address.parse()?, count.parse()?)),
        _ => Err("serve ADDRESS | idle ADDRESS COUNT".into()),
    }
}

async fn serve(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address).await?;
    let server =
        Server::new(Echo::default(), Options::new("wslink-secret").with_max_connections(100_000));
    let watch = async {
        let (mut last, mut alone) = (0, resident());
        loop {
            smol::Timer::after(Duration::from_millis(500)).await;
            let (peers, now) = (server.peers(), resident());
            if peers == 0 {
                alone = alone.min(now);
            }
            if now != last {
                let each = now.saturating_sub(alone).checked_div(peers).unwrap_or(0);
                println!("{peers} clients, {} KiB, {each} bytes each", now >> 10);
                last = now;
            }
        }
    };
    smol::future::or(
        async {
            let ended = server.run(listener).await;
            println!("{ended:?}");
            Ok(())
        },
        watch,
    )
    .await
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

async fn idle(address: SocketAddr, count: usize) -> Result<(), Box<dyn Error>> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let stream = TcpStream::connect(address).await?;
        let url = format!("ws://{address}/ws");
        let (mut ws, _) = async_tungstenite::client_async(url, stream).await?;
        let hello =
            r#"{"id":"system:c0:0","method":"wslink.hello","args":[{"secret":"wslink-secret"}]}"#;
        ws.send(Message::text(hello)).await?;
        let _welcome = ws.next().await.ok_or("closed")??;
        clients.push(ws);
    }
    println!("{count} clients are idle");
    loop {
        smol::Timer::after(Duration::from_secs(5)).await;
        // Answers pings.
        for ws in &mut clients {
            smol::future::poll_once(ws.next()).await;
        }
    }
}
