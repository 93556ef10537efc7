//! The wslink protocol engine: a pure state machine, `no_std`, without an allocator.
#![no_std]

pub mod wire;
