//! One connection after the other, until nobody needs it any more.

use super::connect::{Address, Stream, connect};
use super::error::ConnectError;
use super::options::Options;
use super::shared::{Engine, Greeting, Shared};
use super::upload::{Blob, Source};
use crate::HeapBuffer;
use crate::socket::{BATCH, Incoming, Socket};
use crate::transmit::{self, Pieces};
use bytes::{Bytes, BytesMut};
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;
use smol::Timer;
use smol::future::or;
use std::sync::Arc;
use wslink_core::wire::Dialect;
use wslink_core::{Body, Buffers, CloseReason, Entropy, Frame, Instant, Phase};

/// Messages that are read, batches that are written and rounds that are made before others get
/// their turn.
const READS: usize = 32;
const WRITES: usize = 4;
const ROUNDS: usize = 8;

/// Sees to it that all handles learn that nothing more comes, however the driver ends.
pub(super) struct Running {
    pub(super) shared: Arc<Shared>,
    pub(super) address: Address,
    pub(super) options: Options,
    /// What the server turned out to speak.
    pub(super) dialect: Option<Dialect>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl Running {
    /// Drives the first connection, and those that replace it.
    pub(super) async fn run(mut self, mut connection: Connection) -> Result<(), ConnectError> {
        loop {
            let reason = connection.run(&self.shared).await;
            log::info!("the connection to {} ended: {reason:?}", self.address.host);
            drop(connection);
            self.shared.state().lose();
            self.shared.ring();
            let Some(backoff) = self.options.reconnect else {
                return if self.is_closing() { Ok(()) } else { Err(ConnectError::Closed(reason)) };
            };
            let mut failures = 0;
            connection = loop {
                failures += 1;
                let wait = backoff.wait(failures, random::<1>()[0]);
                if self.is_closing_within(wait).await {
                    return Ok(());
                }
                match self.establish().await {
                    Ok(connection) => break connection,
                    Err(error @ (ConnectError::Refused(_) | ConnectError::Settings(_))) => {
                        return Err(error);
                    }
                    Err(error) => log::info!("{}: {error}", self.address.host),
                }
                if self.is_closing() {
                    return Ok(());
                }
            };
        }
    }

    /// Makes a connection on which the hello was accepted, in the dialect that is known, or in
    /// whichever does.
    pub(super) async fn establish(&mut self) -> Result<Connection, ConnectError> {
        let known = self.options.dialect.or(self.dialect);
        let first = known.unwrap_or(Dialect::V2);
        let error = match self.establish_in(first).await {
            Ok(connection) => {
                self.dialect = Some(first);
                return Ok(connection);
            }
            // Upstream's 1.x servers drop whoever says a 2.x hello.
            Err((error @ ConnectError::Closed(_), false)) => error,
            Err((error, _)) => return Err(error),
        };
        if self.options.dialect.is_some() {
            return Err(error);
        }
        // The server behind the address may be another one than before.
        self.dialect = None;
        let other = if first == Dialect::V2 { Dialect::V1 } else { Dialect::V2 };
        let connection = self.establish_in(other).await.map_err(|(error, _)| error)?;
        self.dialect = Some(other);
        Ok(connection)
    }

    /// As [`establish`](Self::establish); with the error, whether any hello was answered.
    async fn establish_in(&self, dialect: Dialect) -> Result<Connection, (ConnectError, bool)> {
        let shared = &self.shared;
        let until = async {
            Timer::after(self.options.connect_deadline).await;
            Err(ConnectError::Deadline)
        };
        let socket = or(connect(&self.address, &self.options), until);
        let socket = socket.await.map_err(|error| (error, false))?;
        let now = shared.now();
        let buffers = Buffers { receive: HeapBuffer::default(), transmit: HeapBuffer::default() };
        let entropy = Entropy(random());
        let settings = |error: &dyn ToString| (ConnectError::Settings(error.to_string()), false);
        let mut engine = Engine::new(self.options.config, dialect, buffers, entropy, now)
            .map_err(|error| settings(&error))?;
        engine.hello(now, &*self.options.credentials).map_err(|error| settings(&error))?;
        shared.state().begin(engine);
        let mut connection = Connection::new(socket);
        let ended = poll_fn(|cx| {
            shared.driver.register(cx.waker());
            if let Poll::Ready(reason) = connection.poll_rounds(cx, shared) {
                return Poll::Ready(Err(ConnectError::Closed(reason)));
            }
            match core::mem::take(&mut shared.state().rest.greeting) {
                Greeting::Waiting => Poll::Pending,
                Greeting::Accepted => Poll::Ready(Ok(())),
                Greeting::Refused(error) => Poll::Ready(Err(ConnectError::Refused(error))),
            }
        })
        .await;
        let mut state = shared.state();
        if let Err(error) = ended {
            let answered = state.engine.as_ref().is_some_and(Engine::is_answered);
            state.lose();
            return Err((error, answered));
        }
        state.greeted(shared.now());
        drop(state);
        shared.ring();
        Ok(connection)
    }

    fn is_closing(&self) -> bool {
        self.shared.state().rest.closing
    }

    /// Waits, unless the client is closed meanwhile.
    async fn is_closing_within(&self, wait: Duration) -> bool {
        let mut timer = Timer::after(wait);
        poll_fn(|cx| {
            self.shared.driver.register(cx.waker());
            if self.is_closing() {
                return Poll::Ready(true);
            }
            Pin::new(&mut timer).poll(cx).map(|_| false)
        })
        .await
    }
}

/// A WebSocket with what drives it.
pub(super) struct Connection {
    socket: Socket<Stream>,
    pieces: Pieces,
    timer: Timer,
    armed: Option<Instant>,
    /// Bytes that had come and gone when somebody looked last.
    seen: (u64, u64),
    /// Nothing that comes in is read as frames any more.
    deaf: bool,
    ended: Option<CloseReason>,
}

impl Connection {
    fn new(socket: Socket<Stream>) -> Self {
        Self {
            socket,
            pieces: Pieces::default(),
            timer: Timer::never(),
            armed: None,
            seen: (0, 0),
            deaf: false,
            ended: None,
        }
    }

    /// Until it is over.
    async fn run(&mut self, shared: &Shared) -> CloseReason {
        let reason = poll_fn(|cx| {
            shared.driver.register(cx.waker());
            self.poll_rounds(cx, shared)
        })
        .await;
        // What is queued, a Close, may still leave for a moment.
        let mut linger = pin!(Timer::after(Duration::from_millis(500)));
        poll_fn(|cx| {
            let sent = !self.socket.is_unflushed() || self.socket.poll_flush(cx).is_ready();
            if sent && self.socket.poll_shutdown(cx).is_ready() {
                return Poll::Ready(());
            }
            linger.as_mut().poll(cx).map(|_| ())
        })
        .await;
        reason
    }

    fn poll_rounds(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<CloseReason> {
        for _ in 0..ROUNDS {
            let now = shared.now();
            let mut progress = self.poll_read(cx, shared, now);
            progress |= self.poll_write(cx, shared, now);
            progress |= self.poll_events(shared, now);
            if let Some(reason) = self.ended {
                return Poll::Ready(reason);
            }
            progress |= self.poll_timer(cx, shared, now);
            if !progress {
                return Poll::Pending;
            }
            shared.ring();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, shared: &Shared, now: Instant) -> bool {
        for turn in 0..READS {
            if self.deaf {
                return turn > 0;
            }
            let Poll::Ready(incoming) = self.socket.poll_next(cx) else {
                // Bytes of a message that is not complete are life, too.
                let (read, _) = self.socket.counts();
                if read != self.seen.0 {
                    self.seen.0 = read;
                    if let Some(engine) = &mut shared.state().engine {
                        engine.handle_alive(now);
                    }
                }
                return turn > 0;
            };
            self.take(incoming, shared, now);
        }
        true
    }

    fn take(&mut self, incoming: Incoming, shared: &Shared, now: Instant) {
        let mut state = shared.state();
        let state = &mut *state;
        let Some(engine) = &mut state.engine else { return };
        let mut text;
        let binary;
        let mut whole: Option<Bytes> = None;
        let frame = match incoming {
            Incoming::Close(code) => {
                self.deaf = true;
                Frame::Close(code)
            }
            Incoming::End => {
                self.deaf = true;
                return engine.handle_eof();
            }
            Incoming::TooBig(needed) => {
                self.deaf = true;
                return engine.handle_too_big(now, needed);
            }
            Incoming::Violation(code, reason) => {
                self.deaf = true;
                return engine.handle_violation(now, code, reason);
            }
            Incoming::Ping => return engine.handle_alive(now),
            Incoming::Pong(_) => Frame::Pong(&[]),
            Incoming::Text(bytes) => {
                text = BytesMut::from(bytes);
                Frame::Text { fin: true, payload: &mut text }
            }
            Incoming::Binary(bytes) => {
                binary = bytes;
                whole = Some(binary.clone());
                Frame::Binary { fin: true, payload: &binary }
            }
        };
        if let Some(event) = engine.handle_frame(now, frame) {
            state.rest.take(event, whole);
        }
        state.resubscribe(now);
        state.tell_progress();
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, shared: &Shared, now: Instant) -> bool {
        for turn in 0..WRITES {
            if self.socket.is_unflushed() {
                let result = self.socket.poll_flush(cx);
                let mut state = shared.state();
                let Some(engine) = &mut state.engine else { return turn > 0 };
                let (_, written) = self.socket.counts();
                if written != self.seen.1 || result.is_ready() {
                    self.seen.1 = written;
                    engine.handle_written();
                }
                match result {
                    Poll::Pending => {
                        engine.handle_blocked(now);
                        return turn > 0;
                    }
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => {
                        log::debug!("not sent: {error}");
                        self.deaf = true;
                        engine.handle_eof();
                        return true;
                    }
                }
            }
            match self.fill(shared, now) {
                (true, _) => {}
                (false, None) => return turn > 0,
                (false, Some((source, offset))) => match source.poll_fill(cx, offset) {
                    Poll::Pending => return turn > 0,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(why)) => {
                        // The rest of a message that has begun is missing: nothing can follow.
                        log::debug!("not read: {why}");
                        self.deaf = true;
                        if let Some(engine) = &mut shared.state().engine {
                            engine.handle_eof();
                        }
                        return true;
                    }
                },
            }
        }
        true
    }

    /// Queues a batch of what the engine wants to send. Tells whether there was something, and the
    /// reader that has to be read before anything else can be sent, with the offset.
    fn fill(&mut self, shared: &Shared, now: Instant) -> (bool, Option<(Source, u64)>) {
        let mut state = shared.state();
        let Some(engine) = &mut state.engine else { return (false, None) };
        let (mut sent, mut wants) = (0, None);
        while sent < BATCH
            && let Some(transmit) = engine.poll_transmit(now)
        {
            let count = match transmit.body {
                Body::Blob { blob: Blob::Reader(source), offset, len } => {
                    let Some(bytes) = source.take(offset, len) else {
                        wants = Some((source.clone(), offset));
                        break;
                    };
                    self.pieces.send_read(&transmit, bytes, &mut self.socket)
                }
                ref body => {
                    let count = transmit.head.len() + body.len();
                    // The others lie in memory: nothing has to be made.
                    _ = self.pieces.send(&transmit, &mut self.socket);
                    count
                }
            };
            sent += count + transmit::OVERHEAD;
            if let Err(error) = engine.advance(now, count) {
                log::error!("{error}");
                break;
            }
        }
        state.tell_progress();
        (sent > 0, wants)
    }

    /// Whether there is something to send now.
    fn poll_events(&mut self, shared: &Shared, now: Instant) -> bool {
        let mut state = shared.state();
        let state = &mut *state;
        let Some(engine) = &mut state.engine else { return false };
        if self.deaf && engine.phase() == Phase::Closing {
            // The server's Close cannot come any more.
            engine.handle_eof();
        }
        while let Some(event) = engine.poll_event() {
            self.ended = state.rest.take(event, None).or(self.ended);
        }
        state.cancel_unwanted(now)
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, shared: &Shared, now: Instant) -> bool {
        let mut state = shared.state();
        let Some(engine) = &mut state.engine else { return false };
        let Some(next) = engine.poll_timeout() else { return false };
        if next <= now {
            engine.handle_timeout(now);
            return true;
        }
        drop(state);
        if self.armed.is_none_or(|armed| armed > next) {
            self.armed = Some(next);
            self.timer.set_at(shared.std_instant(next));
        }
        if Pin::new(&mut self.timer).poll(cx).is_pending() {
            return false;
        }
        self.armed = None;
        true
    }
}

/// Bytes that nobody can guess; without a source of them, a fixed beginning of the chunk ids and no
/// jitter, which is no reason to fail.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0x77; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        log::warn!("no randomness: {error}");
    }
    bytes
}
