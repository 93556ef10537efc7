//! The firmware of `examples`: build it, say what it takes, run in QEMU what QEMU emulates.

use crate::tools::{Outcome, Run, cargo, nightly_cargo, root, target_dir};
use crate::{node, system};
use core::time::Duration;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A firmware, which is a workspace of its own in `examples`.
struct Firmware {
    name: &'static str,
    target: &'static str,
    /// Bytes that it may take.
    flash: u32,
    static_ram: u32,
}

/// 192 KB; and 48 KB without the stack, which is 4.5 KB deep.
const LM3S6965: Firmware = Firmware {
    name: "firmware-lm3s6965",
    target: "thumbv7m-none-eabi",
    flash: 192 << 10,
    static_ram: (48 << 10) - 4480,
};
/// All that it has, but for 64 KB of stack. It is built to show that nothing is tied to the first.
const RP2040: Firmware = Firmware {
    name: "firmware-rp2040",
    target: "thumbv6m-none-eabi",
    flash: 2 << 20,
    static_ram: (256 - 64) << 10,
};
const ALL: [&Firmware; 2] = [&LM3S6965, &RP2040];

/// Builds each firmware, and says what it takes.
pub(crate) fn build() -> Outcome {
    ALL.iter().try_for_each(|it| built(it).map(drop))
}

pub(crate) fn fmt() -> Outcome {
    ALL.iter().try_for_each(|it| cargo(["fmt", "--check"]).dir(&it.directory()).run())
}

pub(crate) fn lint() -> Outcome {
    ALL.iter().try_for_each(|it| {
        let run = nightly_cargo(["clippy", "--release"]).dir(&it.directory());
        run.arg("--target-dir").arg(firmware_dir()).args(["--", "-Dwarnings"]).run()
    })
}

/// Starts the firmware in QEMU until it is interrupted.
pub(crate) fn run() -> Outcome {
    let elf = built(&LM3S6965)?;
    println!("http://127.0.0.1:18080/ until it is interrupted");
    Run::new("sh").arg(LM3S6965.directory().join("qemu.sh")).arg(elf).run()
}

/// Runs Kitware's clients against the firmware in QEMU.
pub(crate) fn test() -> Outcome {
    let elf = built(&LM3S6965)?;
    let tests = root().join("tests/stock");
    node::prepare(&tests)?;
    system::program(
        "qemu-system-arm",
        "--version",
        "qemu-system-arm",
        "the firmware runs in QEMU, 10 or newer",
    )?;
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port: {error}"))?
        .port();
    let mut qemu = Command::new("sh")
        .arg(LM3S6965.directory().join("qemu.sh"))
        .arg(elf)
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("QEMU did not start: {error}"))?;
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = !matches!(qemu.try_wait(), Ok(None));
        if ended || started.elapsed() > Duration::from_secs(20) {
            _ = qemu.kill();
            return Err("the firmware in QEMU does not answer".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let outcome = Run::new("node")
        .dir(&tests)
        .args(["--test", "--test-reporter=spec", "device.mjs"])
        .env("WSLINK_DEVICE", format!("http://127.0.0.1:{port}"))
        .run();
    // The shell has become QEMU.
    _ = qemu.kill();
    _ = qemu.wait();
    outcome
}

impl Firmware {
    fn directory(&self) -> PathBuf {
        root().join("examples").join(self.name)
    }
}

/// Where each firmware is built.
fn firmware_dir() -> PathBuf {
    target_dir().join("firmware")
}

/// The firmware's file, once it was built.
fn built(firmware: &Firmware) -> Result<PathBuf, String> {
    let Firmware { name, target, flash: most_flash, static_ram: most_ram } = firmware;
    let target_dir = firmware_dir();
    // Cargo finds the settings of the board beside the package only.
    nightly_cargo(["build", "--release"])
        .dir(&firmware.directory())
        .arg("--target-dir")
        .arg(&target_dir)
        .run()?;
    let elf = target_dir.join(target).join("release").join(name);
    let sections = sections(&std::fs::read(&elf).map_err(|error| format!("{error}: {elf:?}"))?)
        .ok_or("the firmware is not an ELF file of 32 bits")?;
    let size = |names: &[&str]| -> u32 {
        sections.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|it| it.1).sum()
    };
    let flash = size(&[".boot2", ".vector_table", ".text", ".rodata", ".data"]);
    let ram = size(&[".data", ".bss", ".uninit"]);
    println!("{name}: flash {flash} of {most_flash} bytes, static RAM {ram} of {most_ram} bytes");
    if flash > *most_flash || ram > *most_ram {
        return Err("the firmware is over its budget, see docs/embedded.md".into());
    }
    Ok(elf)
}

/// Names and sizes of the sections of a little-endian ELF file of 32 bits.
fn sections(elf: &[u8]) -> Option<Vec<(String, u32)>> {
    let half = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_le_bytes(elf.get(at..at + 4)?.try_into().ok()?));
    if elf.get(..6)? != b"\x7fELF\x01\x01" {
        return None;
    }
    let (table, size) = (word(0x20)? as usize, usize::from(half(0x2e)?));
    let (count, names) = (usize::from(half(0x30)?), usize::from(half(0x32)?));
    let names = word(table + names * size + 0x10)? as usize;
    (0..count)
        .map(|nth| {
            let header = table + nth * size;
            let name = elf.get(names + word(header)? as usize..)?;
            let name = name.split(|byte| *byte == 0).next()?;
            Some((String::from_utf8_lossy(name).into_owned(), word(header + 0x14)?))
        })
        .collect()
}
