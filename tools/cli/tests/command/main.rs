//! The command `wslink`, the real binary.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod calls;
mod common;
mod docs;
mod kiln;
mod pages;
mod proxy;
mod replayed;
mod terminal;
mod tls;
mod watching;
