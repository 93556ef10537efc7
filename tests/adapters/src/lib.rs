//! What the tests of the adapters share: streams, and a client that writes down what passes.
//!
//! The scenarios are in `tests/scenarios`. Each runs against `wslink-smol` over a socket and against
//! `wslink-embassy` over a pipe, and both are held against the same snapshot.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

pub mod codec;
mod pipe;
mod stream;
mod visitor;

pub use pipe::{Receiver, Sender, pipe};
pub use stream::{Stream, UPGRADE, mask};
pub use visitor::{Log, Shown, Visitor};
