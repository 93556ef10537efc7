//! A server: a service, its hub, and how it behaves.

use crate::drive::{self, Peer};
use crate::http::{self, Answer, Head, Refusal};
use crate::memory::Taken;
use crate::shared::{Shared, now};
use crate::{Lent, Options, Pool};
use core::fmt;
use core::time::Duration;
use embassy_futures::select::{Either, select};
use embassy_sync::blocking_mutex::raw::{CriticalSectionRawMutex, RawMutex};
use embassy_time::Timer;
use embedded_io_async::{Read, Write};
use wslink_core::{
    Api, Buffers, Connection, Hub, HubBuffers, LimitExceeded, Memory, Publications, Service,
};

/// Runs a [`Service`] on connections that it is given.
///
/// `M` says how large the tables are (a [`Fixed`](wslink_core::Fixed) of [`Lent`]), `PEERS` how
/// many WebSockets there can be, `CALLS` how many calls of one of them can run side by side, and
/// `R` what protects the hub: what publishes from interrupts or from several executors needs the
/// critical section.
pub struct Server<
    'm,
    S: Service,
    M: Memory<Buffer = Lent<'m>, Blob = S::Blob>,
    const PEERS: usize,
    const CALLS: usize,
    R: RawMutex = CriticalSectionRawMutex,
> {
    pub(crate) service: S,
    pub(crate) options: Options<'m>,
    pub(crate) shared: Shared<'m, M, R, PEERS>,
    pool: &'m Pool<'m, PEERS>,
}

impl<'m, S, M, const PEERS: usize, const CALLS: usize, R> Server<'m, S, M, PEERS, CALLS, R>
where
    S: Service,
    M: Memory<Buffer = Lent<'m>, Blob = S::Blob, Blobs: Send>,
    R: RawMutex + Sync,
    Hub<M>: Send,
{
    /// A server without connections.
    ///
    /// # Errors
    /// If the tables of `M` cannot hold the topics of the service and one more.
    pub fn new(
        service: S,
        options: Options<'m>,
        pool: &'m Pool<'m, PEERS>,
        hub: HubBuffers<&'m mut [u8]>,
    ) -> Result<Self, LimitExceeded> {
        let buffers = HubBuffers {
            publications: Lent::from(hub.publications),
            retained: Lent::from(hub.retained),
        };
        let hub = Hub::new(options.hub, S::TOPICS, (options.entropy)(), buffers)?;
        Ok(Self { service, options, shared: Shared::new(hub), pool })
    }

    /// The service.
    pub const fn service(&self) -> &S {
        &self.service
    }

    /// The way into the hub, for futures that publish on their own.
    pub fn publications(&self) -> Publications<'_, S::Blob> {
        Publications::new(&self.shared)
    }

    /// Serves one connection until it is over: a page, or a WebSocket. Close it then; what the peer
    /// still sends is best read and thrown away for a moment, so that it sees the end of what was
    /// written to it.
    ///
    /// `frame` holds the head of the request, and later what was read and not looked at. Frames
    /// that fit it are handled in place; it should be at least
    /// [`Limits::message`](wslink_core::Limits::message) and 26 bytes long, for a chunk with both
    /// its headers, and 1 KiB for the heads that browsers send.
    ///
    /// Nothing is flushed: `tx` has to send by itself what was written to it, as TCP does.
    pub fn serve<T: Read, U: Write>(
        &self,
        rx: T,
        tx: U,
        frame: &mut [u8],
    ) -> impl Future<Output = ()> {
        self.run(rx, tx, frame, None)
    }

    /// Serves one connection beside an HTTP server of somebody else: a WebSocket as
    /// [`serve`](Self::serve) does, also where it is refused, and nothing else.
    ///
    /// A request for another path than one of [`Options::with_paths`] is not answered. Its first
    /// bytes are in `frame` then, so many as are given back; the HTTP server has to be shown them
    /// before what it reads itself. `None` if the connection was served and is over.
    pub async fn serve_websocket<T: Read, U: Write>(
        &self,
        rx: T,
        tx: U,
        frame: &mut [u8],
    ) -> Option<usize> {
        let mut left = None;
        self.run(rx, tx, frame, Some(&mut left)).await;
        left
    }

    /// Serves a connection, or tells in `left` how much of it was read, if there is somebody else
    /// for what is no WebSocket.
    async fn run<T: Read, U: Write>(
        &self,
        mut rx: T,
        mut tx: U,
        frame: &mut [u8],
        left: Option<&mut Option<usize>>,
    ) {
        // A peer that never asks is no better than one that never says hello.
        let patience = to_embassy(self.options.config.deadlines.hello);
        let request = http::read_request(&mut rx, frame, &self.options, left.is_some());
        let Either::First(Some((rest, mut answer))) = select(request, Timer::after(patience)).await
        else {
            return;
        };
        if let (Answer::Elsewhere, Some(left)) = (answer, left) {
            *left = Some(rest.end);
            return;
        }
        let mut taken = None;
        if let Answer::Upgrade(_) = answer {
            taken = self.pool.take();
            if taken.is_none() {
                answer = Answer::Refusal(Refusal::FULL);
                log!(warn, "all {} WebSockets are taken", PEERS);
            }
        }
        log!(debug, "HTTP: {}", answer);
        if !self.respond(&mut tx, answer).await {
            return;
        }
        let Some(taken) = taken else { return };
        let Taken { receive, transmit, mut stage } = taken;
        let mut peer = None;
        self.open(&mut peer, Buffers { receive, transmit });
        if let Some(peer) = &peer {
            drive::drive(peer, rx, tx, frame, rest, stage.as_mut()).await;
        }
    }

    /// Sends an answer; false if it was not taken.
    async fn respond<U: Write>(&self, tx: &mut U, answer: Answer<'m>) -> bool {
        let mut head = Head::new();
        let Ok([body, end]) = http::respond(&answer, &mut head) else { return false };
        // It leaves in pieces, and each of them is a sign of life.
        let patience = to_embassy(self.options.config.deadlines.write);
        for part in [head.as_bytes(), body, end] {
            let mut rest = part;
            while !rest.is_empty() {
                match select(tx.write(rest), Timer::after(patience)).await {
                    Either::First(Ok(count @ 1..)) => rest = rest.get(count..).unwrap_or_default(),
                    _ => return false,
                }
            }
        }
        true
    }

    /// Makes a connection in its place. Not inlined: it is large, and passes over the stack.
    #[inline(never)]
    fn open<'s>(
        &'s self,
        place: &mut Option<Peer<'s, 'm, S, M, PEERS, CALLS, R>>,
        buffers: Buffers<Lent<'m>>,
    ) {
        let mut config = self.options.config;
        // A device has no end that a client could ask for.
        config.exit = false;
        config.limits.calls = config.limits.calls.min(u16::try_from(CALLS).unwrap_or(u16::MAX));
        let id = self.shared.hub(Hub::next_peer);
        let (api, entropy) = (Api::of::<S>(), (self.options.entropy)());
        let connection = Connection::accept(config, api, buffers, id, entropy, now());
        log!(info, "{}: WebSocket", id);
        *place = connection.ok().map(|connection| Peer::new(self, id, connection));
    }
}

impl<'m, S, M, const PEERS: usize, const CALLS: usize, R> fmt::Debug
    for Server<'m, S, M, PEERS, CALLS, R>
where
    S: Service,
    M: Memory<Buffer = Lent<'m>, Blob = S::Blob>,
    R: RawMutex,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("options", &self.options).finish_non_exhaustive()
    }
}

pub(crate) fn to_embassy(duration: Duration) -> embassy_time::Duration {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // A year is as good as never, and cannot overflow.
    embassy_time::Duration::from_millis(millis.min(365 * 24 * 3_600_000))
}
