//! What the documents show of the wire is what the engine reads and writes.
//!
//! A block that begins with ```` ```text example=<name> ```` is held against what the example of
//! that name gives; see [`EXAMPLES`]. So are the tables of defaults and codes.

#![expect(clippy::unwrap_used, reason = "test code")]

mod security;
mod turn;
mod wire;

use core::time::Duration;
use wire::Wire;
use wslink_core::wire::Dialect::{V1, V2};
use wslink_core::{Config, Deadlines, Limits};
use wslink_testkit::val;

const PROTOCOL: &str = include_str!("../../../../docs/protocol.md");

const HELLO: &str = r#"{"wslink":"1.0","id":"system:c0:0","method":"wslink.hello","args":[{"secret":"wslink-secret"}],"kwargs":{}}"#;
const FILL: &str =
    r#"{"wslink":"1.0","id":"rpc:c1:0","method":"tank.fill","args":[12.5],"kwargs":{"valve":2}}"#;
const DRAIN: &str = r#"{"wslink":"1.0","id":"rpc:c1:0","method":"tank.drain","args":[],"kwargs":{"wslink_token":7}}"#;

/// A request of a 1.x client.
fn request(n: u32, method: &str, args: &str) -> String {
    format!(
        r#"{{"wslink":"1.0","id":"rpc:c1:{n}","method":"{method}","args":{args},"kwargs":{{}}}}"#
    )
}

/// A client of 1.x that has said hello.
fn one() -> Wire {
    Wire::new(V1, |_| {}).greeted()
}

type Example = fn() -> Wire;

/// By the name that stands in the documents.
const EXAMPLES: &[(&str, Example)] = &[
    ("hello-v1", || {
        let mut wire = Wire::new(V1, |_| {});
        wire.says(&HELLO.replace("wslink-secret", "guess"));
        wire.says(&request(0, "tank.fill", "[12.5]"));
        wire.says(HELLO);
        wire
    }),
    ("hello-v2", || {
        let mut wire = Wire::new(V2, |_| {});
        wire.says(HELLO);
        wire
    }),
    ("call-v1", || {
        let mut wire = one();
        wire.says(FILL);
        wire
    }),
    ("call-v2", || {
        let mut wire = Wire::new(V2, |_| {}).greeted();
        wire.says(FILL);
        wire
    }),
    ("errors", || {
        let mut wire = one();
        wire.says(&request(0, "tank.paint", "[]"));
        wire.says(&request(1, "tank.fill", "[]"));
        wire.says(&request(2, "tank.fill", "[\"much\"]"));
        wire.says(&request(3, "tank.fill", "[101]"));
        wire.says(r#"{"wslink":"1.0","id":"rpc:c1:4","method":7}"#);
        wire.says(r#"{"wslink":"1.0","id":"rpc:c1:5","method":"tank.fill","args":[1.]}"#);
        wire
    }),
    ("too-long", || {
        let mut wire = Wire::new(V1, |config| config.limits.message = 100).greeted();
        wire.says(FILL);
        wire.says(&request(
            1,
            "tank.label",
            "[\"a text that is longer than all that was asked for\"]",
        ));
        wire
    }),
    ("attachment-down-v1", || {
        let mut wire = one();
        wire.says(&request(0, "tank.photo", "[]"));
        wire
    }),
    ("attachment-up-v1", || {
        let mut wire = one();
        wire.says(r#"{"wslink":"1.0","method":"wslink.binary.attachment","args":["wslink_bin1"]}"#);
        wire.attaches(&[0x89, 0x50, 0x4e, 0x47]);
        wire.says(&request(0, "tank.label", "[\"wslink_bin1\"]"));
        wire
    }),
    ("attachment-v2", || {
        let mut wire = Wire::new(V2, |_| {}).greeted();
        wire.says(&request(0, "tank.photo", "[]"));
        wire
    }),
    ("chunks", || {
        let mut wire = Wire::new(V2, |config| config.limits.max_msg_size = 44).greeted();
        let (id, method) = ("rpc:c1:0", "tank.photo");
        wire.chunks(&val!({"id": id, "method": method}).to_msgpack(), 20);
        wire
    }),
    ("publication", || {
        let mut wire = one();
        wire.publishes(&[12.5]);
        wire
    }),
    ("retained", || {
        let mut wire = Wire::new(V1, |_| {});
        wire.publishes(&[12.5]);
        wire.says(HELLO);
        wire.publishes(&[13.0]);
        wire
    }),
    ("subscribe", || {
        let mut wire = one();
        wire.says(&request(0, "wslink.subscribe", "[[\"tank.*\",\"wslink.lagged\"],2]"));
        wire.says(&request(1, "wslink.unsubscribe", "[\"tank.level\"]"));
        wire
    }),
    ("lagged", || {
        let mut wire = one();
        wire.says(&request(0, "wslink.subscribe", "[[\"*\",\"wslink.lagged\"]]"));
        wire.publishes(&[1.0, 2.0, 3.0, 4.0]);
        wire
    }),
    ("describe", || {
        let mut wire = one();
        wire.says(&request(0, "wslink.describe", "[3]"));
        wire
    }),
    ("cancel", || {
        let mut wire = one();
        wire.says(DRAIN);
        wire.says(&request(1, "wslink.cancel", "[7]"));
        wire.says(&request(2, "wslink.cancel", "[7]"));
        wire
    }),
    ("deadline", || {
        let mut wire = Wire::new(V1, |config| config.deadlines.ping = None).greeted();
        wire.says(&request(0, "tank.drain", "[]"));
        wire.waits(Duration::from_secs(60));
        wire
    }),
    ("exit", || {
        let mut wire = Wire::new(V1, |config| config.exit = true).greeted();
        wire.says(&request(0, "application.exit.later", "[2]"));
        wire
    }),
    ("close", || {
        let mut wire = one();
        wire.closes(1000);
        wire
    }),
];

/// Each block in `document` as it should be; and what is wrong with the document.
fn corrected(document: &str) -> (String, String) {
    let (mut text, mut wrong) = (String::new(), String::new());
    let mut lines = document.lines().zip(1_u32..);
    while let Some((line, number)) = lines.next() {
        text += &format!("{line}\n");
        let Some(name) = line.strip_prefix("```text example=") else { continue };
        let inside = lines.by_ref().map(|(line, _)| line).take_while(|line| *line != "```");
        let shown: String = inside.map(|line| format!("{line}\n")).collect();
        match EXAMPLES.iter().find(|(known, _)| *known == name) {
            None => wrong += &format!("line {number}: there is no example {name:?}\n"),
            Some((_, example)) => {
                let passed = example().text();
                if passed != shown {
                    wrong += &format!("line {number}: {name} should be\n{passed}\n");
                }
                text += &passed;
            }
        }
        text += "```\n";
    }
    for (name, _) in EXAMPLES {
        if !document.contains(&format!("```text example={name}\n")) {
            wrong += &format!("{name:?} is shown nowhere\n");
        }
    }
    (text, wrong)
}

/// With `UPDATE_DOCUMENTS=1` in the environment the document is corrected instead.
#[test]
fn the_bytes_that_are_shown_are_those_that_pass() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
    let (text, wrong) = corrected(PROTOCOL);
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(path, text).unwrap();
    } else {
        assert!(wrong.is_empty(), "docs/protocol.md, {wrong}");
    }
}

#[test]
fn the_loop_that_is_shown_is_the_one_that_they_passed() {
    let document = include_str!("../../../../docs/architecture.md");
    let (_, code) = include_str!("turn.rs").split_once("\n\n").unwrap();
    let block = format!("```rust\n{}```\n", code.replace("pub(crate) ", ""));
    assert!(document.contains(&block), "docs/architecture.md should have\n{block}");
}

/// The cells of the table row whose first one is `name` in code, from the table under `heading`.
fn row(heading: &str, name: &str) -> Vec<&'static str> {
    let (_, section) = PROTOCOL.split_once(&format!("\n## {heading}\n")).unwrap();
    let start = format!("| `{name}` |");
    let row = section.lines().find(|line| line.starts_with(&start));
    let Some(row) = row else { panic!("no row {name:?} under {heading:?}") };
    row.split('|').map(str::trim).skip(2).collect()
}

#[test]
fn the_defaults_are_those_of_the_engine() {
    fn size(bytes: u32) -> String {
        match bytes {
            _ if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) => {
                format!("{} GiB", bytes >> 30)
            }
            _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => {
                format!("{} MiB", bytes >> 20)
            }
            _ if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => {
                format!("{} KiB", bytes >> 10)
            }
            _ => bytes.to_string(),
        }
    }
    let all = |Limits {
                   frame,
                   max_msg_size,
                   overhead,
                   message_before_hello,
                   message,
                   upload,
                   depth,
                   id,
                   calls,
                   pending,
                   ranges,
                   ahead,
                   attachments,
                   receive_bytes,
                   transmit_bytes,
                   ..
               }: Limits| {
        [
            ("frame", frame),
            ("max_msg_size", max_msg_size),
            ("overhead", overhead),
            ("message_before_hello", message_before_hello),
            ("message", message),
            ("upload", upload),
            ("depth", depth.into()),
            ("id", id.into()),
            ("calls", calls.into()),
            ("pending", pending.into()),
            ("ranges", ranges.into()),
            ("ahead", ahead),
            ("attachments", attachments.into()),
            ("receive_bytes", receive_bytes),
            ("transmit_bytes", transmit_bytes),
        ]
    };
    let (desktop, device) = (Config::desktop(), Config::device());
    for ((name, large), (_, small)) in all(desktop.limits).into_iter().zip(all(device.limits)) {
        assert_eq!(row("Limits", name)[..2], [size(large), size(small)], "{name}");
    }

    assert_eq!(desktop.deadlines, device.deadlines);
    let Deadlines { hello, ping, pong, partial, write, call, close, .. } = desktop.deadlines;
    let all = [
        ("hello", Some(hello)),
        ("ping", ping),
        ("pong", Some(pong)),
        ("partial", Some(partial)),
        ("write", Some(write)),
        ("call", call),
        ("close", Some(close)),
    ];
    for (name, deadline) in all {
        let shown = deadline.map_or_else(|| "none".to_owned(), |it| format!("{} s", it.as_secs()));
        assert_eq!(row("Heartbeat, deadlines, Close", name)[0], shown, "{name}");
    }
}

#[test]
fn every_code_has_a_row() {
    use wslink_core::{CloseCode, code};
    let errors = [
        code::UNAUTHORIZED,
        code::EXCEPTION,
        code::UNSERIALIZABLE,
        code::METHOD_NOT_FOUND,
        code::INVALID_REQUEST,
        code::INVALID_PARAMS,
        code::PARSE_ERROR,
        code::LIMIT,
        code::DEADLINE,
        code::CANCELLED,
    ];
    let closes = [
        CloseCode::Normal,
        CloseCode::GoingAway,
        CloseCode::Protocol,
        CloseCode::Invalid,
        CloseCode::Policy,
        CloseCode::TooBig,
    ];
    let codes = errors.into_iter().chain(closes.map(|close| close.number().into()));
    for code in codes {
        assert!(PROTOCOL.contains(&format!("\n| {code} |")), "{code}");
    }
}
