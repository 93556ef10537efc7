//! When something is due.

use crate::{CloseReason, Deadlines, Instant, TimeoutReason};

/// The points in time from which the deadlines of a connection count; those of calls are in the
/// call table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timers {
    deadlines: Deadlines,
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
    pub(crate) greeted: bool,
    /// Whether the transport is read.
    pub(crate) listening: bool,
    /// The last piece of the unfinished message that has waited longest.
    pub(crate) partial: Option<Instant>,
    pub(crate) call: Option<Instant>,
}

impl Timers {
    pub(crate) const fn new(deadlines: Deadlines, now: Instant) -> Self {
        let ping = Ping::None;
        Self { deadlines, started: now, heard: now, ping, blocked: None, closing: None }
    }

    /// Anything came: the peer lives.
    pub(crate) const fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.ping = Ping::None;
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

    /// When a call of now would expire.
    pub(crate) fn call(&self, own: Option<core::time::Duration>, now: Instant) -> Option<Instant> {
        own.or(self.deadlines.call).map(|duration| now + duration)
    }

    /// The next deadline. While our Close waits for the peer's, nothing else counts.
    pub(crate) fn next(&self, pending: Pending) -> Option<(Instant, TimeoutReason)> {
        let deadlines = &self.deadlines;
        if let Some(since) = self.closing {
            return Some((since + deadlines.close, TimeoutReason::Close));
        }
        let hello = (!pending.greeted).then(|| self.started + deadlines.hello);
        let (ping, pong) = match self.ping {
            _ if !pending.listening => (None, None),
            Ping::None => (deadlines.ping.map(|silence| self.heard + silence), None),
            Ping::Wanted => (None, None),
            Ping::Sent(since) => (None, Some(since + deadlines.pong)),
        };
        [
            (hello, TimeoutReason::Hello),
            (pong, TimeoutReason::Pong),
            (ping, TimeoutReason::Ping),
            (pending.partial.map(|since| since + deadlines.partial), TimeoutReason::Partial),
            (self.blocked.map(|since| since + deadlines.write), TimeoutReason::Write),
            (pending.call, TimeoutReason::Call),
        ]
        .into_iter()
        .filter_map(|(at, reason)| Some((at?, reason)))
        .min_by_key(|(at, _)| *at)
    }

    /// What became of a connection whose deadline `reason` passed; `None` if it goes on.
    pub(crate) const fn outcome(reason: TimeoutReason) -> Option<CloseReason> {
        match reason {
            TimeoutReason::Ping | TimeoutReason::Call => None,
            _ => Some(CloseReason::Timeout(reason)),
        }
    }
}
