//! The instrument behind nginx, as docs/proxy.md says.

use crate::{
    system,
    tools::{Outcome, cargo},
};

pub(crate) fn run() -> Outcome {
    system::program(
        "nginx",
        "-v",
        "nginx-light",
        "The proxy test needs nginx, any version that can proxy a WebSocket: \
         `apt-get install nginx-light`, `dnf install nginx`, `brew install nginx`",
    )?;
    cargo(["test", "--package", "instrument", "--test", "proxy", "--", "--ignored"]).run()
}
