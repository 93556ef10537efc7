//! How many instructions the engine's hot paths take, as callgrind counts them: no clock, so no
//! noise, and two commits can be compared.

use crate::Outcome;
use crate::client::SECRET;
use crate::serve::Bench;
use core::hint::black_box;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use wslink::wire::Dialect;
use wslink::{
    Api, Audience, Buffers, CallId, Config, Connection, Entropy, Event, Fixed, Frame, Hub,
    HubBuffers, HubLimits, Identity, Instant, NoBlob, Service, Verdict,
};

/// One of the paths, as callgrind runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Hot {
    /// From a frame to the decoded arguments.
    Parse,
    /// From a result to nothing left to send.
    Answer,
    /// From a value to nothing left to send to a single peer.
    Publish,
}

/// The paths, and the functions that are counted.
const HOT: [(Hot, &str, &str); 3] = [
    (Hot::Parse, "parse a call of 64 bytes", "wslink_bench::count::parse"),
    (Hot::Answer, "answer it", "wslink_bench::count::answer"),
    (Hot::Publish, "publish 1 KiB to one peer", "wslink_bench::count::publish"),
];

pub(crate) const CALLGRIND: [&str; 2] = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];

const TIMES: u64 = 1000;
/// What counts as a change, in percent: other code around it moves a few instructions.
const CHANGE: f64 = 1.0;

/// A path and its instructions.
pub(crate) type Count = (String, u64);

/// Counts all of them, and compares with what is committed in `root`; writes them there if
/// `write`.
pub(crate) fn run(root: Option<&Path>, write: bool) -> Outcome<Vec<Count>> {
    let file = root.map(|root| root.join("docs/bench/instructions.json"));
    let before = file.as_ref().and_then(|file| fs::read(file).ok()).unwrap_or_default();
    let before: Value = serde_json::from_slice(&before).unwrap_or_default();
    let mut counts = Vec::new();
    println!("### instructions of the engine\n");
    println!("| path | instructions | before |\n|---|---:|---:|");
    for (hot, name, function) in HOT {
        for (wire, dialect) in [("1.x", "v1"), ("2.x", "v2")] {
            let name = format!("{name}, {wire}");
            let count = callgrind(hot, function, dialect)?;
            println!("| {name} | {count} | {} |", change(count, before[&name].as_u64()));
            counts.push((name, count));
        }
    }
    println!();
    if let Some(file) = file.filter(|_| write) {
        file.parent().map_or(Ok(()), fs::create_dir_all)?;
        let counts: Map<_, _> = counts.iter().map(|(name, it)| (name.clone(), json!(it))).collect();
        fs::write(file, serde_json::to_string_pretty(&counts)? + "\n")?;
    }
    Ok(counts)
}

fn change(count: u64, before: Option<u64>) -> String {
    let Some(before) = before else { return "–".to_owned() };
    let percent = (count as f64 / before as f64 - 1.0) * 100.0;
    if percent.abs() < CHANGE {
        "the same".to_owned()
    } else {
        format!("{before} ({percent:+.1} %)")
    }
}

/// Instructions of one turn of `function`.
fn callgrind(hot: Hot, function: &str, dialect: &str) -> Outcome<u64> {
    let output = Command::new("valgrind")
        .args(CALLGRIND)
        .arg(format!("--toggle-collect={function}*"))
        .arg(std::env::current_exe()?)
        .args(["count", &format!("{hot:?}").to_lowercase(), dialect])
        .output()
        .map_err(|error| format!("valgrind: {error}; its package is needed for this"))?;
    match collected(&output.stderr)? / TIMES {
        0 => Err(format!("callgrind has not seen {function}").into()),
        count => Ok(count),
    }
}

/// What callgrind says in the end.
pub(crate) fn collected(said: &[u8]) -> Outcome<u64> {
    let said = String::from_utf8_lossy(said);
    let collected = said.lines().find_map(|line| line.split("Collected :").nth(1));
    Ok(collected.ok_or_else(|| said.to_string())?.trim().parse()?)
}

type Memory = Fixed<&'static mut [u8], NoBlob, 4, 2, 1, 4, 8, 4>;

struct Server {
    hub: Hub<Memory>,
    connection: Connection<Memory>,
}

const NOW: Instant = Instant::from_millis(1);

/// Goes one path so many times, with callgrind around it.
pub(crate) fn one(hot: Hot, dialect: crate::client::Wire) -> Outcome {
    let dialect = match dialect {
        crate::client::Wire::V1 => Dialect::V1,
        _ => Dialect::V2,
    };
    let mut server = Server::greeted(dialect)?;
    let text = "x".repeat(if hot == Hot::Publish { 1 << 10 } else { 64 });
    for number in 0..TIMES {
        if hot == Hot::Publish {
            publish(&mut server, &text)?;
            continue;
        }
        let id = format!("rpc:c00000000000000000000000000000000:{}", 1000 + number);
        let request = json!({"wslink": "1.0", "id": id, "method": "bench.echo", "args": [text], "kwargs": {}});
        let mut frame = message(dialect, &request)?;
        let (call, request) = parse(&mut server, dialect, &mut frame)?;
        black_box(request);
        answer(&mut server, call, &text)?;
    }
    Ok(())
}

#[inline(never)]
fn parse(
    server: &mut Server,
    dialect: Dialect,
    payload: &mut [u8],
) -> Outcome<(CallId, <Bench as Service>::Request)> {
    match server.connection.handle_frame(NOW, frame(dialect, payload))? {
        Some(Event::Call(call)) => Ok((call.id, Bench.decode(&call)?)),
        other => Err(format!("no call but {other:?}").into()),
    }
}

#[inline(never)]
fn answer(server: &mut Server, call: CallId, text: &str) -> Outcome {
    server.connection.reply(&mut server.hub, call, text, &mut Default::default())?;
    server.send()
}

#[inline(never)]
fn publish(server: &mut Server, text: &str) -> Outcome {
    server.hub.publish(Bench::NEWS.name(), Audience::All, &[], &|writer| writer.value(text))?;
    server.send()
}

impl Server {
    fn greeted(dialect: Dialect) -> Outcome<Self> {
        let buffer = |len| vec![0; len].leak();
        let api = Api::of::<Bench>();
        let buffers = HubBuffers { publications: buffer(64 << 10), retained: buffer(4 << 10) };
        let mut hub = Hub::new(HubLimits::device(), api.topics, Entropy([7; 16]), buffers)?;
        let buffers = Buffers { receive: buffer(8 << 10), transmit: buffer(8 << 10) };
        let peer = hub.next_peer();
        let config = Config::desktop();
        let connection =
            Connection::accept(config, api, buffers, peer, Entropy([7; 16]), Instant::default())?;
        let mut server = Self { hub, connection };
        let hello = json!({"wslink": "1.0", "id": "system:c0:0", "method": "wslink.hello", "args": [{"secret": SECRET}], "kwargs": {}});
        let mut hello = message(dialect, &hello)?;
        server.connection.handle_frame(NOW, frame(dialect, &mut hello))?;
        server.connection.authorize(&mut server.hub, Verdict::AcceptAs(Identity::NOBODY))?;
        server.send()?;
        Ok(server)
    }

    /// All that there is, as a transport would that never waits.
    fn send(&mut self) -> Outcome {
        while let Some(transmit) = self.connection.poll_transmit(NOW, &self.hub) {
            let count = transmit.head.len() + transmit.body.len();
            black_box(&transmit);
            self.connection.advance(NOW, count)?;
        }
        Ok(())
    }
}

fn message(dialect: Dialect, request: &Value) -> Outcome<Vec<u8>> {
    if dialect == Dialect::V1 {
        return Ok(serde_json::to_vec(request)?);
    }
    let content = rmp_serde::to_vec_named(request)?;
    let total = (content.len() as u32).to_le_bytes();
    Ok([&[1, 0, 0, 0, 0, 0, 0, 0], total.as_slice(), &content].concat())
}

fn frame(dialect: Dialect, payload: &mut [u8]) -> Frame<'_> {
    match dialect {
        Dialect::V1 => Frame::Text { fin: true, payload },
        _ => Frame::Binary { fin: true, payload },
    }
}
