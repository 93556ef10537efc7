//! The real program in a pseudo-terminal, with a scope behind it.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "test code")]

mod screen;
mod server;

use core::time::Duration;
use futures_util::StreamExt as _;
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use screen::View;
use server::Server;
use std::io::Read as _;
use std::time::Instant;
use std::{fs, thread};
use wslink_scope::{Change, ScopeClient, Settings};
use wslink_smol::client::{Client, Error, Options};

const VIEW: &str = env!("CARGO_BIN_EXE_scope-view");

fn view(url: &str, args: &[&str], secret: Option<&str>) -> View {
    let mut command = CommandBuilder::new(VIEW);
    command.env_remove("WSLINK_SECRET");
    if let Some(secret) = secret {
        command.env("WSLINK_SECRET", secret);
    }
    command.args(args);
    command.arg(url);
    View::start(command)
}

/// Somebody else who uses the same scope.
fn other<T>(url: &str, work: impl AsyncFnOnce(&ScopeClient<Client>) -> T) -> T {
    smol::block_on(async {
        let options = Options::default().without_reconnect();
        let (client, driver) = Client::connect(url, options).await.unwrap();
        let scope = ScopeClient::new(client);
        let working = async { Some(work(&scope).await) };
        let driving = async {
            driver.await.unwrap();
            None
        };
        smol::future::or(working, driving).await.unwrap()
    })
}

#[test]
fn a_session() {
    let server = Server::start(0, "wslink-secret");
    let mut view = session(&server.url());
    everything(&server.url());

    let port = server.port;
    drop(server);
    view.until("the loss", |it| it.contains("Waiting to reconnect"));
    view.press("k\x1b[C");
    view.until("an error of the change", |it| it.contains("there is no connection"));
    let server = Server::start(port, "wslink-secret");
    view.until("the connection", |it| it.contains("● Open") && it.contains("was restarted"));
    view.until("its own settings", |it| row(it, "Frequency").contains("1 kHz"));
    view.until("that the error is gone", |it| !it.contains("there is no connection"));
    view.until("traces", |it| it.contains("1.00 kHz"));

    view.press("q");
    assert_eq!(view.end(), 0);
    drop(server);
}

#[test]
#[ignore = "needs a device: `cargo xtask device`"]
fn a_session_with_a_device() {
    let device = std::env::var("WSLINK_DEVICE").unwrap();
    let mut view = session(&device);
    everything(&device);
    view.press("q");
    assert_eq!(view.end(), 0);
}

/// What the SHA-256 of 100,000 sevens begins with.
const DIGEST: [u8; 4] = [0x2c, 0x4b, 0x10, 0x11];

/// What a view does with any scope.
fn session(url: &str) -> View {
    let before = Settings::default();
    set(
        url,
        Change {
            timebase: Some(before.timebase),
            amplitude: Some(before.amplitude),
            frequency: Some(before.frequency),
            offset: Some(before.offset),
            waveform: Some(before.waveform),
            noise: Some(before.noise),
        },
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let mut view = view(url, &["--directory", path, "--samples", "1000"], None);
    view.until("a trace that stands still", |it| {
        it.contains("● Open, wslink 2.x") && it.contains("triggered") && it.contains("Peak to peak")
    });
    view.until("the settings", |it| row(it, "Frequency").contains("1 kHz"));

    // What is set here is set for all.
    view.press("\x1b[C");
    view.until("the next frequency", |it| row(it, "▸ Frequency").contains("2 kHz"));
    view.until("its confirmation", |it| !it.contains('…'));
    let settings: Settings = other(url, async |scope| scope.settings().await.unwrap());
    assert_eq!(settings.frequency, 2000.0);
    view.until("what is measured of it", |it| it.contains("2.00 kHz"));

    // What others set shows here.
    set(url, Change { amplitude: Some(5.0), ..Change::default() });
    view.until("the amplitude of others", |it| row(it, "Amplitude").contains("5 V"));

    // What the scope refuses stands below what it is about.
    view.press("jjj99\r");
    view.until("the refusal", |it| {
        let lines: Vec<&str> = it.lines().collect();
        let at = lines.iter().position(|it| it.contains("▸ Noise")).unwrap_or_default();
        lines.get(at + 1).is_some_and(|it| it.contains("not in 0 to 10 V"))
    });
    assert!(row(&view.screen(), "▸ Noise").contains("20 mV"));

    view.press(" ");
    view.until("a stop", |it| it.contains("STOP"));
    view.press("c");
    view.until("a capture", |it| it.contains("1000 samples"));
    let csv = fs::read_to_string(directory.path().join("capture-1.csv")).unwrap();
    check(&csv);
    view.press("\x1b");
    view.until("that the message is gone", |it| !it.contains("1000 samples"));
    view.press(" ");
    view.until("a run", |it| it.contains("RUN"));

    view.resize(50, 14);
    view.until("a smaller screen", |it| it.contains("▸ Noise") && !it.contains("Amplitude"));
    view.resize(110, 32);
    view.until("a larger screen", |it| it.contains("Amplitude") && it.contains("0 V │"));
    view
}

fn set(url: &str, change: Change) {
    other(url, async |scope| scope.set(change).await.unwrap());
}

/// All that the typed client can do, with any scope.
fn everything(url: &str) {
    other(url, async |scope| {
        let capture = scope.capture(100).await.unwrap();
        assert_eq!((capture.rate, capture.trigger, capture.samples.len()), (1e5, None, 400));
        let capture = scope.capture_at(200, 0.5).await.unwrap();
        let at = usize::try_from(capture.trigger.unwrap()).unwrap();
        let (samples, _) = capture.samples.as_chunks();
        assert!(f32::from_le_bytes(samples[at]) >= 0.5, "{at}");
        let Err(Error::Server(refused)) = scope.capture(0).await else { panic!("no samples") };
        assert_eq!(refused.code, -32602);

        let image = scope.firmware_update(&[7; 100_000]).await.unwrap();
        assert_eq!((image.length, image.digest.0[..4].to_vec()), (100_000, DIGEST.to_vec()));
        let calibration = scope.calibrate(0.05).await.unwrap();
        assert!((calibration.gain - 1.0).abs() < 0.2, "{calibration:?}");
        let mut traces = scope.subscribe_trace();
        // The newest one; those before it may have been passed over.
        let trace = loop {
            if let Ok(trace) = traces.next().await.unwrap() {
                break trace.value;
            }
        };
        assert_eq!(trace.samples.len(), 2000);
        let mut settings = scope.subscribe_settings();
        let set = scope.set(Change { offset: Some(1.0), ..Change::default() }).await.unwrap();
        while !settings.next().await.unwrap().is_ok_and(|it| it.value == set) {}
    });
}

/// The first line with this in it.
fn row<'a>(screen: &'a str, name: &str) -> &'a str {
    screen.lines().find(|it| it.contains(name)).unwrap_or_default()
}

/// 1000 samples at 100 kHz, of a sine with 5 V and 2 kHz, and of some noise.
fn check(csv: &str) {
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("seconds,volts"));
    let rows: Vec<(f64, f64)> = lines
        .map(|line| {
            let (seconds, volts) = line.split_once(',').unwrap();
            (seconds.parse().unwrap(), volts.parse().unwrap())
        })
        .collect();
    assert_eq!(rows.len(), 1000);
    for (index, (seconds, volts)) in rows.into_iter().enumerate() {
        assert!((seconds - index as f64 * 1e-5).abs() < 1e-12, "{seconds}");
        let expected = 5.0 * (core::f64::consts::TAU * 2000.0 * seconds).sin();
        assert!((volts - expected).abs() < 0.05, "{volts} V after {seconds} s, not {expected} V");
    }
}

#[test]
fn a_refused_secret_is_asked_for() {
    let server = Server::start(0, "another");
    let mut view = view(&server.url(), &[], Some("wrong"));
    view.until("the refusal", |it| it.contains("✕ Refused") && it.contains("Press s"));
    view.press("sanother");
    view.until("dots", |it| it.contains("Secret: •••••••") && !it.contains("another▏"));
    view.press("\r");
    view.until("the connection", |it| it.contains("● Open") && it.contains("triggered"));
    // Ctrl-C is a key there.
    view.press("\x03");
    assert_eq!(view.end(), 0);
}

#[test]
fn the_secret_is_read_from_a_file() {
    let server = Server::start(0, "another");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    fs::write(&path, "another\n").unwrap();
    let mut view = view(&server.url(), &["--secret-file", path.to_str().unwrap()], None);
    view.until("the connection", |it| it.contains("● Open"));
    view.signal("-INT");
    assert_eq!(view.end(), 0);
}

#[test]
fn the_server_may_come_later_and_a_signal_ends_the_view() {
    let port = server::free_port();
    let mut view = view(&format!("ws://127.0.0.1:{port}/ws"), &["--ask-secret"], None);
    view.until("the question", |it| it.contains("There is no secret yet."));
    view.press("wslink-secret\r");
    view.until("nobody", |it| {
        it.contains("Waiting to reconnect") && it.contains("Is the server running?")
    });
    let server = Server::start(port, "wslink-secret");
    view.until("the connection", |it| it.contains("● Open"));
    view.signal("-TERM");
    assert_eq!(view.end(), 0);
    drop(server);
}

#[test]
fn what_is_no_address_is_said_after_the_screen_is_gone() {
    let mut view = view("localhost", &[], None);
    assert_eq!(view.end(), 1);
    assert!(view.screen().contains("scope-view: not an address of a server"), "{}", view.screen());
}

/// The window is closed, and nobody reads what is drawn, nor what is said about it.
#[test]
fn it_ends_with_its_terminal() {
    let pair = native_pty_system().openpty(PtySize::default()).unwrap();
    let mut child = pair.slave.spawn_command(CommandBuilder::new(VIEW)).unwrap();
    drop(pair.slave);
    let mut output = pair.master.try_clone_reader().unwrap();
    assert_ne!(output.read(&mut [0; 1000]).unwrap(), 0);
    drop((output, pair.master));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < Duration::from_secs(15));
        thread::sleep(Duration::from_millis(10));
    };
    assert_ne!(status.signal(), Some("Aborted"));
}

#[test]
fn without_a_terminal_it_says_so() {
    let ended = std::process::Command::new(VIEW).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), "");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(
        said,
        "scope-view: it needs a terminal to show anything: the output goes elsewhere\n"
    );
}

#[test]
fn a_panic_gives_the_terminal_back() {
    const CHILD: &str = "SCOPE_VIEW_PANICS";
    if std::env::var_os(CHILD).is_some() {
        let _screen = scope_view::Screen::open().unwrap();
        thread::sleep(Duration::from_millis(200));
        panic!("on purpose");
    }
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_panic_gives_the_terminal_back", "--nocapture"]);
    command.env(CHILD, "1");
    command.env("RUST_BACKTRACE", "0");
    let mut view = View::start(command);
    view.until_taken();
    assert_ne!(view.end(), 0);
    assert!(view.screen().contains("on purpose"), "{}", view.screen());
}
