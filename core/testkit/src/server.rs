//! The server's end: an engine's connection and what an adapter does for it.

use crate::link::Up;
use crate::transcript::{Transcript, Way};
use crate::{Clock, Frame, Heap, HeapTable, Link, Val, lent};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wslink_core::wire::Value;
use wslink_core::{
    Attachment, Audience, Blob, CallId, Connection, Cx, Encode, Event, Hello, Host, Hub, Limit,
    LimitExceeded, OpCode, PeerId, Pipe, Publish, PublishError, RpcError, Secret, SendError,
    Service, Table, UploadSource, Verdict,
};

/// What all connections share.
pub(crate) struct Shared<B: Blob> {
    hub: Mutex<Hub<Heap<B>>>,
}

impl<B: Blob> Shared<B> {
    pub(crate) const fn new(hub: Hub<Heap<B>>) -> Self {
        Self { hub: Mutex::new(hub) }
    }

    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub<Heap<B>>> {
        lock(&self.hub)
    }
}

impl<B: Blob + Send> Publish<B> for Shared<B> {
    fn publish(
        &self,
        topic: &'static str,
        audience: Audience,
        blobs: &[B],
        encode: &Encode<'_>,
    ) -> Result<(), PublishError> {
        self.hub().publish(topic, audience, blobs, encode)
    }
}

/// A small one, so that any upload fills it several times.
type SmallPipe = Pipe<[u8; 50]>;

/// Where a call reads its upload.
struct Reads {
    call: CallId,
    pipe: Arc<Mutex<SmallPipe>>,
}

impl UploadSource for Reads {
    fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<usize> {
        lock(&self.pipe).poll_read(self.call, cx, into)
    }

    fn upload_len(&self) -> Option<u32> {
        lock(&self.pipe).len(self.call)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one running call can reach.
struct Desk<B: Blob> {
    shared: Arc<Shared<B>>,
    upload: Option<Reads>,
    blobs: Mutex<HeapTable<B>>,
    most: usize,
}

impl<B: Blob + Send> Publish<B> for Desk<B> {
    fn publish(
        &self,
        topic: &'static str,
        audience: Audience,
        blobs: &[B],
        encode: &Encode<'_>,
    ) -> Result<(), PublishError> {
        self.shared.publish(topic, audience, blobs, encode)
    }
}

impl<B: Blob + Send> Host<B> for Desk<B> {
    fn upload(&self) -> Option<&dyn UploadSource> {
        self.upload.as_ref().map(|reads| reads as _)
    }

    fn attach(&self, blob: B) -> Result<Attachment, LimitExceeded> {
        let mut blobs = lock(&self.blobs);
        let count = blobs.as_ref().len();
        let exceeded = LimitExceeded {
            limit: Limit::Attachments,
            needed: count as u64 + 1,
            available: self.most as u64,
        };
        if count >= self.most {
            return Err(exceeded);
        }
        blobs.push(blob).map_err(|_| exceeded)?;
        Ok(Attachment::nth(count as u32))
    }
}

type Local<T> = Pin<Box<dyn Future<Output = T>>>;

/// A call whose future runs, or whose answer waits for room.
struct Running<S: Service> {
    id: CallId,
    number: u32,
    state: State<S>,
}

enum State<S: Service> {
    Future(Local<Done<S>>),
    Done(Done<S>),
}

struct Done<S: Service> {
    result: Result<S::Reply, RpcError>,
    blobs: HeapTable<S::Blob>,
}

/// What a frame asked, without a borrow of it.
enum Asked<S: Service> {
    Exit(Duration),
    Nothing,
    Hello(Vec<u8>),
    Call(CallId, Option<u32>, bool, String, Result<S::Request, RpcError>),
}

pub(crate) struct ServerEnd<S: Service> {
    pub(crate) connection: Connection<Heap<S::Blob>>,
    pub(crate) peer: PeerId,
    secret: Arc<str>,
    service: Arc<S>,
    shared: Arc<Shared<S::Blob>>,
    attachments: usize,
    clock: Clock,
    running: Vec<Running<S>>,
    pipe: Arc<Mutex<SmallPipe>>,
    verdict: Option<Local<Verdict>>,
    calls: u32,
    opened: bool,
    over: bool,
    /// Events are asked for behind what is written only.
    pub(crate) late_events: bool,
    under_way: Option<Frame>,
    /// Frames that it has received, and that are not looked at yet because there is no room.
    pub(crate) waiting: VecDeque<Up>,
}

/// Where a step of one end leaves its traces.
pub(crate) struct Scene<'a> {
    pub(crate) client: usize,
    pub(crate) link: &'a mut Link,
    pub(crate) transcript: &'a mut Transcript,
}

impl<S: Service<Blob: Send> + 'static> ServerEnd<S> {
    pub(crate) fn new(
        connection: Connection<Heap<S::Blob>>,
        peer: PeerId,
        secret: Arc<str>,
        service: Arc<S>,
        shared: Arc<Shared<S::Blob>>,
        attachments: usize,
        clock: Clock,
    ) -> Self {
        Self {
            connection,
            peer,
            secret,
            service,
            shared,
            attachments,
            clock,
            running: Vec::new(),
            pipe: Arc::new(Mutex::new(Pipe::new([0; 50]))),
            verdict: None,
            calls: 0,
            opened: false,
            over: false,
            late_events: false,
            under_way: None,
            waiting: VecDeque::new(),
        }
    }

    /// Whether nothing waits to be sent or read.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.waiting.is_empty() && self.verdict.is_none()
    }

    /// Whether the service is at something that has no deadline of the connection's.
    pub(crate) fn is_working(&self) -> bool {
        self.verdict.is_some() || !self.running.is_empty()
    }

    /// How many calls run.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Does one round of what an adapter does; tells whether anything moved.
    pub(crate) fn turn(&mut self, scene: &mut Scene<'_>) -> bool {
        if self.over {
            self.waiting.clear();
            return false;
        }
        let mut moved = self.read(scene);
        moved |= self.judge(scene);
        moved |= self.work(scene);
        let context = Context::from_waker(Waker::noop());
        moved |= lock(&self.pipe).fill(&mut self.connection, &context);
        moved |= !self.late_events && self.events(scene);
        moved |= self.write(scene);
        moved | self.events(scene)
    }

    pub(crate) fn timeout(&mut self, scene: &mut Scene<'_>) {
        let now = self.clock.now();
        if self.connection.poll_timeout().is_some_and(|at| at <= now) {
            let reason = self.connection.timeout_reason();
            self.connection.handle_timeout(now);
            if let Some(reason) = reason {
                self.tell(scene, format!("timeout {reason:?}"));
            }
            let again = self.connection.poll_timeout();
            assert!(again.is_none_or(|at| at > now), "a deadline that does not pass: {again:?}");
            if !self.late_events {
                self.events(scene);
            }
        }
    }

    /// Tells the service which topics have got their first listener, or lost their last one.
    fn tell_listened(&self) {
        loop {
            let changed = self.shared.hub().poll_listened();
            let Some((topic, listened)) = changed else { return };
            self.service.listened(topic, listened);
        }
    }

    fn tell(&self, scene: &mut Scene<'_>, text: String) {
        scene.transcript.push(self.clock.now(), scene.client, Way::Event, text);
    }

    fn read(&mut self, scene: &mut Scene<'_>) -> bool {
        if !self.connection.has_room() {
            return false;
        }
        match self.waiting.pop_front() {
            None => return false,
            Some(Up::Eof) => self.connection.handle_eof(),
            Some(Up::Frame(frame)) => match self.take_piece(frame) {
                Asked::Nothing => {}
                Asked::Exit(after) => self.tell(scene, format!("exit in {after:?}")),
                Asked::Hello(args) => self.verdict = Some(self.authorize(args)),
                Asked::Call(id, token, upload, line, request) => {
                    self.calls += 1;
                    let number = self.calls;
                    self.tell(scene, format!("call {number}: {line}"));
                    let state = match request {
                        Ok(request) => State::Future(self.start(id, request, token, upload)),
                        Err(error) => {
                            State::Done(Done { result: Err(error), blobs: HeapTable::default() })
                        }
                    };
                    self.running.push(Running { id, number, state });
                }
            },
        }
        true
    }

    /// Takes a frame, or as much of it as the connection wants at once.
    fn take_piece(&mut self, mut frame: Frame) -> Asked<S> {
        let most = self.connection.piece_limit(frame.payload.len() as u64);
        if matches!(frame.opcode, OpCode::Binary | OpCode::Continuation)
            && frame.payload.len() > most
        {
            let rest = frame.payload.split_off(most);
            let rest = Frame { fin: frame.fin, ..Frame::continuation(rest) };
            self.waiting.push_front(Up::Frame(rest));
            frame.fin = false;
        }
        self.take(frame)
    }

    fn take(&mut self, mut frame: Frame) -> Asked<S> {
        let now = self.clock.now();
        let close_code = frame.close_code();
        let Frame { opcode, fin, ref mut payload } = frame;
        let frame = match opcode {
            OpCode::Text => wslink_core::Frame::Text { fin, payload },
            OpCode::Binary => wslink_core::Frame::Binary { fin, payload },
            OpCode::Ping => wslink_core::Frame::Ping(payload),
            OpCode::Pong => wslink_core::Frame::Pong(payload),
            OpCode::Close => wslink_core::Frame::Close(close_code),
            _ => wslink_core::Frame::Continuation { fin, payload },
        };
        match self.connection.handle_frame(now, frame) {
            Ok(Some(Event::Hello(hello))) => {
                let args = hello.args().map_or(Val::Null, |args| Val::of(&args));
                Asked::Hello(args.to_msgpack())
            }
            Ok(Some(Event::Call(call))) => {
                let args = Val::Seq(call.args().map(|arg| Val::of(&arg)).collect());
                let entry = |(key, value): (&str, Value<'_>)| (Val::from(key), Val::of(&value));
                let kwargs = Val::Map(call.kwargs().map(entry).collect());
                let mut line = format!("{} {args} {kwargs}", call.method.name);
                if call.method.upload {
                    line = match call.upload_len {
                        Some(len) => format!("{} uploads {len}", call.method.name),
                        None => format!("{} uploads", call.method.name),
                    };
                    lock(&self.pipe).begin(&call);
                }
                let request = self.service.decode(&call);
                Asked::Call(call.id, call.token, call.method.upload, line, request)
            }
            Ok(Some(Event::Builtin)) => {
                self.connection.handle_builtin(&mut self.shared.hub());
                self.tell_listened();
                Asked::Nothing
            }
            Ok(Some(Event::Exit(after))) => Asked::Exit(after),
            Ok(Some(event)) => panic!("a frame brought {event:?}"),
            Ok(None) => Asked::Nothing,
            Err(error) => panic!("the connection had room, and then: {error}"),
        }
    }

    fn authorize(&self, args: Vec<u8>) -> Local<Verdict> {
        let (service, secret) = (self.service.clone(), self.secret.clone());
        Box::pin(async move {
            let secret = Secret::new(&secret);
            let args = Value::check_msgpack(&args, wslink_core::wire::MAX_DEPTH).ok();
            let args = args.filter(Value::is_seq);
            service.authorize(&Hello::new(args, Some(&secret))).await
        })
    }

    fn start(
        &self,
        call: CallId,
        request: S::Request,
        token: Option<u32>,
        upload: bool,
    ) -> Local<Done<S>> {
        let (service, peer) = (self.service.clone(), self.peer);
        let blobs = Mutex::new(HeapTable::default());
        let upload = upload.then(|| Reads { call, pipe: self.pipe.clone() });
        let desk = Desk { shared: self.shared.clone(), upload, blobs, most: self.attachments };
        let identity = self.connection.identity();
        Box::pin(async move {
            let cx = Cx::new(peer, token, &desk).with_identity(identity);
            let result = service.call(cx, request).await;
            Done { result, blobs: desk.blobs.into_inner().unwrap_or_else(PoisonError::into_inner) }
        })
    }

    fn judge(&mut self, scene: &mut Scene<'_>) -> bool {
        let Some(verdict) = &mut self.verdict else { return false };
        let Poll::Ready(verdict) = poll(verdict) else { return false };
        self.verdict = None;
        let before = self.connection.phase();
        let result = self.connection.authorize(&mut self.shared.hub(), verdict);
        match (result, verdict) {
            (Err(error), _) => self.tell(scene, format!("hello: {error}")),
            (Ok(()), Verdict::Refuse) => self.tell(scene, "hello refused".to_owned()),
            (Ok(()), Verdict::Accept | Verdict::AcceptAs(_)) => {
                self.tell(scene, "hello accepted".to_owned());
                if !before.is_authenticated() && self.connection.phase().is_authenticated() {
                    self.opened = true;
                    self.service.opened(self.peer);
                    self.tell_listened();
                }
            }
        }
        true
    }

    /// Polls what runs, and hands on what is done.
    fn work(&mut self, scene: &mut Scene<'_>) -> bool {
        let mut moved = false;
        let mut at = 0;
        while let Some(running) = self.running.get_mut(at) {
            if let State::Future(future) = &mut running.state {
                match poll(future) {
                    Poll::Pending => {
                        at += 1;
                        continue;
                    }
                    Poll::Ready(done) => running.state = State::Done(done),
                }
            }
            let State::Done(Done { result, blobs }) = &mut running.state else { continue };
            let sent = match result {
                Ok(value) => {
                    self.connection.reply(&mut self.shared.hub(), running.id, value, blobs)
                }
                Err(error) => self.connection.fail(running.id, error),
            };
            if let Err(SendError::Full(_) | SendError::Early) = sent {
                at += 1;
                continue;
            }
            let Running { number, .. } = self.running.remove(at);
            if let Err(error) = sent {
                self.tell(scene, format!("call {number}: {error}"));
            }
            moved = true;
        }
        moved
    }

    fn events(&mut self, scene: &mut Scene<'_>) -> bool {
        let mut moved = false;
        while let Some(event) = self.connection.poll_event() {
            moved = true;
            match event {
                Event::Expired(call) => {
                    let at = self.running.iter().position(|running| running.id == call);
                    let number = at.map(|at| self.running.remove(at).number).unwrap_or_default();
                    self.tell(scene, format!("call {number} expired"));
                }
                Event::Cancelled(call) => {
                    let at = self.running.iter().position(|running| running.id == call);
                    let number = at.map(|at| self.running.remove(at).number).unwrap_or_default();
                    self.tell(scene, format!("call {number} cancelled"));
                }
                Event::Lagged { topic, missed } => {
                    self.tell(scene, format!("lagged {topic} {missed}"));
                    self.service.lagged(self.peer, topic, missed);
                }
                Event::Closed(reason) => {
                    for Running { number, .. } in core::mem::take(&mut self.running) {
                        self.tell(scene, format!("call {number} dropped"));
                    }
                    self.verdict = None;
                    self.tell(scene, format!("closed {reason:?}"));
                    self.connection.leave(&mut self.shared.hub());
                    self.tell_listened();
                    if core::mem::take(&mut self.opened) {
                        self.service.closed(self.peer, reason);
                    }
                    self.over = true;
                    self.under_way = None;
                    self.waiting.clear();
                    scene.link.send_down(self.clock.now(), None);
                }
                other => panic!("out of turn: {other:?}"),
            }
        }
        moved
    }

    /// Gives the transport what it takes; only one piece if it takes pieces.
    fn write(&mut self, scene: &mut Scene<'_>) -> bool {
        let now = self.clock.now();
        let mut moved = false;
        loop {
            let hub = self.shared.hub();
            let Some(transmit) = self.connection.poll_transmit(now, &hub) else {
                drop(hub);
                let over = self.connection.closed().is_some();
                assert!(over || self.under_way.is_none(), "a frame was begun and never ended");
                return moved;
            };
            if scene.link.is_stalled() {
                return moved;
            }
            let mut bytes = lent(&transmit);
            assert!(!bytes.is_empty() || transmit.len == 0, "a frame without bytes to go on with");
            let admitted = scene.link.admit(bytes.len());
            bytes.truncate(admitted);
            let frame = self.under_way.get_or_insert_with(|| Frame {
                opcode: transmit.opcode,
                fin: transmit.fin,
                payload: Vec::new(),
            });
            assert_eq!((frame.opcode, frame.fin), (transmit.opcode, transmit.fin), "not pinned");
            assert_eq!(frame.payload.len(), transmit.taken, "not pinned");
            frame.payload.extend(bytes);
            let whole = frame.payload.len() == transmit.len;
            assert!(frame.payload.len() <= transmit.len, "more than the frame has");
            drop(hub);
            moved = true;
            if whole && let Some(frame) = self.under_way.take() {
                scene.link.send_down(now, Some(frame));
            }
            if let Err(error) = self.connection.advance(now, admitted) {
                panic!("what was lent was taken, and then: {error}");
            }
            if scene.link.is_cutting_writes() {
                return moved;
            }
        }
    }
}

fn poll<T>(future: &mut Local<T>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}
