//! What one peer is sent of the hub's publications.

use super::outbound::Progress;
use crate::hub::{Place, View};
use crate::wire::Dialect;
use crate::{Hub, Instant, Memory, PeerId, Policy, Table, TopicInfo};
use core::time::Duration;

/// A topic, as far as this peer is concerned.
#[derive(Clone, Copy, Debug)]
struct Heard {
    wanted: bool,
    /// Named by the subscription that is being applied.
    picked: bool,
    /// The retained value has to be sent.
    due: bool,
    /// A publication was passed over because it came too soon; the newest follows in its time.
    deferred: bool,
    /// Number of the next publication that the peer has not been sent.
    seen: u64,
    /// Older ones are retained values for it.
    joined_at: u64,
    /// Passed over, and not yet told to the application, or to the client.
    missed: u32,
    untold: u32,
    /// Least time between two publications in ms, and when the next one may be sent.
    interval: u32,
    next_at: Instant,
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

/// The peer fell behind on a topic that disconnects those who do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behind;

pub(crate) struct Feed<M: Memory> {
    pub(crate) peer: PeerId,
    topics: M::Topics<Heard>,
    /// Position in the hub's ring.
    cursor: u64,
    pub(crate) current: Option<Current>,
    /// Whether the client ever subscribed; until then it is sent everything.
    narrowed: bool,
    /// Whether the client wants to be told of losses, and when that may be next.
    tells_lag: bool,
    lag_at: Option<Instant>,
}

impl<M: Memory> Feed<M> {
    pub(crate) fn new(peer: PeerId) -> Self {
        Self {
            peer,
            topics: M::Topics::default(),
            cursor: 0,
            current: None,
            narrowed: false,
            tells_lag: false,
            lag_at: None,
        }
    }

    /// The peer was authenticated: it is sent everything from now on, and what is retained.
    pub(crate) fn join(&mut self, hub: &mut Hub<M>) {
        self.cursor = hub.range().0;
        for topic in 0..hub.states().len() {
            let heard = Heard {
                wanted: true,
                picked: false,
                due: false,
                deferred: false,
                seen: 0,
                joined_at: 0,
                missed: 0,
                untold: 0,
                interval: 0,
                next_at: Instant::default(),
            };
            // The hub's own table, of the same memory, holds as many.
            _ = self.topics.push(heard);
            self.begin(topic, hub);
        }
    }

    /// The peer is interested in a topic from now on.
    fn begin(&mut self, topic: usize, hub: &mut Hub<M>) {
        let next = hub.states().get(topic).map_or(0, |state| state.next);
        let retained = hub.retained(topic as u16);
        if let Some(heard) = self.topics.as_mut().get_mut(topic) {
            heard.wanted = true;
            heard.due = retained.is_some();
            heard.deferred = false;
            heard.seen = next;
            heard.joined_at = next;
            hub.listen(topic, true);
        }
    }

    pub(crate) fn leave(&mut self, hub: &mut Hub<M>) {
        for (topic, heard) in self.topics.as_mut().iter_mut().enumerate() {
            if core::mem::take(&mut heard.wanted) {
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
            heard.picked |= named;
        }
        // Those that were never declared can only be named all together.
        if let (Some(""), Some(last)) = (prefix, self.topics.as_mut().last_mut()) {
            last.picked = true;
        }
    }

    pub(crate) const fn tell_lag(&mut self, tells: bool) {
        self.tells_lag = tells;
    }

    pub(crate) const fn tells_lag(&self) -> bool {
        self.tells_lag
    }

    /// Subscribes to what was picked, or unsubscribes. The first time, all that was not picked
    /// is no longer sent; to ask for notices of loss narrows nothing.
    pub(crate) fn apply(&mut self, subscribe: bool, interval: u32, hub: &mut Hub<M>) {
        if self.tells_lag && !self.topics.as_ref().iter().any(|heard| heard.picked) {
            return;
        }
        let first = !core::mem::replace(&mut self.narrowed, true);
        for topic in 0..self.topics.as_ref().len() {
            let heard = &mut self.topics.as_mut()[topic];
            let picked = core::mem::take(&mut heard.picked);
            let wanted = match (picked, subscribe) {
                (true, subscribe) => subscribe,
                (false, true) => heard.wanted && !first,
                (false, false) => heard.wanted,
            };
            if picked && subscribe {
                heard.interval = interval;
                heard.next_at = Instant::default();
            }
            match (heard.wanted, wanted) {
                (false, true) => self.begin(topic, hub),
                (true, false) => {
                    heard.wanted = false;
                    heard.due = false;
                    heard.deferred = false;
                    hub.listen(topic, false);
                }
                (true, true) if picked => self.repeat(topic, hub),
                _ => {}
            }
        }
    }

    /// The client asks for a topic that it is sent already: it may not have listened yet when the
    /// retained value came, as a page on the stock client has not.
    fn repeat(&mut self, topic: usize, hub: &Hub<M>) {
        let retained = hub.retained(topic as u16);
        if let (Some(heard), Some(number)) = (self.topics.as_mut().get_mut(topic), retained) {
            // What has not been sent yet comes anyway.
            if number < heard.seen {
                heard.due = true;
                heard.joined_at = heard.joined_at.max(number + 1);
            }
        }
    }

    /// Whether the declared topic of that index is sent.
    pub(crate) fn wants(&self, topic: usize) -> bool {
        self.topics.as_ref().get(topic).is_some_and(|heard| heard.wanted)
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
        self.current.take().map_or(Ok(()), |current| self.lose(current.topic, 1, hub))
    }

    /// Moves to the next publication for this peer, unless one is under way; whether there is one.
    ///
    /// # Errors
    /// The connection shall end.
    pub(crate) fn pull(
        &mut self,
        now: Instant,
        dialect: Dialect,
        hub: &Hub<M>,
    ) -> Result<bool, Behind> {
        if self.current.is_some() {
            return Ok(true);
        }
        self.catch_up(hub)?;
        self.current = match self.next_retained(dialect, hub) {
            Some(current) => Some(current),
            None => match self.next_deferred(now, dialect, hub)? {
                Some(current) => Some(current),
                None => self.next_in_ring(now, dialect, hub)?,
            },
        };
        if let Some(current) = self.current
            && let Some(heard) = self.topics.as_mut().get_mut(usize::from(current.topic))
        {
            heard.deferred = false;
            heard.next_at = now + Duration::from_millis(heard.interval.into());
        }
        Ok(self.current.is_some())
    }

    /// Counts what the ring has passed over.
    fn catch_up(&mut self, hub: &Hub<M>) -> Result<(), Behind> {
        let (first, _) = hub.range();
        if self.cursor >= first {
            return Ok(());
        }
        self.cursor = first;
        for (topic, state) in hub.states().iter().enumerate() {
            let Some(heard) = self.topics.as_mut().get_mut(topic) else { break };
            let missed = state.oldest.saturating_sub(heard.seen);
            heard.seen += missed;
            if missed > 0 && heard.wanted {
                self.lose(topic as u16, missed, hub)?;
            }
        }
        Ok(())
    }

    fn next_retained(&mut self, dialect: Dialect, hub: &Hub<M>) -> Option<Current> {
        for (topic, heard) in self.topics.as_mut().iter_mut().enumerate() {
            let topic = topic as u16;
            if !core::mem::take(&mut heard.due) {
                continue;
            }
            let Some(number) = hub.retained(topic) else { continue };
            // A newer value than the peer's interest is one of many: it comes in its turn, if the
            // ring still has it.
            let oldest = hub.states().get(usize::from(topic)).map_or(0, |state| state.oldest);
            if number >= heard.joined_at && number >= oldest {
                continue;
            }
            let place = Place::Retained { topic, number };
            if hub.view(place, dialect, self.peer).is_some() {
                heard.seen = heard.seen.max(number + 1);
                return Some(Current {
                    place,
                    progress: Progress::default(),
                    retained: number < heard.joined_at,
                    topic,
                });
            }
        }
        None
    }

    fn next_deferred(
        &mut self,
        now: Instant,
        dialect: Dialect,
        hub: &Hub<M>,
    ) -> Result<Option<Current>, Behind> {
        for (topic, state) in hub.states().iter().enumerate() {
            let Some(heard) = self.topics.as_mut().get_mut(topic) else { break };
            if !heard.deferred || heard.next_at > now {
                continue;
            }
            heard.deferred = false;
            let topic = topic as u16;
            let newest = hub.heading(state.newest_at).map(|(_, number)| number);
            let (place, number) = match (newest, hub.retained(topic)) {
                (Some(number), _) => (Place::Ring(state.newest_at), number),
                (None, Some(number)) => (Place::Retained { topic, number }, number),
                (None, None) => {
                    // It has waited for longer than the ring could keep it.
                    if heard.seen < state.oldest {
                        heard.seen = state.oldest;
                        self.lose(topic, 1, hub)?;
                    }
                    continue;
                }
            };
            if number >= heard.seen && hub.view(place, dialect, self.peer).is_some() {
                heard.seen = number + 1;
                let progress = Progress::default();
                return Ok(Some(Current { place, progress, retained: false, topic }));
            }
        }
        Ok(None)
    }

    fn next_in_ring(
        &mut self,
        now: Instant,
        dialect: Dialect,
        hub: &Hub<M>,
    ) -> Result<Option<Current>, Behind> {
        while let Some((topic, number)) = hub.heading(self.cursor) {
            let place = Place::Ring(self.cursor);
            let personal = hub.is_personal(self.cursor);
            self.cursor += 1;
            let Some(heard) = self.topics.as_mut().get_mut(usize::from(topic)) else { continue };
            if number < heard.seen {
                continue;
            }
            if !(heard.wanted || personal) || hub.view(place, dialect, self.peer).is_none() {
                heard.seen = number + 1;
                continue;
            }
            if heard.next_at > now {
                heard.deferred = true;
                continue;
            }
            heard.seen = number + 1;
            let behind = hub.states()[usize::from(topic)].next - number;
            let kept = match hub.policy(topic) {
                Policy::KeepLatest => 1,
                Policy::DropOldest(count) => u64::from(count),
                Policy::Disconnect => u64::MAX,
            };
            if behind > kept {
                self.lose(topic, 1, hub)?;
                continue;
            }
            let progress = Progress::default();
            return Ok(Some(Current { place, progress, retained: false, topic }));
        }
        Ok(None)
    }

    fn lose(&mut self, topic: u16, count: u64, hub: &Hub<M>) -> Result<(), Behind> {
        if let Some(heard) = self.topics.as_mut().get_mut(usize::from(topic)) {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
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

    /// A loss that the client wants to be told of, at most one a second.
    pub(crate) fn poll_untold(&mut self, now: Instant) -> Option<(usize, u32)> {
        if !self.tells_lag || self.lag_at.is_some_and(|at| at > now) {
            return None;
        }
        let mut topics = self.topics.as_mut().iter_mut().enumerate();
        let (topic, heard) = topics.find(|(_, heard)| heard.untold > 0)?;
        self.lag_at = Some(now + Duration::from_secs(1));
        Some((topic, core::mem::take(&mut heard.untold)))
    }

    /// What came too soon and may now be sent waits for the next pull, and for no deadline.
    pub(crate) fn ripen(&mut self, now: Instant) {
        self.lag_at.take_if(|at| *at <= now);
        for heard in self.topics.as_mut() {
            if heard.next_at <= now {
                heard.next_at = Instant::default();
            }
        }
    }

    /// When something that came too soon may be sent.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let topics = self.topics.as_ref().iter();
        let later = |heard: &&Heard| heard.deferred && heard.next_at != Instant::default();
        let deferred = topics.clone().filter(later).map(|heard| heard.next_at);
        let untold = self.tells_lag && topics.clone().any(|heard| heard.untold > 0);
        deferred.chain(self.lag_at.filter(|_| untold)).min()
    }
}
