//! What the targets that fuzz whole connections share: inputs read as scripts, memory that
//! watches what is asked of it, a client that checks what it is sent, and a server that is driven.

/// Shows what happens, when `FUZZ_TRACE` is set: for a finding that is played again.
macro_rules! trace {
    ($($text:tt)*) => {
        if crate::is_traced() {
            eprintln!($($text)*);
        }
    };
}

mod client;
mod input;
mod memory;
mod request;
mod script;
mod server;
mod service;
mod topics;

pub use client::{Answer, Client};
pub use input::Input;
pub use memory::{Buf, Meter, Vecs};
pub use request::{Arg, Envelope, chunk, pattern};
pub use script::play;
pub use service::Piece;

fn is_traced() -> bool {
    static TRACED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *TRACED.get_or_init(|| std::env::var_os("FUZZ_TRACE").is_some())
}
