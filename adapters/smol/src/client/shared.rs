//! What all handles of a client have in common with its driver.

use super::error::{Error, ServerError};
use super::progress::Progress;
use super::topic::{Listener, TopicError};
use super::value::{Value, sharing};
use crate::{Heap, HeapTable};
use bytes::Bytes;
use core::mem;
use core::time::Duration;
use event_listener::{Event as Bell, EventListener};
use futures_util::task::AtomicWaker;
use serde::Serialize;
use serde::de::DeserializeOwned;
use smol::channel::{Receiver, Sender, bounded};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant as StdInstant;
use wslink_core::client::{self, CallError, Event, Failure, Outcome};
use wslink_core::{CallId, CloseCode, CloseReason, Instant};

pub(super) type Engine = client::Client<Heap<Bytes>>;

/// Dropped with the last that needs the connection: a client, a call, a subscription.
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) driver: AtomicWaker,
    /// Rings when there may be room for a call, and when the connection comes or goes.
    bell: Bell,
    epoch: StdInstant,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) engine: Option<Engine>,
    pub(super) rest: Rest,
}

/// All but the engine, which lends what it tells.
#[derive(Default)]
pub(super) struct Rest {
    /// Counts connections, so that a call of an earlier one is not taken for one of this.
    connection: u64,
    waiting: HashMap<CallId, Box<dyn Waiter>>,
    watched: HashMap<CallId, Progress>,
    listeners: Vec<Arc<dyn Listener>>,
    /// Whether the server has topics that can be asked for; unknown until it has described itself.
    ours: bool,
    session: Option<String>,
    /// It has described itself just now.
    described: bool,
    pub(super) greeting: Greeting,
    /// This is not the first connection, and listeners have to be told.
    returning: bool,
    pub(super) closing: bool,
    /// The driver is gone.
    over: bool,
}

/// What became of the hello.
#[derive(Debug, Default)]
pub(super) enum Greeting {
    #[default]
    Waiting,
    Accepted,
    Refused(ServerError),
}

/// A call that waits for its end.
pub(super) trait Waiter: Send {
    fn end(self: Box<Self>, outcome: Outcome<'_>, frame: Option<Bytes>, rest: &mut Rest);
}

struct Typed<T>(Sender<Result<T, Error>>);

impl<T: DeserializeOwned + Send> Waiter for Typed<T> {
    fn end(self: Box<Self>, outcome: Outcome<'_>, frame: Option<Bytes>, _: &mut Rest) {
        let result = match outcome {
            Outcome::Answer(value) => sharing(frame, || value.deserialize()).map_err(Error::from),
            other => Err(Error::of(other)),
        };
        // Nobody may wait any more.
        _ = self.0.try_send(result);
    }
}

/// The first answer of a server that describes itself; upstream's know no such method.
struct Described;

impl Waiter for Described {
    fn end(self: Box<Self>, outcome: Outcome<'_>, _: Option<Bytes>, rest: &mut Rest) {
        let described: Option<Value> = match outcome {
            Outcome::Answer(value) => value.deserialize().ok(),
            _ => None,
        };
        let session =
            described.as_ref().and_then(|it| it.get("session")?.as_str()).map(ToOwned::to_owned);
        rest.ours = described.is_some();
        rest.described = true;
        let before = mem::replace(&mut rest.session, session);
        if mem::take(&mut rest.returning) {
            let same_session = match (&before, &rest.session) {
                (Some(before), Some(session)) => Some(before == session),
                _ => None,
            };
            for listener in &rest.listeners {
                listener.tell(TopicError::Reconnected { same_session });
            }
        }
    }
}

/// An answer that nobody waits for.
struct Ignored;

impl Waiter for Ignored {
    fn end(self: Box<Self>, outcome: Outcome<'_>, _: Option<Bytes>, _: &mut Rest) {
        if let Outcome::Error(failure) = outcome {
            let Failure { message, code, .. } = failure;
            log::debug!("a subscription was refused: {message:?} ({code})");
        }
    }
}

/// A call as it is put into the engine.
pub(super) struct Asked<'a, A: ?Sized, K: ?Sized> {
    pub(super) method: &'a str,
    pub(super) args: &'a A,
    pub(super) kwargs: &'a K,
    pub(super) within: Option<Duration>,
    pub(super) progress: Option<&'a Progress>,
}

/// A call that was taken: where its end comes, and under which name it can be cancelled.
pub(super) struct Taken<T> {
    pub(super) answer: Receiver<Result<T, Error>>,
    pub(super) call: CallId,
    pub(super) connection: u64,
}

impl Shared {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            driver: AtomicWaker::new(),
            bell: Bell::new(),
            epoch: StdInstant::now(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Instant {
        let millis = self.epoch.elapsed().as_millis();
        Instant::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// The same point in time on the runtime's clock.
    pub(super) fn std_instant(&self, at: Instant) -> StdInstant {
        let far = Duration::from_secs(365 * 24 * 3600);
        self.epoch + Duration::from_millis(at.as_millis()).min(self.epoch.elapsed() + far)
    }

    pub(super) fn listener(&self) -> EventListener {
        self.bell.listen()
    }

    pub(super) fn ring(&self) {
        self.bell.notify(usize::MAX);
    }

    /// Puts a call into the engine; `None` if there is no room now.
    pub(super) fn ask<T, A, K>(
        &self,
        asked: &Asked<'_, A, K>,
        blobs: &mut Vec<Bytes>,
    ) -> Option<Result<Taken<T>, Error>>
    where
        T: DeserializeOwned + Send + 'static,
        A: Serialize + ?Sized,
        K: Serialize + ?Sized,
    {
        let mut state = self.state();
        let (sender, answer) = bounded(1);
        let connection = state.rest.connection;
        let result = state.ask(self.now(), asked, blobs, Box::new(Typed::<T>(sender)));
        drop(state);
        match result {
            Ok(call) => {
                self.driver.wake();
                Some(Ok(Taken { answer, call, connection }))
            }
            Err(CallError::Full(_)) => None,
            Err(error) => Some(Err(error.into())),
        }
    }

    /// Nobody waits for this call any more.
    pub(super) fn cancel(&self, connection: u64, call: CallId) {
        let mut state = self.state();
        if state.rest.connection != connection {
            return;
        }
        state.rest.waiting.remove(&call);
        state.rest.watched.remove(&call);
        if let Some(engine) = &mut state.engine {
            engine.cancel(call);
            drop(state);
            self.driver.wake();
        }
    }

    pub(super) fn listen(&self, listener: Arc<dyn Listener>) {
        let mut state = self.state();
        if state.rest.over {
            return listener.end();
        }
        if state.rest.ours {
            state.subscribe(self.now(), "wslink.subscribe", listener.patterns());
        }
        state.rest.listeners.push(listener);
        drop(state);
        self.driver.wake();
    }

    /// The listener at this place is gone.
    pub(super) fn unlisten(&self, patterns: &[String], at: *const ()) {
        let mut state = self.state();
        state.rest.listeners.retain(|it| Arc::as_ptr(it).cast::<()>() != at);
        // A topic that is taken away is taken from all patterns that it fits, so what somebody
        // else may want too stays.
        let wanted = |pattern: &&String| {
            let mut others = state.rest.listeners.iter().flat_map(|it| it.patterns());
            others.any(|other| overlap(pattern, other))
        };
        let gone: Vec<String> = patterns.iter().filter(|it| !wanted(it)).cloned().collect();
        if state.rest.ours && !gone.is_empty() {
            state.subscribe(self.now(), "wslink.unsubscribe", &gone);
            drop(state);
            self.driver.wake();
        }
    }

    pub(super) fn close(&self) {
        let mut state = self.state();
        state.rest.closing = true;
        let now = self.now();
        if let Some(engine) = &mut state.engine {
            engine.close(now, CloseCode::Normal, "");
        }
        drop(state);
        self.driver.wake();
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().rest.over
    }

    pub(super) fn is_open(&self) -> bool {
        self.state().engine.as_ref().is_some_and(Engine::is_open)
    }

    /// The driver is gone: nothing more comes.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.rest.over = true;
        state.lose();
        for listener in mem::take(&mut state.rest.listeners) {
            listener.end();
        }
        drop(state);
        self.ring();
    }
}

impl State {
    /// A new connection begins.
    pub(super) fn begin(&mut self, engine: Engine) {
        self.engine = Some(engine);
        self.rest.greeting = Greeting::Waiting;
        self.rest.ours = false;
    }

    /// The connection is over, and with it all calls.
    pub(super) fn lose(&mut self) {
        if let Some(mut engine) = self.engine.take() {
            self.rest.returning |= engine.is_greeted();
            engine.handle_eof();
            while let Some(event) = engine.poll_event() {
                self.rest.take(event, None);
            }
        }
        self.rest.connection += 1;
    }

    /// The hello was accepted: asks who the server is. What is listened to is asked for when it has
    /// answered; until then it sends everything.
    pub(super) fn greeted(&mut self, now: Instant) {
        let asked = Asked {
            method: "wslink.describe",
            args: &(),
            kwargs: &(),
            within: None,
            progress: None,
        };
        if let Err(error) = self.ask(now, &asked, &mut Vec::new(), Box::new(Described)) {
            log::debug!("wslink.describe: {error}");
        }
    }

    /// Tells how far those calls have come of which somebody wants to know.
    pub(super) fn tell_progress(&self) {
        let Some(engine) = self.engine.as_ref().filter(|_| !self.rest.watched.is_empty()) else {
            return;
        };
        for (call, progress) in &self.rest.watched {
            engine.sending(*call).into_iter().for_each(|sent| progress.tell_sent(sent));
        }
        for (call, received, total) in engine.receiving() {
            if let Some(progress) = self.rest.watched.get(&call) {
                progress.tell_received(received, total);
            }
        }
    }

    /// Asks a server that has described itself for what is listened to.
    pub(super) fn resubscribe(&mut self, now: Instant) {
        if mem::take(&mut self.rest.described) && self.rest.ours {
            let patterns: Vec<String> =
                self.rest.listeners.iter().flat_map(|it| it.patterns()).cloned().collect();
            self.subscribe(now, "wslink.subscribe", &patterns);
        }
    }

    fn ask<A: Serialize + ?Sized, K: Serialize + ?Sized>(
        &mut self,
        now: Instant,
        asked: &Asked<'_, A, K>,
        blobs: &mut Vec<Bytes>,
        waiter: Box<dyn Waiter>,
    ) -> Result<CallId, CallError> {
        let engine = self.engine.as_mut().filter(|it| it.is_open()).ok_or(CallError::NotOpen)?;
        let mut table = HeapTable::from(mem::take(blobs));
        let Asked { method, args, kwargs, within, progress } = *asked;
        let result = engine.call(now, method, args, kwargs, within, &mut table);
        *blobs = table.into();
        let call = result?;
        self.rest.waiting.insert(call, waiter);
        if let Some(progress) = progress {
            self.rest.watched.insert(call, progress.clone());
        }
        Ok(call)
    }

    fn subscribe(&mut self, now: Instant, method: &str, patterns: &[String]) {
        let asked = Asked { method, args: &(patterns,), kwargs: &(), within: None, progress: None };
        // Without a connection all is subscribed to when there is one again.
        if let Err(error) = self.ask(now, &asked, &mut Vec::new(), Box::new(Ignored)) {
            log::debug!("{method}: {error}");
        }
    }
}

impl Rest {
    /// Takes in what the engine tells, which lies in `frame` if it came in one; gives the reason
    /// if that is the end.
    pub(super) fn take(&mut self, event: Event<'_>, frame: Option<Bytes>) -> Option<CloseReason> {
        match event {
            Event::Welcome { .. } => self.greeting = Greeting::Accepted,
            Event::Refused(failure) => {
                self.greeting = Greeting::Refused(ServerError::of(failure));
            }
            Event::Ended { call, outcome } => {
                self.watched.remove(&call);
                if let Some(waiter) = self.waiting.remove(&call) {
                    waiter.end(outcome, frame, self);
                }
            }
            Event::Publication { topic, retained, value } => {
                let mut name = None;
                for listener in self.listeners.iter().filter(|it| it.wants(topic)) {
                    let name = name.get_or_insert_with(|| Arc::<str>::from(topic));
                    listener.publish(name, retained, value, frame.clone());
                }
            }
            Event::Unpublished { topic, failure: Failure { message, code, .. } } => {
                log::warn!("the server could not publish {topic:?}: {message:?} ({code})");
            }
            Event::Unreadable(why) => log::warn!("a message was passed over: {why}"),
            Event::Closed(reason) => return Some(reason),
            _ => {}
        }
        None
    }
}

/// Whether there may be a topic that both patterns fit.
fn overlap(a: &str, b: &str) -> bool {
    match (a.strip_suffix('*'), b.strip_suffix('*')) {
        (Some(a), Some(b)) => a.starts_with(b) || b.starts_with(a),
        (Some(prefix), None) => b.starts_with(prefix),
        (None, Some(prefix)) => a.starts_with(prefix),
        (None, None) => a == b,
    }
}
