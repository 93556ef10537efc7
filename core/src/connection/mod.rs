//! One peer's connection: lend, take, pull.

mod calls;
mod event;
mod inbound;
mod outbound;
mod timers;

pub use event::{Body, Buffers, CallId, Entropy, Event, Frame, OpCode, PeerId, Transmit};
