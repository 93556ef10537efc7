//! The wslink protocol engine: a pure state machine, `no_std`, without an allocator.
//!
//! A [`Connection`] consumes and emits WebSocket frames and does no I/O: no sockets, no clock, no
//! randomness of its own. What all connections of a server share, the publications, is in the
//! [`Hub`]. What the user writes is a [`Service`].
//!
//! # Built-in methods
//!
//! Every server answers these plain calls, so any stock client can use them after its hello:
//!
//! | method | does |
//! |---|---|
//! | `wslink.subscribe(topics, max_rate=null)` | from its first call on, the client is sent only the topics that were named: exactly, or by a prefix before `*`; at most `max_rate` a second of each, the newest of them; retained values of named topics come (again). Gives `{"topics": [..]}`, what is subscribed now |
//! | `wslink.unsubscribe(topics)` | takes topics away, named in the same way |
//! | `wslink.describe(page=0)` | `{"session", "hash", "methods", "topics", "limits", "next"}`: in pages if it does not fit, `next` is the page to ask for next, `limits` are in the first. `session` is new at each start of the server, `hash` changes with the description |
//! | `wslink.cancel(token)` | ends the call that was made with that number as keyword argument `wslink_token`; it is answered with -32005 |
//! | `application.exit()`, `application.exit.later(seconds=60)` | as upstream, if [`Config::exit`] allows it |
//!
//! Publications on topic `wslink.progress` tell how far a call with a token is ([`Cx::progress`]);
//! those on `wslink.lagged` tell a client that subscribed to it what it has missed.
#![no_std]

mod arena;
mod blob;
mod call;
pub mod client;
mod config;
mod connection;
mod envelope;
mod error;
#[cfg(feature = "defmt")]
mod formats;
mod hello;
mod hub;
mod memory;
mod secret;
mod service;
mod state;
mod time;
mod upload;
pub mod wire;

pub use blob::{Attachment, Binary, Blob, NoBlob};
pub use call::{Call, Params};
pub use config::{Config, Deadlines, Limits};
pub use connection::{
    Body, Buffers, CallId, Connection, Entropy, Event, Frame, OpCode, PeerId, Transmit,
};
pub use error::{
    CloseCode, CloseReason, ErrorText, Limit, LimitExceeded, PublishError, RpcError, SendError,
    TimeoutReason, UsageError, code,
};
pub use hello::{Hello, HttpRequest, Identity, Verdict};
pub use hub::{Hub, HubBuffers, HubLimits};
pub use memory::{Buffer, Fixed, Memory, Table};
pub use secret::Secret;
pub use service::{
    Api, Audience, Cx, Encode, Host, MethodInfo, ParamInfo, Policy, Publications, Publish, Service,
    Topic, TopicInfo,
};
pub use state::{Phase, Step};
pub use time::Instant;
pub use upload::{Pipe, Upload, UploadSource};
