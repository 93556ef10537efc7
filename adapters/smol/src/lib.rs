//! A wslink server and client on [smol](https://docs.rs/smol): sockets, HTTP and timers around
//! [`wslink_core`].
//!
//! [`Server`] runs a [`Service`](wslink_core::Service). It gives futures and spawns nothing; it
//! works on one thread or on many, and speaks both dialects of wslink without knowing either.
//!
//! Beside the WebSocket it serves files: from a [directory](Options::with_content), or from the
//! [binary](Assets). [`Options`] says what else it may be told, [`Site`] puts several servers on
//! one port, and with feature `cli` `ServerArgs` is upstream's command line.
//!
//! With feature `client`, which is on unless switched off, `Client` is the other end; `wss://` takes
//! feature `tls`.
//!
//! # What it costs
//! An idle client takes less than 10 KiB. Buffers that grew for something large are given back
//! after a second. A blob that lies in memory is written from there, and kept until it has left: at
//! most 1 MiB of blobs at a time. All else is copied once, at most 256 KiB and a frame at a time. So
//! much is what a client that reads nothing holds back, beside what is queued for it in the engine.
//!
//! # Logging
//! Through [`log`], by the names of peers and methods, never with arguments or secrets.
//! tungstenite and hyper log on their own, tungstenite at level `trace` with whole messages: keep
//! its target (`tungstenite`) above that where logs are not secret.

mod attempts;
mod calls;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "client")]
pub mod client;
mod drive;
mod env;
mod heap;
mod http;
mod meter;
mod options;
mod outgoing;
mod server;
mod shared;
mod site;
mod socket;
mod transmit;

pub use attempts::FailedHellos;
#[cfg(feature = "cli")]
pub use cli::{Directories, ServerArgs};
#[cfg(feature = "client")]
pub use client::Client;
pub use heap::{Heap, HeapBuffer, HeapTable};
pub use http::{Assets, Origins, web};
pub use options::{BadSetting, Options};
pub use server::{Ended, Server};
pub use shared::{Publisher, Stop};
pub use site::{Endpoints, Site};

/// Compiles what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
