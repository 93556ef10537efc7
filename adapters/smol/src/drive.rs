//! One connection: everything that can happen to it, in one place.

mod end;

use crate::calls::{self, Answer, Borrowed, Started};
use crate::http::Visitor;
use crate::shared::{self, Reads, SharedPipe};
use crate::socket::{BATCH, Incoming, Socket};
use crate::transmit::{self, Later, Pieces};
use crate::{Heap, HeapBuffer};
use async_tungstenite::tungstenite::protocol::Role;
use bytes::{Bytes, BytesMut};
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use event_listener::EventListener;
use futures_util::future::{AbortHandle, Abortable, OptionFuture};
use futures_util::stream::{FuturesUnordered, Stream as _};
use smol::Timer;
use smol::io::{AsyncRead, AsyncWrite};
use std::panic::catch_unwind;
use std::sync::Arc;
use wslink_core::{
    Api, Buffers, CallId, CloseCode, CloseReason, Connection, Entropy, Event, Frame, Instant,
    OpCode, PeerId, Phase, SendError, Service, TimeoutReason, Verdict,
};

/// Messages that are read, batches that are written and rounds that are made before the others
/// get their turn.
const READS: usize = 32;
const WRITES: usize = 4;
const ROUNDS: usize = 8;

/// Answers of calls that were over at once, before they are queued together. The fewer wait in the
/// engine, the less it has to look through; but asking it costs something as well.
const GATHERED: usize = 8;

/// Texts up to this size are read where the one before was.
const SMALL_TEXT: usize = 4 << 10;

/// How long buffers stay grown after something large has passed.
const SLIM_AFTER: Duration = Duration::from_secs(1);

/// Drives a WebSocket whose handshake is over until it ends. `read_ahead` are bytes that were
/// read behind the handshake.
///
/// Not an async fn, since that would keep room for a second driver; `None` if the options allow
/// no connection.
pub(crate) fn drive<'s, S, T>(
    server: Borrowed<'s, S>,
    stream: T,
    read_ahead: &[u8],
    entropy: Entropy,
    visitor: Arc<Visitor>,
) -> Option<Box<impl Future<Output = ()> + Unpin + use<'s, S, T>>>
where
    S: Service<Blob: Send + 'static>,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let peer = server.shared.hub().next_peer();
    let start = move |started, upload, request| calls::run(server, started, upload, request);
    let judge = {
        let visitor = Arc::clone(&visitor);
        move |args| calls::judge(server, peer, Arc::clone(&visitor), args)
    };
    let config = server.options.config;
    let buffers = Buffers { receive: HeapBuffer::default(), transmit: HeapBuffer::default() };
    let now = server.shared.control.now();
    let conn = Connection::accept(config, Api::of::<S>(), buffers, peer, entropy, now)
        .inspect_err(|error| log::error!("{peer} was not served: {error}"))
        .ok()?;
    log::info!("{peer} connected");
    // The engine answers a hello that is a little too big; only what is out of all proportion is
    // not let in at all.
    let before_hello = config.limits.message_before_hello.saturating_mul(2).max(16 << 10);
    // tungstenite hands over whole messages, so that attachments are bounded as well.
    let most = conn.frame_limit(OpCode::Text);
    let socket = Socket::new(Role::Server, stream, read_ahead, most.min(before_hello.into()), most);
    Some(Box::new(Driver::new(server, conn, socket, visitor, start, judge)))
}

/// A connection with all that runs for it. `C` is the future of a call, `H` that of a hello.
struct Driver<'s, S: Service<Blob: Send + 'static>, T, C: Future, H, N, J> {
    server: Borrowed<'s, S>,
    peer: PeerId,
    conn: Connection<Heap<S::Blob>>,
    socket: Socket<T>,
    pieces: Pieces,
    visitor: Arc<Visitor>,
    start: N,
    judge: J,

    hello: Option<Pin<Box<H>>>,
    /// Where a call is begun; kept, since most are over at once.
    place: Option<Place<C>>,
    /// Where a text is read, kept for the same reason while it is small.
    text: BytesMut,
    /// How many of those were answered since the last batch was queued.
    gathered: usize,
    /// Calls that were not over at once. Made with the first one, since it costs as much as a call.
    running: Option<FuturesUnordered<Abortable<Place<C>>>>,
    handles: Vec<(CallId, AbortHandle)>,
    /// From the engine to the call that reads an upload. Made with the first one.
    pipe: Option<SharedPipe>,
    /// Answers that found no room. While there are any, nothing more is read, and calls go on only
    /// if there is nothing to send that would make room.
    kept: Vec<(Started, Answer<S>)>,
    /// Something was sent, so there may be room now.
    retry: bool,
    /// Bytes of the batch that is being queued.
    queued: usize,
    /// The transport does not take all of the last batch now.
    blocked: bool,
    /// Nothing is left to send.
    drained: bool,
    /// A message that came while the engine had no room. The socket is read up to the first one
    /// of these, so that pings are answered and pongs are seen while all calls are busy.
    held: Option<Incoming>,

    /// Wakes this connection when something was published or the server stops.
    news: EventListener,
    timer: Timer,
    /// What the timer is set to; at or before the next deadline, to be set again but rarely.
    armed: Option<Instant>,
    slim_at: Option<Instant>,
    /// The server stops, and running calls have until then.
    grace: Option<Instant>,
    /// A Close is under way, and has until then.
    close_by: Option<Instant>,
    seen: (u64, u64),

    /// What comes in can't be read as frames any more, or need not.
    deaf: bool,
    /// The peer has ended its stream.
    eof: bool,
    shut: bool,
    opened: bool,
    ended: Option<Ended>,
}

type Place<C> = Pin<Box<OptionFuture<C>>>;

#[derive(Clone, Copy)]
struct Ended {
    reason: CloseReason,
    /// Until when what was queued may still leave.
    until: Instant,
}

impl<'s, S, T, C, H, N, J> Driver<'s, S, T, C, H, N, J>
where
    S: Service<Blob: Send + 'static>,
    T: AsyncRead + AsyncWrite + Unpin,
    C: Future<Output = (Started, Answer<S>)>,
    H: Future<Output = Verdict>,
    N: Fn(Started, Option<Reads>, S::Request) -> C,
    J: Fn(Option<Vec<u8>>) -> H,
{
    fn new(
        server: Borrowed<'s, S>,
        conn: Connection<Heap<S::Blob>>,
        socket: Socket<T>,
        visitor: Arc<Visitor>,
        start: N,
        judge: J,
    ) -> Self {
        Self {
            server,
            peer: conn.peer(),
            conn,
            socket,
            pieces: Pieces::default(),
            visitor,
            start,
            judge,
            hello: None,
            place: None,
            text: BytesMut::new(),
            gathered: 0,
            running: None,
            handles: Vec::new(),
            pipe: None,
            kept: Vec::new(),
            retry: false,
            queued: 0,
            blocked: false,
            drained: false,
            held: None,
            news: server.shared.control.listen(),
            timer: Timer::never(),
            armed: None,
            slim_at: None,
            grace: None,
            close_by: None,
            seen: (0, 0),
            deaf: false,
            eof: false,
            shut: false,
            opened: false,
            ended: None,
        }
    }

    /// One round after the other, until a round finds nothing to do.
    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let now = self.server.shared.control.now();
            // First the listener, then a look at what it tells of, so that nothing is missed.
            self.poll_news(cx, now);
            let mut progress = self.poll_hello(cx, now);
            progress |= self.poll_calls(cx);
            if let Some(pipe) = &self.pipe {
                progress |= shared::lock(pipe).fill(&mut self.conn, cx);
            }
            progress |= self.poll_read(cx, now);
            progress |= self.poll_write(cx, now);
            progress |= self.poll_events(now);
            if self.poll_end(cx, now).is_ready() {
                return Poll::Ready(());
            }
            progress |= self.poll_timer(cx, now);
            progress |= self.socket.widen();
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_news(&mut self, cx: &mut Context<'_>, now: Instant) {
        let control = &self.server.shared.control;
        while Pin::new(&mut self.news).poll(cx).is_ready() {
            self.news = control.listen();
        }
        if control.is_stopping() && self.ended.is_none() {
            let grace = *self.grace.get_or_insert(now + self.server.options.grace);
            let idle = self.handles.is_empty() && self.kept.is_empty();
            if idle || now >= grace {
                self.drop_calls();
                self.conn.close(now, CloseCode::GoingAway, "Server shutdown");
            }
        }
    }

    fn poll_hello(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(hello) = &mut self.hello else { return false };
        let Poll::Ready(verdict) = hello.as_mut().poll(cx) else { return false };
        self.hello = None;
        let result = self.conn.authorize(&mut self.server.shared.hub(), verdict);
        let peer = self.peer;
        match (result, verdict) {
            (Err(error), _) => log::debug!("{peer}: the verdict came too late: {error}"),
            (Ok(()), Verdict::Refuse) => {
                log::warn!("{peer} said a wrong hello");
                if self.visitor.is_spent(&self.server.options.failed_hellos) {
                    self.conn.close(now, CloseCode::Policy, "too many wrong hellos");
                }
            }
            (Ok(()), Verdict::Accept | Verdict::AcceptAs(_)) => {
                self.socket.set_limit(self.conn.frame_limit(OpCode::Text));
                if !self.opened {
                    self.opened = true;
                    log::info!("{peer} said hello");
                    calls::tell(peer, "opened", || self.server.service.opened(peer));
                    calls::tell_listened(self.server);
                }
            }
        }
        true
    }

    fn poll_calls(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        if core::mem::take(&mut self.retry) {
            for (started, answer) in core::mem::take(&mut self.kept) {
                self.answer(started, answer);
                progress = true;
            }
        }
        while (self.kept.is_empty() || self.drained)
            && let Some(running) = &mut self.running
            && let Poll::Ready(Some(finished)) = Pin::new(running).poll_next(cx)
        {
            progress = true;
            // One that was aborted was answered by the engine.
            let Ok(Some((started, answer))) = finished else { continue };
            self.handles.retain(|(id, _)| *id != started.id);
            // Whoever finishes leaves room for those that are kept.
            self.retry = true;
            self.answer(started, answer);
        }
        progress
    }

    /// Hands an answer to the engine, or keeps it.
    fn answer(&mut self, started: Started, mut answer: Answer<S>) {
        let Started { peer, id, method, .. } = started;
        let result = match &mut answer {
            Answer::Error(error) => self.conn.fail(id, error),
            Answer::Reply(value, blobs) => {
                let mut hub = self.server.shared.hub();
                let reply = || self.conn.reply(&mut hub, id, value, blobs);
                match catch_unwind(AssertUnwindSafe(reply)) {
                    Ok(result) => result,
                    Err(_) => {
                        log::error!("{peer}: serializing the answer of {method:?} panicked");
                        let error = wslink_core::RpcError::failed("panicked");
                        drop(hub);
                        let result = self.conn.fail(id, &error);
                        answer = Answer::Error(error);
                        result
                    }
                }
            }
        };
        match result {
            Ok(()) => {}
            Err(SendError::Full(_)) => self.kept.push((started, answer)),
            Err(SendError::Gone) => log::debug!("{peer}: the answer of {method:?} is too late"),
            Err(error) => log::warn!("{peer}: {method:?}: {error}"),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        for turn in 0..READS {
            let has_room = self.has_room();
            if self.held.is_some() && has_room {
                if let Some(incoming) = self.held.take() {
                    self.take(cx, incoming, now);
                }
                continue;
            }
            if self.deaf || self.ended.is_some() || self.held.is_some() {
                return turn > 0;
            }
            match self.socket.poll_next(cx) {
                Poll::Ready(incoming) if has_room || incoming.is_control() => {
                    self.take(cx, incoming, now);
                }
                Poll::Ready(incoming) => {
                    self.conn.handle_alive(now);
                    self.held = Some(incoming);
                }
                Poll::Pending => {
                    // Bytes of a message that is not complete are life, too.
                    let (read, _) = self.socket.counts();
                    if read != self.seen.0 {
                        self.seen.0 = read;
                        self.conn.handle_alive(now);
                    }
                    return turn > 0;
                }
            }
        }
        true
    }

    /// Whether a message can be dealt with now, if only to be passed over.
    fn has_room(&self) -> bool {
        match self.conn.phase() {
            Phase::Draining | Phase::Closing | Phase::Closed => true,
            _ => self.grace.is_none() && self.kept.is_empty() && self.conn.has_room(),
        }
    }

    fn take(&mut self, cx: &mut Context<'_>, incoming: Incoming, now: Instant) {
        // Our Close is on its way: of what still comes only the peer's counts.
        let closing = matches!(self.conn.phase(), Phase::Draining | Phase::Closing | Phase::Closed);
        let mut text = BytesMut::new();
        let binary;
        let frame = match incoming {
            Incoming::Close(code) => {
                self.deaf = true;
                self.eof = true;
                Frame::Close(code)
            }
            Incoming::End => {
                self.deaf = true;
                self.eof = true;
                return self.conn.handle_eof();
            }
            Incoming::TooBig(needed) => {
                self.deaf = true;
                return self.conn.handle_too_big(now, needed);
            }
            Incoming::Violation(code, reason) => {
                self.deaf = true;
                return self.conn.handle_violation(now, code, reason);
            }
            Incoming::Ping => return self.conn.handle_alive(now),
            Incoming::Pong(bytes) => {
                binary = bytes;
                Frame::Pong(&binary)
            }
            _ if closing => return,
            Incoming::Text(bytes) => {
                text = self.own(bytes);
                Frame::Text { fin: true, payload: &mut text }
            }
            Incoming::Binary(bytes) => {
                binary = bytes;
                Frame::Binary { fin: true, payload: &binary }
            }
        };
        let identity = self.conn.identity();
        match self.conn.handle_frame(now, frame) {
            Ok(None) => {}
            Ok(Some(Event::Hello(hello))) => {
                self.hello = Some(Box::pin((self.judge)(calls::copy_args(&hello))));
            }
            Ok(Some(Event::Call(call))) => {
                let (method, token) = (call.method.name, call.token);
                let started = Started { peer: self.peer, identity, id: call.id, method, token };
                match calls::decode(self.server.service, self.peer, &call) {
                    Ok(request) => {
                        let upload = call.method.upload.then(|| {
                            let pipe = self.pipe.get_or_insert_with(shared::pipe);
                            shared::lock(pipe).begin(&call);
                            Reads::new(call.id, Arc::clone(pipe))
                        });
                        self.run(cx, started, upload, request, now);
                    }
                    Err(error) => self.answer(started, Answer::Error(error)),
                }
            }
            Ok(Some(Event::Builtin)) => {
                self.conn.handle_builtin(&mut self.server.shared.hub());
                calls::tell_listened(self.server);
            }
            Ok(Some(Event::Exit(after))) => {
                log::info!("{} ends the server in {after:?}", self.peer);
                self.server.shared.control.stop_at(now + after);
            }
            Ok(Some(_)) => {}
            Err(error) => log::error!("{}: a frame was not taken: {error}", self.peer),
        }
        if (1..=SMALL_TEXT).contains(&text.capacity()) {
            self.text = text;
        }
    }

    /// The bytes of a text, which the engine reads in place. They can be had without a copy only if
    /// nothing else came in the same read.
    fn own(&mut self, bytes: Bytes) -> BytesMut {
        bytes.try_into_mut().unwrap_or_else(|shared| {
            let mut text = core::mem::take(&mut self.text);
            text.clear();
            text.extend_from_slice(&shared);
            text
        })
    }

    /// Begins a call, also one that the peer's Close follows, as upstream does.
    fn run(
        &mut self,
        cx: &mut Context<'_>,
        started: Started,
        upload: Option<Reads>,
        request: S::Request,
        now: Instant,
    ) {
        let mut place = self.place.take().unwrap_or_else(|| Box::pin(None.into()));
        place.set(Some((self.start)(started, upload, request)).into());
        match place.as_mut().poll(cx) {
            Poll::Ready(finished) => {
                place.set(None.into());
                self.place = Some(place);
                let Some((started, answer)) = finished else { return };
                self.answer(started, answer);
                self.gathered += 1;
                if self.gathered >= GATHERED && !self.blocked {
                    self.fill(now);
                }
            }
            Poll::Pending => {
                let (handle, registration) = AbortHandle::new_pair();
                self.handles.push((started.id, handle));
                let call = Abortable::new(place, registration);
                self.running.get_or_insert_default().push(call);
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        for turn in 0..WRITES {
            if self.socket.is_unflushed() {
                let result = self.socket.poll_flush(cx);
                let (_, written) = self.socket.counts();
                if written != self.seen.1 || result.is_ready() {
                    self.seen.1 = written;
                    self.conn.handle_written();
                }
                self.blocked = result.is_pending();
                match result {
                    Poll::Pending => {
                        self.conn.handle_blocked(now);
                        return turn > 0;
                    }
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => {
                        log::debug!("{}: {error}", self.peer);
                        self.deaf = true;
                        self.eof = true;
                        self.conn.handle_eof();
                        return true;
                    }
                }
            }
            self.queued = 0;
            self.drained = self.ended.is_some() || !self.fill(now);
            if self.drained {
                return turn > 0;
            }
        }
        true
    }

    /// Queues what the engine wants to send, as far as it makes one batch.
    fn fill(&mut self, now: Instant) -> bool {
        let before = self.queued;
        self.gathered = 0;
        while self.queued < BATCH || self.pieces.is_unfinished() {
            // The lock is given back for blobs that are made on the fly: that is the user's code,
            // and may take its time.
            let Some(later) = self.fill_from_memory(now) else { break };
            self.pieces.read(later, &mut self.socket);
        }
        self.retry |= self.queued > before;
        self.queued > before
    }

    /// The part for which the hub is needed, up to the first piece that has to be made.
    fn fill_from_memory(&mut self, now: Instant) -> Option<Later<S::Blob>> {
        let hub = self.server.shared.hub();
        while self.queued < BATCH || self.pieces.is_unfinished() {
            let Some(transmit) = self.conn.poll_transmit(now, &hub) else {
                self.pieces.abandon();
                return None;
            };
            let count = transmit.head.len() + transmit.body.len();
            let later = self.pieces.send(&transmit, &mut self.socket);
            self.queued += transmit::weight(&transmit);
            if let Err(error) = self.conn.advance(now, count) {
                log::error!("{}: {error}", self.peer);
                return later;
            }
            if later.is_some() {
                return later;
            }
        }
        None
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let grown = self.socket.is_grown() || self.place.is_some() || self.running.is_some();
        if self.slim_at.is_none() && grown {
            self.slim_at = Some(now + SLIM_AFTER);
        }
        let deadlines = match self.ended {
            Some(ended) => [Some(ended.until), None, None],
            None => {
                if matches!(self.conn.phase(), Phase::Draining | Phase::Closing) {
                    self.close_by = self.conn.poll_timeout();
                }
                let busy = !self.handles.is_empty() || !self.kept.is_empty();
                let grace = self.grace.filter(|_| busy);
                [self.conn.poll_timeout(), self.slim_at, grace]
            }
        };
        let Some(next) = deadlines.into_iter().flatten().min() else { return false };
        if next <= now {
            if self.slim_at.take_if(|at| *at <= now).is_some() {
                self.slim();
            }
            if self.conn.poll_timeout().is_some_and(|at| at <= now) {
                let silent = matches!(
                    self.conn.timeout_reason(),
                    Some(TimeoutReason::Ping | TimeoutReason::Pong)
                );
                if silent && self.held.is_some() {
                    // It is not the peer that is silent: nobody listens behind this message.
                    self.conn.handle_alive(now);
                } else {
                    self.conn.handle_timeout(now);
                }
            }
            return true;
        }
        if self.armed.is_none_or(|armed| armed > next) {
            self.armed = Some(next);
            self.timer.set_at(self.server.shared.control.std_instant(next));
        }
        if Pin::new(&mut self.timer).poll(cx).is_pending() {
            return false;
        }
        self.armed = None;
        true
    }

    /// Gives back what something large has left behind.
    fn slim(&mut self) {
        self.socket.slim();
        self.place = None;
        self.text = BytesMut::new();
        if self.handles.is_empty() {
            self.running.take_if(|running| running.is_empty());
            self.handles = Vec::new();
            self.pipe = None;
        }
    }
}

impl<S, T, C, H, N, J> Future for Driver<'_, S, T, C, H, N, J>
where
    S: Service<Blob: Send + 'static>,
    T: AsyncRead + AsyncWrite + Unpin,
    C: Future<Output = (Started, Answer<S>)>,
    H: Future<Output = Verdict>,
    N: Fn(Started, Option<Reads>, S::Request) -> C,
    J: Fn(Option<Vec<u8>>) -> H,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().poll_rounds(cx)
    }
}

/// What has to stay in its place is in boxes of its own.
impl<S: Service<Blob: Send + 'static>, T, C: Future, H, N, J> Unpin
    for Driver<'_, S, T, C, H, N, J>
{
}
