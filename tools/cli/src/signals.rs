//! Ctrl-C and SIGTERM.

use async_signal::{Signal, Signals};
use smol::future;
use smol::stream::StreamExt as _;

/// Ends when the first signal comes. Once this has been polled signals no longer end the process.
pub(crate) async fn interrupted() {
    match Signals::new([Signal::Int, Signal::Term]) {
        Ok(mut signals) => {
            signals.next().await;
        }
        // Then the signal ends the process by itself.
        Err(_) => future::pending().await,
    }
}
