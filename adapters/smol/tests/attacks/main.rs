//! Peers that mean harm, over real sockets. `docs/security.md` has the whole list, with what other
//! tests show.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod claims;
#[path = "../common/mod.rs"]
mod common;
mod contents;
mod faults;
mod frames;

use common::client::{Client, Dialect};
use core::net::SocketAddr;
use core::time::Duration;

/// So many connections that what each of them costs shows.
const MANY: usize = 50;

async fn many(address: SocketAddr, dialect: Dialect, logged_in: bool) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..MANY {
        let mut client = Client::connect(address, dialect).await;
        if logged_in {
            client.hello(common::SECRET).await.unwrap();
        }
        clients.push(client);
    }
    clients
}

/// The client works as if nothing had happened.
async fn is_well(client: &mut Client) {
    assert_eq!(client.call("bench.add", vec![1.into(), 2.into()]).await, Ok(3.into()));
}

/// How long this thread, on which both ends run, was on a processor: other than the time of a clock
/// it does not grow with what else runs. Always zero where there is no `/proc`.
fn worked() -> Duration {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = times.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}
