//! The scope beside an application of picoserve, on one port: `/ws` is the scope's, all else is
//! picoserve's.
//!
//! On a device `Socket` is made of `embassy_net`'s `TcpSocket::split`, and all memory is static; the
//! rest is the same. `cargo run -p scope-picoserve` serves <http://127.0.0.1:8080/>.

mod socket;

use core::time::Duration;
use picoserve::routing::get;
use picoserve::{Config, Router, Timeouts};
use smol::LocalExecutor;
use smol::net::{TcpListener, TcpStream};
use socket::{Socket, Stream, Timer};
use std::io;
use wslink_core::{Entropy, Fixed, HubBuffers};
use wslink_embassy::{Lent, Options, PeerMemory, Pool, Server};
use wslink_scope::{Scope, Signal};

const PEERS: usize = 3;
const CALLS: usize = 2;
type Device =
    Server<'static, Scope<Timer>, Fixed<Lent<'static>, Signal, CALLS, 2, 1, 3, 8>, PEERS, CALLS>;

static HTTP: Config = Config::new(Timeouts::const_default());

fn main() -> io::Result<()> {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = TcpListener::bind("127.0.0.1:8080").await?;
        println!("http://{}/", listener.local_addr()?);
        run(&executor, listener).await
    }))
}

async fn run(executor: &LocalExecutor<'static>, listener: TcpListener) -> io::Result<()> {
    let server = scope()?;
    loop {
        let (stream, _) = listener.accept().await?;
        executor.spawn(serve(server, stream)).detach();
    }
}

/// One connection: the WebSocket, or what picoserve has.
async fn serve(server: &Device, stream: TcpStream) {
    let mut frame = [0; 1100];
    let (rx, tx) = (&mut Stream::new(stream.clone()), &mut Stream::new(stream.clone()));
    let Some(read) = server.serve_websocket(rx, tx, &mut frame).await else { return };

    let app = Router::new()
        .route("/", get(async || "the application's page\n"))
        .route("/peers", get(async || "up to three\n"));
    let ahead = frame.get(..read).unwrap_or_default().to_vec();
    let mut buffer = [0; 1024];
    let socket = Socket::new(stream, ahead);
    let http = picoserve::Server::custom(&app, Timer, &HTTP, &mut buffer);
    if let Err(error) = http.serve(socket).await {
        eprintln!("{error:?}");
    }
}

/// All memory is leaked, as it is static on a device.
fn scope() -> io::Result<&'static Device> {
    let memory = Box::leak(Box::new([PeerMemory::<1024, 2048, 1028>::NEW; PEERS]));
    let pool = Box::leak(Box::new(Pool::new(memory)));
    let hub = HubBuffers { publications: vec![0; 4096].leak(), retained: vec![0; 1024].leak() };
    // A device asks its generator of random numbers.
    let options = Options::new("wslink-secret", || Entropy([7; 16]));
    let server = Server::new(Scope::new(Timer), options, pool, hub).map_err(io::Error::other)?;
    Ok(Box::leak(Box::new(server)))
}

impl wslink_scope::Timer for Timer {
    async fn after(&self, duration: Duration) {
        smol::Timer::after(duration).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

    use super::*;
    use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use wslink_adapters::{Log, Visitor};
    use wslink_core::wire::Dialect;
    use wslink_testkit::val;

    #[test]
    fn both_on_one_port() {
        // It lives as long as what it runs.
        let executor: &'static LocalExecutor<'static> = Box::leak(Box::default());
        smol::block_on(executor.run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let running = executor.spawn(run(executor, listener));
            for (path, end) in [
                ("/", "\r\n\r\nthe application's page\n"),
                ("/peers", "\r\n\r\nup to three\n"),
                // Ours, and no upgrade.
                ("/ws", "\r\n\r\nthis is a WebSocket\n"),
            ] {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let request = format!("GET {path} HTTP/1.1\r\nHost: device\r\n\r\n");
                // In two pieces, so that one is read ahead.
                let (first, second) = request.split_at(20);
                for piece in [first, second] {
                    stream.write_all(piece.as_bytes()).await.unwrap();
                    smol::Timer::after(Duration::from_millis(20)).await;
                }
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                assert!(answer.ends_with(end), "{path}: {answer}");
            }
            for dialect in [Dialect::V1, Dialect::V2] {
                let stream = TcpStream::connect(address).await.unwrap();
                let stream = wslink_adapters::Stream::Tcp(stream);
                let mut client = Visitor::open('A', stream, dialect, Log::default()).await;
                client.hello("wslink-secret").await.unwrap();
                client.call("scope.capture", val!([1000])).await.unwrap();
            }
            running.cancel().await;
        }));
    }
}
