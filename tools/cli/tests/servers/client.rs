//! The list, by the client.

use crate::Case;
use crate::server::{Kind, Server, patiently};
use core::time::Duration;
use futures_util::StreamExt as _;
use std::collections::BTreeMap;
use std::time::Instant;
use wslink_core::wire::Dialect;
use wslink_core::{Policy, code};
use wslink_scope::Settings;
use wslink_smol::client::{Binary, Client, ConnectError, Error, Options, Value};

pub(crate) const CASES: &[Case] = &[
    Case::new("its dialect is found out", |server| run(dialect(server))),
    Case::new("a wrong secret is refused", |server| run(wrong_secret(server))),
    Case::new("values go there and back", |server| with(server, values)),
    Case::new("arguments by keyword", |server| with(server, keywords)),
    Case::new("errors tell why", |server| with(server, errors)),
    Case::new("a method fails", |server| with(server, failure)),
    Case::new("5 MB down, byte for byte", |server| run(down(server))),
    Case::new("small uploads", |server| with(server, small_uploads)),
    Case::new("5 MB up, byte for byte", |server| with(server, large_upload)),
    Case::new("publications with binary data", |server| with(server, traces)),
    Case::new("publications to others", |server| run(settings_of_others(server))),
    Case::new("a late answer is nobody's", |server| with(server, deadline)),
    Case::new("a slow call holds up no other", |server| with(server, overtaken)),
    Case::new("many calls at once", |server| with(server, many)),
];

/// What is given back of an image, and its bytes.
#[derive(Debug, PartialEq, serde::Deserialize)]
struct Upload {
    length: usize,
    digest: String,
}

#[derive(serde::Deserialize)]
struct Capture {
    rate: f64,
    samples: Binary,
}

#[derive(serde::Deserialize)]
struct Trace {
    n: u32,
    samples: Binary,
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    let late = async {
        smol::Timer::after(Duration::from_secs(90)).await;
        panic!("not ready within 90 s");
    };
    smol::block_on(smol::future::or(test, late));
}

/// With a client, which ends in order.
fn with(server: &Server, test: impl AsyncFnOnce(&Client)) {
    run(async {
        let (client, driver) = server.connect().await;
        let driver = smol::spawn(driver);
        test(&client).await;
        drop(client);
        driver.await.unwrap();
    });
}

async fn dialect(server: &Server) {
    let options = Options::new(server.secret()).without_proxy();
    let (client, driver) = patiently(&server.url(), options).await.unwrap();
    let spoken = match server.kind {
        // Those that speak both are asked in 2.x first.
        Kind::Instrument | Kind::Device => Dialect::V2,
        Kind::Upstream(_) => server.dialect,
    };
    assert_eq!(client.dialect(), Some(spoken));
    drop(client);
    driver.await.unwrap();
}

async fn wrong_secret(server: &Server) {
    let map = BTreeMap::from([("secret", "wrong")]);
    for wrong in [Options::new("wrong"), Options::with_hello(map)] {
        let error = patiently(&server.url(), server.options(wrong)).await.map(drop).unwrap_err();
        let ConnectError::Refused(refused) = error else { panic!("{error}") };
        assert_eq!(refused.message, "Authentication failed");
    }
}

async fn values(client: &Client) {
    let echo = client.call("scope.echo").arg(-1).arg("ü\n\"").arg(()).kwarg("x", [0.5, 2.0]);
    let echo: Value = echo.arg(u64::MAX >> 12).kwarg("ä", true).send().await.unwrap();
    let list = Value::List(vec![
        Value::Int(-1),
        Value::Str("ü\n\"".into()),
        Value::Null,
        Value::Int((u64::MAX >> 12) as i64),
    ]);
    assert_eq!(echo.get("args"), Some(&list));
    let kwargs = echo.get("kwargs").unwrap();
    let floats = Value::List(vec![Value::Float(0.5), Value::Float(2.0)]);
    assert_eq!(kwargs.get("x"), Some(&floats));
    assert_eq!(kwargs.get("ä"), Some(&Value::Bool(true)));
}

async fn keywords(client: &Client) {
    let before: Settings = client.call("scope.settings.get").send().await.unwrap();
    let set = client.call("scope.settings.set").kwarg("frequency", 2000.0).kwarg("offset", -0.5);
    let set: Settings = set.send().await.unwrap();
    assert_eq!(set, Settings { frequency: 2000.0, offset: -0.5, ..before });
    let read: Settings = client.call("scope.settings.get").send().await.unwrap();
    assert_eq!(read, set);
    let back: Settings = client.call("scope.settings.set").kwargs(before).send().await.unwrap();
    assert_eq!(back, before);
}

async fn errors(client: &Client) {
    let none = client.call("no.such.method").send::<Value>().await;
    assert!(matches!(&none, Err(Error::Server(it)) if it.is_unknown_method()), "{none:?}");
    let never = client.call("scope.capture").arg(100).arg(1000.0).send::<Value>().await;
    let Err(Error::Server(never)) = never else { panic!("{never:?}") };
    assert_eq!(never.code, i64::from(code::EXCEPTION));
    assert!(never.exception().unwrap().contains("does not rise"), "{never}");
    let wrong = client.call("scope.settings.set").kwarg("noise", 99.0).send::<Value>().await;
    assert!(matches!(&wrong, Err(Error::Server(it)) if it.to_string().contains("noise")));
    let settings = client.call("scope.settings.get").send::<Settings>().await;
    assert_ne!(settings.unwrap().noise, 99.0);
}

async fn failure(client: &Client) {
    let failed = client.call("scope.fail").arg("no luck").send::<Value>().await;
    let Err(Error::Server(failed)) = failed else { panic!("{failed:?}") };
    assert_eq!(failed.code, i64::from(code::EXCEPTION));
    assert_eq!(failed.exception(), Some("no luck"));
}

async fn down(server: &Server) {
    let (client, driver) = server.connect().await;
    let driver = smol::spawn(driver);
    for samples in [1, 1000, 1_310_720] {
        let call = client.call("scope.capture").arg(samples).send();
        let Capture { rate, samples: bytes } = call.await.unwrap();
        assert_eq!(rate, 100_000.0);
        assert!(*bytes == *server.samples(samples), "{samples} samples");
    }
    drop(client);
    driver.await.unwrap();
}

fn fill(length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 7) ^ (at >> 8)) as u8).collect()
}

async fn upload(client: &Client, length: usize) {
    let bytes = fill(length);
    let digest = wslink_testkit::Kept::of(&bytes).digest;
    let upload = client.call("scope.firmware_update").binary(bytes).send::<Upload>().await;
    let upload = upload.unwrap();
    assert_eq!(upload.length, length);
    assert!(upload.digest.starts_with(&digest), "{upload:?} is not {digest}");
}

async fn small_uploads(client: &Client) {
    for length in [0, 1, 100, 700] {
        upload(client, length).await;
    }
}

async fn large_upload(client: &Client) {
    upload(client, 5_000_000).await;
}

async fn traces(client: &Client) {
    let mut traces = client.subscribe_with::<Trace>(&["scope.trace"], Policy::DropOldest(100));
    let mut last = None;
    for _ in 0..5 {
        let Trace { n, samples } = traces.next().await.unwrap().unwrap().value;
        assert!(last.is_none_or(|last| n > last), "{n} after {last:?}");
        assert_eq!(samples.len(), 2000);
        last = Some(n);
    }
}

async fn settings_of_others(server: &Server) {
    let (client, driver) = server.connect().await;
    let driver = smol::spawn(driver);
    let (other, others) = server.connect().await;
    let others = smol::spawn(others);
    let mut told = client.subscribe::<Settings>("scope.settings");
    let before: Settings = client.call("scope.settings.get").send().await.unwrap();
    for amplitude in [2.0, before.amplitude] {
        let set = other.call("scope.settings.set").kwarg("amplitude", amplitude);
        set.send::<Value>().await.unwrap();
        // Who joins may be told what was set before.
        while told.next().await.unwrap().unwrap().value.amplitude != amplitude {}
    }
    drop((client, told, other));
    driver.await.unwrap();
    others.await.unwrap();
}

async fn deadline(client: &Client) {
    let call = client.call("scope.calibrate").arg(1.0).within(Duration::from_millis(100));
    assert_eq!(call.send::<Value>().await, Err(Error::Deadline));
    // Its answer comes meanwhile.
    for _ in 0..15 {
        assert!(client.call("scope.settings.get").send::<Settings>().await.is_ok());
        smol::Timer::after(Duration::from_millis(100)).await;
    }
}

async fn overtaken(client: &Client) {
    let start = Instant::now();
    let slow = client.call("scope.calibrate").arg(2.0).send::<Value>();
    let fast = async {
        client.call("scope.settings.get").send::<Settings>().await.unwrap();
        start.elapsed()
    };
    let (slow, fast) = futures_util::future::join(slow, fast).await;
    slow.unwrap();
    assert!(fast < Duration::from_secs(1) && start.elapsed() >= Duration::from_secs(2));
}

async fn many(client: &Client) {
    let calls = (1..=50_u32).map(async |samples| {
        let capture = client.call("scope.capture").arg(samples).send::<Capture>().await;
        assert_eq!(capture.unwrap().samples.len(), 4 * samples as usize);
    });
    futures_util::future::join_all(calls).await;
}
