//! The firmware in QEMU: by hand, and with the stock clients, Chromium, our own client and the command
//! against it.

use crate::firmware::{LM3S6965, RAM_AT};
use crate::tools::{Outcome, Run, cargo, root, target_dir};
use crate::{node, system};
use core::time::Duration;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Reads the log; a workspace of its own.
pub(crate) const LOG_MANIFEST: &str = "tests/device-log/Cargo.toml";

/// Files of tests, in the order in which they run. The last one looks at what the stack has become.
const TESTS: &[(&str, &[&str])] = &[
    ("tests/browser", &["device.mjs"]),
    (
        "tests/stock",
        &["device.mjs", "device-limits.mjs", "device-vanish.mjs", "device-hostile.mjs"],
    ),
];

/// Starts the firmware in QEMU until it is interrupted.
pub(crate) fn run() -> Outcome {
    let built = LM3S6965.build()?;
    println!("http://127.0.0.1:18080/ until it is interrupted");
    Run::new("sh").arg(LM3S6965.directory().join("qemu.sh")).arg(built.elf).run()
}

/// Runs the stock clients, the page in Chromium, the view in a terminal, and the client and the
/// command against the firmware in QEMU.
pub(crate) fn test() -> Outcome {
    let built = LM3S6965.build()?;
    qemu()?;
    node::chromium()?;
    for (folder, _) in TESTS {
        node::prepare(&root().join(folder))?;
    }
    let emulator = Emulator::start(&built.elf, Stdio::inherit(), &[])?;
    let stack = RAM_AT.start + built.static_ram;
    let device = format!("http://127.0.0.1:{}", emulator.port);
    let mut outcome = Ok(());
    for (folder, files) in TESTS {
        for file in *files {
            let result = Run::new("node")
                .dir(&root().join(folder))
                .args(["--test", "--test-reporter=spec", file])
                .env("WSLINK_DEVICE", &device)
                .env("WSLINK_QMP", emulator.monitor.to_string())
                .env("WSLINK_MEMORY", format!("{},{stack},{}", RAM_AT.start, RAM_AT.end))
                .env("WSLINK_BUDGET", format!("{},{}", LM3S6965.stack, LM3S6965.ram))
                .run();
            outcome = outcome.and(result);
        }
    }
    // It changes settings that the others expect as they are at the start.
    let view = cargo(["test", "--package", "scope-view", "--", "--ignored"])
        .env("WSLINK_DEVICE", &device)
        .run();
    // The list of `cargo xtask upstream`; it resets the chip.
    drop(emulator);
    let emulator = Emulator::start(&built.elf, Stdio::inherit(), &[])?;
    let list = cargo(["test", "--package", "wslink-cli", "--test", "servers", "--"])
        .args(["--ignored", "device", "--nocapture"])
        .env("WSLINK_DEVICE", format!("http://127.0.0.1:{}", emulator.port))
        .env("WSLINK_QMP", emulator.monitor.to_string())
        .run();
    outcome.and(view).and(list)
}

/// Has a session with the firmware that logs, and compares what it has logged.
pub(crate) fn log() -> Outcome {
    let built = LM3S6965.build_that_logs()?;
    qemu()?;
    let folder = root().join("tests/stock");
    node::prepare(&folder)?;
    let path = built.elf.with_extension("log");
    let log = std::fs::File::create(&path).map_err(|error| format!("{error}: {path:?}"))?;
    let emulator = Emulator::start(&built.elf, log.into(), &[])?;
    Run::new("node")
        .dir(&folder)
        .args(["--test", "--test-reporter=spec", "device-log.mjs"])
        .env("WSLINK_DEVICE", format!("http://127.0.0.1:{}", emulator.port))
        .run()?;
    drop(emulator);
    cargo(["test", "--manifest-path", LOG_MANIFEST, "--target-dir"])
        .arg(target_dir().join("device-log"))
        .args(["--", "--ignored"])
        .env("WSLINK_LOG_ELF", built.elf)
        .env("WSLINK_LOG", path)
        .run()
}

/// Measures what wslink costs beside a bare WebSocket, at 31 million instructions a second.
pub(crate) fn speed() -> Outcome {
    let elf = LM3S6965.build_speed()?;
    qemu()?;
    let folder = root().join("tests/stock");
    node::prepare(&folder)?;
    let pace = ["-icount", "shift=5"];
    let emulator = Emulator::start(&elf, Stdio::inherit(), &pace)?;
    Run::new("node")
        .dir(&folder)
        .arg("speed.mjs")
        .env("WSLINK_PORTS", format!("{},{}", emulator.port, emulator.bare))
        .run()
}

fn qemu() -> Outcome {
    const HINT: &str = "the firmware runs in QEMU, 10 or newer";
    system::program("qemu-system-arm", "--version", "qemu-system-arm", HINT)
}

/// QEMU; it ends with this.
struct Emulator {
    qemu: Child,
    port: u16,
    /// Its port 81.
    bare: u16,
    monitor: u16,
}

impl Emulator {
    /// What the firmware prints goes to `output`.
    fn start(elf: &Path, output: Stdio, options: &[&str]) -> Result<Self, String> {
        let (port, bare, monitor) = (free_port()?, free_port()?, free_port()?);
        let qemu = Command::new("sh")
            .arg(LM3S6965.directory().join("qemu.sh"))
            .arg(elf)
            .args(["-qmp", &format!("tcp:127.0.0.1:{monitor},server=on,wait=off")])
            .args(options)
            .env("PORT", port.to_string())
            .env("PORT81", bare.to_string())
            .stdin(Stdio::null())
            .stdout(output)
            .spawn()
            .map_err(|error| format!("QEMU did not start: {error}"))?;
        let mut emulator = Self { qemu, port, bare, monitor };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = !matches!(emulator.qemu.try_wait(), Ok(None));
            if ended || started.elapsed() > Duration::from_secs(60) {
                return Err("the firmware in QEMU does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(emulator)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The shell has become QEMU.
        _ = self.qemu.kill();
        _ = self.qemu.wait();
    }
}

fn free_port() -> Result<u16, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}
