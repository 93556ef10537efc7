//! An echo for the Autobahn test suite, on the RFC 6455 layer of each adapter.
//!
//! wslink is no echo: the engine would close a connection whose messages are not its own. So the
//! modules that know frames are compiled in here as they are, and what lies above them is replaced
//! for data messages only.
//!
//! Prints the name and the URL of each echo, and serves them until it is killed.

#![allow(unexpected_cfgs, reason = "features of the adapters, whose sources are compiled in")]

mod desktop;
mod device;
mod engine;

#[path = "../../../adapters/embassy/src/frame.rs"]
#[allow(dead_code, reason = "the adapter's, of which a part is used here")]
mod frame;
#[path = "../../../adapters/embassy/src/http.rs"]
#[allow(dead_code, reason = "the adapter's, of which a part is used here")]
mod http;
#[path = "../../../adapters/smol/src/meter.rs"]
#[allow(dead_code, reason = "the adapter's, of which a part is used here")]
mod meter;
#[path = "../../../adapters/embassy/src/options.rs"]
#[allow(dead_code, unreachable_pub, rustdoc::broken_intra_doc_links, reason = "the adapter's")]
mod options;
#[path = "../../../adapters/smol/src/outgoing.rs"]
mod outgoing;
#[path = "../../../adapters/smol/src/socket.rs"]
#[allow(dead_code, reason = "the adapter's, of which a part is used here")]
mod socket;

use core::ops::Range;
use core::time::Duration;
use embedded_io_async::{ErrorType, Read, Write};
use http::{Answer, Head};
use options::Options;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use wslink_core::Entropy;

/// The largest message; the suite goes up to 16 MiB.
const LARGEST: u64 = 32 << 20;

type Echo = fn(TcpStream, Vec<u8>) -> io::Result<()>;

fn main() -> io::Result<()> {
    let mut running = Vec::new();
    for (name, echo) in [("embassy", device::echo as Echo), ("smol", desktop::echo)] {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{name} ws://{}/ws", listener.local_addr()?);
        running.push(thread::spawn(move || listen(&listener, echo)));
    }
    running.into_iter().for_each(|thread| _ = thread.join());
    Ok(())
}

fn listen(listener: &TcpListener, echo: Echo) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || {
            let ended = shake_hands(&stream).and_then(|ahead| echo(stream.try_clone()?, ahead));
            match ended {
                Ok(()) => linger(stream),
                // The suite cuts some of its connections off.
                Err(error) => eprintln!("{error}"),
            }
        });
    }
}

/// Answers the upgrade, and gives what was read behind it.
fn shake_hands(stream: &TcpStream) -> io::Result<Vec<u8>> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 4096];
    let options = Options::new("", || Entropy([0; 16]));
    let mut rx = Blocking(stream);
    let request = http::read_request(&mut rx, &mut buffer, &options, false);
    let Some((ahead, answer)) = smol::block_on(request) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let mut head = Head::new();
    let [body, end] = http::respond(&answer, &mut head).map_err(io::Error::other)?;
    for part in [head.as_bytes(), body, end] {
        (&*stream).write_all(part)?;
    }
    match answer {
        Answer::Upgrade(_) => Ok(read_ahead(&buffer, ahead)),
        _ => Err(io::Error::other("no upgrade")),
    }
}

fn read_ahead(buffer: &[u8], ahead: Range<usize>) -> Vec<u8> {
    buffer.get(ahead).unwrap_or_default().to_vec()
}

/// Ends our side, and throws away what still comes: a reset would take the Close from the peer.
fn linger(mut stream: TcpStream) {
    // An error means that the peer is gone already.
    _ = stream.shutdown(Shutdown::Write);
    _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    while let Ok(1..) = stream.read(&mut [0; 4096]) {}
}

/// A stream of the system as the device's side reads and writes; each has a thread.
struct Blocking<'a>(&'a TcpStream);

impl ErrorType for Blocking<'_> {
    type Error = io::Error;
}

impl Read for Blocking<'_> {
    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Blocking<'_> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
