//! What decides whether people stay, one test each: the complaints that users of such libraries
//! have most often, as promises.
//!
//! What pages do about it on their side is tested with `adapters/browser`.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::client::{BOTH, Client, Dialect, code, get};
use common::raw::{UPGRADE, ask};
use common::service::{Bench, SAID, digest};
use common::{
    SECRET, alone, logged, options, pattern, resident, until, with_bench, with_server, within,
};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use rmpv::Value;
use smol::future;
use std::time::Instant;
use wslink::{
    Audience, CloseReason, Config, Cx, Hello, Identity, RpcError, TimeoutReason, Topic, Verdict,
};
use wslink_smol::Origins;

/// 1: A stalled tab never slows another client, never grows memory, and the loss is reported.
#[test]
fn a_stalled_client_slows_nobody_takes_no_memory_and_its_loss_is_told() {
    const WARM: u64 = 200;
    const ALL: u64 = 2400;
    let _alone = alone();
    with_bench(async |server, address| {
        let mut stalled = Client::login(address, Dialect::V2).await;
        let topics = Value::Array(vec!["bench.*".into(), "wslink.lagged".into()]);
        stalled.call("wslink.subscribe", vec![topics]).await.unwrap();
        // It reads nothing from here on, and has a lot to read.
        let large = stalled.start("bench.blob", vec![20_000_000.into()]).await;
        let mut client = Client::login(address, Dialect::V2).await;
        let mut warm = 0;
        for n in 0..ALL {
            if n == WARM {
                warm = resident();
            }
            // 150 MiB in all. Each one is there before the next one is made.
            let text = format!("{n} {}", "x".repeat(64 << 10));
            server.publications().publish(Audience::All, &SAID, &text, &[]).unwrap();
            let said = within(Duration::from_secs(2), client.published("bench.said")).await;
            assert_eq!(said.as_str(), Some(text.as_str()));
        }
        let grown = resident().saturating_sub(warm);
        assert!(grown < 1 << 20, "{grown} bytes more than after {WARM} publications");

        // When it reads again, it gets its answer, what the server still has, and the number of
        // what it missed; nothing twice, and nothing is lost without being counted.
        assert!(stalled.answer(&large).await.unwrap().is_bin());
        let (mut last, mut count) = (None, 0);
        while last != Some(ALL - 1) {
            let said = stalled.published("bench.said").await;
            let number = said.as_str().unwrap().split_once(' ').unwrap().0.parse::<u64>().unwrap();
            assert!(last.is_none_or(|last| last < number));
            (last, count) = (Some(number), count + 1);
        }
        let mut missed = 0;
        while count + missed < ALL {
            let lagged = stalled.published("wslink.lagged").await;
            assert_eq!(get(&lagged, "topic").as_str(), Some("bench.said"));
            missed += get(&lagged, "missed").as_u64().unwrap();
        }
        assert_eq!((count + missed, missed > ALL / 2), (ALL, true));
        assert_eq!(server.service().lagged.load(Ordering::SeqCst) as u64, missed);
    });
}

/// 2: Any size goes through, in both directions; limits are announced; exceeding one gives an error
/// with two numbers, not a dead socket.
#[test]
fn any_size_goes_through_and_limits_are_told_with_two_numbers() {
    const LIMIT: usize = 2_000_000;
    let _alone = alone();
    let mut config = Config::desktop();
    config.limits.message = LIMIT as u32;
    // What goes out may be larger than all buffers.
    config.limits.transmit_bytes = 10_000;
    for dialect in BOTH {
        with_server(Bench::default(), options().with_config(config), async |_, address| {
            let mut client = Client::login(address, dialect).await;
            let limits = client.call("wslink.describe", vec![]).await.unwrap();
            let limit = get(get(&limits, "limits"), "message").as_u64();
            assert_eq!(limit, Some(LIMIT as u64));

            for len in [0, 1, 65_536, 30_000_000] {
                let bytes = client.call("bench.saw", vec![len.into()]).await.unwrap();
                assert!(bytes == Value::Binary(pattern(len)), "{len} bytes down in {dialect:?}");
            }

            // Under the same id, so that of two messages the one with more bytes is the longer one.
            let mut upload = async |len: usize| {
                let bytes = Value::Binary(pattern(len));
                client.send("rpc:upload", "bench.digest", vec![bytes]).await;
                client.answer("rpc:upload").await
            };
            // In 2.x the message is a little more than what is attached.
            let around = upload(LIMIT).await.map_or_else(|error| exceeded(&error).0 - LIMIT, |_| 0);
            for len in [0, 1, 65_536, LIMIT - around] {
                let sum = Value::Array(vec![len.into(), digest(&pattern(len)).into()]);
                assert_eq!(upload(len).await, Ok(sum), "{len} bytes up in {dialect:?}");
            }
            for more in [1, 3_000_000] {
                let error = upload(LIMIT - around + more).await.unwrap_err();
                assert_eq!(exceeded(&error), (LIMIT + more, LIMIT));
            }
            assert_eq!(upload(1).await.map(|_| ()), Ok(()));
        });
    }
}

/// What was needed, and what there was.
fn exceeded(error: &Value) -> (usize, usize) {
    assert_eq!(code(error), -32003, "{error}");
    let number = |name| get(get(error, "data"), name).as_u64().unwrap() as usize;
    (number("needed"), number("available"))
}

/// 3: A vanished client is noticed within a configured time and its slot is free again; the reason
/// is logged.
#[test]
fn a_vanished_client_is_noticed_in_time_and_its_place_is_free() {
    let _alone = alone();
    let mut config = Config::desktop();
    config.deadlines.ping = Some(Duration::from_millis(100));
    config.deadlines.pong = Duration::from_millis(200);
    let options = options().with_config(config).with_max_connections(2);
    with_server(Bench::default(), options, async |server, address| {
        logged::start();
        let mut silent = Client::login(address, Dialect::V2).await;
        // Its socket stays open, but nobody is there any more; the call that runs ends, too.
        let mut vanished = Client::login(address, Dialect::V2).await;
        vanished.start("bench.wait", vec![]).await;
        let start = Instant::now();
        until_read(&mut silent, || server.peers() == 1).await;
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        until_read(&mut silent, || server.service().waiting.load(Ordering::SeqCst) == 0).await;
        // One that says nothing, but answers pings, stays.
        let wait = Instant::now() + Duration::from_millis(600);
        until_read(&mut silent, || wait < Instant::now()).await;
        assert_eq!(silent.call("bench.add", vec![1.into(), 2.into()]).await, Ok(3.into()));

        let mut next = Client::login(address, Dialect::V1).await;
        assert_eq!(next.call("bench.add", vec![1.into(), 2.into()]).await, Ok(3.into()));
        let reason = CloseReason::Timeout(TimeoutReason::Pong);
        assert_eq!(*server.service().closed.lock().unwrap(), [reason]);
        assert_eq!(logged::ours(&logged::stop(), "is gone: Timeout(Pong)"), 1);
    });
}

/// Waits while the client is read: tungstenite answers pings then.
async fn until_read(client: &mut Client, condition: impl FnMut() -> bool) {
    let reading = async {
        client.published("bench.nothing").await;
    };
    future::or(until(condition), reading).await;
}

/// A laboratory with everything that the rest asks for.
#[derive(Default)]
struct Lab {
    /// Measurements that run.
    measuring: AtomicUsize,
}

const MAY_MEASURE: u32 = 1;
const OPERATORS_TOKEN: &str = "operators-token-0123456789";
const GUESTS_TOKEN: &str = "guests-token-0123456789";
const COOKIE: &str = "cookie-0123456789";

#[wslink::service]
impl Lab {
    /// What it is set to.
    #[topic("lab.mode", keep_latest, retained)]
    const MODE: Topic<str>;

    #[rpc("lab.set_mode")]
    fn set_mode(&self, cx: Cx<'_>, mode: String) -> Result<(), RpcError> {
        Ok(cx.publish(&Self::MODE, &mode)?)
    }

    /// Takes so many steps of a hundredth of a second.
    #[rpc("lab.measure", deadline = "30s")]
    async fn measure(&self, cx: Cx<'_>, steps: u64) -> Result<u64, RpcError> {
        if !cx.identity().has(MAY_MEASURE) {
            return Err(RpcError::new(403, "guests look, but do not measure"));
        }
        let _measuring = Measuring::new(&self.measuring);
        for step in 0..steps {
            smol::Timer::after(Duration::from_millis(10)).await;
            cx.progress(step + 1, Some(steps));
        }
        Ok(steps)
    }

    #[on(authorize)]
    async fn authorize(&self, hello: &Hello<'_>) -> Verdict {
        // As a database would.
        smol::Timer::after(Duration::from_millis(5)).await;
        let secret = hello.secret();
        let request = hello.request();
        let said = [
            secret.as_ref().map(|it| it.reveal()),
            request.and_then(|request| request.query_value("token")),
            request.and_then(|request| request.cookie("session")),
        ];
        let is_said = |token| said.contains(&Some(token));
        if is_said(OPERATORS_TOKEN) || is_said(COOKIE) {
            Verdict::AcceptAs(Identity { user: 1, roles: MAY_MEASURE })
        } else if is_said(GUESTS_TOKEN) {
            Verdict::AcceptAs(Identity { user: 2, roles: 0 })
        } else {
            hello.verify()
        }
    }
}

struct Measuring<'a>(&'a AtomicUsize);

impl<'a> Measuring<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Measuring<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// 4: After a reconnect the page knows whether the server restarted, has current values, and no call
/// hangs (`a_stop_lets_calls_end_that_can` and others in `server.rs` say how they end).
#[test]
fn who_comes_back_knows_the_session_and_has_the_values() {
    let _alone = alone();
    for dialect in BOTH {
        let mut starts = Vec::new();
        for _ in 0..2 {
            with_server(Lab::default(), options(), async |_, address| {
                let mut first = Client::login(address, dialect).await;
                first.call("lab.set_mode", vec!["cold".into()]).await.unwrap();
                first.call("lab.set_mode", vec!["warm".into()]).await.unwrap();
                let before = described(&mut first).await;
                drop(first);

                let mut again = Client::login(address, dialect).await;
                // The last value, marked as such by the id.
                let mode = again.take(|message| id(message) == Some("publish:lab.mode:1")).await;
                assert_eq!(get(&mode, "result").as_str(), Some("warm"));
                assert_eq!(described(&mut again).await, before);
                starts.push(before);
            });
        }
        let [(first, same), (second, hash)] = starts.try_into().unwrap();
        assert_ne!(first, second);
        assert_eq!(same, hash);
    }
}

fn id(message: &Value) -> Option<&str> {
    get(message, "id").as_str()
}

/// The session and the hash of the description.
async fn described(client: &mut Client) -> (String, String) {
    let description = client.call("wslink.describe", vec![]).await.unwrap();
    let text = |name| get(&description, name).as_str().unwrap().to_owned();
    (text("session"), text("hash"))
}

/// 5: Two slow calls run at the same time; a fast one overtakes.
#[test]
fn slow_calls_run_side_by_side_and_a_fast_one_overtakes() {
    let _alone = alone();
    for dialect in BOTH {
        with_bench(async |server, address| {
            let mut client = Client::login(address, dialect).await;
            let slow = client.start("bench.wait", vec![]).await;
            let second = client.start("bench.wait", vec![]).await;
            assert_eq!(client.call("bench.add", vec![1.into(), 2.into()]).await, Ok(3.into()));
            assert_eq!(server.service().waiting.load(Ordering::SeqCst), 2);
            for number in [8, 9] {
                server.service().release.send(number).await.unwrap();
            }
            let answers = [client.answer(&slow).await, client.answer(&second).await];
            assert!(answers.contains(&Ok(8.into())) && answers.contains(&Ok(9.into())));
        });
    }
}

/// 6: The application decides about tokens, roles and origins, asynchronously; secrets never reach a
/// log. `gate.rs` has more of the first, `logs.rs` of the second.
#[test]
fn the_application_decides_who_may_and_no_secret_is_logged() {
    let _alone = alone();
    let options = options().with_origins(Origins::only().and("https://lab.example"));
    logged::start();
    with_server(Lab::default(), options, async |server, address| {
        for dialect in BOTH {
            let query = format!("/ws?token={OPERATORS_TOKEN}");
            let cookie = format!("session={COOKIE}");
            let cookie = [("Cookie", cookie.as_str()), ("Origin", "https://lab.example")];
            for (path, headers, secret, expected) in [
                ("/ws", &[][..], OPERATORS_TOKEN, Some(true)),
                ("/ws", &[], GUESTS_TOKEN, Some(false)),
                ("/ws", &[], SECRET, Some(false)),
                (query.as_str(), &[], "", Some(true)),
                ("/ws", &cookie, "", Some(true)),
                ("/ws", &[], "a guess", None),
            ] {
                let mut client = Client::connect_with(address, path, headers, dialect).await;
                let Some(may) = expected else {
                    assert_eq!(code(&client.hello(secret).await.unwrap_err()), -32000);
                    continue;
                };
                client.hello(secret).await.unwrap();
                let measured = client.call("lab.measure", vec![1.into()]).await;
                assert_eq!(
                    measured.map_err(|error| code(&error)),
                    may.then_some(1.into()).ok_or(403)
                );
            }
        }
        let evil = format!(
            "GET /ws?token={OPERATORS_TOKEN} HTTP/1.1\r\nOrigin: https://evil.example\r\n{}",
            UPGRADE.replace("keep-alive", "close")
        );
        let answer = ask(address, &evil).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        until(|| server.peers() == 0).await;
    });
    let lines = logged::stop();
    assert_eq!(logged::ours(&lines, "said hello"), 10);
    assert_eq!(logged::ours(&lines, "said a wrong hello"), 2);
    for secret in [OPERATORS_TOKEN, GUESTS_TOKEN, COOKIE, SECRET, "a guess"] {
        let told = lines.iter().find(|line| line.contains(secret));
        assert_eq!(told, None, "{secret:?}");
    }
}

/// 7: It works behind a proxy and under a sub-path. What a proxy does with the path is in
/// `docs/proxy.md`; here it is handed on as it is, with a query.
#[test]
fn it_works_under_a_sub_path() {
    let _alone = alone();
    let options = options().with_ws_path("/lab/7/ws");
    with_server(Lab::default(), options, async |_, address| {
        for dialect in BOTH {
            let path = format!("/lab/7/ws?token={GUESTS_TOKEN}&page=a/b?c");
            let mut client = Client::connect_at(address, &path, dialect).await;
            client.hello("").await.unwrap();
            client.call("lab.set_mode", vec!["warm".into()]).await.unwrap();
            assert_eq!(client.published("lab.mode").await.as_str(), Some("warm"));
        }
    });
}

/// 8: The service describes itself, from what its author wrote anyway.
#[test]
fn the_service_describes_itself() {
    let _alone = alone();
    for dialect in BOTH {
        with_server(Lab::default(), options(), async |_, address| {
            let mut client = Client::login(address, dialect).await;
            let description = client.call("wslink.describe", vec![]).await.unwrap();
            let first =
                |list: &str, nth: usize| get(&description, list).as_array().unwrap()[nth].clone();
            let measure = first("methods", 1);
            assert_eq!(get(&measure, "name").as_str(), Some("lab.measure"));
            let doc = "Takes so many steps of a hundredth of a second.";
            assert_eq!(get(&measure, "doc").as_str(), Some(doc));
            let steps = &get(&measure, "params").as_array().unwrap()[0];
            assert_eq!(get(steps, "name").as_str(), Some("steps"));
            assert_eq!(get(steps, "type").as_str(), Some("u64"));
            assert_eq!(get(steps, "optional").as_bool(), Some(false));
            assert_eq!(get(&measure, "deadline").as_f64(), Some(30.0));
            let mode = first("topics", 0);
            for (key, value) in [("name", "lab.mode"), ("type", "str"), ("policy", "keep_latest")] {
                assert_eq!(get(&mode, key).as_str(), Some(value));
            }
            assert_eq!(get(&mode, "retained").as_bool(), Some(true));
        });
    }
}

/// 9: Progress and stop for long measurements, with plain calls and publications.
#[test]
fn a_long_call_tells_its_progress_and_can_be_stopped() {
    let _alone = alone();
    for dialect in BOTH {
        with_server(Lab::default(), options(), async |server, address| {
            let mut client = Client::connect(address, dialect).await;
            client.hello(OPERATORS_TOKEN).await.unwrap();
            let id = client.start_named(7, "lab.measure", vec![30.into()]).await;
            let mut done = 0;
            while done < 30 {
                let progress = client.published("wslink.progress").await;
                assert_eq!(get(&progress, "token").as_u64(), Some(7));
                assert_eq!(get(&progress, "total").as_u64(), Some(30));
                let more = get(&progress, "done").as_u64().unwrap();
                assert!(done < more);
                done = more;
            }
            assert_eq!(client.answer(&id).await, Ok(30.into()));

            let id = client.start_named(8, "lab.measure", vec![1_000_000.into()]).await;
            client.published("wslink.progress").await;
            assert_eq!(server.service().measuring.load(Ordering::SeqCst), 1);
            assert_eq!(client.call("wslink.cancel", vec![8.into()]).await, Ok(true.into()));
            assert_eq!(code(&client.answer(&id).await.unwrap_err()), -32005);
            until(|| server.service().measuring.load(Ordering::SeqCst) == 0).await;
        });
    }
}

/// 10: Old (1.x) and new (2.x) clients connect to the same port, and hear each other. The stock
/// clients themselves do so in `tests/stock`.
#[test]
fn both_dialects_share_a_port() {
    let _alone = alone();
    with_bench(async |_, address| {
        let mut clients = Vec::new();
        for dialect in BOTH {
            clients.push(Client::login(address, dialect).await);
        }
        for speaker in 0..2 {
            let text = format!("from {speaker}");
            clients[speaker].call("bench.say", vec![text.as_str().into()]).await.unwrap();
            for client in &mut clients {
                assert_eq!(client.published("bench.said").await.as_str(), Some(text.as_str()));
            }
        }
    });
}
