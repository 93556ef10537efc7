//! One measurement of one server.

use crate::Outcome;
use crate::client::{Ask, Client, Got};
use crate::peers::Running;
use core::time::Duration;
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Instant;

/// Figures by their names, which say the unit.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

pub(crate) const P50: &str = "p50 µs";
pub(crate) const CPU: &str = "CPU µs";
pub(crate) const RATE: &str = "per s";
pub(crate) const THROUGHPUT: &str = "MB/s";
pub(crate) const LAST: &str = "last ms";

/// How long one measurement goes on.
const WHILE: Duration = Duration::from_millis(500);

/// One call after the other.
pub(crate) async fn alone(running: &Running, ask: Ask<'_>) -> Outcome<Figures> {
    let mut client = running.connect().await?;
    for _ in 0..20 {
        client.ask(ask).await?;
        client.flush().await?;
        client.answer().await?;
    }
    let mut times = Histogram::<u64>::new(3)?;
    let mut bytes = 0;
    let (start, cpu) = (Instant::now(), running.cpu()?);
    while start.elapsed() < WHILE {
        let asked = Instant::now();
        client.ask(ask).await?;
        client.flush().await?;
        bytes = client.answer().await?;
        times.record(asked.elapsed().as_nanos() as u64)?;
    }
    let cpu = running.cpu()? - cpu;
    let p50 = times.value_at_quantile(0.5) as f64 / 1e3;
    if let Ask::Up(data) = ask {
        bytes = data.len();
    }
    Ok(Figures::from([
        (P50, p50),
        (CPU, micros(cpu) / times.len() as f64),
        // Of the call in the middle: what others do on the machine is in the slow ones.
        (THROUGHPUT, bytes as f64 / p50),
    ]))
}

/// So many clients with so many calls in flight each.
pub(crate) async fn crowd(running: &Running, clients: usize, flight: usize) -> Outcome<Figures> {
    let mut all = Vec::new();
    for _ in 0..clients {
        all.push(running.connect().await?);
    }
    let text = "x".repeat(64);
    let ask = Ask::Echo(&text);
    let (start, cpu) = (Instant::now(), running.cpu()?);
    let work = all.iter_mut().map(|client| async {
        for _ in 0..flight {
            client.ask(ask).await?;
        }
        client.flush().await?;
        let mut calls = 0_usize;
        while start.elapsed() < WHILE {
            client.answer().await?;
            calls += 1;
            client.ask(ask).await?;
            // As many as have come together are answered together.
            if calls.is_multiple_of(flight) {
                client.flush().await?;
            }
        }
        client.flush().await?;
        for _ in 0..flight {
            client.answer().await?;
        }
        Outcome::Ok(calls + flight)
    });
    let calls: usize = try_join_all(work).await?.iter().sum();
    let (elapsed, cpu) = (start.elapsed(), running.cpu()? - cpu);
    Ok(Figures::from([
        (CPU, micros(cpu) / calls as f64),
        (RATE, calls as f64 / elapsed.as_secs_f64()),
    ]))
}

/// Publications of `length` bytes to `clients`, each when all have the one before, and no sooner
/// than `every` after it.
pub(crate) async fn spread(
    running: &Running,
    clients: usize,
    length: usize,
    every: Duration,
) -> Outcome<Figures> {
    let mut speaker = running.connect().await?;
    let mut all = Vec::new();
    for _ in 1..clients {
        all.push(running.connect().await?);
    }
    let mut last = Histogram::<u64>::new(3)?;
    // The first one is for warming up.
    publish(&mut speaker, &mut all, length).await?;
    let (start, cpu) = (Instant::now(), running.cpu()?);
    while start.elapsed() < 2 * WHILE {
        let asked = Instant::now();
        publish(&mut speaker, &mut all, length).await?;
        last.record(asked.elapsed().as_nanos() as u64)?;
        smol::Timer::after(every.saturating_sub(asked.elapsed())).await;
    }
    let cpu = running.cpu()? - cpu;
    let messages = last.len() as f64 * clients as f64;
    Ok(Figures::from([
        (CPU, micros(cpu) / messages),
        (LAST, last.value_at_quantile(0.5) as f64 / 1e6),
    ]))
}

/// Publishes once and waits until it has reached everybody.
async fn publish(speaker: &mut Client, all: &mut [Client], length: usize) -> Outcome {
    speaker.ask(Ask::Publish(length)).await?;
    speaker.flush().await?;
    let (mut news, mut answer) = (false, false);
    while !(news && answer) {
        match speaker.next().await? {
            Got::News(_) => news = true,
            Got::Answer(_) => answer = true,
        }
    }
    for client in all {
        while !matches!(client.next().await?, Got::News(_)) {}
    }
    Ok(())
}

/// Resident bytes of each of so many connections that said hello and do nothing.
pub(crate) async fn idle(running: &Running, clients: usize) -> Outcome<f64> {
    // What the first few bring along is not theirs alone.
    let mut all = Vec::new();
    for _ in 0..50 {
        all.push(running.connect().await?);
    }
    let before = running.resident()?;
    for _ in 0..clients {
        all.push(running.connect().await?);
    }
    smol::Timer::after(Duration::from_secs(2)).await;
    Ok((running.resident()? as f64 - before as f64) / clients as f64)
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}
