//! The servers, each of which can be killed, stopped and started again.

use core::fmt;
use core::time::Duration;
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;
use wslink_core::Blob as _;
use wslink_core::wire::Dialect;
use wslink_scope::{Settings, Signal};
use wslink_smol::client::{Backoff, Client, ConnectError, Driver, Options};

pub(crate) const SECRET: &str = "sesame";

/// 1.x servers of upstream take no larger message.
const LARGEST: &str = "67108864";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Upstream(&'static str),
    Instrument,
    Device,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream(version) => write!(f, "upstream's {version}"),
            Self::Instrument => f.write_str("the instrument"),
            Self::Device => f.write_str("the device"),
        }
    }
}

const ONE_BY_ONE: &str = "it runs the calls of a connection one after the other";
const NO_TESTS: &str = "it has the methods of the scope alone";

/// A test that is not run, and why.
pub(crate) struct Lack {
    of: fn(Kind) -> bool,
    pub(crate) case: &'static str,
    why: &'static str,
}

const fn upstream(case: &'static str, why: &'static str) -> Lack {
    Lack { of: Kind::is_upstream, case, why }
}

const fn device(case: &'static str, why: &'static str) -> Lack {
    Lack { of: Kind::is_device, case, why }
}

/// All that is lacking.
pub(crate) const LACKS: &[Lack] = &[
    upstream("a slow call holds up no other", ONE_BY_ONE),
    device("values go there and back", NO_TESTS),
    device("a method fails", NO_TESTS),
    device("command: values go there and back", NO_TESTS),
];

impl Kind {
    const fn is_upstream(self) -> bool {
        matches!(self, Self::Upstream(_))
    }

    const fn is_device(self) -> bool {
        matches!(self, Self::Device)
    }
}

pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) dialect: Dialect,
    pub(crate) port: u16,
    /// Of the device there is none: it runs already.
    process: Option<Child>,
    /// It was killed, and not started again.
    dead: bool,
}

impl Server {
    pub(crate) fn start(kind: Kind, dialect: Dialect) -> Self {
        let port = match kind {
            Kind::Device => {
                let url = env::var("WSLINK_DEVICE").unwrap();
                url.rsplit(':').next().unwrap().parse().unwrap()
            }
            _ => TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
        };
        let mut server = Self { kind, dialect, port, process: None, dead: true };
        server.restart();
        server
    }

    pub(crate) fn lacks(&self, case: &str) -> Option<&'static str> {
        LACKS.iter().find(|lack| (lack.of)(self.kind) && lack.case == case).map(|lack| lack.why)
    }

    /// Starts it, after it was killed if it still runs. The secret of the device is in its flash.
    pub(crate) fn restart(&mut self) {
        if !core::mem::replace(&mut self.dead, false) {
            self.kill();
            self.dead = false;
        }
        let port = self.port.to_string();
        let arguments = ["--timeout", "0", "--authKey", SECRET, "--port", &port];
        let mut command = match self.kind {
            Kind::Upstream(version) => {
                let mut python = Command::new(interpreter(version));
                python.arg(root().join("tools/cli/tests/servers/scope.py"));
                python.arg("--nosignalhandlers").env("WSLINK_MAX_MSG_SIZE", LARGEST);
                python
            }
            Kind::Instrument => {
                let mut instrument = Command::new(beside("instrument"));
                instrument.arg("--test-methods");
                instrument
            }
            Kind::Device => return monitor(&["cont"]),
        };
        let command = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "{} does not listen", self.kind);
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGKILL, or the reset of a chip.
    pub(crate) fn kill(&mut self) {
        self.dead = true;
        match &mut self.process {
            Some(process) => {
                process.kill().unwrap();
                process.wait().unwrap();
                self.process = None;
            }
            None if self.kind == Kind::Device => monitor(&["system_reset"]),
            None => {}
        }
    }

    /// SIGSTOP, or a chip whose clock stands still.
    pub(crate) fn stop(&self) {
        let Some(process) = &self.process else { return monitor(&["stop"]) };
        let id = process.id().to_string();
        assert!(Command::new("kill").args(["-STOP", &id]).status().unwrap().success());
    }

    /// Whether a client that comes back is told that this is another process than before. The chip
    /// has no random numbers, and begins with the same session each time.
    pub(crate) const fn tells_sessions(&self) -> bool {
        matches!(self.kind, Kind::Instrument)
    }

    pub(crate) const fn secret(&self) -> &'static str {
        match self.kind {
            Kind::Device => "wslink-secret",
            _ => SECRET,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/ws", self.port)
    }

    /// In its dialect, and soon back after a loss.
    pub(crate) fn options(&self, options: Options) -> Options {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(200));
        options.without_proxy().with_reconnect(backoff).with_dialect(self.dialect)
    }

    pub(crate) async fn connect(&self) -> (Client, Driver) {
        let options = self.options(Options::new(self.secret()));
        patiently(&self.url(), options).await.unwrap()
    }

    /// What `scope.capture` of so many samples gives, with the settings that it has at the start.
    pub(crate) fn samples(&self, count: u32) -> Vec<u8> {
        if self.kind.is_upstream() {
            return (0..count).flat_map(|nth| (nth as f32).to_le_bytes()).collect();
        }
        let signal = Signal::new(&Settings::default(), count);
        let mut bytes = vec![0; signal.len() as usize];
        assert_eq!(signal.read(0, &mut bytes), bytes.len());
        bytes
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// Connects, also to a device that has not yet seen that others have left, or that starts.
pub(crate) async fn patiently(
    url: &str,
    options: Options,
) -> Result<(Client, Driver), ConnectError> {
    let options = options.with_connect_deadline(Duration::from_secs(2));
    let start = Instant::now();
    loop {
        match Client::connect(url, options.clone()).await {
            Err(ConnectError::Io(_) | ConnectError::Deadline | ConnectError::NotAWebSocket(_))
                if start.elapsed() < Duration::from_secs(20) =>
            {
                smol::Timer::after(Duration::from_millis(50)).await;
            }
            other => return other,
        }
    }
}

/// Has QEMU's monitor do this.
fn monitor(commands: &[&str]) {
    let port: u16 = env::var("WSLINK_QMP").unwrap().parse().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    lines.next().unwrap().unwrap();
    for command in ["qmp_capabilities"].iter().chain(commands) {
        writeln!(stream, "{{\"execute\": \"{command}\"}}").unwrap();
        // Events come between.
        let mut answers = lines.by_ref().map(|line| line.unwrap());
        let answer = answers.find(|line| !line.contains("\"event\"")).unwrap();
        assert!(answer.contains("\"return\""), "{command}: {answer}");
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// Another binary of the workspace, where cargo puts it.
fn beside(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_wslink")).with_file_name(name);
    assert!(path.exists(), "{}: cargo build --package {name}", path.display());
    path
}

/// The interpreter of a virtual environment that has upstream's server, made when it is missing,
/// with `python3` or what `PYTHON` names.
fn interpreter(version: &str) -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let folder = root().join(target).join(format!("wslink-python-{version}"));
    let python = folder.join("bin/python");
    if !folder.join("complete").exists() {
        let base = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        // What an interrupted run has left.
        _ = fs::remove_dir_all(&folder);
        let run = |command: &mut Command| assert!(command.status().unwrap().success());
        run(Command::new(base).args(["-m", "venv"]).arg(&folder));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(Command::new(&python).args(pip).arg(format!("wslink=={version}")));
        fs::create_dir(folder.join("complete")).unwrap();
    }
    python
}
