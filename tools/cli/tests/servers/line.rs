//! A slow line to a server, on which a transfer can be met in its middle.

use core::time::Duration;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

/// How much of a large transfer passes in a second, at most.
pub(crate) const BYTES_PER_SECOND: usize = 1_600_000;
const PIECE: usize = 32 << 10;

/// The port at this end of it.
pub(crate) fn slow(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
            // The system shall hold nothing to speak of.
            for end in [&client, &server] {
                set_socket_recv_buffer_size(end, PIECE).unwrap();
            }
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || crawl(from, to));
            thread::spawn(move || crawl(server, client));
        }
    });
    port
}

fn crawl(mut from: impl Read, mut to: TcpStream) {
    let mut piece = vec![0; PIECE];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
        if read > 2000 {
            thread::sleep(Duration::from_secs(1) * read as u32 / BYTES_PER_SECOND as u32);
        }
    }
    // The other end may have gone first.
    _ = to.shutdown(Shutdown::Both);
}
