//! The instrument behind nginx, as docs/proxy.md says.

use std::process::Command;

use crate::tools::{Outcome, Run, cargo};

pub(crate) fn run() -> Outcome {
    nginx_is_there()?;
    cargo(["test", "--package", "instrument", "--test", "proxy", "--", "--ignored"]).run()
}

/// Installs it where that can be done without asking, and says how where it can't.
fn nginx_is_there() -> Outcome {
    if starts("nginx", "-v") {
        return Ok(());
    }
    if starts("apt-get", "--version") && is_root() {
        let install = ["install", "--yes", "--no-install-recommends", "nginx-light"];
        if Run::new("apt-get").args(install).run().is_ok() && starts("nginx", "-v") {
            return Ok(());
        }
    }
    Err("the proxy test needs nginx, any version that can proxy a WebSocket: \
         `apt-get install nginx-light`, `dnf install nginx`, `brew install nginx`"
        .into())
}

fn starts(program: &str, arg: &str) -> bool {
    Command::new(program).arg(arg).output().is_ok_and(|output| output.status.success())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
