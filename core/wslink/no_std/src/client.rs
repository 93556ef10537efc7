//! A client where there is neither `std` nor an allocator: it says hello, and typed clients call
//! through it.

use crate::Flash;
use core::cell::RefCell;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use wslink::client::{Argument, Asked, CallError, Caller, Client, Config, Event, Outcome, Reply};
use wslink::wire::Dialect;
use wslink::{
    Body, Buffers, CallId, CloseReason, Entropy, Fixed, Frame, Instant, Secret, UsageError, code,
};

/// 2 calls side by side, 2 unfinished messages, 1 attachment.
type Engine = Client<Fixed<[u8; 512], Flash, 2, 2, 1>>;

/// Bytes of an answer, in as much memory as there is for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples(pub heapless::Vec<u8, 64>);

impl<'de> Deserialize<'de> for Samples {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Own;

        impl Visitor<'_> for Own {
            type Value = Samples;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("up to 64 bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Samples, E> {
                let samples = heapless::Vec::from_slice(bytes);
                samples.map(Samples).map_err(|_| E::invalid_length(bytes.len(), &self))
            }
        }

        deserializer.deserialize_bytes(Own)
    }
}

/// A WebSocket, and a clock.
pub trait Wire {
    /// Milliseconds since the start.
    fn now(&self) -> Instant;

    /// Copies the next frame that has come, and says whether it is text; wakes `cx` when there is
    /// one.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<(bool, usize)>;

    /// Takes a frame or the rest of one.
    fn write(&mut self, bytes: &[u8]);
}

/// Why a call gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeskError {
    /// It could not be made.
    Call,
    /// The server answered with an error of that code.
    Server(i64),
    /// The answer is not what it should be, or there is no room for it.
    Answer,
    /// There was none.
    Lost,
}

impl From<CallError> for DeskError {
    fn from(_: CallError) -> Self {
        Self::Call
    }
}

/// What one task calls a server by.
#[derive(Debug)]
pub struct Desk<W> {
    engine: RefCell<Engine>,
    wire: RefCell<W>,
}

impl<W: Wire> Desk<W> {
    /// A client whose hello waits to be sent.
    ///
    /// # Errors
    /// If the limits do not fit.
    pub fn new(wire: W, dialect: Dialect, entropy: Entropy) -> Result<Self, UsageError> {
        let now = wire.now();
        let buffers = Buffers { receive: [0; 512], transmit: [0; 512] };
        let mut engine = Engine::new(Config::device(), dialect, buffers, entropy, now)?;
        // There is room for the first.
        _ = engine.hello_with(now, &Secret::new("wslink-secret"));
        Ok(Self { engine: RefCell::new(engine), wire: RefCell::new(wire) })
    }

    /// Sends what is to be sent.
    fn send(&self) {
        let (mut engine, mut wire) = (self.engine.borrow_mut(), self.wire.borrow_mut());
        let now = wire.now();
        if engine.poll_timeout().is_some_and(|at| at <= now) {
            engine.handle_timeout(now);
        }
        while let Some(transmit) = engine.poll_transmit(now) {
            let lent = transmit.head.len() + transmit.body.len();
            wire.write(transmit.head);
            if let Body::Bytes(body) = transmit.body {
                wire.write(body);
            }
            if engine.advance(now, lent).is_err() {
                break;
            }
        }
    }

    /// Takes a frame, and gives what came of `call` if it was that.
    fn poll_frame<T: Reply>(
        &self,
        cx: &mut Context<'_>,
        call: Option<CallId>,
    ) -> Poll<Option<Result<T, DeskError>>> {
        let (mut engine, mut wire) = (self.engine.borrow_mut(), self.wire.borrow_mut());
        let now = wire.now();
        let mut buffer = [0; 256];
        let Poll::Ready((text, len)) = wire.poll_read(cx, &mut buffer) else {
            return Poll::Pending;
        };
        let payload = buffer.get_mut(..len).unwrap_or_default();
        let frame = match text {
            true => Frame::Text { fin: true, payload },
            false => Frame::Binary { fin: true, payload },
        };
        Poll::Ready(engine.handle_frame(now, frame).and_then(|event| result(event, call)))
    }
}

/// What came of `call`, if that is what happened.
fn result<T: Reply>(event: Event<'_>, call: Option<CallId>) -> Option<Result<T, DeskError>> {
    match event {
        Event::Ended { call: ended, outcome } if Some(ended) == call => Some(match outcome {
            Outcome::Answer(value) => value.deserialize().map_err(|_| DeskError::Answer),
            Outcome::Error(failure) => Err(DeskError::Server(failure.code)),
            Outcome::Unreadable(_) => Err(DeskError::Answer),
            _ => Err(DeskError::Lost),
        }),
        Event::Refused(_) => Some(Err(DeskError::Server(code::UNAUTHORIZED.into()))),
        Event::Closed(CloseReason::Eof) => Some(Err(DeskError::Lost)),
        _ => None,
    }
}

impl<W: Wire> Caller for Desk<W> {
    type Error = DeskError;
    type Bytes = Samples;
    type Progress = ();
    type Answer<'a, A, K, T>
        = Answer<'a, W, A, K, T>
    where
        W: 'a,
        A: Argument + 'a,
        K: Argument + 'a,
        T: Reply;

    fn ask<'a, A, K, T>(&'a self, asked: Asked<A, K, ()>) -> Answer<'a, W, A, K, T>
    where
        A: Argument + 'a,
        K: Argument + 'a,
        T: Reply,
    {
        Answer { desk: self, asked, call: None, answer: PhantomData }
    }
}

/// A call of the task: it drives the connection until it is answered.
#[derive(Debug)]
pub struct Answer<'a, W, A, K, T> {
    desk: &'a Desk<W>,
    asked: Asked<A, K, ()>,
    call: Option<CallId>,
    answer: PhantomData<fn() -> T>,
}

/// Nothing in it is pinned.
impl<W, A, K, T> Unpin for Answer<'_, W, A, K, T> {}

impl<W: Wire, A: Argument, K: Argument, T: Reply> Future for Answer<'_, W, A, K, T> {
    type Output = Result<T, DeskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { desk, asked, call, .. } = self.get_mut();
        loop {
            let now = desk.wire.borrow().now();
            let mut engine = desk.engine.borrow_mut();
            if call.is_none() && engine.is_open() {
                let Asked { method, args, kwargs, within, .. } = asked;
                let none = &mut heapless::Vec::new();
                *call = Some(engine.call(now, method, args, kwargs, *within, none)?);
            }
            drop(engine);
            desk.send();
            while let Some(event) = desk.engine.borrow_mut().poll_event() {
                if let Some(result) = result(event, *call) {
                    return Poll::Ready(result);
                }
            }
            match desk.poll_frame(cx, *call) {
                Poll::Ready(Some(result)) => return Poll::Ready(result),
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<W, A, K, T> Drop for Answer<'_, W, A, K, T> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.desk.engine.borrow_mut().cancel(call);
        }
    }
}
