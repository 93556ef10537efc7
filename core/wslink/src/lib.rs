//! Services of wslink, as people want to write them: the engine of [`wslink_core`] with the macros
//! [`service`] and [`Service`](derive@Service).
//!
//! ```
//! struct Thermometer;
//!
//! #[wslink::service]
//! impl Thermometer {
//!     /// Degrees Celsius, or Fahrenheit.
//!     #[rpc("room.temperature")]
//!     async fn temperature(&self, #[rpc(default)] fahrenheit: bool) -> f64 {
//!         if fahrenheit { 68.0 } else { 20.0 }
//!     }
//! }
//! ```
//!
//! An adapter, such as `wslink-smol`, serves it; a client calls
//! `session.call("room.temperature", [true])` or gives the argument by its name. It runs where
//! there is no allocator, too.
#![no_std]

#[doc(hidden)]
pub mod __private;
mod part;

pub use part::Part;
pub use wslink_core::*;
pub use wslink_macros::{Service, service};

/// What a running call can reach; of a service that attaches nothing it is `Cx<'_>`.
/// [`wslink_core::Cx`] says what it does.
pub type Cx<'a, B = NoBlob> = wslink_core::Cx<'a, B>;
