//! Whether a server tells by its time how much of a secret was right: counted in a real one under
//! callgrind, since a clock would have to find a few instructions in the time of a socket.

use crate::client::{Client, Wire};
use crate::peers::port_of;
use crate::{Outcome, count};
use std::io::Read as _;
use std::process::{Child, Command, Stdio};

/// What checks a hello, from its arguments to the verdict.
const CHECK: &str = "wslink_core::hello::Hello::verify";

/// As long as the right one, and wrong in another place each; two of them are guesses that begin
/// right.
const WRONG: [&str; 4] = ["Wslink-secret", "wslink_secret", "wslink-secreT", "0000000000000"];

/// Refuses each of them in a server of its own.
///
/// # Errors
/// They differ.
pub(crate) fn run() -> Outcome {
    for (wire, name) in [(Wire::V1, "1.x"), (Wire::V2, "2.x")] {
        let counts =
            WRONG.iter().map(|secret| refuse(wire, secret)).collect::<Outcome<Vec<u64>>>()?;
        let first = counts[0];
        if first == 0 || counts.iter().any(|count| *count != first) {
            return Err(format!("to refuse one of {WRONG:?} in {name} takes {counts:?}").into());
        }
        println!("To refuse a secret in {name} takes {first} instructions, wherever it is wrong.");
    }
    println!();
    Ok(())
}

/// Instructions of the check of one hello.
fn refuse(wire: Wire, secret: &str) -> Outcome<u64> {
    let mut server = Command::new("valgrind")
        .args(count::CALLGRIND)
        .arg(format!("--toggle-collect={CHECK}*"))
        .arg(std::env::current_exe()?)
        .args(["serve", "ours"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let said = smol::block_on(say(&mut server, wire, secret));
    // It ends as if it had come to its end, and says what was counted.
    let ended = Command::new("kill").args(["-INT", &server.id().to_string()]).status();
    let mut output = Vec::new();
    server.stderr.take().map_or(Ok(0), |mut stderr| stderr.read_to_end(&mut output))?;
    server.wait()?;
    said?;
    ended?;
    count::collected(&output)
}

async fn say(server: &mut Child, wire: Wire, secret: &str) -> Outcome {
    match Client::connect_with(wire, port_of(server)?, "/ws", secret).await {
        Ok(_) => Err(format!("{secret} was accepted").into()),
        Err(_) => Ok(()),
    }
}
