//! Workers that accept from an `embassy-net` stack.

use crate::{Lent, Server};
use embassy_futures::select::{Either, select};
use embassy_net::Stack;
use embassy_net::tcp::TcpSocket;
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_time::{Duration, Timer};
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
            server.serve(rx, tx, &mut memory.frame).await;
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
