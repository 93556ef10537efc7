//! How the cost of a call grows with what should not matter.

use crate::Outcome;
use crate::client::{Ask, Wire};
use crate::measure::{self, CPU};
use crate::peers::{self, Peer, Running};
use crate::report::median;

/// Cost in µs of CPU for each value of what grows.
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

const ROUNDS: usize = 5;
const MIB: usize = 1 << 20;

/// The curves of a server of ours; `peers` has it.
pub(crate) async fn curves(peers: &[Peer]) -> Outcome<Vec<Curve>> {
    let ours = peers.iter().find(|peer| peer.name == "ours 2.x").ok_or("no server of ours")?;
    Ok(vec![connections(ours).await?, methods(ours).await?, bytes(ours).await?])
}

async fn connections(peer: &Peer) -> Outcome<Curve> {
    let mut points = Vec::new();
    for others in [1, 10, 100, 1000] {
        let running = Running::start(peer)?;
        let mut idle = Vec::new();
        for _ in 1..others {
            idle.push(running.connect().await?);
        }
        points.push((others as f64, small(&running).await?));
    }
    Ok(Curve { name: "CPU µs of a call by connections", points })
}

async fn methods(peer: &Peer) -> Outcome<Curve> {
    let few = small(&Running::start(peer)?).await?;
    let many = small(&Running::start(&peers::many())?).await?;
    Ok(Curve { name: "CPU µs of a call by methods", points: vec![(4.0, few), (504.0, many)] })
}

/// Per byte once there are enough of them; echoed, so both ways.
async fn bytes(peer: &Peer) -> Outcome<Curve> {
    let running = Running::start(peer)?;
    let mut points = Vec::new();
    let mut length = 16;
    while length <= 16 * MIB {
        let text = "x".repeat(length);
        let mut costs = Vec::new();
        for _ in 0..ROUNDS {
            costs.push(measure::alone(&running, Ask::Echo(&text)).await?[CPU]);
        }
        points.push((length as f64, median(&mut costs)));
        length *= 4;
    }
    debug_assert!(peer.wire == Wire::V2, "as the plot says");
    Ok(Curve { name: "CPU µs of a 2.x echo by bytes", points })
}

async fn small(running: &Running) -> Outcome<f64> {
    let text = "x".repeat(64);
    let mut costs = Vec::new();
    for _ in 0..ROUNDS {
        costs.push(measure::alone(running, Ask::Echo(&text)).await?[CPU]);
    }
    Ok(median(&mut costs))
}
