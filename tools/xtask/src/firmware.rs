//! The firmware of `examples/firmware-lm3s6965`: build it, say what it takes, run it in QEMU.

use crate::tools::{Outcome, Run, nightly_cargo, root, target_dir};
use crate::{node, system};
use core::time::Duration;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A workspace of its own.
pub(crate) const MANIFEST: &str = "examples/firmware-lm3s6965/Cargo.toml";
const DIRECTORY: &str = "examples/firmware-lm3s6965";
/// 192 KB; and 48 KB without the stack, which is 4.5 KB deep.
const FLASH: u32 = 192 << 10;
const STATIC_RAM: u32 = (48 << 10) - 4480;
const TARGET: &str = "thumbv7m-none-eabi";

/// Builds the firmware, and says what it takes.
pub(crate) fn build() -> Outcome {
    built().map(drop)
}

/// Starts the firmware in QEMU until it is interrupted.
pub(crate) fn run() -> Outcome {
    let elf = built()?;
    println!("http://127.0.0.1:18080/ until it is interrupted");
    Run::new("sh").arg(format!("{DIRECTORY}/qemu.sh")).arg(elf).run()
}

/// Runs Kitware's clients against the firmware in QEMU.
pub(crate) fn test() -> Outcome {
    let elf = built()?;
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
        .arg(root().join(DIRECTORY).join("qemu.sh"))
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

/// The firmware's file, once it was built.
fn built() -> Result<PathBuf, String> {
    let target_dir = target_dir().join("firmware");
    // Cargo finds the settings of the board beside the package only.
    nightly_cargo(["build", "--release"])
        .dir(&root().join(DIRECTORY))
        .arg("--target-dir")
        .arg(&target_dir)
        .run()?;
    let elf = target_dir.join(TARGET).join("release/firmware-lm3s6965");
    let sections = sections(&std::fs::read(&elf).map_err(|error| format!("{error}: {elf:?}"))?)
        .ok_or("the firmware is not an ELF file of 32 bits")?;
    let size = |names: &[&str]| -> u32 {
        sections.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|it| it.1).sum()
    };
    let flash = size(&[".vector_table", ".text", ".rodata", ".data"]);
    let ram = size(&[".data", ".bss", ".uninit"]);
    println!("flash {flash} of {FLASH} bytes, static RAM {ram} of {STATIC_RAM} bytes");
    if flash > FLASH || ram > STATIC_RAM {
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
