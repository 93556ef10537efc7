//! What the crates that all this uses have to be, as `deny.toml` says.

use std::process::Command;

use crate::{
    bench, fuzz, panics,
    tools::{Outcome, cargo, root},
};

/// Each workspace has dependencies of its own.
const MANIFESTS: [&str; 7] = [
    "Cargo.toml",
    "tests/device-log/Cargo.toml",
    "examples/firmware-lm3s6965/Cargo.toml",
    "examples/firmware-rp2040/Cargo.toml",
    fuzz::MANIFEST,
    panics::MANIFEST,
    bench::MANIFEST,
];

/// Runs cargo-deny, which is installed if it is not there. `checks` are some of `advisories`,
/// `bans`, `licenses` and `sources`; all unless told.
pub(crate) fn run(checks: &[&str]) -> Outcome {
    if !starts() {
        cargo(["install", "cargo-deny", "--locked"]).run()?;
    }
    let config = root().join("deny.toml");
    let failed: Vec<&str> = MANIFESTS
        .into_iter()
        .filter(|manifest| {
            let deny = cargo(["deny", "--manifest-path", manifest, "--config"]).arg(&config);
            deny.args(["check", "--hide-inclusion-graph"]).args(checks).run().is_err()
        })
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("cargo-deny failed for {}", failed.join(", ")))
    }
}

fn starts() -> bool {
    let version = Command::new("cargo").args(["deny", "--version"]).output();
    version.is_ok_and(|output| output.status.success())
}
