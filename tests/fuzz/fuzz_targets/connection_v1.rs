//! Whole connections of a server with clients of wslink 1.x, and of peers that are none.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wslink_core::wire::Dialect;

fuzz_target!(|data: &[u8]| wslink_fuzz::play(Dialect::V1, data));
