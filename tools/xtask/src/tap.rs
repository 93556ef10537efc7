//! The embassy adapter on a TAP device, against the TCP of Linux.

use crate::tools::{Outcome, Run, cargo};

/// What runs in the namespace.
const SCRIPT: &str = "ip tuntap add dev tap0 mode tap \
    && ip address add 10.9.0.1/24 dev tap0 && ip link set tap0 up && exec \"$@\"";

const TEST: [&str; 6] = ["test", "--release", "--package", "wslink-adapters", "--test", "tap"];

/// In a network namespace of its own, in which whoever runs it is root, so that nothing of the
/// machine's network is touched.
pub(crate) fn run() -> Outcome {
    // There is no network where the test runs.
    cargo(TEST).arg("--no-run").run()?;
    let namespace = ["--map-root-user", "--net", "sh", "-c", SCRIPT, "sh", "cargo"];
    Run::new("unshare")
        .args(namespace)
        .args(TEST)
        .args(["--", "--ignored", "--nocapture"])
        .run()
        .map_err(|reason| {
            format!(
                "{reason}\n(the test needs Linux with /dev/net/tun, and `unshare` of util-linux \
                 and `ip` of iproute2: `apt-get install iproute2`)"
            )
        })
}
