//! Seeds 0.. of the simulation; `SIMULATION_SEEDS=from..to` plays others.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use std::{env, panic, thread};

/// In each run of the tests.
const SEEDS: Range<u64> = 0..2000;

#[test]
fn every_seed_keeps_the_invariants() {
    // Shrinking breaks the invariants over and over; the smallest plan tells it in the end.
    panic::set_hook(Box::new(|_| {}));
    let seeds = wanted();
    let next = AtomicU64::new(seeds.start);
    let search = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return None;
            }
            if let Err(broken) = wslink_simulation::check(seed) {
                next.store(seeds.end, Ordering::Relaxed);
                return Some(broken);
            }
        }
    };
    let broken = thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(search)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok().flatten()).next()
    });
    _ = panic::take_hook();
    if let Some(broken) = broken {
        panic!("{broken}");
    }
}

fn wanted() -> Range<u64> {
    let Ok(text) = env::var("SIMULATION_SEEDS") else { return SEEDS };
    let number = |text: &str| text.trim().parse().expect("SIMULATION_SEEDS is `from..to`");
    let (from, to) = text.split_once("..").expect("SIMULATION_SEEDS is `from..to`");
    number(from)..number(to)
}
