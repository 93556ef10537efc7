//! Workers that accept from an `embassy-net` stack.

use crate::{Lent, Server};
use core::future::poll_fn;
use core::hint::black_box;
use core::pin::pin;
use embassy_futures::select::{Either, select};
use embassy_net::Stack;
use embassy_net::tcp::{self, TcpSocket, TcpWriter};
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_time::{Duration, Timer};
use embedded_io_async::{ErrorType, Write};
use wslink_core::{Hub, Memory, Service};

/// How long a peer has to end its side, once all is said.
const LINGER: Duration = Duration::from_secs(2);

/// The memory of one socket.
///
/// With Ethernet a transmit ring `TX` of exactly two segments, 2920 bytes, is best: with between
/// one and two, a peer that delays its acknowledgements makes each segment wait for them.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SocketMemory<const RX: usize, const TX: usize, const FRAME: usize> {
    rx: [u8; RX],
    tx: [u8; TX],
    frame: [u8; FRAME],
}

impl<const RX: usize, const TX: usize, const FRAME: usize> SocketMemory<RX, TX, FRAME> {
    /// All zero, so that a static takes no flash. `FRAME` is for [`Server::serve`].
    pub const NEW: Self = Self { rx: [0; RX], tx: [0; TX], frame: [0; FRAME] };
}

/// Accepts connections at `port`, one after the other, without end.
///
/// A stack has no queue of connections that wait: one of these accepts one. With as many of them
/// as WebSockets and one more there is always one that listens.
pub async fn listen<
    'm,
    S,
    M,
    R,
    const P: usize,
    const C: usize,
    const RX: usize,
    const TX: usize,
    const FRAME: usize,
>(
    stack: Stack<'_>,
    port: u16,
    server: &Server<'m, S, M, P, C, R>,
    memory: &mut SocketMemory<RX, TX, FRAME>,
) -> !
where
    S: Service,
    M: Memory<Buffer = Lent<'m>, Blob = S::Blob, Blobs: Send>,
    R: RawMutex + Sync,
    Hub<M>: Send,
{
    loop {
        let mut socket = TcpSocket::new(stack, &mut memory.rx, &mut memory.tx);
        // Frames are put together before they are written; what follows a first one would wait for
        // its acknowledgement, which peers delay by 40 ms.
        socket.set_nagle_enabled(false);
        if socket.accept(port).await.is_ok() {
            log!(debug, "port {}: accepted {}", port, socket.remote_endpoint());
            let (rx, tx) = socket.split();
            server.serve(rx, Ring(tx), &mut memory.frame).await;
            socket.close();
            // A reset would take what was sent last from a peer that still sends.
            let drain = async {
                while let Ok(1..) = socket.read(&mut memory.frame).await {}
                _ = socket.flush().await;
            };
            if let Either::Second(()) = select(drain, Timer::after(LINGER)).await {
                socket.abort();
                _ = socket.flush().await;
            }
        }
    }
}

/// The transmit ring.
///
/// `memcpy` takes more than twice as long on a Cortex-M3 where both ends are not aligned alike, as
/// they seldom are here.
struct Ring<'a>(TcpWriter<'a>);

impl ErrorType for Ring<'_> {
    type Error = tcp::Error;
}

impl Write for Ring<'_> {
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = Result<usize, tcp::Error>> {
        poll_fn(move |cx| {
            let fill = |room: &mut [u8]| {
                let count = copy(bytes, room);
                (count, count)
            };
            // Made anew each time: it has nothing to remember, and a connection no room for it.
            pin!(self.0.write_with(fill)).poll(cx)
        })
    }

    async fn flush(&mut self) -> Result<(), tcp::Error> {
        self.0.flush().await
    }
}

/// Copies what there is room for, four words at a time.
fn copy(from: &[u8], to: &mut [u8]) -> usize {
    // A zero of which the compiler does not know, or it would make all of it one `memcpy`.
    let zero = black_box(0_u32);
    let word = |bytes: [u8; 4]| (u32::from_ne_bytes(bytes) ^ zero).to_ne_bytes();
    let count = from.len().min(to.len());
    let (words, bytes) = from.get(..count).unwrap_or_default().as_chunks::<4>();
    let (word_places, byte_places) = to.get_mut(..count).unwrap_or_default().as_chunks_mut::<4>();
    let (fours, words) = words.as_chunks::<4>();
    let (four_places, word_places) = word_places.as_chunks_mut::<4>();
    for ([e, f, g, h], [a, b, c, d]) in four_places.iter_mut().zip(fours) {
        (*e, *f, *g, *h) = (word(*a), word(*b), word(*c), word(*d));
    }
    for (to, from) in word_places.iter_mut().zip(words) {
        *to = word(*from);
    }
    for (to, from) in byte_places.iter_mut().zip(bytes) {
        *to = *from;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::copy;

    #[test]
    fn as_much_is_copied_as_fits() {
        let from: [u8; 100] = core::array::from_fn(|at| at as u8 + 1);
        for len in 0..=from.len() {
            for room in [len, len + 1, len / 2] {
                let mut to = [0; 101];
                let count = copy(&from[..len], &mut to[..room]);
                assert_eq!(count, len.min(room));
                assert_eq!(&to[..count], &from[..count]);
                assert!(to[count..].iter().all(|byte| *byte == 0));
            }
        }
    }
}
