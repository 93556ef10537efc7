//! The firmware of `examples`: build it, and say what it takes.

use crate::tools::{Outcome, Run, cargo, nightly_cargo, nightly_rustc, root, target_dir};
use core::ops::Range;
use std::path::PathBuf;

/// A firmware, which is a workspace of its own in `examples`.
pub(crate) struct Firmware {
    name: &'static str,
    target: &'static str,
    /// Bytes that it may take: of flash with the page, and of RAM with the stack at its deepest.
    /// `Connection` is bounded where it is compiled.
    flash: u32,
    pub(crate) ram: u32,
    pub(crate) stack: u32,
    /// What one WebSocket more may take, where it can be built for that many.
    further_peer: Option<Further>,
}

struct Further {
    peers: u32,
    bytes: u32,
}

/// The one that runs in QEMU; `cargo xtask device` sees to it that the stack is no deeper.
pub(crate) const LM3S6965: Firmware = Firmware {
    name: "firmware-lm3s6965",
    target: "thumbv7m-none-eabi",
    flash: 192 << 10,
    ram: 48 << 10,
    stack: 4864,
    further_peer: Some(Further { peers: 4, bytes: 8 << 10 }),
};
/// All that it has. It is built to show that nothing is tied to the first.
const RP2040: Firmware = Firmware {
    name: "firmware-rp2040",
    target: "thumbv6m-none-eabi",
    flash: 2 << 20,
    ram: 256 << 10,
    stack: 64 << 10,
    further_peer: None,
};
const ALL: [&Firmware; 2] = [&LM3S6965, &RP2040];

/// Where the LM3S6965 has its RAM.
pub(crate) const RAM_AT: Range<u32> = 0x2000_0000..0x2001_0000;

/// A firmware's file, and what it takes.
pub(crate) struct Built {
    pub(crate) elf: PathBuf,
    flash: u32,
    pub(crate) static_ram: u32,
}

/// Builds each firmware, and says what it takes; fails where that is more than its budget.
pub(crate) fn check() -> Outcome {
    ALL.iter().try_for_each(|it| it.check())
}

pub(crate) fn fmt() -> Outcome {
    ALL.iter().try_for_each(|it| cargo(["fmt", "--check"]).dir(&it.directory()).run())
}

pub(crate) fn lint() -> Outcome {
    let lint = |it: &Firmware, features: &str| {
        let run = nightly_cargo(["clippy", "--release"]).dir(&it.directory());
        let run = run.args(["--features", features]).arg("--target-dir").arg(firmware_dir());
        run.args(["--", "-Dwarnings"]).run()
    };
    ALL.iter().try_for_each(|it| lint(it, ""))?;
    lint(&LM3S6965, "defmt")
}

impl Firmware {
    pub(crate) fn directory(&self) -> PathBuf {
        root().join("examples").join(self.name)
    }

    fn check(&self) -> Outcome {
        let further = match &self.further_peer {
            Some(further) => {
                let peers = further.peers.to_string();
                let built = self.build_with(|cargo| cargo.env("FIRMWARE_PEERS", peers))?;
                Some((built.static_ram, further.bytes))
            }
            None => None,
        };
        let built = self.build()?;
        let mut rows = vec![
            ("flash", built.flash, self.flash),
            ("RAM with the stack", built.static_ram + self.stack, self.ram),
        ];
        rows.extend(further.map(|(ram, most)| ("a further peer", ram - built.static_ram, most)));
        for (what, is, most) in &rows {
            println!("{}: {what}: {is} of {most} bytes", self.name);
        }
        if rows.iter().any(|(_, is, most)| is > most) {
            return Err("the firmware is over its budget, see docs/embedded.md".into());
        }
        Ok(())
    }

    /// The setting by which panics name their files without the folders of this machine: those
    /// take kilobytes of flash, more or less on each machine.
    fn short_paths(&self) -> Result<String, String> {
        let flags: Vec<_> = sources()?
            .iter()
            .map(|folder| format!("\"--remap-path-prefix={}/=\"", folder.display()))
            .collect();
        Ok(format!("target.{}.rustflags=[{}]", self.target, flags.join(",")))
    }

    pub(crate) fn build(&self) -> Result<Built, String> {
        self.build_with(|cargo| cargo)
    }

    /// The same firmware, but it tells by defmt what happens.
    pub(crate) fn build_that_logs(&self) -> Result<Built, String> {
        self.build_with(|cargo| cargo.args(["--features", "defmt"]).env("DEFMT_LOG", "debug"))
    }

    /// The measurement in place of the firmware.
    pub(crate) fn build_speed(&self) -> Result<PathBuf, String> {
        let options = ["--features", "speed", "--bin", "speed"];
        self.compile("speed", |cargo| cargo.args(options))
    }

    fn build_with(&self, with: impl FnOnce(Run) -> Run) -> Result<Built, String> {
        let elf = self.compile(self.name, with)?;
        let sections = sections(&std::fs::read(&elf).map_err(|error| format!("{error}: {elf:?}"))?)
            .ok_or("the firmware is not an ELF file of 32 bits")?;
        let size = |names: &[&str]| -> u32 {
            sections.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|it| it.1).sum()
        };
        let flash = size(&[".boot2", ".vector_table", ".text", ".rodata", ".data"]);
        Ok(Built { elf, flash, static_ram: size(&[".data", ".bss", ".uninit"]) })
    }

    /// The file of this binary, which `with` has built.
    fn compile(&self, binary: &str, with: impl FnOnce(Run) -> Run) -> Result<PathBuf, String> {
        let target_dir = firmware_dir();
        // Cargo finds the settings of the board beside the package only.
        let cargo = nightly_cargo(["build", "--release"])
            .dir(&self.directory())
            .args(["--config", &self.short_paths()?]);
        with(cargo.arg("--target-dir").arg(&target_dir)).run()?;
        Ok(target_dir.join(self.target).join("release").join(binary))
    }
}

/// Folders of sources whose names are of no interest, with what stands behind them.
fn sources() -> Result<Vec<PathBuf>, String> {
    let sysroot = nightly_rustc(["--print", "sysroot"])?;
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let registry = home.map(|home| home.join("registry/src"));
    let mut folders = vec![root().to_owned()];
    folders.push(PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library"));
    for entry in registry.and_then(|it| std::fs::read_dir(it).ok()).into_iter().flatten().flatten()
    {
        folders.push(entry.path());
    }
    Ok(folders)
}

/// Where each firmware is built.
fn firmware_dir() -> PathBuf {
    target_dir().join("firmware")
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
