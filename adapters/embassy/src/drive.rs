//! One WebSocket: what reads, what writes and what runs, side by side in one future.

mod write;

use crate::frame::{Found, Incoming};
use crate::shared::{self, CallHost, Reads, SharedPipe, now};
use crate::{Lent, Server};
use core::array;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::mem::replace;
use core::ops::Range;
use core::pin::pin;
use core::task::{Context, Poll};
use embassy_futures::join::join_array;
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_time::Timer;
use embedded_io_async::{Read, Write};
use wslink_core::wire::{MAX_DEPTH, Value};
use wslink_core::{
    CallId, CloseCode, CloseReason, Connection, Cx, Event, Frame, Hello, Hub, Identity, Instant,
    Memory, OpCode, PeerId, Phase, RpcError, SendError, Service, Verdict,
};

/// Rounds that are made before other tasks get their turn.
const ROUNDS: usize = 8;

/// A connection and what runs for it. The parts of its future share it; nothing of it is borrowed
/// across an await.
pub(crate) struct Peer<'s, 'm, S, M, const PEERS: usize, const CALLS: usize, R>
where
    S: Service,
    M: Memory<Buffer = Lent<'m>, Blob = S::Blob>,
    R: RawMutex,
{
    server: &'s Server<'m, S, M, PEERS, CALLS, R>,
    id: PeerId,
    conn: RefCell<Connection<M>>,
    slots: [RefCell<Slot<S::Request, S::Reply>>; CALLS],
    /// From the engine to the call that reads an upload.
    pipe: SharedPipe<R>,
    /// One of the parts has done something that others may have waited for.
    progress: Cell<bool>,
    /// The engine may have events, or another deadline than was asked for last.
    stirred: Cell<bool>,
    /// The deadline that was asked for last.
    deadline: Cell<Option<Instant>>,
    /// Counts what was taken to be sent, since that makes room for answers.
    sent: Cell<u32>,
    /// Answers that found no room. While there are any, nothing more is read.
    kept: Cell<usize>,
    /// What comes in can't be read as frames any more, or need not.
    deaf: Cell<bool>,
    opened: Cell<bool>,
    left: Cell<bool>,
    /// It is over, and what is queued may still leave until then.
    until: Cell<Option<Instant>>,
}

/// A place for a call.
enum Slot<Q, A> {
    Free,
    Ready(Started, Q),
    Running(CallId),
    /// The engine has no room for it yet. It is here and not in the future of the call: there it
    /// would have a place of its own beside the call.
    Answered(CallId, Result<A, RpcError>),
    /// The engine has answered it; what runs is to be dropped.
    Dropped,
}

#[derive(Clone, Copy)]
struct Started {
    id: CallId,
    identity: Identity,
    token: Option<u32>,
    upload: bool,
}

/// Drives a WebSocket until it is over. `ahead` is what was read behind the handshake.
pub(crate) async fn drive<'m, S, M, const PEERS: usize, const CALLS: usize, R>(
    peer: &Peer<'_, 'm, S, M, PEERS, CALLS, R>,
    rx: impl Read,
    tx: impl Write,
    buffer: &mut [u8],
    ahead: Range<usize>,
    stage: &mut [u8],
) where
    S: Service,
    M: Memory<Buffer = Lent<'m>, Blob = S::Blob, Blobs: Send>,
    R: RawMutex + Sync,
    Hub<M>: Send,
{
    let mut reading = pin!(peer.read(rx, buffer, ahead));
    let mut writing = pin!(peer.write(tx, stage));
    let mut calls = pin!(peer.calls());
    let mut readable = true;
    poll_fn(|cx| {
        // First the wish to be woken, then a look at what there is, so that nothing is missed.
        peer.server.shared.listen(cx);
        for round in 0..ROUNDS {
            peer.progress.set(false);
            // In the order in which they have something for each other.
            if readable && reading.as_mut().poll(cx).is_ready() {
                readable = false;
                peer.progress.set(true);
            }
            if peer.has_calls() {
                peer.fill_pipe(cx);
                // What else they wait for wakes the task.
                if round == 0 || peer.progress.get() || peer.are_calls_due() {
                    // They never end.
                    _ = calls.as_mut().poll(cx).is_ready();
                }
            }
            // Who was woken for the writer, or by the hub, looks at it once in any case.
            if round == 0 || peer.progress.get() {
                let is_over = writing.as_mut().poll(cx).is_ready();
                if is_over {
                    // Our Close is out, and nobody reads an answer to it: what it was for is the
                    // reason.
                    peer.conn.borrow_mut().handle_eof();
                }
                if is_over || peer.progress.get() || peer.stirred.get() {
                    peer.stirred.set(true);
                    peer.poll_events();
                }
                if is_over {
                    return Poll::Ready(());
                }
            }
            if !peer.progress.get() {
                break;
            }
        }
        if peer.poll_time(cx).is_ready() {
            return Poll::Ready(());
        }
        // Whoever still has something to do lets other tasks have their turn.
        if peer.progress.get() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}

impl<'s, 'm, S, M, const PEERS: usize, const CALLS: usize, R> Peer<'s, 'm, S, M, PEERS, CALLS, R>
where
    S: Service,
    M: Memory<Buffer = Lent<'m>, Blob = S::Blob>,
    R: RawMutex,
{
    pub(crate) fn new(
        server: &'s Server<'m, S, M, PEERS, CALLS, R>,
        id: PeerId,
        conn: Connection<M>,
    ) -> Self {
        Self {
            server,
            id,
            conn: RefCell::new(conn),
            slots: array::from_fn(|_| RefCell::new(Slot::Free)),
            pipe: shared::pipe(),
            progress: Cell::new(false),
            stirred: Cell::new(true),
            deadline: Cell::new(None),
            sent: Cell::new(0),
            kept: Cell::new(0),
            deaf: Cell::new(false),
            opened: Cell::new(false),
            left: Cell::new(false),
            until: Cell::new(None),
        }
    }

    /// Reads frames and hands them to the engine, one in each round.
    async fn read(&self, mut rx: impl Read, buffer: &mut [u8], ahead: Range<usize>) {
        let mut incoming = Incoming::new(ahead);
        loop {
            if self.deaf.get() {
                incoming.discard();
            }
            // Before a hello was accepted, half of the buffer is kept free for its copy.
            let window = if self.opened.get() { buffer.len() } else { buffer.len() / 2 };
            let piece = |len| self.conn.borrow().piece_limit(len);
            let most = |kind| self.conn.borrow().frame_limit(kind);
            let found = match self.deaf.get() {
                true => Found::More,
                false => incoming.next(buffer, window, piece, most, || self.has_room()),
            };
            match found {
                Found::More => {
                    let room = incoming.room(buffer, window);
                    match rx.read(room).await {
                        Ok(0) | Err(_) => {
                            self.conn.borrow_mut().handle_eof();
                            return;
                        }
                        Ok(count) => incoming.fill(count),
                    }
                    // Bytes of a message that is not complete are life, too.
                    self.conn.borrow_mut().handle_alive(now());
                    self.progress.set(true);
                }
                Found::Held => poll_fn(|_| ready_if(self.has_room())).await,
                Found::Piece { opcode, fin, payload } => {
                    let end = incoming.end();
                    if let Some(args) = self.take(opcode, fin, buffer, payload, end) {
                        // The copy of its arguments, if that is any.
                        let args = buffer
                            .get(args)
                            .and_then(|args| Value::check_msgpack(args, MAX_DEPTH).ok());
                        let hello = Hello::new(args, None);
                        let hello = hello.expecting(&self.server.options.secret);
                        let verdict = self.server.service.authorize(&hello).await;
                        self.judge(verdict);
                    }
                    self.turn().await;
                }
                Found::Ping(payload) => {
                    let payload = buffer.get(payload).unwrap_or_default();
                    _ = self.conn.borrow_mut().handle_frame(now(), Frame::Ping(payload));
                    self.turn().await;
                }
                Found::Pong(payload) => {
                    let payload = buffer.get(payload).unwrap_or_default();
                    _ = self.conn.borrow_mut().handle_frame(now(), Frame::Pong(payload));
                }
                Found::Close(code) => {
                    self.deaf.set(true);
                    _ = self.conn.borrow_mut().handle_frame(now(), Frame::Close(code));
                    self.turn().await;
                }
                Found::TooBig(needed) => {
                    self.deaf.set(true);
                    self.conn.borrow_mut().handle_too_big(now(), needed);
                    self.turn().await;
                }
                Found::Violation(code, reason) => {
                    self.deaf.set(true);
                    self.conn.borrow_mut().handle_violation(now(), code, reason);
                    self.turn().await;
                }
            }
        }
    }

    /// Gives a frame, or a piece of one, to the engine, and acts on what it asks. Of a hello it
    /// tells where in the buffer, behind `end`, the copy of its arguments is; an empty one is none.
    ///
    /// Not inlined, as others here: what it has on the stack is to be gone when the rest runs.
    #[inline(never)]
    fn take(
        &self,
        opcode: OpCode,
        fin: bool,
        buffer: &mut [u8],
        payload: Range<usize>,
        end: usize,
    ) -> Option<Range<usize>> {
        let mut conn = self.conn.borrow_mut();
        if is_ending(conn.phase()) {
            return None;
        }
        let (front, free) = buffer.split_at_mut_checked(end).unwrap_or_default();
        let payload = front.get_mut(payload).unwrap_or_default();
        let frame = match opcode {
            OpCode::Text => Frame::Text { fin, payload },
            OpCode::Binary => Frame::Binary { fin, payload },
            _ => Frame::Continuation { fin, payload },
        };
        let identity = conn.identity();
        match conn.handle_frame(now(), frame) {
            Ok(Some(Event::Hello(hello))) => {
                // What does not fit is too much to be a hello.
                return Some(end..end + hello.copy_args(free).unwrap_or(0));
            }
            Ok(Some(Event::Call(ref call))) => {
                let upload = call.method.upload;
                let started = Started { id: call.id, identity, token: call.token, upload };
                if upload {
                    self.pipe.lock(|pipe| pipe.borrow_mut().begin(call));
                }
                log!(debug, "{}: {} is {=str}", self.id, call.id, call.method.name);
                match self.server.service.decode(call) {
                    Ok(request) => {
                        let mut free = self.slots.iter().filter_map(|it| it.try_borrow_mut().ok());
                        // There is one: the frame would not have been taken otherwise.
                        if let Some(mut slot) = free.find(|it| matches!(**it, Slot::Free)) {
                            *slot = Slot::Ready(started, request);
                        }
                    }
                    // Where a call was taken there is room for its error.
                    Err(error) => {
                        log!(debug, "{}: {} fails, {}", self.id, call.id, error.code());
                        _ = conn.fail(started.id, &error);
                    }
                }
            }
            Ok(Some(Event::Builtin)) => {
                self.server.shared.hub(|hub| conn.handle_builtin(hub));
                drop(conn);
                self.tell_listened();
            }
            // The engine has answered what a device has no use for.
            Ok(_) | Err(_) => {}
        }
        None
    }

    #[inline(never)]
    fn judge(&self, verdict: Verdict) {
        let mut conn = self.conn.borrow_mut();
        let result = self.server.shared.hub(|hub| conn.authorize(hub, verdict));
        match verdict.identity() {
            Some(by) => log!(info, "{}: hello accepted, {}", self.id, by),
            None => log!(warn, "{}: hello refused", self.id),
        }
        drop(conn);
        if result.is_ok() && verdict.identity().is_some() && !self.opened.replace(true) {
            self.server.service.opened(self.id);
            self.tell_listened();
        }
    }

    /// Whether a message can be dealt with now, if only to be passed over.
    fn has_room(&self) -> bool {
        let conn = self.conn.borrow();
        let is_free = |slot: &RefCell<_>| matches!(*slot.borrow(), Slot::Free);
        is_ending(conn.phase())
            || conn.has_room() && self.kept.get() == 0 && self.slots.iter().any(is_free)
    }

    /// Hands on what the engine has of an upload.
    #[inline(never)]
    fn fill_pipe(&self, cx: &Context<'_>) {
        let mut conn = self.conn.borrow_mut();
        if self.pipe.lock(|pipe| pipe.borrow_mut().fill(&mut conn, cx)) {
            self.progress.set(true);
        }
    }

    /// Lets the others act on what has happened.
    async fn turn(&self) {
        let mut waited = false;
        poll_fn(|_| {
            if !waited {
                self.progress.set(true);
            }
            ready_if(replace(&mut waited, true))
        })
        .await;
    }

    /// Nothing follows what has been sent.
    fn is_over(&self) -> bool {
        match self.conn.borrow().phase() {
            Phase::Closed => true,
            Phase::Closing => self.deaf.get(),
            _ => false,
        }
    }

    /// Runs the calls of all places. Not inlined: they are large, and pass over the stack.
    #[inline(never)]
    fn calls(&self) -> impl Future
    where
        M: Memory<Blobs: Send>,
        R: Sync,
        Hub<M>: Send,
    {
        join_array(array::from_fn::<_, CALLS, _>(|index| self.run(index)))
    }

    /// Runs the calls of one place, one after the other. Not an `async fn`, which would keep its
    /// arguments twice.
    fn run(&self, index: usize) -> impl Future
    where
        M: Memory<Blobs: Send>,
        R: Sync,
        Hub<M>: Send,
    {
        async move {
            loop {
                let Started { id, identity, token, upload } =
                    poll_fn(|_| match &*self.slots[index].borrow() {
                        Slot::Ready(started, _) => Poll::Ready(*started),
                        _ => Poll::Pending,
                    })
                    .await;
                self.progress.set(true);
                let reads = upload.then_some(Reads { call: id, pipe: &self.pipe });
                let host = CallHost::new(&self.server.shared, reads);
                let cx = Cx::new(self.id, token, &host).with_identity(identity);
                let Some(request) = self.start(index, id) else { continue };
                {
                    let mut call = pin!(self.server.service.call(cx, request));
                    poll_fn(|cx| {
                        let Some(id) = self.running(index) else { return Poll::Ready(()) };
                        let polled = call.as_mut().poll(cx);
                        let Poll::Ready(answer) = &polled else { return Poll::Pending };
                        // It leaves from where it is, and is kept only where it finds no room.
                        let mut kept = Kept { count: &self.kept, tried: None };
                        let given = host.blobs(|blobs| self.answer(id, answer, blobs, &mut kept));
                        if given.is_pending()
                            && let Poll::Ready(answer) = polled
                        {
                            *self.slots[index].borrow_mut() = Slot::Answered(id, answer);
                        }
                        Poll::Ready(())
                    })
                    .await;
                }
                let mut kept = Kept { count: &self.kept, tried: None };
                poll_fn(|_| match &*self.slots[index].borrow() {
                    Slot::Answered(id, answer) => {
                        host.blobs(|blobs| self.answer(*id, answer, blobs, &mut kept))
                    }
                    _ => Poll::Ready(()),
                })
                .await;
                *self.slots[index].borrow_mut() = Slot::Free;
                self.progress.set(true);
            }
        }
    }

    fn start(&self, index: usize, id: CallId) -> Option<S::Request> {
        match self.slots[index].replace(Slot::Running(id)) {
            Slot::Ready(_, request) => Some(request),
            _ => None,
        }
    }

    /// Whether there is a call that runs, or its answer is kept.
    fn has_calls(&self) -> bool {
        self.slots.iter().any(|slot| !matches!(*slot.borrow(), Slot::Free))
    }

    /// Whether a call may go on for what was sent, or is to be dropped.
    fn are_calls_due(&self) -> bool {
        let is_dropped = |slot: &RefCell<_>| matches!(*slot.borrow(), Slot::Dropped);
        self.kept.get() > 0 || self.slots.iter().any(is_dropped)
    }

    fn running(&self, index: usize) -> Option<CallId> {
        match *self.slots[index].borrow() {
            Slot::Running(id) => Some(id),
            _ => None,
        }
    }

    /// Gives an answer to the engine, if it is still wanted; ready when there was room.
    #[inline(never)]
    fn answer(
        &self,
        id: CallId,
        answer: &Result<S::Reply, RpcError>,
        blobs: &mut M::Blobs,
        kept: &mut Kept<'_>,
    ) -> Poll<()> {
        // There may be room when something was sent.
        let sent = self.sent.get();
        if kept.tried == Some(sent) {
            return Poll::Pending;
        }
        let mut conn = self.conn.borrow_mut();
        let result = match answer {
            Err(error) => conn.fail(id, error),
            Ok(reply) => self.server.shared.hub(|hub| conn.reply(hub, id, reply, blobs)),
        };
        match (&result, answer) {
            (Err(SendError::Full(_)), _) => {
                kept.count_in(sent);
                return Poll::Pending;
            }
            // Its request is still to come, so reading goes on.
            (Err(SendError::Early), _) => return Poll::Pending,
            (Ok(_), Ok(_)) => log!(debug, "{}: {} is answered", self.id, id),
            (Ok(_), Err(error)) => {
                log!(debug, "{}: {} fails, {}", self.id, id, error.code());
            }
            (Err(error), _) => log!(warn, "{}: {} fails, {}", self.id, id, error),
        }
        Poll::Ready(())
    }

    /// What happened that no frame brought.
    #[inline(never)]
    fn poll_events(&self) {
        loop {
            let event = self.conn.borrow_mut().poll_event();
            let Some(event) = event else { return };
            self.progress.set(true);
            match event {
                Event::Expired(call) | Event::Cancelled(call) => {
                    log!(debug, "{}: {} is dropped", self.id, call);
                    self.drop_call(call);
                }
                Event::Lagged { topic, missed } => {
                    log!(warn, "{}: missed {} of {=str}", self.id, missed, topic);
                    self.server.service.lagged(self.id, topic, missed);
                }
                Event::Closed(reason) => {
                    let lost = matches!(reason, CloseReason::Eof | CloseReason::Timeout(_));
                    let grace = self.server.options.config.deadlines.close;
                    self.until.set(Some(if lost { now() } else { now() + grace }));
                    self.leave(reason);
                }
                _ => {}
            }
        }
    }

    fn drop_call(&self, call: CallId) {
        for slot in &self.slots {
            let slot = &mut *slot.borrow_mut();
            match slot {
                Slot::Running(id) | Slot::Answered(id, _) if *id == call => *slot = Slot::Dropped,
                Slot::Ready(started, _) if started.id == call => *slot = Slot::Free,
                _ => {}
            }
        }
    }

    /// Ready when what is over has had its time.
    #[inline(never)]
    fn poll_time(&self, cx: &mut Context<'_>) -> Poll<()> {
        let now = now();
        let next = match self.until.get() {
            Some(until) if until <= now => return Poll::Ready(()),
            Some(until) => Some(until),
            None => {
                // While only more of the same frame is written it does not become earlier.
                if self.stirred.replace(false) {
                    self.deadline.set(self.conn.borrow().poll_timeout());
                }
                self.deadline.get()
            }
        };
        let Some(next) = next else { return Poll::Pending };
        let at = embassy_time::Instant::from_millis(next.as_millis().min(u64::MAX >> 24));
        // It is set anew in each round, and costs nothing but its place in the queue.
        if next <= now || pin!(Timer::at(at)).poll(cx).is_ready() {
            self.conn.borrow_mut().handle_timeout(now.max(next));
            self.progress.set(true);
            self.stirred.set(true);
        }
        Poll::Pending
    }

    /// Tells the service which topics have got their first listener, or lost their last one.
    fn tell_listened(&self) {
        while let Some((topic, listened)) = self.server.shared.hub(Hub::poll_listened) {
            self.server.service.listened(topic, listened);
        }
    }

    fn leave(&self, reason: CloseReason) {
        if self.left.replace(true) {
            return;
        }
        log!(info, "{}: closed, {}", self.id, reason);
        let mut conn = self.conn.borrow_mut();
        self.server.shared.hub(|hub| conn.leave(hub));
        drop(conn);
        if self.opened.get() {
            self.server.service.closed(self.id, reason);
            self.tell_listened();
        }
    }
}

/// However a connection ends, also when its future was dropped.
impl<'m, S, M, const PEERS: usize, const CALLS: usize, R> Drop
    for Peer<'_, 'm, S, M, PEERS, CALLS, R>
where
    S: Service,
    M: Memory<Buffer = Lent<'m>, Blob = S::Blob>,
    R: RawMutex,
{
    fn drop(&mut self) {
        let dropped = CloseReason::Local(CloseCode::GoingAway);
        let reason = self.conn.borrow().closed().unwrap_or(dropped);
        self.leave(reason);
    }
}

/// Counts an answer that waits for room, as long as it does.
struct Kept<'a> {
    count: &'a Cell<usize>,
    /// What had been sent when it found no room.
    tried: Option<u32>,
}

impl Kept<'_> {
    fn count_in(&mut self, sent: u32) {
        if self.tried.replace(sent).is_none() {
            self.count.set(self.count.get() + 1);
        }
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if self.tried.is_some() {
            self.count.set(self.count.get() - 1);
        }
    }
}

/// Our Close is on its way: of what still comes only the peer's counts.
const fn is_ending(phase: Phase) -> bool {
    matches!(phase, Phase::Draining | Phase::Closing | Phase::Closed)
}

const fn ready_if(ready: bool) -> Poll<()> {
    if ready { Poll::Ready(()) } else { Poll::Pending }
}
