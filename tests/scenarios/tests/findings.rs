//! What fuzzing has found, each as small as it became.

use core::cell::Cell;
use std::rc::Rc;
use wslink_core::{
    Api, Buffer, Buffers, Config, Connection, Entropy, Hub, HubBuffers, HubLimits, Instant, Memory,
    Verdict,
};
use wslink_scenarios::{DIALECTS, bench_with};
use wslink_testkit::{Frame, HeapTable, val};

#[test]
fn a_description_for_which_there_is_no_room_now() {
    for (dialect, name) in DIALECTS {
        let mut pair = bench_with(|config| {
            config.limits.transmit_bytes = 500;
            config.limits.id = 40;
        });
        let client = pair.connected(dialect);
        pair.link(client).stall();
        let calls: Vec<_> =
            (0..3).map(|_| pair.call(client, "wslink.describe", val!([0]))).collect();
        pair.run();
        pair.link(client).flow();
        pair.run();
        for id in calls {
            assert!(pair.answer(client, &id).is_some(), "{name} {id}:\n{}", pair.transcript());
        }
    }
}

#[test]
fn an_error_for_which_there_is_no_room_now() {
    for (dialect, name) in DIALECTS {
        for bytes in 250..400 {
            let mut pair = bench_with(|config| {
                config.limits.transmit_bytes = bytes;
                config.limits.id = 40;
            });
            let client = pair.connected(dialect);
            pair.link(client).stall();
            let kwargs = val!({"wslink_token": "which is no number"});
            let mut call = || pair.call_with(client, "bench.echo", val!([]), kwargs.clone());
            let calls = [call(), call(), call()];
            pair.run();
            pair.link(client).flow();
            pair.run();
            for id in calls {
                let answered = pair.answer(client, &id).is_some();
                assert!(answered, "{name} {bytes} {id}:\n{}", pair.transcript());
            }
        }
    }
}

/// Memory whose receive buffer tells how long it is.
struct Watched;

struct Growing(Vec<u8>, Rc<Cell<usize>>);

impl AsRef<[u8]> for Growing {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for Growing {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Buffer for Growing {
    fn capacity(&self) -> usize {
        usize::MAX
    }

    fn grow(&mut self, len: usize) {
        self.0.resize(len, 0);
        self.1.set(self.1.get().max(len));
    }
}

impl Memory for Watched {
    type Buffer = Growing;
    type Blob = &'static [u8];
    type Calls<T> = HeapTable<T>;
    type Messages<T> = HeapTable<T>;
    type Blobs = HeapTable<&'static [u8]>;
    type Topics<T> = HeapTable<T>;
    type Publications<T> = HeapTable<T>;
}

#[test]
fn a_buffer_that_has_grown_does_not_grow_by_claims() {
    static API: Api = Api { methods: &[], topics: &[] };
    let most = Rc::new(Cell::new(0));
    let buffer = || Growing(Vec::new(), Rc::default());
    let (now, entropy) = (Instant::default(), Entropy([1; 16]));
    let hub_buffers = HubBuffers { publications: buffer(), retained: buffer() };
    let mut hub = Hub::<Watched>::new(HubLimits::desktop(), &[], entropy, hub_buffers)
        .expect("tables without end");
    let peer = hub.next_peer();
    let buffers = Buffers { receive: Growing(Vec::new(), most.clone()), transmit: buffer() };
    let mut connection =
        Connection::<Watched>::accept(Config::desktop(), &API, buffers, peer, entropy, now)
            .expect("enough memory");
    let mut send = |frame: &Frame| {
        let frame = wslink_core::Frame::Binary { fin: true, payload: &frame.payload };
        let event = connection.handle_frame(now, frame);
        let is_hello = matches!(event, Ok(Some(_)));
        if is_hello {
            connection.authorize(now, &mut hub, Verdict::Accept).expect("a hello");
        }
        assert!(connection.has_room());
    };
    let hello = val!({"id": "system:0", "method": "wslink.hello"});
    send(&Frame::message(1, &hello));
    // 100 kB of a message have come, and then single bytes of others, each of which says to be as
    // long as the buffer by then could be.
    send(&Frame::chunk(2, 0, 100_001, &[0; 100_000]));
    for id in 3..9 {
        send(&Frame::chunk(id, 0, 100_000, &[0]));
    }
    assert!(most.get() < 220_000, "{} bytes", most.get());
}
