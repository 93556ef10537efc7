//! The wslink protocol engine: a pure state machine, `no_std`, without an allocator.
//!
//! A [`Connection`] consumes and emits WebSocket frames and does no I/O: no sockets, no clock, no
//! randomness of its own. What all connections of a server share, the publications, is in the
//! [`Hub`]. What the user writes is a [`Service`].
#![no_std]

mod arena;
mod blob;
mod config;
mod connection;
mod envelope;
mod error;
mod hub;
mod memory;
mod secret;
mod service;
mod state;
mod time;
pub mod wire;

pub use blob::{Attachment, Binary, Blob, NoBlob};
pub use config::{Config, Deadlines, Limits};
pub use connection::{
    Body, Buffers, CallId, Connection, Entropy, Event, Frame, OpCode, PeerId, Transmit,
};
pub use error::{
    CloseCode, CloseReason, ErrorText, Limit, LimitExceeded, PublishError, RpcError, SendError,
    TimeoutReason, UsageError, code,
};
pub use hub::{Hub, HubLimits};
pub use memory::{Buffer, Fixed, Memory, Table};
pub use secret::Secret;
pub use service::{
    Audience, Call, Cx, Encode, Hello, Host, MethodInfo, ParamInfo, Params, Publications, Publish,
    Service, Topic, TopicInfo, Verdict,
};
pub use state::{Phase, Step};
pub use time::Instant;
