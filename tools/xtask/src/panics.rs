//! Where the firmware can panic, against the list of what is left.

use crate::{
    firmware::LM3S6965,
    tools::{Outcome, Run, cargo, target_dir},
};

pub(crate) const MANIFEST: &str = "tests/panics/Cargo.toml";

/// Shows the places with their lines, and fails if the list has others.
pub(crate) fn run() -> Outcome {
    let built = LM3S6965.build()?;
    let test = there("test").args(["--", "--include-ignored", "--nocapture"]);
    test.env("WSLINK_ELF", built.elf).run()
}

pub(crate) fn lint() -> Outcome {
    there("clippy").args(["--all-targets", "--", "-Dwarnings"]).run()
}

fn there(command: &str) -> Run {
    cargo([command, "--manifest-path", MANIFEST, "--target-dir"]).arg(target_dir().join("panics"))
}
