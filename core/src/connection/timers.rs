//! When something is due.

use crate::time::millis;
use crate::{Deadlines, Instant, TimeoutReason};
use core::time::Duration;

/// [`Deadlines`] in milliseconds, in a quarter of their size; `u32::MAX`, 49 days, is never.
#[derive(Clone, Copy, Debug)]
struct Periods {
    hello: u32,
    ping: u32,
    pong: u32,
    partial: u32,
    write: u32,
    call: u32,
    close: u32,
}

impl Periods {
    fn new(deadlines: &Deadlines) -> Self {
        let millis = |it: Duration| u32::try_from(millis(it)).unwrap_or(u32::MAX);
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
}

fn after(since: Instant, period: u32) -> Option<Instant> {
    let at = since.as_millis().saturating_add(period.into());
    (period != u32::MAX).then_some(Instant::from_millis(at))
}

/// The deadlines of a connection, and the points in time from which they count; those of calls are
/// in the call table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timers {
    periods: Periods,
    /// Since when a hello or its verdict is due, or once it is closing, the peer's Close.
    since: Instant,
    closing: bool,
    /// When anything last came from the peer.
    heard: Instant,
    /// A ping that nothing has followed: it may have to wait for a frame that goes out slowly.
    wants_ping: bool,
    pinged: Option<Instant>,
    /// Since when the transport takes nothing.
    blocked: Option<Instant>,
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
    pub(crate) fn new(deadlines: &Deadlines, now: Instant) -> Self {
        Self {
            periods: Periods::new(deadlines),
            since: now,
            closing: false,
            heard: now,
            wants_ping: false,
            pinged: None,
            blocked: None,
        }
    }

    /// Anything came: the peer lives.
    pub(crate) const fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.wants_ping = false;
        self.pinged = None;
    }

    /// A hello has come, and waits for its verdict from now on.
    pub(crate) const fn restart(&mut self, now: Instant) {
        self.since = now;
    }

    /// A ping is to be sent.
    pub(crate) const fn want_ping(&mut self) {
        self.wants_ping = true;
        self.pinged = None;
    }

    /// It has been sent.
    pub(crate) const fn pinged(&mut self, now: Instant) {
        self.wants_ping = false;
        self.pinged = Some(now);
    }

    pub(crate) fn blocked(&mut self, now: Instant) {
        self.blocked.get_or_insert(now);
    }

    pub(crate) const fn written(&mut self) {
        self.blocked = None;
    }

    pub(crate) const fn closing(&mut self, now: Instant) {
        if !self.closing {
            self.closing = true;
            self.since = now;
        }
    }

    /// When a call of now expires that has no deadline of its own.
    pub(crate) fn call(&self, now: Instant) -> Option<Instant> {
        after(now, self.periods.call)
    }

    /// The next deadline. While our Close waits for the peer's, nothing else counts.
    pub(crate) fn next(&self, pending: Pending) -> Option<(Instant, TimeoutReason)> {
        let periods = &self.periods;
        if self.closing {
            return Some((after(self.since, periods.close)?, TimeoutReason::Close));
        }
        let hello = if pending.greeted { None } else { after(self.since, periods.hello) };
        let (ping, pong) = match self.pinged {
            _ if !pending.listening || self.wants_ping => (None, None),
            None => (after(self.heard, periods.ping), None),
            Some(since) => (None, after(since, periods.pong)),
        };
        let partial = pending.partial.and_then(|since| after(since, periods.partial));
        let write = self.blocked.and_then(|since| after(since, periods.write));
        let mut next: Option<(Instant, TimeoutReason)> = None;
        let mut consider = |at: Option<Instant>, reason| {
            if let Some(at) = at
                && next.is_none_or(|(earlier, _)| at < earlier)
            {
                next = Some((at, reason));
            }
        };
        consider(hello, TimeoutReason::Hello);
        consider(pong, TimeoutReason::Pong);
        consider(ping, TimeoutReason::Ping);
        consider(partial, TimeoutReason::Partial);
        consider(write, TimeoutReason::Write);
        consider(pending.call, TimeoutReason::Call);
        consider(pending.rate, TimeoutReason::Rate);
        next
    }
}
