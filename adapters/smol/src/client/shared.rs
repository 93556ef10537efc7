//! What all handles of a client have in common with its driver.

use super::error::{Error, ServerError};
use super::progress::Progress;
use super::topic::{Listener, TopicError};
use super::upload::Blob;
use super::value::{Value, sharing};
use crate::shared::lock;
use crate::{Heap, HeapTable};
use bytes::Bytes;
use core::mem;
use core::time::Duration;
use event_listener::{Event as Bell, EventListener};
use futures_util::task::AtomicWaker;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use smol::channel::{Receiver, Sender, bounded};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant as StdInstant;
use wslink_core::client::{self, CallError, Event, Failure, Outcome};
use wslink_core::{CallId, CloseCode, CloseReason, Instant};

pub(super) type Engine = client::Client<Heap<Blob>>;

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
    waiting: HashMap<CallId, Waiting>,
    watched: HashMap<CallId, Progress>,
    /// By what name a call of a server of this project was known last.
    token: u32,
    /// Calls that still run there and that nobody waits for. Nothing else is called before these
    /// are cancelled, so there are no more than there may be calls.
    unwanted: Vec<u32>,
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

struct Waiting {
    waiter: Box<dyn Waiter>,
    /// By what name the server can cancel it.
    token: Option<u32>,
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

/// An answer that nobody waits for, to a call of this method.
struct Ignored(&'static str);

impl Waiter for Ignored {
    fn end(self: Box<Self>, outcome: Outcome<'_>, _: Option<Bytes>, _: &mut Rest) {
        if let Outcome::Error(failure) = outcome {
            let Failure { message, code, .. } = failure;
            log::debug!("{}: {message:?} ({code})", self.0);
        }
    }
}

/// Keyword arguments, and the name that a call is given.
#[derive(Serialize)]
struct Named<'a, K: ?Sized> {
    #[serde(flatten)]
    kwargs: &'a K,
    wslink_token: u32,
}

/// How far a method says that it is.
#[derive(Deserialize)]
struct Told {
    token: u32,
    done: u64,
    total: Option<u64>,
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
        lock(&self.state)
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
        blobs: &mut Vec<Blob>,
    ) -> Option<Result<Taken<T>, Error>>
    where
        T: DeserializeOwned + Send + 'static,
        A: Serialize + ?Sized,
        K: Serialize + ?Sized,
    {
        let mut state = self.state();
        state.cancel_unwanted(self.now());
        if !state.rest.unwanted.is_empty() {
            return None;
        }
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
        state.rest.watched.remove(&call);
        let token = state.rest.waiting.remove(&call).and_then(|it| it.token);
        let Some(engine) = &mut state.engine else { return };
        // What has not begun to leave is not sent at all.
        let begun = engine.sending(call).is_some_and(|(sent, _)| sent > 0);
        engine.cancel(call);
        state.rest.unwanted.extend(token.filter(|_| begun));
        drop(state);
        self.driver.wake();
    }

    pub(super) fn listen(&self, listener: Arc<dyn Listener>) {
        let mut state = self.state();
        if state.rest.over {
            return listener.end();
        }
        // Of the rates of a topic the last one that was asked for holds.
        let faster = |other: &&Arc<dyn Listener>| {
            other.max_rate() > listener.max_rate()
                && overlaps(other.patterns(), listener.patterns())
        };
        let mut wanted: Vec<_> = state.rest.listeners.iter().filter(faster).cloned().collect();
        wanted.push(Arc::clone(&listener));
        state.ask_for(self.now(), wanted);
        state.rest.listeners.push(listener);
        drop(state);
        self.driver.wake();
    }

    /// The listener at this place is gone.
    pub(super) fn unlisten(&self, patterns: &[String], max_rate: f64, at: *const ()) {
        let mut state = self.state();
        state.rest.listeners.retain(|it| Arc::as_ptr(it).cast::<()>() != at);
        // A topic that is taken away is taken from all patterns that it fits, so what somebody
        // else may want too stays.
        let wanted = |pattern: &&String| {
            let mut others = state.rest.listeners.iter().flat_map(|it| it.patterns());
            others.any(|other| overlap(pattern, other))
        };
        let gone: Vec<String> = patterns.iter().filter(|it| !wanted(it)).cloned().collect();
        // Those that want less of a topic need no longer be sent as much.
        let others = || state.rest.listeners.iter().filter(|it| overlaps(it.patterns(), patterns));
        let slower = others().any(|it| it.max_rate() < max_rate);
        let left = if slower { others().cloned().collect() } else { Vec::new() };
        if state.rest.ours && !gone.is_empty() {
            state.subscribe(self.now(), "wslink.unsubscribe", &(&gone,));
        }
        state.ask_for(self.now(), left);
        drop(state);
        self.driver.wake();
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
        self.rest.unwanted.clear();
        self.rest.connection += 1;
    }

    /// Cancels what nobody waits for, as far as there is room for that; whether there was any.
    pub(super) fn cancel_unwanted(&mut self, now: Instant) -> bool {
        let mut cancelled = false;
        while let Some(token) = self.rest.unwanted.last() {
            let args = (*token,);
            if let Err(CallError::Full(_)) = self.ask_in_passing(now, "wslink.cancel", &args) {
                break;
            }
            self.rest.unwanted.pop();
            cancelled = true;
        }
        cancelled
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
            if self.rest.listeners.is_empty() {
                // A call of its own: who never asks is sent everything.
                self.subscribe(now, "wslink.subscribe", &([""; 0],));
            }
            self.ask_for(now, self.rest.listeners.clone());
        }
    }

    /// Asks a server of this project for what these want, for the lowest rate first: where a topic
    /// has several, the last one holds.
    fn ask_for(&mut self, now: Instant, mut wanted: Vec<Arc<dyn Listener>>) {
        if !self.rest.ours {
            return;
        }
        wanted.sort_by(|a, b| a.max_rate().total_cmp(&b.max_rate()));
        for alike in wanted.chunk_by(|a, b| a.max_rate() == b.max_rate()) {
            let patterns: Vec<&String> = alike.iter().flat_map(|it| it.patterns()).collect();
            let rate = alike.first().map(|it| it.max_rate()).filter(|it| it.is_finite());
            match rate {
                Some(rate) => self.subscribe(now, "wslink.subscribe", &(patterns, rate)),
                None => self.subscribe(now, "wslink.subscribe", &(patterns,)),
            }
        }
    }

    fn ask<A: Serialize + ?Sized, K: Serialize + ?Sized>(
        &mut self,
        now: Instant,
        asked: &Asked<'_, A, K>,
        blobs: &mut Vec<Blob>,
        waiter: Box<dyn Waiter>,
    ) -> Result<CallId, CallError> {
        let engine = self.engine.as_mut().filter(|it| it.is_open()).ok_or(CallError::NotOpen)?;
        let mut table = HeapTable::from(mem::take(blobs));
        let Asked { method, args, kwargs, within, progress } = *asked;
        let token = (self.rest.ours && !is_builtin(method)).then(|| self.rest.next_token());
        let result = match token {
            Some(wslink_token) => {
                let kwargs = Named { kwargs, wslink_token };
                engine.call(now, method, args, &kwargs, within, &mut table)
            }
            None => engine.call(now, method, args, kwargs, within, &mut table),
        };
        *blobs = table.into();
        let call = result?;
        self.rest.waiting.insert(call, Waiting { waiter, token });
        if let Some(progress) = progress {
            self.rest.watched.insert(call, progress.clone());
        }
        Ok(call)
    }

    /// Calls a method of the server's own, whose answer nobody waits for.
    fn ask_in_passing<A: Serialize + ?Sized>(
        &mut self,
        now: Instant,
        method: &'static str,
        args: &A,
    ) -> Result<(), CallError> {
        let asked = Asked { method, args, kwargs: &(), within: None, progress: None };
        self.ask(now, &asked, &mut Vec::new(), Box::new(Ignored(method))).map(drop)
    }

    fn subscribe(&mut self, now: Instant, method: &'static str, args: &impl Serialize) {
        // Without a connection all is subscribed to when there is one again.
        if let Err(error) = self.ask_in_passing(now, method, args) {
            log::debug!("{method}: {error}");
        }
    }
}

impl Rest {
    /// A name for a call; people who give their own begin with small numbers.
    const fn next_token(&mut self) -> u32 {
        self.token = self.token.wrapping_add(1) | 1 << 31;
        self.token
    }

    /// A method says how far it is.
    fn tell_done(&self, told: &Told) {
        let named = |(_, waiting): &(_, &Waiting)| waiting.token == Some(told.token);
        let call = self.waiting.iter().find(named).map(|(call, _)| call);
        if let Some(progress) = call.and_then(|call| self.watched.get(call)) {
            progress.tell_done(told.done, told.total);
        }
    }

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
                if let Some(Waiting { waiter, token }) = self.waiting.remove(&call) {
                    if matches!(outcome, Outcome::Expired) {
                        self.unwanted.extend(token);
                    }
                    waiter.end(outcome, frame, self);
                }
            }
            Event::Publication { topic, retained, value } => {
                if topic == "wslink.progress"
                    && !self.watched.is_empty()
                    && let Ok(told) = value.deserialize()
                {
                    self.tell_done(&told);
                }
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

/// Whether a method is the server's own, to which no name can be given.
fn is_builtin(method: &str) -> bool {
    method.starts_with("wslink.") || matches!(method, "application.exit" | "application.exit.later")
}

fn overlaps(one: &[String], other: &[String]) -> bool {
    one.iter().any(|a| other.iter().any(|b| overlap(a, b)))
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
