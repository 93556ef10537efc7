//! The list, of servers that are killed or stopped in whatever they do.

use crate::Case;
use crate::client::run;
use crate::command::{again, dialect, shell};
use crate::line;
use crate::server::{Kind, Server, patiently};
use core::time::Duration;
use futures_util::{FutureExt as _, StreamExt as _};
use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Instant;
use wslink_core::client::Config;
use wslink_scope::Settings;
use wslink_smol::client::{Error, Options, TopicError, Value};

pub(crate) const CASES: &[Case] = &[
    Case::new("killed while idle", |it| run(fault(it, During::Idle, End::Kill))),
    Case::new("killed during a call", |it| run(fault(it, During::Call, End::Kill))),
    Case::new("killed during an upload", |it| run(fault(it, During::Upload, End::Kill))),
    Case::new("killed during a download", |it| run(fault(it, During::Download, End::Kill))),
    Case::new("stopped while idle", |it| run(fault(it, During::Idle, End::Stop))),
    Case::new("stopped during a call", |it| run(fault(it, During::Call, End::Stop))),
    Case::new("stopped during an upload", |it| run(fault(it, During::Upload, End::Stop))),
    Case::new("stopped during a download", |it| run(fault(it, During::Download, End::Stop))),
    Case::new("command: killed while idle", |it| told(it, During::Idle, End::Kill)),
    Case::new("command: killed during a call", |it| told(it, During::Call, End::Kill)),
    Case::new("command: killed during an upload", |it| told(it, During::Upload, End::Kill)),
    Case::new("command: killed during a download", |it| told(it, During::Download, End::Kill)),
    Case::new("command: stopped while idle", |it| told(it, During::Idle, End::Stop)),
    Case::new("command: stopped during a call", |it| told(it, During::Call, End::Stop)),
    Case::new("command: stopped during an upload", |it| told(it, During::Upload, End::Stop)),
    Case::new("command: stopped during a download", |it| told(it, During::Download, End::Stop)),
];

/// What takes the slow line more than two seconds: of uploads bytes, of downloads samples.
const LARGE: usize = 5 * line::BYTES_PER_SECOND;
const SAMPLES: u32 = 2_000_000;

/// What is under way when the server is gone.
#[derive(Clone, Copy, Debug, PartialEq)]
enum During {
    Idle,
    Call,
    Upload,
    Download,
}

/// How it is gone.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Kill,
    Stop,
}

impl End {
    fn of(self, server: &mut Server) {
        match self {
            Self::Kill => server.kill(),
            Self::Stop => server.stop(),
        }
    }
}

/// Notices within a second that nobody is there.
fn impatient(server: &Server) -> Options {
    let mut config = Config::desktop();
    config.deadlines.ping = Some(Duration::from_millis(400));
    config.deadlines.pong = Duration::from_millis(600);
    config.deadlines.write = Duration::from_millis(1000);
    server.options(Options::new(server.secret())).with_config(config)
}

async fn fault(server: &mut Server, during: During, end: End) {
    let url = format!("ws://127.0.0.1:{}/ws", line::slow(server.port));
    let (client, driver) = patiently(&url, impatient(server)).await.unwrap();
    let driver = smol::spawn(driver);
    let mut topic = client.subscribe::<Settings>("scope.settings");
    // By now it is known who the server is.
    client.call("scope.settings.get").send::<Settings>().await.unwrap();
    let call = match during {
        During::Idle => None,
        During::Call => Some(client.call("scope.calibrate").arg(30).send::<Value>().boxed()),
        During::Upload => {
            let call = client.call("scope.firmware_update").binary(vec![7; LARGE]);
            Some(call.send().boxed())
        }
        During::Download => Some(client.call("scope.capture").arg(SAMPLES).send().boxed()),
    };
    if let Some(call) = call {
        let call = smol::spawn(call);
        smol::Timer::after(Duration::from_millis(500)).await;
        end.of(server);
        let outcome = call.await;
        assert!(matches!(outcome, Err(Error::Lost { .. })), "{outcome:?}");
        if during != During::Upload {
            assert_eq!(outcome, Err(Error::Lost { may_have_run: true }));
        }
    } else {
        end.of(server);
        while client.is_connected() {
            smol::Timer::after(Duration::from_millis(10)).await;
        }
    }
    server.restart();
    // What was published before comes first.
    let same_session = loop {
        match topic.next().await.unwrap() {
            Err(TopicError::Reconnected { same_session }) => break same_session,
            other => assert!(other.is_ok(), "{other:?}"),
        }
    };
    if server.tells_sessions() {
        assert_eq!(same_session, Some(false));
    }
    let set = client.call("scope.settings.set").kwarg("offset", 0.5).send::<Settings>();
    assert_eq!(set.await.unwrap().offset, 0.5);
    while topic.next().await.unwrap().unwrap().value.offset != 0.5 {}
    let set = client.call("scope.settings.set").kwarg("offset", 0.0).send::<Settings>();
    assert_eq!(set.await.unwrap(), Settings::default());
    drop((client, topic));
    driver.await.unwrap();
}

/// What the command says, and its exit code.
fn told(server: &mut Server, during: During, end: End) {
    let port = line::slow(server.port);
    let mut shell = shell(server, port);
    // A chip that is reset does not say so: it may take seconds until that is noticed.
    let seconds = if server.kind == Kind::Device { 10 } else { 5 };
    shell.file("up", &vec![7; seconds * line::BYTES_PER_SECOND]);
    let line = match during {
        During::Idle => "watch URL scope.settings --no-reconnect --template {value.offset}".into(),
        During::Call => "call URL scope.calibrate 30".to_owned(),
        During::Upload => "call URL scope.firmware_update @up".to_owned(),
        During::Download => format!("call URL scope.capture {SAMPLES} --output down"),
    };
    let killed = end == End::Kill;
    // Somebody who is stopped is given up after 30 s, or earlier where that is asked for.
    let line = if killed || during == During::Idle { line } else { line + " --timeout 2.5" };
    let mut command = shell.command(&format!("{line}{}", dialect(server)));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(1500));
    let start = Instant::now();
    end.of(server);
    let mut output = child.wait_with_output().unwrap();
    // A chip is missed at the latest when it does not answer a ping.
    let soon = killed && server.kind != Kind::Device;
    let patience = if soon { 5 } else { 40 };
    assert!(start.elapsed() < Duration::from_secs(patience), "{:?}", start.elapsed());
    // The settings that some retain.
    output.stdout.clear();
    shell.note(&line, &output);
    // Nothing that looks like what was asked for, or like a part of it.
    let files = fs::read_dir(shell.directory.path()).unwrap();
    let mut files: Vec<_> = files.map(|it| it.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["up", "wrong"]);
    let how = if killed { "killed" } else { "stopped" };
    let what = format!("{how}_during_{during:?}").to_lowercase();
    insta::assert_snapshot!(what, shell.log());
    server.restart();
    let mut after = crate::command::shell(server, server.port);
    assert!(again(&mut after, server, "call URL scope.settings.get").status.success());
}
