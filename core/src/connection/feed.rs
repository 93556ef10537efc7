//! What one peer is sent of the hub's publications.

use super::outbound::Progress;
use crate::hub::{Due, Place, View};
use crate::wire::Dialect;
use crate::{Hub, Instant, Memory, PeerId, Policy, Table, TopicInfo};
use core::time::Duration;

/// A topic, as far as this peer is concerned.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// Publications before that number are done with: sent, missed, or older than the interest.
    since: u64,
    /// When the next publication may be sent.
    next_at: Instant,
    /// Those for this peer that are done with or wait, counted as the hub's tallies are.
    passed: u32,
    /// Passed over, and not yet told to the application, or to the client.
    missed: u32,
    untold: u32,
    /// Least time between two publications in ms, and flags above it.
    interval: u32,
}

/// The flags of a topic: the client wants it.
const WANTED: u32 = 1 << 31;
/// Named by the subscription that is being applied.
const PICKED: u32 = 1 << 30;
/// The retained value has to be sent, although it is older than `since`.
const DUE: u32 = 1 << 29;
/// The publication `since` waits: it came too soon, or only its retained value is left.
const WAITS: u32 = 1 << 28;
/// The longest interval, three days.
const INTERVAL: u32 = WAITS - 1;

impl Heard {
    const fn is(&self, flag: u32) -> bool {
        self.interval & flag != 0
    }

    const fn set(&mut self, flag: u32, on: bool) {
        self.interval = if on { self.interval | flag } else { self.interval & !flag };
    }

    /// Whether the flag was set; it is not any more.
    const fn take(&mut self, flag: u32) -> bool {
        let was = self.is(flag);
        self.set(flag, false);
        was
    }

    const fn interval(&self) -> u32 {
        self.interval & INTERVAL
    }
}

/// The publication under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current {
    pub(crate) place: Place,
    pub(crate) progress: Progress,
    /// It is older than the peer's interest in its topic.
    pub(crate) retained: bool,
    topic: u16,
}

impl Current {
    fn new(place: Place, topic: u16) -> Self {
        Self { place, progress: Progress::default(), retained: false, topic }
    }
}

/// What a client asks for by `wslink.subscribe` or `wslink.unsubscribe`; the topics are picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) subscribe: bool,
    /// Whether `wslink.lagged` was named.
    pub(crate) lagged: bool,
    /// Whether it counts as the client's choice of topics: to name nothing but `wslink.lagged`
    /// does not.
    pub(crate) narrows: bool,
    /// Least time between two publications of a topic in ms.
    pub(crate) interval: u32,
}

/// The peer fell behind on a topic that disconnects those who do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behind;

pub(crate) struct Feed<M: Memory> {
    pub(crate) peer: PeerId,
    topics: M::Topics<Heard>,
    /// Position in the hub's ring.
    cursor: u64,
    pub(crate) current: Option<Current>,
    /// When the client may be told of the next loss.
    lag_at: Instant,
    /// As [`Heard::passed`], for what is sent in any case.
    personal: u32,
    /// Whether the client ever subscribed; until then it is sent everything.
    narrowed: bool,
    /// Whether the client wants to be told of losses.
    tells_lag: bool,
}

impl<M: Memory> Feed<M> {
    pub(crate) fn new(peer: PeerId) -> Self {
        Self {
            peer,
            topics: M::Topics::default(),
            cursor: 0,
            current: None,
            lag_at: Instant::default(),
            personal: 0,
            narrowed: false,
            tells_lag: false,
        }
    }

    /// The peer was authenticated: it is sent everything from now on, and what is retained.
    pub(crate) fn join(&mut self, hub: &mut Hub<M>) {
        (_, self.cursor) = hub.range();
        for topic in 0..hub.topics() {
            let heard = Heard {
                since: 0,
                next_at: Instant::default(),
                passed: 0,
                missed: 0,
                untold: 0,
                interval: 0,
            };
            // The hub's own table, of the same memory, holds as many.
            _ = self.topics.push(heard);
            self.begin(topic, hub);
        }
    }

    /// The peer is interested in a topic from now on.
    fn begin(&mut self, topic: u16, hub: &mut Hub<M>) {
        let Some(heard) = self.topics.as_mut().get_mut(usize::from(topic)) else { return };
        heard.set(WANTED, true);
        heard.set(DUE, hub.retained(topic, self.peer).is_some());
        heard.set(WAITS, false);
        heard.passed = hub.tally(topic, self.peer).published;
        (_, heard.since) = hub.range();
        hub.listen(topic.into(), true);
    }

    pub(crate) fn leave(&mut self, hub: &mut Hub<M>) {
        for (topic, heard) in self.topics.as_mut().iter_mut().enumerate() {
            if heard.take(WANTED) {
                hub.listen(topic, false);
            }
        }
    }

    /// Notes the topics that a pattern names: a name, a prefix before `*`. A name that was not
    /// declared stands for nothing.
    pub(crate) fn pick(&mut self, pattern: &str, topics: &[TopicInfo]) {
        let prefix = pattern.strip_suffix('*');
        for (heard, info) in self.topics.as_mut().iter_mut().zip(topics) {
            let named = match prefix {
                Some(prefix) => info.name.starts_with(prefix),
                None => info.name == pattern,
            };
            heard.interval |= if named { PICKED } else { 0 };
        }
        // Those that were never declared can only be named all together.
        if let (Some(""), Some(last)) = (prefix, self.topics.as_mut().last_mut()) {
            last.set(PICKED, true);
        }
    }

    /// Whether the client is told of losses once `asked` is applied.
    pub(crate) const fn will_tell_lag(&self, asked: Subscription) -> bool {
        if asked.lagged { asked.subscribe } else { self.tells_lag }
    }

    /// Whether the declared topic of that index is sent once `asked` is applied.
    pub(crate) fn will_want(&self, topic: usize, asked: Subscription) -> bool {
        self.topics.as_ref().get(topic).is_some_and(|heard| {
            if heard.is(PICKED) {
                asked.subscribe
            } else {
                // The first time, all that was not picked is no longer sent.
                let first = asked.narrows && !self.narrowed;
                heard.is(WANTED) && !(asked.subscribe && first)
            }
        })
    }

    /// Subscribes to what was picked, or unsubscribes.
    pub(crate) fn apply(&mut self, asked: Subscription, hub: &mut Hub<M>) {
        for topic in 0..hub.topics() {
            let wanted = self.will_want(topic.into(), asked);
            let Some(heard) = self.topics.as_mut().get_mut(usize::from(topic)) else { break };
            let picked = heard.take(PICKED);
            // Those that were never declared stand for many: the newest of them all is not the newest
            // of each.
            if picked && asked.subscribe && hub.info(topic).is_some() {
                heard.interval = heard.interval & !INTERVAL | asked.interval.min(INTERVAL);
                heard.next_at = Instant::default();
            }
            match (heard.is(WANTED), wanted) {
                (false, true) => self.begin(topic, hub),
                (true, false) => {
                    heard.interval &= !(WANTED | DUE | WAITS);
                    hub.listen(topic.into(), false);
                }
                // It may not have listened yet when the retained value came, as a page on the stock
                // client has not. What has not been sent yet comes anyway.
                (true, true) if picked => {
                    let retained = hub.retained(topic, self.peer);
                    heard.set(DUE, retained.is_some_and(|number| number < heard.since));
                }
                _ => {}
            }
        }
        self.narrowed |= asked.narrows;
        self.tells_lag = self.will_tell_lag(asked);
    }

    /// Forgets what was picked.
    pub(crate) fn drop_picked(&mut self) {
        self.topics.as_mut().iter_mut().for_each(|heard| heard.set(PICKED, false));
    }

    /// The publication under way as it is in the hub; `None` if it was passed over.
    pub(crate) fn view<'h>(&self, dialect: Dialect, hub: &'h Hub<M>) -> Option<View<'h, M::Blob>> {
        hub.view(self.current?.place, dialect, self.peer)
    }

    /// Gives up the publication under way.
    ///
    /// # Errors
    /// The connection shall end.
    pub(crate) fn abandon(&mut self, hub: &Hub<M>) -> Result<(), Behind> {
        let Some(Current { place, retained, topic, .. }) = self.current.take() else {
            return Ok(());
        };
        if retained {
            // It was replaced by one that comes in its turn.
            return Ok(());
        }
        if let Place::Ring(number) = place
            && hub.retained(topic, self.peer) == Some(number)
            && let Some(heard) = self.topics.as_mut().get_mut(usize::from(topic))
            && heard.since == number + 1
        {
            heard.since = number;
            heard.set(WAITS, true);
            return Ok(());
        }
        self.lose(topic, 1, hub)
    }

    /// Moves to the next publication for this peer, unless one is under way; whether there is one.
    ///
    /// # Errors
    /// The connection shall end.
    pub(crate) fn pull(&mut self, now: Instant, hub: &Hub<M>) -> Result<bool, Behind> {
        if self.current.is_none() {
            self.catch_up(hub)?;
            self.current = match self.next_retained(now, hub) {
                Some(current) => Some(current),
                None => match self.next_waiting(now, hub)? {
                    Some(current) => Some(current),
                    None => self.next_in_ring(now, hub)?,
                },
            };
        }
        Ok(self.current.is_some())
    }

    /// Counts what the ring has passed over.
    fn catch_up(&mut self, hub: &Hub<M>) -> Result<(), Behind> {
        let (first, _) = hub.range();
        if self.cursor >= first {
            return Ok(());
        }
        let before = core::mem::replace(&mut self.cursor, first);
        let missed = ahead(hub.personal(self.peer).evicted, self.personal);
        self.personal = self.personal.wrapping_add(missed);
        let undeclared = hub.topics().saturating_sub(1);
        self.lose(undeclared, missed, hub)?;
        for topic in 0..hub.topics() {
            let Some(heard) = self.topics.as_mut().get_mut(usize::from(topic)) else { break };
            if !heard.is(WANTED) {
                continue;
            }
            let mut missed = ahead(hub.tally(topic, self.peer).evicted, heard.passed);
            heard.passed = heard.passed.wrapping_add(missed);
            // The last of them may be there as the retained value.
            let retained = hub.retained(topic, self.peer);
            if let Some(number) = retained
                && (before..first).contains(&number)
                && number >= heard.since
            {
                // What a client asked not to be sent so soon is not missed.
                let superseded = heard.is(WAITS) && heard.interval() == 0;
                missed = missed.saturating_sub(1) + u32::from(superseded);
                heard.set(WAITS, true);
                heard.since = number;
            }
            self.lose(topic, missed, hub)?;
        }
        Ok(())
    }

    /// Whether the next [`pull`](Self::pull) finds nothing, and no loss is to be told.
    pub(crate) fn is_quiet(&self, now: Instant, hub: &Hub<M>) -> bool {
        let (_, end) = hub.range();
        let mut topics = self.topics.as_ref().iter();
        self.current.is_none()
            && self.cursor == end
            && topics.all(|heard| heard.interval & (DUE | WAITS) == 0)
            && self.untold(now).is_none()
    }

    fn next_retained(&mut self, now: Instant, hub: &Hub<M>) -> Option<Current> {
        for (heard, topic) in self.topics.as_mut().iter_mut().zip(0..) {
            if !heard.take(DUE) {
                continue;
            }
            let number = hub.retained(topic, self.peer);
            // One that is newer than the peer's interest comes in its turn.
            if let Some(number) = number.filter(|number| *number < heard.since) {
                let place = Place::Retained { topic, number };
                heard.sent(now);
                return Some(Current { retained: true, ..Current::new(place, topic) });
            }
        }
        None
    }

    /// What has waited: of a client that asked for few, the newest there is by now. For that the
    /// ring is searched from behind, once in an interval at most.
    fn next_waiting(&mut self, now: Instant, hub: &Hub<M>) -> Result<Option<Current>, Behind> {
        for topic in 0..hub.topics() {
            let Some(heard) = self.topics.as_mut().get_mut(usize::from(topic)) else { break };
            if !heard.is(WAITS) || heard.next_at > now {
                continue;
            }
            heard.set(WAITS, false);
            let published = hub.tally(topic, self.peer).published;
            if heard.interval() > 0
                && let Some(newest) = hub.newest(topic, self.peer, heard.since)
            {
                heard.since = newest;
                heard.passed = published;
            }
            let number = heard.since;
            heard.since = number + 1;
            let behind = published.wrapping_sub(heard.passed);
            let (first, _) = hub.range();
            let place = if number >= first {
                Some(Place::Ring(number))
            } else {
                let retained = hub.retained(topic, self.peer).filter(|it| *it == number);
                retained.map(|number| Place::Retained { topic, number })
            };
            match place.filter(|_| behind < kept(topic, hub)) {
                Some(place) => {
                    heard.sent(now);
                    return Ok(Some(Current::new(place, topic)));
                }
                None => self.lose(topic, 1, hub)?,
            }
        }
        Ok(None)
    }

    fn next_in_ring(&mut self, now: Instant, hub: &Hub<M>) -> Result<Option<Current>, Behind> {
        while let Some((topic, due)) = hub.heading(self.cursor, self.peer) {
            let number = self.cursor;
            self.cursor += 1;
            let Some(heard) = self.topics.as_mut().get_mut(usize::from(topic)) else { continue };
            match due {
                Due::InAnyCase => {
                    self.personal = self.personal.wrapping_add(1);
                    return Ok(Some(Current::new(Place::Ring(number), topic)));
                }
                Due::IfWanted if heard.is(WANTED) && number >= heard.since => {}
                _ => continue,
            }
            heard.passed = heard.passed.wrapping_add(1);
            if heard.next_at > now {
                heard.set(WAITS, true);
                heard.since = number;
                continue;
            }
            heard.since = number + 1;
            let behind = hub.tally(topic, self.peer).published.wrapping_sub(heard.passed);
            if behind < kept(topic, hub) {
                heard.sent(now);
                return Ok(Some(Current::new(Place::Ring(number), topic)));
            }
            self.lose(topic, 1, hub)?;
        }
        Ok(None)
    }

    fn lose(&mut self, topic: u16, count: u32, hub: &Hub<M>) -> Result<(), Behind> {
        if count == 0 {
            return Ok(());
        }
        if let Some(heard) = self.topics.as_mut().get_mut(usize::from(topic)) {
            heard.missed = heard.missed.saturating_add(count);
            heard.untold = heard.untold.saturating_add(count);
        }
        if hub.policy(topic) == Policy::Disconnect { Err(Behind) } else { Ok(()) }
    }

    /// A loss that the application has not been told of: topic and count.
    pub(crate) fn poll_missed(&mut self) -> Option<(usize, u32)> {
        for (topic, heard) in self.topics.as_mut().iter_mut().enumerate() {
            let missed = core::mem::take(&mut heard.missed);
            if missed > 0 {
                return Some((topic, missed));
            }
        }
        None
    }

    /// A loss that the client wants to be told of, at most one a second: topic and count.
    pub(crate) fn untold(&self, now: Instant) -> Option<(usize, u32)> {
        if !self.tells_lag || self.lag_at > now {
            return None;
        }
        let mut topics = self.topics.as_ref().iter().map(|heard| heard.untold).enumerate();
        topics.find(|(_, untold)| *untold > 0)
    }

    /// The client is told of the loss in that topic.
    pub(crate) fn told(&mut self, now: Instant, topic: usize) {
        if let Some(heard) = self.topics.as_mut().get_mut(topic) {
            heard.untold = 0;
            self.lag_at = now + Duration::from_secs(1);
        }
    }

    /// What came too soon and may now be sent waits for the next pull, and for no deadline.
    pub(crate) fn ripen(&mut self, now: Instant) {
        let heard = self.topics.as_mut().iter_mut().map(|heard| &mut heard.next_at);
        for at in heard.chain([&mut self.lag_at]) {
            if *at <= now {
                *at = Instant::default();
            }
        }
    }

    /// When something that came too soon may be sent.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let topics = self.topics.as_ref().iter();
        let waiting = topics.clone().filter(|heard| heard.is(WAITS)).map(|heard| heard.next_at);
        let untold = self.tells_lag && topics.clone().any(|heard| heard.untold > 0);
        let lag_at = untold.then_some(self.lag_at);
        waiting.chain(lag_at).filter(|at| *at != Instant::default()).min()
    }
}

impl Heard {
    /// One is sent now.
    fn sent(&mut self, now: Instant) {
        self.next_at = now + Duration::from_millis(self.interval().into());
    }
}

/// By how much one count, which wraps, is ahead of another; it is behind by what a ring holds at
/// most.
const fn ahead(count: u32, of: u32) -> u32 {
    let ahead = count.wrapping_sub(of);
    if ahead < u32::MAX - u16::MAX as u32 { ahead } else { 0 }
}

/// How many of the newest publications a slow peer is sent.
fn kept<M: Memory>(topic: u16, hub: &Hub<M>) -> u32 {
    match hub.policy(topic) {
        Policy::KeepLatest => 1,
        Policy::DropOldest(count) => count.into(),
        Policy::Disconnect => u32::MAX,
    }
}
