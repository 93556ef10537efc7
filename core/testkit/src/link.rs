//! How frames travel between the two ends.

use crate::Frame;
use core::time::Duration;
use std::collections::VecDeque;
use wslink_core::{Instant, OpCode};

/// Into which pieces the client's data frames are cut: WebSocket fragments to the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// As they were sent.
    #[default]
    Whole,
    /// Of so many bytes each.
    Every(usize),
    /// Of these lengths in turn, over and over. Zero is allowed: an empty fragment.
    Lengths(Vec<usize>),
}

/// The way between a client and the server. It begins perfect: nothing is cut, nothing waits.
#[derive(Debug)]
pub struct Link {
    cut: Cut,
    next_length: usize,
    merge: bool,
    up_delay: Duration,
    down_delay: Duration,
    piece: usize,
    credit: Option<usize>,
    lost: bool,
    pub(crate) up: VecDeque<(Instant, Up)>,
    pub(crate) down: VecDeque<(Instant, Option<Frame>)>,
    joined: Option<Frame>,
}

/// What reaches the server.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    Frame(Frame),
    Eof,
}

impl Link {
    pub(crate) const fn new() -> Self {
        Self {
            cut: Cut::Whole,
            next_length: 0,
            merge: false,
            up_delay: Duration::ZERO,
            down_delay: Duration::ZERO,
            piece: usize::MAX,
            credit: None,
            lost: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
            joined: None,
        }
    }

    /// Cuts what the client sends from now on.
    pub fn cut(&mut self, cut: Cut) -> &mut Self {
        self.cut = cut;
        self
    }

    /// Whether fragments that the client sends are put together before the server sees them, as
    /// transports do that know whole messages only.
    pub const fn merge(&mut self, merge: bool) -> &mut Self {
        self.merge = merge;
        self
    }

    /// What is sent from now on takes so long.
    pub const fn delay(&mut self, up: Duration, down: Duration) -> &mut Self {
        self.up_delay = up;
        self.down_delay = down;
        self
    }

    /// The server's transport takes at most `bytes` at a time, at least one.
    pub fn pieces(&mut self, bytes: usize) -> &mut Self {
        self.piece = bytes.max(1);
        self
    }

    /// The server's transport takes nothing.
    pub const fn stall(&mut self) -> &mut Self {
        self.credit = Some(0);
        self
    }

    /// The server's transport takes so many bytes more, then nothing.
    pub const fn take(&mut self, bytes: usize) -> &mut Self {
        self.credit = Some(bytes);
        self
    }

    /// The server's transport takes all.
    pub const fn flow(&mut self) -> &mut Self {
        self.credit = None;
        self
    }

    /// Nothing arrives any more, in neither direction, and nobody is told: a cable that was pulled.
    pub const fn lose(&mut self) -> &mut Self {
        self.lost = true;
        self
    }

    pub(crate) const fn is_stalled(&self) -> bool {
        matches!(self.credit, Some(0))
    }

    pub(crate) const fn is_lost(&self) -> bool {
        self.lost
    }

    pub(crate) const fn is_cutting_writes(&self) -> bool {
        self.piece < usize::MAX
    }

    /// How many of `bytes` the server's transport takes now.
    pub(crate) fn admit(&mut self, bytes: usize) -> usize {
        let n = bytes.min(self.piece).min(self.credit.unwrap_or(usize::MAX));
        if let Some(credit) = &mut self.credit {
            *credit -= n;
        }
        n
    }

    /// The pieces in which `frame` leaves.
    pub(crate) fn pieces_of(&mut self, frame: Frame) -> Vec<Frame> {
        if frame.is_control() {
            return vec![frame];
        }
        let Frame { opcode, fin, payload } = frame;
        let mut pieces: Vec<Frame> = Vec::new();
        let mut rest = payload.as_slice();
        loop {
            let most = match &self.cut {
                Cut::Whole => usize::MAX,
                Cut::Every(bytes) => (*bytes).max(1),
                Cut::Lengths(lengths) if lengths.iter().all(|length| *length == 0) => usize::MAX,
                Cut::Lengths(lengths) => {
                    self.next_length = (self.next_length + 1) % lengths.len();
                    lengths[self.next_length]
                }
            };
            let (piece, after) = rest.split_at(most.min(rest.len()));
            rest = after;
            let opcode = if pieces.is_empty() { opcode } else { OpCode::Continuation };
            let fin = fin && rest.is_empty();
            pieces.push(Frame { opcode, fin, payload: piece.to_vec() });
            if rest.is_empty() {
                return pieces;
            }
        }
    }

    pub(crate) fn send_up(&mut self, now: Instant, up: Up) {
        if self.lost {
            return;
        }
        let due = now + self.up_delay;
        match up {
            Up::Frame(frame) if self.merge && !frame.is_control() => {
                let fin = frame.fin;
                let whole = match self.joined.take() {
                    Some(mut whole) if frame.opcode == OpCode::Continuation => {
                        whole.payload.extend(frame.payload);
                        Frame { fin, ..whole }
                    }
                    _ => frame,
                };
                if fin {
                    self.up.push_back((due, Up::Frame(whole)));
                } else {
                    self.joined = Some(whole);
                }
            }
            up => self.up.push_back((due, up)),
        }
    }

    pub(crate) fn send_down(&mut self, now: Instant, frame: Option<Frame>) {
        if !self.lost {
            self.down.push_back((now + self.down_delay, frame));
        }
    }

    pub(crate) fn arrived_up(&mut self, now: Instant) -> Option<Up> {
        self.up.front().filter(|(due, _)| *due <= now)?;
        self.up.pop_front().map(|(_, up)| up)
    }

    pub(crate) fn arrived_down(&mut self, now: Instant) -> Option<Option<Frame>> {
        self.down.front().filter(|(due, _)| *due <= now)?;
        self.down.pop_front().map(|(_, frame)| frame)
    }

    /// When the next thing arrives at either end.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        let up = self.up.front().map(|(due, _)| *due);
        up.into_iter().chain(self.down.front().map(|(due, _)| *due)).min()
    }
}
