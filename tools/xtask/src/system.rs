//! Programs of the system that tests need.

use std::process::Command;

use crate::tools::{Outcome, Run};

/// Sees to it that `program` starts: installs `package` where that can be done without asking, and
/// says how where it can't.
pub(crate) fn program(program: &str, version: &str, package: &str, hint: &str) -> Outcome {
    if starts(program, &[version]) || install(package) && starts(program, &[version]) {
        return Ok(());
    }
    Err(format!("`{program}` does not start. {hint}"))
}

/// Sees to it that Python can make virtual environments, for upstream's own servers.
pub(crate) fn python_venv() -> Outcome {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let venv = ["-c", "import venv, ensurepip"];
    if starts(&python, &venv) || install("python3-venv") && starts(&python, &venv) {
        return Ok(());
    }
    Err("upstream's servers run in Python 3.10 or newer with venv: \
         `apt-get install python3-venv`, or name another in PYTHON"
        .into())
}

fn starts(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

fn install(package: &str) -> bool {
    let id = Command::new("id").arg("-u").output();
    let root = id.is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if !root || !starts("apt-get", &["--version"]) {
        return false;
    }
    let install = || {
        let args = ["install", "--yes", "--no-install-recommends", package];
        Run::new("apt-get").args(args).run().is_ok()
    };
    // A new machine has no list of packages yet.
    install() || Run::new("apt-get").args(["update"]).run().is_ok() && install()
}
