//! Tests in Node against the instrument: Kitware's own JavaScript clients, our browser module, and
//! the page in Chromium. And what the command records between those clients and Python servers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    system,
    tools::{Outcome, Run, cargo, root, target_dir},
};

const OLDEST_NODE: u32 = 20;

pub(crate) fn stock() -> Outcome {
    system::python_venv()?;
    run("tests/stock")
}

pub(crate) fn browser() -> Outcome {
    chromium()?;
    system::python_venv()?;
    run("tests/browser")
}

/// Sees to it that Chromium is there.
pub(crate) fn chromium() -> Outcome {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    system::program(
        &chromium,
        "--version",
        "chromium",
        "the page is tried in Chromium: `apt-get install chromium`, or name another in CHROMIUM",
    )
}

/// Runs the tests of a folder, one file after the other.
fn run(folder: &str) -> Outcome {
    let tests = root().join(folder);
    prepare(&tests)?;

    let target_dir = target_dir();
    cargo(["build", "--release", "--package", "instrument", "--package", "wslink-cli"])
        .arg("--target-dir")
        .arg(&target_dir)
        .run()?;
    let binary = |name: &str| {
        target_dir.join("release").join(name).with_extension(std::env::consts::EXE_EXTENSION)
    };

    Run::new("node")
        .dir(&tests)
        .args(["--test", "--test-reporter=spec", "--test-concurrency=1"])
        .args(test_files(&tests)?)
        .env("WSLINK_INSTRUMENT", binary("instrument"))
        .env("WSLINK_COMMAND", binary("wslink"))
        .run()
}

/// Sees to it that Node is there, and what the tests of a folder import.
pub(crate) fn prepare(tests: &Path) -> Outcome {
    node_is_new_enough()?;
    install(tests)
}

fn node_is_new_enough() -> Outcome {
    const HINT: &str = "these tests run in Node.js 20 or newer: install it and npm, \
                        from https://nodejs.org or the system's packages";
    let output = Command::new("node")
        .arg("--version")
        .output()
        .map_err(|error| format!("node did not start: {error}\n{HINT}"))?;
    let version = String::from_utf8_lossy(&output.stdout);
    let major = version
        .trim()
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= OLDEST_NODE => Ok(()),
        _ => Err(format!("node is {}\n{HINT}", version.trim())),
    }
}

/// `npm ci`, unless what it would install is there already.
fn install(tests: &Path) -> Outcome {
    let lock = read(&tests.join("package-lock.json"))?;
    let stamp = tests.join("node_modules/.installed-from");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    Run::new(npm).dir(tests).args(["ci", "--no-audit", "--no-fund"]).run().map_err(|reason| {
        format!(
            "{reason}\nthe stock clients come from npm: \
                 run `npm ci` in {} where its registry can be reached",
            tests.display()
        )
    })?;
    fs::write(&stamp, lock).map_err(|error| format!("{}: {error}", stamp.display()))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn test_files(tests: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files: Vec<_> = fs::read_dir(tests)
        .map_err(|error| format!("{}: {error}", tests.display()))?
        .filter_map(Result::ok)
        .map(|entry| PathBuf::from(entry.file_name()))
        .filter(|name| name.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(format!("no *.test.mjs in {}", tests.display()));
    }
    Ok(files)
}
