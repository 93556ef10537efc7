//! A wslink server for microcontrollers: RFC 6455, HTTP and deadlines around [`wslink_core`],
//! without `alloc`.
//!
//! A [`Server`] runs a [`Service`](wslink_core::Service) on anything that implements
//! [`embedded_io_async`]: [`Server::serve`] is a future for one connection, which the application
//! joins or spawns; with the feature `net`, `listen` is one that accepts
//! connections of an `embassy-net` stack one after the other.
//!
//! All memory belongs to the application: the [`PeerMemory`] of each WebSocket, the two buffers of
//! the hub, and one buffer for each connection that is open, WebSocket or not. So a spare
//! connection, which answers 503 or a page while all WebSockets are taken, costs less than a
//! WebSocket.
#![no_std]

#[cfg(test)]
extern crate std;

// Its macro is for all that follow.
#[macro_use]
mod log;

mod drive;
mod frame;
mod http;
#[cfg(feature = "net")]
mod listen;
mod memory;
mod options;
mod server;
mod shared;

#[cfg(feature = "net")]
pub use listen::{SocketMemory, listen};
pub use memory::{Lent, PeerMemory, Pool};
pub use options::{Options, Origins, Page};
pub use server::Server;
