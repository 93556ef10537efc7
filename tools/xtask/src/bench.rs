//! Our servers beside others, under the same load.

use crate::{
    system,
    tools::{Outcome, Run, cargo, root, target_dir},
};
use std::{fs, path::PathBuf};

/// A workspace of its own, with dependencies of its own.
pub(crate) const MANIFEST: &str = "tools/bench/peers/wslink-rs/Cargo.toml";
/// Upstream's servers: the last ones of both dialects.
const UPSTREAM: [(&str, &str); 2] = [("--python1", "1.12.4"), ("--python2", "2.6.0")];

/// Builds all servers and compares them; `args` go to the comparison. Runs of all work leave their
/// results in `docs/bench` and in the documents.
pub(crate) fn run(args: &[&str]) -> Outcome {
    system::python_venv()?;
    let hint = "it counts instructions: `apt-get install valgrind`";
    system::program("valgrind", "--version", "valgrind", hint)?;
    let target = target_dir();
    let peers = target.join("bench");
    cargo(["build", "--release", "--package", "wslink-bench", "--target-dir"])
        .arg(&target)
        .run()?;
    cargo(["build", "--release", "--manifest-path", MANIFEST, "--target-dir"]).arg(&peers).run()?;
    let mut run = Run::new(target.join("release/wslink-bench"))
        .arg("run")
        .arg("--root")
        .arg(root())
        .arg("--wslink-rs")
        .arg(peers.join("release/bench-wslink-rs"));
    for (flag, version) in UPSTREAM {
        run = run.arg(flag).arg(upstream(version)?);
    }
    run.args(args).run()
}

/// The Python of a virtual environment that has upstream's server.
fn upstream(version: &str) -> Result<PathBuf, String> {
    let folder = target_dir().join(format!("bench/upstream-{version}"));
    let python = folder.join("bin/python");
    let stamp = folder.join("installed");
    if !stamp.exists() {
        let interpreter = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
        Run::new(interpreter).args(["-m", "venv"]).arg(&folder).run()?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        Run::new(&python).args(pip).arg(format!("wslink=={version}")).run()?;
        fs::write(&stamp, version).map_err(|error| format!("{}: {error}", stamp.display()))?;
    }
    Ok(python)
}
