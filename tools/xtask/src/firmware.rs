//! The firmware of `examples/firmware-lm3s6965`: build it, say what it takes, run it in QEMU.

use crate::tools::{Outcome, Run, nightly_cargo, root, target_dir};

/// A workspace of its own.
pub(crate) const MANIFEST: &str = "examples/firmware-lm3s6965/Cargo.toml";
const DIRECTORY: &str = "examples/firmware-lm3s6965";
const TARGET: &str = "thumbv7m-none-eabi";

/// Builds the firmware and prints its flash and its static RAM; with `run` it is started, too.
pub(crate) fn firmware(run: bool) -> Outcome {
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
    println!("flash {flash} bytes, static RAM {ram} bytes");
    if run {
        println!("http://127.0.0.1:18080/ until it is interrupted");
        return Run::new("sh").arg(format!("{DIRECTORY}/qemu.sh")).arg(&elf).run();
    }
    Ok(())
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
