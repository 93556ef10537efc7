//! The Autobahn test suite against the RFC 6455 layers of the adapters.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use crate::tools::{Outcome, cargo, root, target_dir};

/// Where the verdicts of the last run that was kept stand, between these two lines.
const PAGE: &str = "docs/conformance.md";
const BEGIN: &str = "<!-- verdicts -->\n";
const END: &str = "<!-- end of verdicts -->\n";

/// Starts the echo of each adapter and runs the suite; with `UPDATE_DOCUMENTS` its table goes into
/// the documentation.
pub(crate) fn run() -> Outcome {
    cargo(["build", "--release", "--package", "wslink-autobahn"]).run()?;
    let (_running, servers) = start()?;
    let script = root().join("tests/autobahn/suite.sh");
    println!("$ {} for {}", script.display(), servers.join(" "));
    let output = Command::new(script)
        .arg(target_dir().join("autobahn"))
        .arg("*")
        .args(&servers)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("the suite did not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    if !output.status.success() {
        return Err("cases of the Autobahn suite failed, or it did not run".into());
    }
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        let table: String =
            text.lines().filter(|line| line.starts_with('|')).flat_map(|it| [it, "\n"]).collect();
        keep(&table)?;
    }
    Ok(())
}

/// The echo and the names and URLs of its servers.
fn start() -> Result<(Running, Vec<String>), String> {
    let program = target_dir().join("release/echo");
    let mut child = Command::new(&program)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let output = child.stdout.take();
    let running = Running(child);
    let mut servers = Vec::new();
    for line in BufReader::new(output.ok_or("the echo has no output")?).lines().take(2) {
        let line = line.map_err(|error| format!("the echo: {error}"))?;
        servers.extend(line.split(' ').map(str::to_owned));
    }
    if servers.len() != 4 {
        return Err(format!("the echo did not start: {servers:?}"));
    }
    Ok((running, servers))
}

/// Ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn keep(table: &str) -> Outcome {
    let path = root().join(PAGE);
    let say = |error| format!("{PAGE}: {error}");
    let page = fs::read_to_string(&path).map_err(say)?;
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or_else(|| format!("{PAGE}: no place for the verdicts"))?;
    fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).map_err(say)
}
