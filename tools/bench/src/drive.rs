//! Load for a server that somebody else has started.

use crate::Outcome;
use crate::client::{Ask, Client, Wire};
use futures_util::future::try_join_all;
use std::time::Instant;

/// What to ask of which server.
#[derive(clap::Args)]
pub(crate) struct Drive {
    /// Port on this machine.
    port: u16,
    /// Path of the WebSocket.
    #[arg(long, default_value = "/ws")]
    path: String,
    /// What it speaks.
    #[arg(long, value_enum, default_value = "v2")]
    wire: Wire,
    /// Clients at once.
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// Calls of each that run at once.
    #[arg(long, default_value_t = 32)]
    flight: usize,
    /// Calls of each in all.
    #[arg(long, default_value_t = 10_000)]
    calls: usize,
    /// What is called.
    #[arg(long, value_enum, default_value = "echo")]
    what: What,
    /// Bytes of each.
    #[arg(long, default_value_t = 64)]
    bytes: usize,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    Echo,
    Down,
    Up,
    Publish,
}

/// Loads the server and says how long that took.
pub(crate) fn run(drive: &Drive) -> Outcome {
    let text = "x".repeat(drive.bytes);
    let ask = match drive.what {
        What::Echo => Ask::Echo(&text),
        What::Down => Ask::Down(drive.bytes),
        What::Up => Ask::Up(text.as_bytes()),
        What::Publish => Ask::Publish(drive.bytes),
    };
    smol::block_on(async {
        let mut clients = Vec::new();
        for _ in 0..drive.clients {
            clients.push(Client::connect(drive.wire, drive.port, &drive.path).await?);
        }
        let start = Instant::now();
        try_join_all(clients.iter_mut().map(|client| one(client, drive, ask))).await?;
        let calls = (drive.calls.div_ceil(drive.flight) * drive.flight * drive.clients) as f64;
        let seconds = start.elapsed().as_secs_f64();
        println!("{calls} calls in {seconds:.2} s, {:.0} per s", calls / seconds);
        Ok(())
    })
}

async fn one(client: &mut Client, drive: &Drive, ask: Ask<'_>) -> Outcome {
    for _ in 0..drive.calls.div_ceil(drive.flight) {
        for _ in 0..drive.flight {
            client.ask(ask).await?;
        }
        client.flush().await?;
        for _ in 0..drive.flight {
            client.answer().await?;
        }
    }
    Ok(())
}
