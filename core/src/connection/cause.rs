//! Why a connection ends.

use super::outbound::Farewell;
use crate::{CloseCode, CloseReason, Limit, LimitExceeded, TimeoutReason};

/// Why a connection ends, and what its peer is told of that.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    Peer(Option<u16>),
    Eof,
    Local(CloseCode, &'static str),
    Violation(CloseCode, &'static str),
    Limit { limit: Limit, needed: u64, available: u64 },
    Timeout(TimeoutReason),
    Lagged,
}

impl From<LimitExceeded> for Cause {
    fn from(exceeded: LimitExceeded) -> Self {
        let LimitExceeded { limit, needed, available } = exceeded;
        Self::Limit { limit, needed, available }
    }
}

impl Cause {
    /// What the application is told.
    pub(super) const fn reason(self) -> CloseReason {
        match self {
            Self::Peer(code) => CloseReason::Peer(code),
            Self::Eof => CloseReason::Eof,
            Self::Local(code, _) => CloseReason::Local(code),
            Self::Violation(code, reason) => CloseReason::Violation(code, reason),
            Self::Limit { limit, needed, available } => {
                CloseReason::Limit(LimitExceeded::new(limit, needed, available))
            }
            Self::Timeout(reason) => CloseReason::Timeout(reason),
            Self::Lagged => CloseReason::Lagged,
        }
    }

    /// What the Close says, where one is sent.
    pub(super) const fn farewell(self) -> Farewell {
        match self {
            Self::Peer(_) | Self::Eof => (CloseCode::Normal, ""),
            Self::Local(code, reason) | Self::Violation(code, reason) => (code, reason),
            Self::Limit { limit, .. } => match limit {
                Limit::Id => (CloseCode::Policy, "the id is too long"),
                Limit::Attachments => (CloseCode::Policy, "too many attachments"),
                Limit::Pending | Limit::Ranges | Limit::Ahead => {
                    (CloseCode::Policy, "too many chunks")
                }
                _ => (CloseCode::TooBig, "message too big"),
            },
            Self::Timeout(TimeoutReason::Hello) => (CloseCode::Policy, "no hello in time"),
            Self::Timeout(_) => (CloseCode::Policy, "a message was not finished in time"),
            Self::Lagged => (CloseCode::Policy, "fell behind"),
        }
    }
}
