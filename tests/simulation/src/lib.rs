//! Deterministic simulation: a server, clients of both dialects and the links between them, made
//! from a seed, with invariants that hold at each step.
//!
//! [`check`] draws a plan from a seed and plays it. A plan that breaks an invariant is shrunk by
//! proptest and printed with its transcript. Nothing depends on anything but the seed:
//!
//! ```
//! assert_eq!(wslink_simulation::check(7), Ok(()));
//! ```
//!
//! At each step: no call is answered twice, or with what belongs to another; publications of a
//! topic come in order and only to whom they are for; what an engine asks of its buffers stays
//! within its limits; whoever is stuck has a deadline. When everything that was due has happened:
//! each call was answered or its connection is over, each publication came or was reported as
//! missed, who is gone was noticed, and the newest value of each topic reaches everybody.

mod lab;
mod plan;
mod world;

use core::panic::AssertUnwindSafe;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::panic;

/// Plays the plan of one seed.
///
/// # Errors
/// The smallest plan found that breaks an invariant, which one, and the transcript.
pub fn check(seed: u64) -> Result<(), String> {
    let mut runner = runner(seed);
    let outcome = runner.run(&plan::plan(), |plan| {
        let played = panic::catch_unwind(AssertUnwindSafe(|| world::play(&plan)));
        let broken = match played {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(broken)) => broken,
            Err(panic) => words_of(&*panic),
        };
        Err(TestCaseError::fail(broken))
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Abort(reason)) => Err(format!("seed {seed}: {reason}")),
        Err(TestError::Fail(reason, plan)) => Err(format!("seed {seed}: {reason}\n{plan:#?}")),
    }
}

fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config =
        Config { cases: 1, max_shrink_iters: 4096, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, rng)
}

fn words_of(panic: &(dyn core::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
