//! `wslink-embassy` on pipes.

use crate::{Connect, Executor, SECRET, config};
use smol::future::FutureExt as _;
use std::rc::Rc;
use std::sync::Arc;
use wslink_adapters::{Stream, pipe};
use wslink_core::{Config, Entropy, Fixed, HubBuffers};
use wslink_embassy::{Lent, Options, PeerMemory, Pool, Server};
use wslink_scenarios::Bench;

const PEERS: usize = 3;
const CALLS: usize = 4;

/// Bytes that a pipe holds: two segments of Ethernet, as is best for a device.
const RING: usize = 2920;

/// Tables as large as the limits of a device.
type Tables = Fixed<Lent<'static>, Arc<[u8]>, CALLS, 4, 4, 3, 8, PEERS>;

/// All memory is leaked, as it is static on a device.
pub(crate) fn serve(executor: &Executor, change: fn(&mut Config)) -> Connect {
    let (config, limits) = config(change);
    let memory = Box::leak(Box::new([PeerMemory::<1024, 2048, 1028>::NEW; PEERS]));
    let pool = Box::leak(Box::new(Pool::new(memory)));
    let hub = HubBuffers { publications: vec![0; 4096].leak(), retained: vec![0; 1024].leak() };
    let options = Options::new(SECRET, || Entropy([7; 16])).with_config(config).with_hub(limits);
    let server = Server::<_, Tables, PEERS, CALLS>::new(Bench::default(), options, pool, hub);
    let server = &*Box::leak(Box::new(server.unwrap()));
    let executor = Rc::clone(executor);
    Box::new(move || {
        let (to_server, from_client) = pipe(RING);
        let (to_client, from_server) = pipe(RING);
        let serve = async move {
            let mut frame = vec![0; 1100];
            server.serve(from_client, to_client, &mut frame).await;
        };
        executor.spawn(serve).detach();
        async move { Stream::Pipe(from_server, to_server) }.boxed_local()
    })
}
