//! When something is due.

use crate::{CloseReason, Deadlines, Instant, TimeoutReason};
use core::time::Duration;

/// [`Deadlines`] in milliseconds, in a quarter of their size; `u32::MAX`, 49 days, is never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Periods {
    hello: u32,
    ping: u32,
    pong: u32,
    partial: u32,
    write: u32,
    call: u32,
    close: u32,
}

impl Periods {
    pub(crate) fn new(deadlines: &Deadlines) -> Self {
        let millis =
            |it: Duration| u32::try_from(it.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX);
        Self {
            hello: millis(deadlines.hello),
            ping: deadlines.ping.map_or(u32::MAX, millis),
            pong: millis(deadlines.pong),
            partial: millis(deadlines.partial),
            write: millis(deadlines.write),
            call: deadlines.call.map_or(u32::MAX, millis),
            close: millis(deadlines.close),
        }
    }

    /// When a call of now expires that has no deadline of its own.
    pub(crate) fn call(&self, now: Instant) -> Option<Instant> {
        after(now, self.call)
    }
}

fn after(since: Instant, period: u32) -> Option<Instant> {
    (period != u32::MAX).then(|| since + Duration::from_millis(period.into()))
}

/// The points in time from which the deadlines of a connection count; those of calls are in the
/// call table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timers {
    started: Instant,
    /// When anything last came from the peer.
    heard: Instant,
    ping: Ping,
    /// Since when the transport takes nothing.
    blocked: Option<Instant>,
    /// When our Close was sent.
    closing: Option<Instant>,
}

/// A ping that nothing has followed.
#[derive(Clone, Copy, Debug)]
enum Ping {
    None,
    /// It may have to wait for a frame that goes out slowly.
    Wanted,
    Sent(Instant),
}

/// What else is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    /// Whether no hello is due or waits.
    pub(crate) greeted: bool,
    /// Whether the transport is read.
    pub(crate) listening: bool,
    /// The last piece of the unfinished message that has waited longest.
    pub(crate) partial: Option<Instant>,
    pub(crate) call: Option<Instant>,
    /// When a publication that came too soon may be sent.
    pub(crate) rate: Option<Instant>,
}

impl Timers {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { started: now, heard: now, ping: Ping::None, blocked: None, closing: None }
    }

    /// Anything came: the peer lives.
    pub(crate) const fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.ping = Ping::None;
    }

    /// A hello has come, and waits for its verdict from now on.
    pub(crate) const fn restart(&mut self, now: Instant) {
        self.started = now;
    }

    /// A ping is to be sent.
    pub(crate) const fn want_ping(&mut self) {
        self.ping = Ping::Wanted;
    }

    /// It has been sent.
    pub(crate) const fn pinged(&mut self, now: Instant) {
        self.ping = Ping::Sent(now);
    }

    pub(crate) fn blocked(&mut self, now: Instant) {
        self.blocked.get_or_insert(now);
    }

    pub(crate) const fn written(&mut self) {
        self.blocked = None;
    }

    pub(crate) fn closing(&mut self, now: Instant) {
        self.closing.get_or_insert(now);
    }

    /// The next deadline. While our Close waits for the peer's, nothing else counts.
    pub(crate) fn next(
        &self,
        periods: &Periods,
        pending: Pending,
    ) -> Option<(Instant, TimeoutReason)> {
        if let Some(since) = self.closing {
            return Some((after(since, periods.close)?, TimeoutReason::Close));
        }
        let hello = if pending.greeted { None } else { after(self.started, periods.hello) };
        let (ping, pong) = match self.ping {
            _ if !pending.listening => (None, None),
            Ping::None => (after(self.heard, periods.ping), None),
            Ping::Wanted => (None, None),
            Ping::Sent(since) => (None, after(since, periods.pong)),
        };
        let partial = pending.partial.and_then(|since| after(since, periods.partial));
        let write = self.blocked.and_then(|since| after(since, periods.write));
        [
            (hello, TimeoutReason::Hello),
            (pong, TimeoutReason::Pong),
            (ping, TimeoutReason::Ping),
            (partial, TimeoutReason::Partial),
            (write, TimeoutReason::Write),
            (pending.call, TimeoutReason::Call),
            (pending.rate, TimeoutReason::Rate),
        ]
        .into_iter()
        .filter_map(|(at, reason)| Some((at?, reason)))
        .min_by_key(|(at, _)| *at)
    }

    /// What became of a connection whose deadline `reason` passed; `None` if it goes on.
    pub(crate) const fn outcome(reason: TimeoutReason) -> Option<CloseReason> {
        match reason {
            TimeoutReason::Ping | TimeoutReason::Call | TimeoutReason::Rate => None,
            _ => Some(CloseReason::Timeout(reason)),
        }
    }
}
