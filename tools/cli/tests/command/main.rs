//! The command `wslink`, the real binary.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;
mod pages;
mod proxy;
