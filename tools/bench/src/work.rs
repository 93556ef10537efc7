//! What is measured, in which order.

use crate::client::{Ask, Wire};
use crate::measure::{self, CPU, Figures, LAST, P50, THROUGHPUT};
use crate::peers::{self, Peer, Running};
use crate::report::{Goal, Report, Table};
use crate::{Outcome, Settings, count, growth, pages, secrets};
use core::time::Duration;

const MIB: usize = 1 << 20;

/// One kind of work, and what is expected of ours, as a ratio to the bare server.
#[derive(Clone, Copy, Debug)]
struct Work {
    name: &'static str,
    kind: Kind,
    /// By figure; at most so many times the bare server's, or at least for rates.
    goals: &'static [(&'static str, Goal)],
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Echo,
    Crowd,
    Down,
    Up,
    Spread { clients: usize, length: usize, every: Duration },
}

const WORK: &[Work] = &[
    Work {
        name: "echo of 64 bytes, one at a time",
        kind: Kind::Echo,
        goals: &[(P50, Goal::AtMost(1.5)), (CPU, Goal::AtMost(1.5))],
    },
    Work {
        name: "echo of 64 bytes, 8 clients x 32 in flight",
        kind: Kind::Crowd,
        goals: &[(CPU, Goal::AtMost(2.0))],
    },
    Work {
        name: "1 MiB attachment down",
        kind: Kind::Down,
        goals: &[(THROUGHPUT, Goal::AtLeast(0.9))],
    },
    Work {
        name: "1 MiB attachment up",
        kind: Kind::Up,
        goals: &[(THROUGHPUT, Goal::AtLeast(0.9))],
    },
    Work {
        name: "1 KiB published to 50 clients",
        kind: Kind::Spread { clients: 50, length: 1 << 10, every: Duration::ZERO },
        goals: &[(CPU, Goal::AtMost(1.2))],
    },
    Work {
        name: "256 KiB published to 10 clients",
        kind: Kind::Spread { clients: 10, length: 256 << 10, every: Duration::ZERO },
        goals: &[(CPU, Goal::AtMost(1.2))],
    },
    Work {
        name: "1 KiB published to 1,000 clients each 10 ms",
        kind: Kind::Spread { clients: 1000, length: 1 << 10, every: Duration::from_millis(10) },
        goals: &[(LAST, Goal::Shown)],
    },
];

pub(crate) fn run(settings: &Settings) -> Outcome {
    let peers = peers::peers(settings);
    let wanted = |name: &str| settings.only.as_ref().is_none_or(|only| name.contains(only));
    let mut report = Report::default();
    for work in WORK.iter().filter(|work| wanted(work.name)) {
        eprintln!("{}", work.name);
        let mut table = Table::new(work.name, work.goals);
        for round in 0..settings.rounds {
            // Each begins once in a while, so that none always comes after the same one.
            for nth in 0..peers.len() {
                let peer = &peers[(nth + round) % peers.len()];
                table.add(peer.name, round, smol::block_on(measure(work.kind, peer))?);
            }
        }
        println!("{table}");
        report.tables.push(table);
    }
    if wanted("idle") {
        smol::block_on(idle(settings, &peers, &mut report))?;
    }
    if wanted("growth") {
        report.curves = smol::block_on(growth::curves(&peers))?;
    }
    let root = settings.root.as_ref().filter(|_| settings.only.is_none());
    if wanted("instructions") {
        report.counts = count::run(settings.root.as_deref(), root.is_some())?;
        secrets::run()?;
    }
    report.finish();
    println!("{report}");
    root.map_or(Ok(()), |root| pages::write(&report, root))
}

async fn measure(kind: Kind, peer: &Peer) -> Outcome<Figures> {
    let running = Running::start(peer)?;
    let figures = match kind {
        Kind::Echo => measure::alone(&running, Ask::Echo(&"x".repeat(64))).await,
        Kind::Crowd => measure::crowd(&running, 8, 32).await,
        Kind::Down => measure::alone(&running, Ask::Down(MIB)).await,
        Kind::Up => measure::alone(&running, Ask::Up(&vec![0x55; MIB])).await,
        Kind::Spread { clients, length, every } => {
            measure::spread(&running, clients, length, every).await
        }
    };
    figures.map_err(|error| format!("{}: {error}", peer.name).into())
}

/// Ours and the bare one; what others take is theirs.
async fn idle(settings: &Settings, peers: &[Peer], report: &mut Report) -> Outcome {
    for peer in peers.iter().filter(|peer| peer.name != "bare again") {
        for &clients in &settings.idle {
            if clients > 1000 && !(peer.name.starts_with("ours") || peer.wire == Wire::Bare) {
                continue;
            }
            eprintln!("{clients} idle connections of {}", peer.name);
            let bytes = measure::idle(&Running::start(peer)?, clients).await?;
            report.idle.push((peer.name, clients, bytes));
        }
    }
    Ok(())
}
