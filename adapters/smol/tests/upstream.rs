//! The client against upstream's Python servers of both dialects: `cargo xtask upstream`.
//!
//! Each version has a virtual environment of its own in the target directory, made when it is
//! missing, with `python3` or what `PYTHON` names.

#![cfg(all(feature = "client", unix))]
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use core::time::Duration;
use futures_util::{FutureExt as _, StreamExt as _};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use wslink_core::client::Config;
use wslink_core::wire::Dialect;
use wslink_core::{Policy, code};
use wslink_smol::Client;
use wslink_smol::client::{
    Backoff, Binary, ConnectError, Driver, Error, Options, TopicError, Value,
};

const SERVERS: [(&str, Dialect); 2] = [("1.12.4", Dialect::V1), ("2.6.0", Dialect::V2)];

struct Server {
    process: Child,
    port: u16,
    version: &'static str,
}

impl Server {
    fn start(version: &'static str) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self { process: process(version, port), port, version }
    }

    fn restart(&mut self) {
        self.signal("KILL");
        self.process.wait().unwrap();
        self.process = process(self.version, self.port);
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/ws", self.port)
    }

    /// Connects as soon as it listens.
    async fn connect(&self, options: &Options) -> (Client, Driver) {
        for _ in 0..300 {
            match Client::connect(&self.url(), options.clone()).await {
                Err(ConnectError::Io(_)) => smol::Timer::after(Duration::from_millis(50)).await,
                other => return other.unwrap(),
            };
        }
        panic!("it does not listen");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn process(version: &str, port: u16) -> Child {
    Command::new(interpreter(version))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upstream.py"))
        .args(["--port", &port.to_string(), "--timeout", "0", "--nosignalhandlers"])
        .env("WSLINK_MAX_MSG_SIZE", (16 << 20).to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The interpreter of a virtual environment that has upstream's server, made when it is missing.
fn interpreter(version: &str) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one = MAKING.lock();
    let target = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let folder = target.join(format!("wslink-python-{version}"));
    let python = folder.join("bin/python");
    if !folder.join("complete").exists() {
        let base = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        _ = fs::remove_dir_all(&folder);
        let run = |command: &mut Command| assert!(command.status().unwrap().success());
        run(Command::new(base).args(["-m", "venv"]).arg(&folder));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(Command::new(&python).args(pip).arg(format!("wslink=={version}")));
        fs::create_dir(folder.join("complete")).unwrap();
    }
    python
}

fn options() -> Options {
    let backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(200));
    Options::default().without_proxy().with_reconnect(backoff)
}

/// Notices within a second that nobody is there.
fn impatient() -> Options {
    let mut config = Config::desktop();
    config.deadlines.ping = Some(Duration::from_millis(400));
    config.deadlines.pong = Duration::from_millis(400);
    config.deadlines.write = Duration::from_millis(800);
    options().with_config(config)
}

fn fill(len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len / 251 * 251).map(|i| ((i % 251) * 31) as u8).collect();
    bytes.resize(len, 0);
    bytes
}

fn run(test: impl Future<Output = ()>) {
    let late = async {
        smol::Timer::after(Duration::from_secs(60)).await;
        panic!("not ready within 60 s");
    };
    smol::block_on(smol::future::or(test, late));
}

#[derive(Debug, serde::Deserialize)]
struct Blob {
    data: Binary,
}

#[test]
#[ignore = "needs upstream's servers: cargo xtask upstream"]
fn calls_errors_attachments_and_publications() {
    for (version, dialect) in SERVERS {
        run(async {
            let server = Server::start(version);
            let (client, driver) = server.connect(&options()).await;
            let driver = smol::spawn(driver);
            assert_eq!(client.dialect(), Some(dialect));

            let echo = client.call("judge.echo").arg(1).arg("ü\n").kwarg("x", [0.5, 2.0]);
            let echo: Value = echo.send().await.unwrap();
            let list = |items: &[Value]| Value::List(items.to_vec());
            let map = |key: &str, value| Value::Map(vec![(key.to_owned(), value)]);
            let args = list(&[Value::Int(1), Value::Str("ü\n".into())]);
            let kwargs = map("x", list(&[Value::Float(0.5), Value::Float(2.0)]));
            let both = vec![("args".to_owned(), args), ("kwargs".to_owned(), kwargs)];
            assert_eq!(echo, Value::Map(both));

            let failed = client.call("judge.fail").arg("no luck").send::<Value>().await;
            let Err(Error::Server(failed)) = failed else { panic!("{failed:?}") };
            assert_eq!(failed.code, i64::from(code::EXCEPTION));
            assert_eq!(failed.exception(), Some("ValueError('no luck')"));
            let none = client.call("judge.none").send::<Value>().await;
            assert!(matches!(none, Err(Error::Server(it)) if it.is_unknown_method()));

            for len in [0, 1, 5 << 20] {
                let bytes = fill(len);
                let down: Blob = client.call("judge.blob").arg(len).send().await.unwrap();
                assert!(*down.data == *bytes, "{version}: {len} bytes down");
                // Up and down again, to be compared whole.
                let (count, sum): (usize, String) =
                    client.call("judge.digest").binary(bytes).send().await.unwrap();
                assert_eq!((count, sum), (len, digest(version, len)), "{version}: {len} bytes up");
            }

            let mut many = client.subscribe_with::<Value>(&["judge.many"], Policy::DropOldest(100));
            let other = client.subscribe::<Value>("judge.other");
            let call = client.call("judge.publish").arg("judge.many").arg(50).arg(1000);
            assert_eq!(call.send().await, Ok(50));
            for n in 0..50 {
                let next = many.next().await.unwrap().unwrap();
                assert_eq!(next.value.get("n"), Some(&Value::Int(n)));
                assert_eq!(next.value.get("data"), Some(&Value::Binary(fill(1000).into())));
            }
            drop((client, many, other));
            driver.await.unwrap();
        });
    }
}

/// What Python says.
fn digest(version: &str, len: usize) -> String {
    let script = format!(
        "import hashlib;n={len};print(hashlib.sha256(\
         bytes(i*31&255 for i in range(251))*(n//251)+bytes(n%251)).hexdigest())"
    );
    let output = Command::new(interpreter(version)).args(["-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
#[ignore = "needs upstream's servers: cargo xtask upstream"]
fn a_wrong_secret_is_refused() {
    for (version, dialect) in SERVERS {
        run(async {
            let server = Server::start(version);
            drop(server.connect(&options()).await);
            let map = BTreeMap::from([("secret", "wrong")]);
            for wrong in
                [Options::new("wrong").without_proxy(), Options::with_hello(map).without_proxy()]
            {
                let error = Client::connect(&server.url(), wrong).await.unwrap_err();
                let ConnectError::Refused(refused) = error else { panic!("{dialect:?}: {error}") };
                assert_eq!(refused.message, "Authentication failed");
            }
        });
    }
}

/// What is under way when the server is gone.
#[derive(Clone, Copy, Debug, PartialEq)]
enum During {
    Idle,
    Call,
    Upload,
    Download,
}

async fn faults(version: &'static str, during: During, signal: &str) {
    let mut server = Server::start(version);
    let (client, driver) = server.connect(&impatient()).await;
    let driver = smol::spawn(driver);
    let mut topic = client.subscribe::<Value>("judge.topic");
    assert!(client.call("judge.echo").arg(1).send::<Blob>().await.is_err());
    let what = format!("{version} {during:?} {signal}");

    let call = match during {
        During::Idle => None,
        During::Call => Some(client.call("judge.sleep").arg(30).send::<Value>().boxed()),
        During::Upload => {
            Some(client.call("judge.digest").binary(vec![7; 15 << 20]).send().boxed())
        }
        During::Download => Some(client.call("judge.blob").arg(15 << 20).send().boxed()),
    };
    if let Some(call) = call {
        let call = smol::spawn(call);
        let pause = if during == During::Call { 100 } else { 5 };
        smol::Timer::after(Duration::from_millis(pause)).await;
        server.signal(signal);
        let end = call.await;
        assert!(matches!(end, Err(Error::Lost { .. })), "{what}: {end:?}");
        if during == During::Call {
            assert_eq!(end, Err(Error::Lost { may_have_run: true }), "{what}");
        }
    } else {
        server.signal(signal);
        while client.is_connected() {
            smol::Timer::after(Duration::from_millis(10)).await;
        }
    }
    server.restart();
    let again = topic.next().await;
    assert_eq!(again, Some(Err(TopicError::Reconnected { same_session: None })), "{what}");
    let publish = client.call("judge.publish").arg("judge.topic").arg(1).arg(1);
    assert_eq!(publish.send().await, Ok(1), "{what}");
    assert!(topic.next().await.unwrap().is_ok(), "{what}");
    drop((client, topic));
    driver.await.unwrap();
}

#[test]
#[ignore = "needs upstream's servers: cargo xtask upstream"]
fn a_server_that_is_killed_or_stopped() {
    for (version, _) in SERVERS {
        for during in [During::Idle, During::Call, During::Upload, During::Download] {
            for signal in ["KILL", "STOP"] {
                run(faults(version, during, signal));
            }
        }
    }
}
