//! `wslink-rs` with the methods of the benchmark.

use serde_bytes::ByteBuf;
use std::sync::OnceLock;
use wslink_rs::prelude::*;

static PUBLISHER: OnceLock<Publisher> = OnceLock::new();

#[derive(Default)]
struct Bench;

impl Bench {
    #[wslink_rpc("bench.echo")]
    fn echo(&self, text: String) -> String {
        text
    }

    #[wslink_rpc("bench.down")]
    fn down(&self, length: usize) -> ByteBuf {
        ByteBuf::from(vec![0; length])
    }

    #[wslink_rpc("bench.up")]
    fn up(&self, data: ByteBuf) -> usize {
        data.len()
    }

    #[wslink_rpc("bench.publish")]
    fn publish(&self, length: usize) -> i64 {
        if let Some(publisher) = PUBLISHER.get() {
            publisher.publish("bench.news", "x".repeat(length), None);
        }
        0
    }
}

impl ServerProtocol for Bench {
    fn initialize(&mut self, _: &ServerArgument, config: &mut ServerConfig) {
        config.register_rpcs([Self::echo(), Self::down(), Self::up(), Self::publish()]);
    }
}

/// As the crate's own `start`, which does not tell where to publish.
#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = ServerArgument::parse();
    let (server, mut local) = WsLinkAsync::new(Bench, &arguments);
    _ = PUBLISHER.set(local.publisher());
    tokio::task::spawn_blocking(move || local.run());
    let address = format!("{}:{}", arguments.host, arguments.port);
    let listener = tokio::net::TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(server.clone().handle_connect(stream));
    }
}
