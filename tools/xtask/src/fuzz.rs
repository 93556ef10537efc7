//! The fuzz targets without `cargo-fuzz`: the same build flags, the same layout. Whoever has
//! `cargo-fuzz` can still use it in `tests/fuzz`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use crate::tools::{Outcome, nightly_cargo, nightly_rustc, root, target_dir};

pub(crate) const MANIFEST: &str = "tests/fuzz/Cargo.toml";

/// What `cargo fuzz build` passes.
const RUSTFLAGS: &str = "--cfg fuzzing \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
    -Zsanitizer=address \
    -Ccodegen-units=1 \
    -Cdebug-assertions \
    -Coverflow-checks";

/// Seconds that one input may take before it counts as a finding.
const SLOWEST_INPUT: u32 = 10;
const LINES_SHOWN_OF_A_FINDING: usize = 60;

/// Fuzzes each target, or the named one, for so many seconds; as many at once as there are cores.
pub(crate) fn run(seconds: u64, only: Option<&str>) -> Outcome {
    let mut targets = targets()?;
    if let Some(only) = only {
        if !targets.iter().any(|target| target == only) {
            return Err(format!("no fuzz target `{only}`, there are: {}", targets.join(", ")));
        }
        targets.retain(|target| target == only);
    }

    let built = build()?;
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    let mut findings = Vec::new();
    for group in targets.chunks(at_once) {
        let mut running = Vec::new();
        for target in group {
            running.push((target, Fuzzer::start(&built, target, seconds)?));
        }
        for (target, fuzzer) in running {
            match fuzzer.wait() {
                Ok(executions) => println!("  {target}: {executions} executions, no finding"),
                Err(finding) => {
                    eprintln!("{finding}");
                    findings.push(target.as_str());
                }
            }
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(format!("findings in: {}", findings.join(", "))) }
}

/// The names of the files in `fuzz_targets`.
fn targets() -> Result<Vec<String>, String> {
    let directory = root().join("tests/fuzz/fuzz_targets");
    let mut names: Vec<String> = fs::read_dir(&directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            if path.extension()? != "rs" {
                return None;
            }
            Some(path.file_stem()?.to_str()?.to_owned())
        })
        .collect();
    names.sort();
    if names.is_empty() {
        return Err(format!("no fuzz targets in {}", directory.display()));
    }
    Ok(names)
}

/// Builds all targets; the answer is where they are.
fn build() -> Result<PathBuf, String> {
    let about = nightly_rustc(["-vV"])?;
    let host = about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or("rustc -vV does not name its host")?;
    let target_dir = target_dir().join("fuzz");
    nightly_cargo(["build", "--release", "--bins", "--manifest-path", MANIFEST])
        // Said here, so that the flags do not reach build scripts.
        .args(["--target", host, "--target-dir"])
        .arg(&target_dir)
        .env("RUSTFLAGS", RUSTFLAGS)
        .run()
        .map_err(|reason| {
            format!("{reason}\n(libFuzzer is built here: it needs a C++ compiler)")
        })?;
    Ok(target_dir.join(host).join("release"))
}

struct Fuzzer {
    target: String,
    child: Child,
    log: PathBuf,
}

impl Fuzzer {
    /// Starts from the committed corpus; what it finds on the way goes to the target directory.
    fn start(built: &Path, target: &str, seconds: u64) -> Result<Self, String> {
        let committed = root().join("tests/fuzz/corpus").join(target);
        let artifacts = root().join("tests/fuzz/artifacts").join(target);
        let grown = target_dir().join("fuzz/corpus").join(target);
        let log = target_dir().join("fuzz").join(format!("{target}.log"));
        for directory in [&committed, &artifacts, &grown] {
            fs::create_dir_all(directory)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        let output = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;

        println!("$ fuzz {target} for {seconds} s");
        let child = Command::new(built.join(target))
            .current_dir(root())
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={SLOWEST_INPUT}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg("-print_final_stats=1")
            .args([&grown, &committed])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .map_err(|error| format!("fuzz target {target} did not start: {error}"))?;
        Ok(Self { target: target.to_owned(), child, log })
    }

    /// The number of executions, or the end of the log if there was a finding.
    fn wait(mut self) -> Result<String, String> {
        let status =
            self.child.wait().map_err(|error| format!("fuzz target {}: {error}", self.target))?;
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        if status.success() {
            let executions = log
                .lines()
                .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
                .map_or("?", str::trim);
            return Ok(executions.to_owned());
        }
        let lines: Vec<_> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LINES_SHOWN_OF_A_FINDING)..];
        Err(format!(
            "{}\nfuzz target {}: {status}; the input is in tests/fuzz/artifacts/{}",
            shown.join("\n"),
            self.target,
            self.target
        ))
    }
}
