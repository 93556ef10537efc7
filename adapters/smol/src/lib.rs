//! A wslink server on [smol](https://docs.rs/smol): sockets, HTTP and timers around
//! [`wslink_core`].
//!
//! [`Server`] runs a [`Service`](wslink_core::Service). It gives futures and spawns nothing; it
//! works on one thread or on many, and speaks both dialects of wslink without knowing either.
//!
//! # What it costs
//! An idle client takes less than 10 KiB. Buffers that grew for something large are given back
//! after a second. A blob that lies in memory is sent without a copy in this crate; tungstenite
//! makes one, of at most 64 KiB at a time.
//!
//! # Logging
//! Through [`log`], by the names of peers and methods, never with arguments or secrets.
//! tungstenite and hyper log on their own, tungstenite at level `trace` with whole messages: keep
//! its target (`tungstenite`) above that where logs are not secret.

mod calls;
mod drive;
mod heap;
mod http;
mod meter;
mod options;
mod server;
mod shared;
mod socket;
mod transmit;

pub use heap::{Heap, HeapBuffer, HeapTable};
pub use options::Options;
pub use server::{Ended, Server};
pub use shared::{Publisher, Stop};

/// Compiles what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
