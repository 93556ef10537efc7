//! Every limit: one below, at it, one above.

use wslink_core::wire::Dialect;
use wslink_core::{Config, Limits};
use wslink_scenarios::{Bench, alive, bench_with, fill, fresh_in_both, in_both};
use wslink_testkit::{Client, Frame, Pair, Val, val};

fn with(change: impl Fn(&mut Limits) + Copy) -> impl Fn() -> Pair<Bench> {
    move || bench_with(|config: &mut Config| change(&mut config.limits))
}

fn only(
    dialect: Dialect,
    make: impl Fn() -> Pair<Bench>,
    scenario: impl Fn(&mut Pair<Bench>, Client),
) -> String {
    let mut pair = make();
    let client = pair.connected(dialect);
    _ = pair.take_transcript();
    scenario(&mut pair, client);
    pair.run();
    pair.transcript().to_string()
}

/// An envelope that is exactly `len` bytes long, as JSON and as MessagePack.
fn envelope(dialect: Dialect, id: &str, method: &str, len: usize) -> Val {
    let make =
        |pad: usize| val!({"id": id, "method": method, "args": [], "pad": ("p".repeat(pad))});
    let size = |value: &Val| match dialect {
        Dialect::V1 => value.to_json().len(),
        _ => value.to_msgpack().len(),
    };
    let pads = (0..len).map(make);
    pads.into_iter().find(|value| size(value) == len).expect("no padding makes it so long")
}

fn around(limit: usize) -> [usize; 3] {
    [limit - 1, limit, limit + 1]
}

#[test]
fn message() {
    snapshot!(in_both(with(|limits| limits.message = 200), |pair, client| {
        for len in around(200) {
            let envelope = envelope(pair.dialect(client), "rpc:x:0", "bench.echo", len);
            pair.request(client, envelope);
            alive(pair, client);
        }
    }));
}

#[test]
fn message_in_pieces() {
    // Fragments in 1.x, chunks in 2.x.
    snapshot!(in_both(with(|limits| limits.message = 200), |pair, client| {
        pair.link(client).cut(wslink_testkit::Cut::Every(90));
        pair.chunks_of(client, 78);
        for len in around(200) {
            let envelope = envelope(pair.dialect(client), "rpc:x:0", "bench.echo", len);
            pair.request(client, envelope);
            alive(pair, client);
        }
    }));
}

#[test]
fn message_without_a_readable_id() {
    snapshot!(in_both(with(|limits| limits.message = 200), |pair, client| {
        let args = val!([("p".repeat(300))]);
        pair.request(client, val!({"args": args, "id": "rpc:x:0", "method": "bench.echo"}));
        pair.run();
    }));
}

#[test]
fn message_before_hello() {
    snapshot!(fresh_in_both(with(|limits| limits.message_before_hello = 200), |pair, client| {
        for len in around(200) {
            let envelope = envelope(pair.dialect(client), "rpc:x:0", "bench.echo", len);
            pair.request(client, envelope);
            pair.run();
        }
        pair.hello(client);
        pair.run();
        let envelope = envelope(pair.dialect(client), "rpc:x:1", "bench.echo", 300);
        pair.request(client, envelope);
    }));
}

#[test]
fn total_claimed_before_hello() {
    let mut text = String::new();
    for total in [200, 201, 100 << 20, u32::MAX] {
        let mut pair = with(|limits| limits.message_before_hello = 200)();
        let client = pair.connect(Dialect::V2);
        pair.send(client, Frame::chunk(1, 0, total, b"\x82\xa2id\xa7rpc:x:0"));
        pair.run();
        pair.note("a piece behind it: refused messages are passed over");
        pair.send(client, Frame::chunk(1, 12, total, b"\xa6method"));
        pair.run();
        text += &format!("==== {total}\n{}", pair.transcript());
    }
    snapshot!(text);
}

/// In 1.x, and in 2.x with the overhead.
fn frame_of_200(limits: &mut Limits) {
    (limits.frame, limits.max_msg_size, limits.overhead) = (200, 190, 10);
}

#[test]
fn frame() {
    // A 2.x chunk is a frame with its header, a 1.x message one without. Each dialect has a limit
    // of its own.
    snapshot!(in_both(with(frame_of_200), |pair, client| {
        let dialect = pair.dialect(client);
        let header = if dialect == Dialect::V2 { 12 } else { 0 };
        pair.chunks_of(client, 1000);
        for len in around(200 - header) {
            let envelope = envelope(dialect, "rpc:x:0", "bench.echo", len);
            pair.request(client, envelope);
            alive(pair, client);
        }
    }));
}

#[test]
fn frame_in_fragments() {
    snapshot!(in_both(with(frame_of_200), |pair, client| {
        let dialect = pair.dialect(client);
        let header = if dialect == Dialect::V2 { 12 } else { 0 };
        pair.chunks_of(client, 1000);
        pair.link(client).cut(wslink_testkit::Cut::Every(150));
        for len in around(200 - header) {
            let envelope = envelope(dialect, "rpc:x:0", "bench.echo", len);
            pair.request(client, envelope);
            alive(pair, client);
        }
    }));
}

#[test]
fn too_big_inside_of_another_message() {
    // The order of frames is looked at before their size.
    snapshot!(in_both(
        with(|limits| {
            frame_of_200(limits);
            limits.message = 180;
        }),
        |pair, client| {
            let big = envelope(pair.dialect(client), "rpc:x:0", "bench.echo", 300);
            let (begin, big) = match pair.dialect(client) {
                Dialect::V1 => (Frame::text("{").more(), Frame::text(big.to_json())),
                _ => (Frame::binary([0; 5]).more(), Frame::message(1, &big)),
            };
            pair.send(client, begin);
            pair.send(client, big);
        }
    ));
}

#[test]
fn id() {
    let mut text = String::new();
    for len in around(20) {
        text += &in_both(with(|limits| limits.id = 20), |pair, client| {
            let id = "i".repeat(len);
            pair.request(client, val!({"id": id, "method": "bench.echo"}));
            pair.run();
        });
    }
    // In JSON a quote takes two bytes.
    text += &in_both(with(|limits| limits.id = 20), |pair, client| {
        let id = "\"".repeat(11);
        pair.request(client, val!({"id": id, "method": "bench.echo"}));
    });
    snapshot!(text);
}

#[test]
fn calls() {
    snapshot!(in_both(with(|limits| limits.calls = 2), |pair, client| {
        for number in 0..4 {
            pair.call(client, "bench.hang_on", val!([]));
            pair.run();
            assert_eq!(pair.connection(client).has_room(), number < 1);
        }
    }));
}

#[test]
fn pending() {
    let content = [0x80; 4];
    snapshot!(only(Dialect::V2, with(|limits| limits.pending = 2), |pair, client| {
        for id in 1..4 {
            pair.send(client, Frame::chunk(id, 0, 10, &content));
            pair.run();
        }
    }));
}

#[test]
fn ranges() {
    let message = val!({"id": "rpc:x:0", "method": "bench.echo"}).to_msgpack();
    let mut text = String::new();
    for gaps in around(3) {
        text += &format!("==== {gaps}\n");
        text += &only(Dialect::V2, with(|limits| limits.ranges = 3), |pair, client| {
            let total = message.len() as u32;
            let chunk = |at: usize| Frame::chunk(9, at as u32, total, &message[at..=at]);
            // The first is at 0, so that the id can be read of what is there.
            (0..gaps).for_each(|nth| pair.send(client, chunk(nth * 2)));
            (0..gaps).for_each(|nth| pair.send(client, chunk(nth * 2 + 1)));
            (gaps * 2..message.len()).for_each(|at| pair.send(client, chunk(at)));
            alive(pair, client);
        });
    }
    snapshot!(text);
}

#[test]
fn ahead() {
    let message = val!({"id": "rpc:x:0", "method": "bench.echo"}).to_msgpack();
    let mut text = String::new();
    for ahead in around(10) {
        text += &format!("==== {ahead}\n");
        text += &only(Dialect::V2, with(|limits| limits.ahead = 10), |pair, client| {
            let total = message.len() as u32;
            pair.send(client, Frame::chunk(9, ahead as u32, total, &message[ahead..]));
            pair.send(client, Frame::chunk(9, 0, total, &message[..ahead]));
            alive(pair, client);
        });
    }
    snapshot!(text);
}

#[test]
fn attachments() {
    let mut text = String::new();
    for count in around(2) {
        text += &format!("==== {count}\n");
        text += &only(Dialect::V1, with(|limits| limits.attachments = 2), |pair, client| {
            let args: Vec<Val> = (0..count).map(|_| Val::Bin(b"one".to_vec())).collect();
            pair.call(client, "bench.upload", Val::Seq(args));
            alive(pair, client);
        });
    }
    snapshot!(text);
}

#[test]
fn attachments_of_an_answer() {
    let attach = |limit| bench_with(|config| config.limits.attachments = limit);
    let mut text = String::new();
    for limit in [0, 1] {
        text += &in_both(
            || attach(limit),
            |pair, client| {
                pair.call(client, "bench.attach", val!([3]));
                alive(pair, client);
            },
        );
    }
    snapshot!(text);
}

#[test]
fn attachment_bytes() {
    // An attachment is bounded like a message.
    snapshot!(only(Dialect::V1, with(|limits| limits.message = 200), |pair, client| {
        for len in [199, 200, 201] {
            pair.call(client, "bench.upload", val!([(Val::Bin(fill(len).to_vec()))]));
            alive(pair, client);
        }
        pair.note("in fragments");
        pair.link(client).cut(wslink_testkit::Cut::Every(120));
        for len in [200, 201, 500] {
            pair.call(client, "bench.upload", val!([(Val::Bin(fill(len).to_vec()))]));
            alive(pair, client);
        }
    }));
}

#[test]
fn receive_bytes() {
    let small = with(|limits| limits.receive_bytes = 200);
    snapshot!(in_both(small, |pair, client| {
        pair.note("what comes in one frame does not pass through the receive buffer");
        let dialect = pair.dialect(client);
        let long = envelope(dialect, "rpc:x:0", "bench.echo", 400);
        pair.request(client, long);
        pair.run();
        pair.note("in two pieces it does");
        // In 1.x the fragment; in 2.x the message of which a chunk is first.
        for len in around(200) {
            let message = envelope(dialect, "rpc:x:0", "bench.echo", len);
            if dialect == Dialect::V2 {
                pair.chunks_of(client, 199);
            } else {
                pair.link(client).cut(wslink_testkit::Cut::Lengths(vec![10, 190]));
            }
            pair.request(client, message);
            pair.run();
        }
        pair.link(client).cut(wslink_testkit::Cut::Whole);
        alive(pair, client);
    }));
}

#[test]
fn transmit_bytes() {
    let small = with(|limits| limits.transmit_bytes = 300);
    snapshot!(in_both(small, |pair, client| {
        pair.note("an answer that never fits");
        pair.call(client, "bench.text", val!([400]));
        pair.run();
        pair.note("answers that wait for room");
        pair.call(client, "bench.late", val!([10, 100]));
        pair.call(client, "bench.late", val!([10, 120]));
        pair.run();
        pair.link(client).stall();
        pair.advance(core::time::Duration::from_millis(20));
        pair.link(client).flow();
        pair.run();
        alive(pair, client);
    }));
}

#[test]
fn transmit_bytes_to_the_byte() {
    // The id, and beside it the answer.
    let mut text = String::new();
    for (dialect, name) in wslink_scenarios::DIALECTS {
        let fits = |len: u32| {
            let mut pair = with(|limits| limits.transmit_bytes = 300)();
            let client = pair.connected(dialect);
            pair.ask(client, "bench.text", val!([len])).is_ok()
        };
        let largest = (0..300).filter(|len| fits(*len)).max();
        text += &format!("{name}: the longest text is {largest:?}\n");
    }
    snapshot!(text);
}

#[test]
fn max_msg_size() {
    let mut text = String::new();
    for size in [0, 8, 12, 13, 14, 20] {
        text += &format!("======== {size}\n");
        text += &fresh_in_both(with(move |limits| limits.max_msg_size = size), |pair, client| {
            pair.hello(client);
            pair.run();
            pair.request(client, val!({"id": "x", "method": "bench.echo", "args": [1]}));
        })
        .lines()
        .filter(|line| ![" (1)", " (2)", " (8)"].iter().any(|part| line.ends_with(part)))
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    }
    snapshot!(text);
}

#[test]
fn max_msg_size_of_clients() {
    // Below 13 a chunk of a single byte is still taken. The overhead comes on top of that.
    let mut text = String::new();
    for (size, overhead) in [(0, 0), (13, 0), (14, 0), (8, 2), (40, 20)] {
        let most = size.max(13) + overhead;
        for len in around(most as usize) {
            text += &format!("======== {size} and {overhead}: {len}\n");
            let limits = with(move |limits| {
                (limits.max_msg_size, limits.overhead) = (size, overhead);
            });
            text += &only(Dialect::V2, limits, |pair, client| {
                pair.send(client, Frame::chunk(7, 0, 100, &[0; 100][12..len]));
            });
        }
    }
    snapshot!(text);
}

#[test]
fn max_msg_size_and_attachments() {
    let small = with(|limits| limits.max_msg_size = 60);
    snapshot!(in_both(small, |pair, client| {
        pair.call(client, "bench.attach", val!([100, 2]));
        pair.run();
        pair.call(client, "bench.upload", val!([(Val::Bin(fill(100).to_vec()))]));
    }));
}

#[test]
fn published() {
    let small = with(|limits| (limits.max_msg_size, limits.published) = (200, 60));
    snapshot!(in_both(small, |pair, client| {
        pair.call(client, "bench.attach", val!([250, 1]));
        pair.run();
        pair.call(client, "bench.image", val!([100]));
    }));
}

#[test]
fn chunk_in_pieces() {
    // However it is cut, and wherever its header ends.
    let mut text = String::new();
    for lengths in [vec![5, 7, 1], vec![12, 30], vec![13, 0, 4], vec![11, 2]] {
        text += &format!("======== {lengths:?}\n");
        text += &only(Dialect::V2, with(|limits| limits.receive_bytes = 200), |pair, client| {
            pair.chunks_of(client, 100);
            pair.link(client).cut(wslink_testkit::Cut::Lengths(lengths.clone()));
            for len in around(200) {
                let envelope = envelope(Dialect::V2, "rpc:x:0", "bench.echo", len);
                pair.request(client, envelope);
            }
        })
        .lines()
        .filter(|line| !line.contains(".. ("))
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    }
    snapshot!(text);
}

#[test]
fn too_small_to_begin_with() {
    use wslink_core::{Api, Buffers, Connection, Entropy, Hub, HubBuffers, HubLimits, Instant};
    static API: Api = Api { methods: &[], topics: &[] };
    use wslink_testkit::{Heap, HeapBuffer};
    let mut text = String::new();
    let try_with = |change: &dyn Fn(&mut Limits)| {
        let mut config = Config::device();
        change(&mut config.limits);
        let mut hub = Hub::<Heap<Vec<u8>>>::new(
            HubLimits::device(),
            API.topics,
            Entropy([5; 16]),
            HubBuffers { publications: HeapBuffer::fixed(4096), retained: HeapBuffer::fixed(1024) },
        )
        .unwrap();
        let transmit = HeapBuffer::fixed(config.limits.transmit_bytes as usize);
        let buffers = Buffers { receive: HeapBuffer::fixed(1024), transmit };
        let peer = hub.next_peer();
        let result = Connection::<Heap<Vec<u8>>>::accept(
            config,
            &API,
            buffers,
            peer,
            Entropy([0; 16]),
            Instant::default(),
        );
        result.err().map_or_else(|| "accepted".to_owned(), |error| error.to_string())
    };
    for bytes in [223, 224] {
        text += &format!("{}\n", try_with(&|limits| limits.transmit_bytes = bytes));
    }
    for depth in [64, 65] {
        text += &format!("{}\n", try_with(&|limits| limits.depth = depth));
    }
    snapshot!(text);
}
