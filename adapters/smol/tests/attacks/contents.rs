//! Messages that are whole, and mean harm by what is in them.

use crate::common::client::{BOTH, Client, Dialect, chunk, code, get};
use crate::common::raw::{UPGRADE, ask};
use crate::common::service::{Bench, digest};
use crate::common::{SECRET, alone, logged, options, pattern, resident, with_bench, with_server};
use crate::{is_well, worked};
use async_tungstenite::tungstenite::Message;
use core::time::Duration;
use rmpv::Value;
use wslink_smol::FailedHellos;

/// A request whose argument is nested so deep, with its end or without.
fn nested(dialect: Dialect, depth: usize, ends: bool) -> Message {
    match dialect {
        Dialect::V1 => {
            let end = if ends { "]".repeat(depth) + "}" } else { String::new() };
            let begin = r#"{"id":"x","method":"bench.add","args":"#;
            Message::text(format!("{begin}{}{end}", "[".repeat(depth)))
        }
        Dialect::V2 => {
            let begin = b"\x83\xa2id\xa1x\xa6method\xa9bench.add\xa4args";
            let end = if ends { 0xc0 } else { 0x91 };
            let bytes = [&begin[..], &vec![0x91; depth], &[end]].concat();
            Message::Binary(chunk(1, 0, bytes.len() as u32, &bytes).into())
        }
    }
}

#[test]
fn nesting_bombs_are_refused_at_the_limit() {
    let _alone = alone();
    for dialect in BOTH {
        with_bench(async |_, address| {
            let mut client = Client::login(address, dialect).await;
            let deepest = match dialect {
                // A chunk of 2.x has to fit.
                Dialect::V2 => 65_000,
                Dialect::V1 => 4_000_000,
            };
            let before = resident();
            for (depth, ends) in [(33, true), (1_000, false), (deepest, true), (deepest, false)] {
                client.ws.send(nested(dialect, depth, ends)).await.unwrap();
                let error = client.answer("x").await.unwrap_err();
                assert_eq!(code(&error), -32003, "{depth}: {error}");
                assert_eq!(get(get(&error, "data"), "limit").as_str(), Some("depth"));
                is_well(&mut client).await;
            }
            let grown = resident().saturating_sub(before);
            assert!(grown < 24 << 20, "{grown} bytes");

            // Strangers hear that they have to say hello, or what is wrong; and may, then.
            let mut stranger = Client::connect(address, dialect).await;
            stranger.ws.send(nested(dialect, 4_000, true)).await.unwrap();
            stranger.answer("x").await.unwrap_err();
            stranger.hello(SECRET).await.unwrap();
        });
    }
}

#[test]
fn ids_that_are_too_long_are_not_sent_back() {
    let _alone = alone();
    with_bench(async |_, address| {
        for dialect in BOTH {
            for len in [65, 60_000, 5_000_000] {
                let mut client = Client::login(address, dialect).await;
                client.send(&"i".repeat(len), "bench.add", vec![1.into(), 2.into()]).await;
                let ended = client.end().await;
                assert_eq!(ended, Some((1008, "the id is too long".to_owned())), "{len}");
            }
            let mut client = Client::login(address, dialect).await;
            let id = "i".repeat(64);
            client.send(&id, "bench.add", vec![1.into(), 2.into()]).await;
            assert_eq!(client.answer(&id).await, Ok(3.into()));
        }
    });
}

/// Nothing is put into a hash map, so no keys make it slow: neither equal ones, nor very many, nor
/// ones whose hashes would be equal.
#[test]
fn many_keys_take_their_time_and_not_its_square() {
    let _alone = alone();
    with_bench(async |_, address| {
        let mut client = Client::login(address, Dialect::V1).await;
        for equal in [true, false] {
            let mut took = async |count: usize| {
                let mut text =
                    r#"{"id":"x","method":"bench.add","args":[1,2],"kwargs":{"#.to_owned();
                for nth in 0..count {
                    let comma = if nth > 0 { "," } else { "" };
                    let key = if equal { 0 } else { nth };
                    text += &format!("{comma}\"key{key}\":0");
                }
                text += "}}";
                let before = worked();
                client.ws.send(Message::text(text)).await.unwrap();
                let answer = client.answer("x").await;
                (worked() - before, answer)
            };
            // The service names its parameters, so that others are refused.
            let (_, answer) = took(1).await;
            assert_eq!(answer.map_err(|error| code(&error)), Err(-32602));
            let short = took(10_000).await.0.min(took(10_000).await.0);
            let long = took(80_000).await.0.min(took(80_000).await.0);
            assert!(long <= 30 * short, "{long:?} for eight times of what took {short:?}");
        }
        is_well(&mut client).await;
    });
}

/// Keys of 1.x are short and can be guessed, but they name what came on the same connection.
#[test]
fn the_attachment_of_another_client_cannot_be_named() {
    let _alone = alone();
    with_bench(async |_, address| {
        let announce =
            r#"{"wslink":"1.0","method":"wslink.binary.attachment","args":["wslink_bin1"]}"#;
        let request = r#"{"id":"x","method":"bench.digest","args":["wslink_bin1"]}"#;
        let mut victim = Client::login(address, Dialect::V1).await;
        let bytes = pattern(1000);
        victim.ws.send(Message::text(announce)).await.unwrap();
        victim.ws.send(Message::Binary(bytes.clone().into())).await.unwrap();
        is_well(&mut victim).await;

        let mut thief = Client::login(address, Dialect::V1).await;
        thief.ws.send(Message::text(request)).await.unwrap();
        assert_eq!(code(&thief.answer("x").await.unwrap_err()), -32602);
        // Nor by coming back under the same key before the other one uses its own.
        thief.ws.send(Message::text(announce)).await.unwrap();
        thief.ws.send(Message::Binary(vec![1, 2, 3].into())).await.unwrap();
        is_well(&mut thief).await;

        let sum = |bytes: &[u8]| Ok(Value::Array(vec![bytes.len().into(), digest(bytes).into()]));
        victim.ws.send(Message::text(request)).await.unwrap();
        assert_eq!(victim.answer("x").await, sum(&bytes));
        thief.ws.send(Message::text(request)).await.unwrap();
        assert_eq!(thief.answer("x").await, sum(&[1, 2, 3]));
    });
}

/// Ends of lines, sequences for terminals, and signs that turn or hide what stands beside them.
const HOSTILE: &str =
    "\n1970 ERROR forged\r\n\x1b[2J\x07\0\u{85}\u{9b}31m\u{2028}\u{202e}\u{200b}hush-hush";

#[test]
fn nothing_that_peers_say_forges_a_log() {
    let _alone = alone();
    let mut fast = FailedHellos::default();
    (fast.delay, fast.longest) = (Duration::from_millis(1), Duration::from_millis(1));
    let options = options().with_failed_hellos(fast);
    logged::start();
    with_server(Bench::default(), options, async |_, address| {
        for dialect in BOTH {
            let long = HOSTILE.repeat(100);
            let mut client = Client::connect(address, dialect).await;
            client.hello(HOSTILE).await.unwrap_err();
            client.call(HOSTILE, vec![]).await.unwrap_err();
            client.hello(SECRET).await.unwrap();
            for text in [HOSTILE, &long] {
                client.call(text, vec![]).await.unwrap_err();
                _ = client.call("bench.say", vec![text.into()]).await;
                client.call("bench.add", vec![text.into(), 1.into()]).await.unwrap_err();
                for method in ["wslink.subscribe", "wslink.cancel", "wslink.describe"] {
                    _ = client.call(method, vec![Value::Array(vec![text.into()])]).await;
                }
            }
            client.send("\n\x1b[2J\u{202e}", HOSTILE, vec![]).await;
            client.answer("\n\x1b[2J\u{202e}").await.unwrap_err();
            client.send(&long, "bench.add", vec![]).await;
            assert_eq!(client.end().await.unwrap().0, 1008);
        }
        // Whatever of it HTTP lets through.
        for hostile in ["\u{85}\u{202e}", "\t\u{9b}31m", "\"\\", "\x1b[2J", "\n forged", "\r"] {
            for request in [
                format!(
                    "GET /ws HTTP/1.1\r\nConnection: close\r\nOrigin: http://{hostile}\r\n{UPGRADE}"
                ),
                format!("GET /{hostile} HTTP/1.1\r\nConnection: close\r\nHost: x\r\n\r\n"),
                format!(
                    "GET /ws?token={hostile} HTTP/1.1\r\nOrigin: null\r\nX: {hostile}\r\n{UPGRADE}"
                ),
                format!("{hostile} / HTTP/1.1\r\nHost: {hostile}\r\nConnection: close\r\n\r\n"),
            ] {
                ask(address, &request.replace("keep-alive, ", "close, ")).await;
            }
        }
    });
    let lines = logged::stop();
    assert!(logged::ours(&lines, "said a wrong hello") == 2 && lines.len() > 10);
    for line in &lines {
        let clean = |it: char| !it.is_control() && !"\u{2028}\u{202e}\u{200b}".contains(it);
        assert!(line.chars().all(clean), "{line:?}");
        assert!(!line.contains("hush"), "{line:?}");
        assert!(line.len() < 1000, "{} bytes: {line:?}", line.len());
    }
}

/// A file that cannot be read is an error of the machine and so is logged, with a path that a peer
/// chose.
#[test]
#[cfg(unix)]
fn paths_forge_no_log_either() {
    let _alone = alone();
    let folder = std::env::temp_dir().join(format!("wslink-{}-forged", std::process::id()));
    _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink("round", folder.join("round")).unwrap();
    let options = options().with_content(&folder).unwrap();
    logged::start();
    with_server(Bench::default(), options, async |_, address| {
        let request = "GET /round/%0Aforged%1B[2J HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        assert!(!ask(address, request).await.starts_with("HTTP/1.1 200"));
    });
    std::fs::remove_dir_all(&folder).unwrap();
    let lines = logged::stop();
    assert_eq!(logged::ours(&lines, "forged"), 1, "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains(char::is_control)), "{lines:?}");
}

/// A server can say as much to a client.
#[test]
#[cfg(feature = "client")]
fn nothing_that_a_server_says_forges_a_log() {
    use crate::common::{listen, within};
    use futures_util::StreamExt as _;

    let _alone = alone();
    logged::start();
    smol::block_on(within(Duration::from_secs(20), async {
        let listener = listen().await;
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        let hostile = serde_json::Value::from(HOSTILE);
        let error = format!(r#""error":{{"code":-1,"message":{hostile},"data":{hostile}}}}}"#);
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut ws = async_tungstenite::accept_async(stream).await.unwrap();
            while let Some(Ok(message)) = ws.next().await {
                let Ok(text) = message.into_text() else { continue };
                let Ok(said) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
                let answer = match said["method"].as_str() {
                    Some("wslink.hello") => {
                        format!(r#"{{"id":{},"result":{{"clientID":"c1"}}}}"#, said["id"])
                    }
                    _ => format!(r#"{{"id":{},{error}"#, said["id"]),
                };
                let published = serde_json::Value::from(format!("publish:{HOSTILE}:0"));
                let published = format!(r#"{{"id":{published},{error}"#);
                for answer in [answer, published, "{\n\u{1b}".to_owned()] {
                    ws.send(Message::text(answer)).await.unwrap();
                }
            }
        };
        let client = async {
            let options = wslink_smol::client::Options::new(SECRET)
                .without_proxy()
                .with_dialect(wslink_core::wire::Dialect::V1);
            let (client, driver) = wslink_smol::Client::connect(&url, options).await.unwrap();
            let calls = async {
                let _topic = client.subscribe::<String>("x*");
                let call = client.call("x").send::<wslink_smol::client::Value>();
                call.await.unwrap_err();
                client.call("y").send::<wslink_smol::client::Value>().await.unwrap_err();
            };
            smol::future::or(calls, async { driver.await.unwrap() }).await;
        };
        smol::future::or(server, client).await;
    }));
    let lines = logged::stop();
    assert!(logged::ours(&lines, "the server could not publish") > 0, "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains(char::is_control)), "{lines:?}");
}
