//! Every transition of a connection, in one table that reads the same for both ends.
//!
//! The inputs are named by what passes between the two, not by who sends it: a server *receives*
//! [`Step::Hello`] and *sends* [`Step::Accepted`], a client the other way round, and both are in
//! the same [`Phase`] once it has passed.
//!
//! ```text
//!              Hello               Accepted              Hello
//!  Greeting ───────────▶ Judging ───────────▶ Open ───────────────▶ Rejudging
//!     ▲                     │                  ▲                        │
//!     └───────Refused───────┘                  └───Accepted, Refused────┘
//!
//!  any ──Drain──▶ Draining ──CloseSent──▶ Closing ──CloseReceived──▶ Closed
//!  any ──CloseReceived──▶ Answering ──CloseSent──▶ Closed
//!  any ──CloseSent──▶ Closing                 any ──Ended──▶ Closed
//! ```

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Phase {
    /// No hello was accepted yet.
    Greeting,
    /// A hello waits for its verdict.
    Judging,
    /// Authenticated.
    Open,
    /// Authenticated, and a further hello waits for its verdict. A refusal logs nobody out.
    Rejudging,
    /// What is queued is still sent, then a Close; nothing more is read but Close.
    Draining,
    /// We sent a Close and wait for the peer's.
    Closing,
    /// The peer sent a Close and waits for ours.
    Answering,
    /// Over.
    Closed,
}

/// What passes between the two ends, or happens to one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Step {
    /// A hello.
    Hello,
    /// The hello was accepted.
    Accepted,
    /// The hello was refused.
    Refused,
    /// A call of a method of the service.
    Call,
    /// An answer or a publication.
    Data,
    /// This end wants to send what it has and then close.
    Drain,
    /// This end has sent a Close.
    CloseSent,
    /// The other end's Close has come.
    CloseReceived,
    /// The transport ended, or one of the two gave up.
    Ended,
}

impl Phase {
    /// The phase after `step`; `None` if this step is not allowed here.
    #[must_use]
    pub const fn next(self, step: Step) -> Option<Self> {
        use Phase::{Answering, Closed, Closing, Draining, Greeting, Judging, Open, Rejudging};
        use Step::{Accepted, Call, CloseReceived, CloseSent, Data, Drain, Ended, Hello, Refused};
        Some(match (self, step) {
            (Greeting, Hello) => Judging,
            (Judging, Accepted) => Open,
            (Judging, Refused) => Greeting,
            (Open, Hello) => Rejudging,
            (Rejudging, Accepted | Refused) => Open,
            (Open, Call | Data) => Open,
            // Publications and answers go on while a further hello waits.
            (Rejudging, Data) => Rejudging,
            // What was queued before the end was asked for.
            (Draining, Data) => Draining,

            (Greeting | Judging | Open | Rejudging | Draining, Drain) => Draining,
            (Greeting | Judging | Open | Rejudging | Draining, CloseSent) => Closing,
            (Greeting | Judging | Open | Rejudging | Draining, CloseReceived) => Answering,
            // The peer's Close may cross ours, or be said twice.
            (Closing, CloseReceived) | (Answering, CloseSent) => Closed,
            (Closing, Drain) => Closing,
            (Answering, Drain | CloseReceived) => Answering,
            (_, Ended) | (Closed, CloseReceived | Drain) => Closed,
            _ => return None,
        })
    }

    /// Whether a hello was accepted and nothing has ended it.
    #[must_use]
    pub const fn is_authenticated(self) -> bool {
        matches!(self, Self::Open | Self::Rejudging)
    }

    /// Whether requests are read.
    #[must_use]
    pub const fn is_reading(self) -> bool {
        matches!(self, Self::Greeting | Self::Open)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::Phase::*;
    use super::Step::*;
    use core::fmt::Write as _;
    use std::string::String;

    #[test]
    fn the_whole_table() {
        let phases = [Greeting, Judging, Open, Rejudging, Draining, Closing, Answering, Closed];
        let steps = [Hello, Accepted, Refused, Call, Data, Drain, CloseSent, CloseReceived, Ended];
        let mut table = String::new();
        for phase in phases {
            for step in steps {
                if let Some(next) = phase.next(step) {
                    writeln!(table, "{phase:?} + {step:?} = {next:?}").unwrap();
                }
            }
        }
        insta::assert_snapshot!(table);
    }
}
