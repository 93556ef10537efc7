//! The servers as processes, and what they use.

use crate::Outcome;
use crate::Settings;
use crate::client::{Client, Wire};
use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server of the comparison.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// As it stands in tables.
    pub(crate) name: &'static str,
    pub(crate) wire: Wire,
    start: Start,
}

#[derive(Clone, Debug)]
enum Start {
    /// A server of this binary.
    Own(&'static str),
    /// A program with its arguments before the port.
    Other { program: String, args: Vec<String>, port: &'static str, path: &'static str },
}

/// All that can be measured here; the first one is the measure of the others.
pub(crate) fn peers(settings: &Settings) -> Vec<Peer> {
    let own = |name, wire, kind| Peer { name, wire, start: Start::Own(kind) };
    let mut peers = vec![
        own("bare", Wire::Bare, "bare"),
        own("bare again", Wire::Bare, "bare"),
        own("ours 1.x", Wire::V1, "ours"),
        own("ours 2.x", Wire::V2, "ours"),
    ];
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/upstream.py");
    let python = |name, wire, python: &Path| {
        let args = [script, "--host", "127.0.0.1", "--timeout", "0", "--nosignalhandlers"];
        let args = args.map(str::to_owned).to_vec();
        let program = python.display().to_string();
        Peer { name, wire, start: Start::Other { program, args, port: "--port", path: "/ws" } }
    };
    peers.extend(settings.python1.iter().map(|it| python("Python 1.12.4", Wire::V1, it)));
    peers.extend(settings.python2.iter().map(|it| python("Python 2.x", Wire::V2, it)));
    peers.extend(settings.wslink_rs.iter().map(|program| {
        let args = ["--host", "127.0.0.1"].map(str::to_owned).to_vec();
        let program = program.display().to_string();
        let start = Start::Other { program, args, port: "--port", path: "/" };
        Peer { name: "wslink-rs", wire: Wire::V2, start }
    }));
    peers
}

/// Ours with 500 more methods.
pub(crate) const fn many() -> Peer {
    Peer { name: "ours 2.x, 500 methods", wire: Wire::V2, start: Start::Own("ours-many") }
}

/// The port that one of this binary's servers prints.
pub(crate) fn port_of(server: &mut Child) -> Outcome<u16> {
    let mut line = String::new();
    BufReader::new(server.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    Ok(line.trim().strip_prefix("port ").ok_or("no port")?.parse()?)
}

/// A server that runs; killed when it is dropped.
pub(crate) struct Running {
    pub(crate) peer: Peer,
    child: Child,
    port: u16,
}

impl Running {
    pub(crate) fn start(peer: &Peer) -> Outcome<Self> {
        let mut command;
        let mut free = 0;
        match &peer.start {
            Start::Own(kind) => {
                command = Command::new(std::env::current_exe()?);
                command.args(["serve", kind]).stdout(Stdio::piped());
            }
            Start::Other { program, args, port, .. } => {
                free = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
                command = Command::new(program);
                command.args(args).arg(port).arg(free.to_string()).stdout(Stdio::null());
            }
        }
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        if let Start::Own(_) = peer.start {
            free = port_of(&mut child)?;
        }
        Ok(Self { peer: peer.clone(), child, port: free })
    }

    /// Connects, waiting until it listens.
    pub(crate) async fn connect(&self) -> Outcome<Client> {
        let path = match &self.peer.start {
            Start::Own(_) => "/ws",
            Start::Other { path, .. } => path,
        };
        let mut tries = 0;
        loop {
            match Client::connect(self.peer.wire, self.port, path).await {
                Err(_) if tries < 100 => tries += 1,
                other => return other.map_err(|it| format!("{}: {it}", self.peer.name).into()),
            }
            smol::Timer::after(Duration::from_millis(100)).await;
        }
    }

    /// Time on a processor, of all its threads that live.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let times = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            nanos += times.split(' ').next().and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmRSS")?;
        Ok(kib.trim().parse::<u64>()? << 10)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
