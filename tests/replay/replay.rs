//! One recording against one server.

use crate::client::{Client, op};
use crate::record::{Record, Side, read};
use crate::service::TraceService;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Instant;
use wslink_core::Config;
use wslink_smol::{Options, Server};

/// By how much the recordings of the heartbeat are shortened.
const HASTE: u64 = 4;

/// How long after the last record something may come that was not recorded.
const QUIET: Duration = Duration::from_millis(60);

/// How long a server has for what one client sent, before another client sends something or this
/// one says goodbye. No pause of a recording is longer, unless the recording is about time.
const TURN: Duration = Duration::from_millis(10);

/// How far a ping or a drop may be from its time.
const EARLY: u64 = 40;
const LATE: u64 = 400;

pub(crate) struct Outcome {
    /// `<connection> - <what only upstream sends>`, `<connection> + <what only ours sends>`.
    pub(crate) differences: Vec<String>,
}

/// The settings of the recorded server, which are upstream's but for a few cases.
fn options(dialect: &str, case: &str) -> Options {
    let max: u32 = match case {
        "chunked_small_limit" | "chunked_two_publications" | "message_too_big" => 4096,
        "chunked_tiny_limit" => 8,
        "chunked_limit_zero" => 0,
        _ => 4 << 20,
    };
    let mut config = Config::desktop();
    config.exit = true;
    (config.limits.max_msg_size, config.limits.sent) = (max, max);
    // Upstream takes what is below its limit, to which 2.x adds an overhead of 4096.
    config.limits.frame = max.saturating_sub(1);
    // Only 2.x has another limit before hello.
    config.limits.message_before_hello = if dialect == "v1" { config.limits.frame } else { 512 };
    // Upstream has no limit after hello.
    config.limits.message = u32::MAX;
    let heartbeat = match case {
        "server_heartbeat" | "server_heartbeat_data_instead_of_pong" => 2_000 / HASTE,
        "server_heartbeat_half_open" => 3_000 / HASTE,
        _ => 30_000,
    };
    config.deadlines.ping = Some(Duration::from_millis(heartbeat));
    // Waiting for what does not come takes its time.
    config.deadlines.hello = Duration::from_secs(60);
    config.deadlines.pong = Duration::from_millis(heartbeat / 2);
    Options::new("wslink-secret").with_config(config).with_grace(Duration::from_millis(100))
}

struct Replay {
    server: SocketAddr,
    start: Instant,
    clients: BTreeMap<usize, Client>,
    expected: BTreeMap<usize, Side>,
    actual: BTreeMap<usize, Side>,
    patience: u32,
}

pub(crate) fn replay(dialect: &str, case: &str, path: &Path, patience: u32) -> Outcome {
    let records = read(path);
    let (listener, address) = smol::block_on(async {
        let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    });
    let server = Server::new(TraceService, options(dialect, case));
    let stop = server.stop_handle();
    let running = thread::spawn(move || smol::block_on(server.run(listener)));

    let mut replay = Replay {
        server: address,
        start: Instant::now(),
        clients: BTreeMap::new(),
        expected: BTreeMap::new(),
        actual: BTreeMap::new(),
        patience,
    };
    let timed = case.starts_with("server_heartbeat");
    replay.run(&records, timed);
    let outcome = Outcome { differences: replay.compare(timed) };
    replay.clients.clear();
    stop.stop();
    running.join().unwrap();
    outcome
}

impl Replay {
    fn run(&mut self, records: &[Record], timed: bool) {
        let mut before = 0;
        let mut last = 0;
        for (nth, record) in records.iter().enumerate() {
            let conn = record.conn;
            self.open(conn, &records[nth..]);
            if timed {
                let due = Duration::from_millis(record.ms / HASTE);
                if record.from_client && !record.is_end() {
                    self.collect(due.saturating_sub(self.start.elapsed()));
                }
            }
            let gap = Duration::from_millis(record.ms - core::mem::replace(&mut before, record.ms));
            if !record.from_client {
                let expected = self.expected.entry(conn).or_default();
                expected.recorded(record);
                let key = expected.items.last().map(|item| item.key.clone());
                if let Some(key) = key {
                    self.wait(conn, &key, gap + Duration::from_millis(400) * self.patience);
                }
                continue;
            }
            let expected = self.expected.entry(conn).or_default();
            let actual = self.actual.entry(conn).or_default();
            let Some(client) = self.clients.get(&conn) else { continue };
            if record.is_end() {
                // A client that goes without a Close; otherwise it only ends what is over.
                if !expected.got_close && !expected.over && expected.closed_with.is_none() {
                    expected.over = true;
                    actual.over = true;
                    client.cut();
                }
                continue;
            }
            // Upstream saw these in the order of the recording, and was done with one when the next
            // came; so shall ours.
            let other = core::mem::replace(&mut last, conn) != conn;
            let pause = if other || record.op == "close" { TURN } else { gap.min(TURN) };
            self.collect(pause);
            let payload = record.payload();
            if record.op == "close" {
                for sides in [&mut self.expected, &mut self.actual] {
                    sides.entry(conn).or_default().closed_with = Some(payload.clone());
                }
            }
            if let Some(client) = self.clients.get_mut(&conn) {
                client.send(record.opcode(), record.fin(), &payload);
            }
        }
        self.collect(QUIET * self.patience);
        self.end();
    }

    /// Connects `conn` for its first record, and with it those that follow and are silent at
    /// first.
    fn open(&mut self, conn: usize, records: &[Record]) {
        let mut next = conn;
        while !self.clients.contains_key(&next) {
            self.clients.insert(next, Client::connect(self.server).unwrap());
            self.actual.insert(next, Side::default());
            next += 1;
            let first = records.iter().find(|record| record.conn == next);
            if !first.is_some_and(|first| !first.from_client || first.opcode() == op::CLOSE) {
                break;
            }
        }
    }

    /// Takes in what has come, and what comes within that time.
    fn collect(&mut self, within: Duration) {
        let end = Instant::now() + within;
        loop {
            self.take_in();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(Duration::from_millis(1)));
        }
    }

    fn take_in(&mut self) {
        for (conn, client) in &self.clients {
            let side = self.actual.entry(*conn).or_default();
            while let Some((at, incoming)) = client.next(Duration::ZERO) {
                let ms = at.duration_since(self.start).as_millis() as u64;
                side.incoming(ms, incoming);
            }
        }
    }

    /// Waits until as many things of this kind have come as were recorded up to here.
    fn wait(&mut self, conn: usize, key: &str, most: Duration) {
        let end = Instant::now() + most;
        let count = |side: Option<&Side>| {
            side.map_or(0, |side| side.items.iter().filter(|item| item.key == key).count())
        };
        loop {
            self.take_in();
            let actual = self.actual.get(&conn);
            let come = count(actual) >= count(self.expected.get(&conn));
            if come || actual.is_some_and(|side| side.over) || Instant::now() >= end {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whoever got a Close answers it, and then the server has to end TCP.
    fn end(&mut self) {
        for (conn, side) in &mut self.actual {
            let Some(client) = self.clients.get_mut(conn) else { continue };
            if side.got_close && side.closed_with.is_none() && !side.over {
                side.closed_with = Some(Vec::new());
                client.send(op::CLOSE, true, &[]);
            }
        }
        let end = Instant::now() + Duration::from_secs(2);
        while self.actual.values().any(|side| side.got_close && !side.over) {
            self.take_in();
            if Instant::now() >= end {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        for side in self.actual.values_mut().filter(|side| side.got_close && !side.over) {
            let item = side.items.last().cloned();
            side.items.extend(item.map(|item| crate::record::Item {
                text: "TCP is not ended after the Close".into(),
                ..item
            }));
        }
    }

    fn compare(&self, timed: bool) -> Vec<String> {
        let mut names = Vec::new();
        for (conn, side) in self.expected.iter().chain(&self.actual) {
            if let Some(id) = &side.client_id {
                names.push((id.clone(), format!("<client {conn}>")));
            }
        }
        let mut ours: Vec<_> =
            self.actual.values().filter_map(|side| side.client_id.as_ref()).collect();
        let count = ours.len();
        ours.sort();
        ours.dedup();
        assert_eq!(ours.len(), count, "two clients have the same id");
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        assert!(ours.iter().all(|id| !id.is_empty() && id.chars().all(word)), "{ours:?}");

        let named = |text: &str| {
            names.iter().fold(text.to_owned(), |text, (id, name)| text.replace(id.as_str(), name))
        };
        let nothing = Side::default();
        let mut differences = Vec::new();
        for conn in self
            .expected
            .keys()
            .chain(self.actual.keys().filter(|conn| !self.expected.contains_key(conn)))
        {
            let side = |sides: &BTreeMap<usize, Side>| {
                let side = sides.get(conn).unwrap_or(&nothing);
                side.items.iter().map(|item| (named(&item.text), item.ms)).collect::<Vec<_>>()
            };
            let (expected, actual) = (side(&self.expected), side(&self.actual));
            for (sign, text) in diff(&expected, &actual) {
                differences.push(format!("{conn} {sign} {text}"));
            }
            if timed {
                for ((text, recorded), (_, ms)) in expected.iter().zip(&actual) {
                    let due = recorded / HASTE;
                    let watched = text.starts_with("ping") || text == "dropped";
                    if watched && (ms + EARLY < due || *ms > due + LATE) {
                        differences.push(format!("{conn} ! {text} at {ms} ms, due at {due} ms"));
                    }
                }
            }
        }
        differences
    }
}

/// The longest common part stays; what only one side has is given with its sign.
fn diff<'a>(expected: &'a [(String, u64)], actual: &'a [(String, u64)]) -> Vec<(char, &'a str)> {
    let mut common = vec![vec![0_usize; actual.len() + 1]; expected.len() + 1];
    for i in (0..expected.len()).rev() {
        for j in (0..actual.len()).rev() {
            common[i][j] = if expected[i].0 == actual[j].0 {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    loop {
        match (expected.get(i), actual.get(j)) {
            (None, None) => return lines,
            (Some(a), Some(b)) if a.0 == b.0 => {
                i += 1;
                j += 1;
            }
            (Some(a), b) if b.is_none() || common[i + 1][j] >= common[i][j + 1] => {
                lines.push(('-', a.0.as_str()));
                i += 1;
            }
            (_, Some(b)) => {
                lines.push(('+', b.0.as_str()));
                j += 1;
            }
            _ => unreachable!("one side has more"),
        }
    }
}
