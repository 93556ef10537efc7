//! Services of [wslink](wslink_core), as people want to write them.
#![no_std]

#[doc(hidden)]
pub mod __private;

pub use wslink_core::*;
pub use wslink_macros::{Service, service};
