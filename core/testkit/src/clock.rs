//! Time that stands still until a test moves it.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wslink_core::Instant;

/// The clock of a [`Pair`](crate::Pair), held by hand: it moves when
/// [`Pair::advance`](crate::Pair::advance) says so.
///
/// Clones tell the same time. A service under test that waits is given one:
///
/// ```
/// use core::time::Duration;
/// use wslink_testkit::Clock;
///
/// let clock = Clock::new();
/// let wait = clock.sleep(Duration::from_secs(3));
/// assert_eq!(clock.next_wake().map(|at| at.as_millis()), Some(3000));
/// # drop(wait);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    now: Instant,
    sleepers: Vec<(u64, Instant)>,
    next: u64,
}

impl Clock {
    /// A clock at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.state().now
    }

    /// Ready when the clock shows `duration` more than now.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        let mut state = self.state();
        let (id, at) = (state.next, state.now + duration);
        state.next += 1;
        state.sleepers.push((id, at));
        Sleep { clock: self.clone(), id, at }
    }

    /// When the next one that sleeps wants to be woken.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        self.state().sleepers.iter().map(|(_, at)| *at).min()
    }

    pub(crate) fn set(&self, now: Instant) {
        let mut state = self.state();
        assert!(state.now <= now, "time does not go backwards");
        state.now = now;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Made by [`Clock::sleep`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep {
    clock: Clock,
    id: u64,
    at: Instant,
}

impl Sleep {
    fn forget(&self) {
        self.clock.state().sleepers.retain(|(id, _)| *id != self.id);
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        // Nobody is woken: a pair polls all that runs whenever anything has moved.
        if self.clock.now() < self.at {
            return Poll::Pending;
        }
        self.forget();
        Poll::Ready(())
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}
