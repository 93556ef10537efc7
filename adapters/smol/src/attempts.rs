//! Hellos that were refused, and how long the next answer waits for that.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::HashMap;
use wslink_core::Instant;

/// What guessing a secret costs.
///
/// The answer to a wrong hello waits, twice as long each time, counted for each connection and for
/// each address; a right one never waits. After some wrong ones a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedHellos {
    /// How long the answer to the first one waits.
    pub delay: Duration,
    /// How long any of them waits at most.
    pub longest: Duration,
    /// How many a connection has; the last one closes it with 1008.
    pub most: u32,
    /// After how long without another one an address is forgotten.
    pub forget: Duration,
    /// How many addresses are remembered; of more, those that were quiet longest are not.
    pub addresses: usize,
}

impl Default for FailedHellos {
    /// From 100 ms to 1 s, ten for each connection; 1024 addresses are remembered
    /// for a minute.
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(100),
            longest: Duration::from_secs(1),
            most: 10,
            forget: Duration::from_secs(60),
            addresses: 1024,
        }
    }
}

impl FailedHellos {
    /// How long the answer to the `nth` one waits, counted from one.
    pub(crate) fn wait(&self, nth: u32) -> Duration {
        let factor = 1_u32.checked_shl(nth.saturating_sub(1)).unwrap_or(u32::MAX);
        self.delay.saturating_mul(factor).min(self.longest)
    }
}

/// Addresses from which wrong hellos came lately.
#[derive(Debug, Default)]
pub(crate) struct Attempts(HashMap<IpAddr, Failed>);

#[derive(Clone, Copy, Debug)]
struct Failed {
    count: u32,
    last: Instant,
}

impl Attempts {
    /// Counts one more, and tells how many there were lately.
    pub(crate) fn fail(&mut self, from: IpAddr, now: Instant, limits: &FailedHellos) -> u32 {
        let FailedHellos { forget, addresses, .. } = *limits;
        let from = network(from);
        if self.0.len() >= addresses && !self.0.contains_key(&from) {
            self.0.retain(|_, failed| failed.last + forget > now);
            if self.0.len() >= addresses
                && let Some(oldest) = self.0.iter().min_by_key(|(_, failed)| failed.last)
            {
                let oldest = *oldest.0;
                self.0.remove(&oldest);
            }
        }
        let failed = self.0.entry(from).or_insert(Failed { count: 0, last: now });
        if failed.last + forget <= now {
            failed.count = 0;
        }
        failed.count = failed.count.saturating_add(1);
        failed.last = now;
        failed.count
    }
}

/// The part of an address that one client can't choose as it likes: of IPv6 the first half.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> FailedHellos {
        FailedHellos::default()
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    #[test]
    fn each_one_waits_twice_as_long() {
        let limits = limits();
        let waits: Vec<_> = (0..8).map(|nth| limits.wait(nth).as_millis()).collect();
        assert_eq!(waits, [100, 100, 200, 400, 800, 1000, 1000, 1000]);
        assert_eq!(limits.wait(u32::MAX), limits.longest);
    }

    #[test]
    fn an_address_is_counted_until_it_is_quiet() {
        let mut attempts = Attempts::default();
        let one = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(attempts.fail(one, at(0), &limits()), 1);
        assert_eq!(attempts.fail(one, at(59), &limits()), 2);
        assert_eq!(attempts.fail(IpAddr::from([192, 0, 2, 2]), at(60), &limits()), 1);
        assert_eq!(attempts.fail("::ffff:192.0.2.1".parse().unwrap(), at(100), &limits()), 3);
        assert_eq!(attempts.fail(one, at(160), &limits()), 1);
    }

    #[test]
    fn an_address_is_a_network_in_ipv6() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.fail("2001:db8::1".parse().unwrap(), at(0), &limits()), 1);
        assert_eq!(attempts.fail("2001:db8::2:3".parse().unwrap(), at(0), &limits()), 2);
        assert_eq!(attempts.fail("2001:db8:0:1::1".parse().unwrap(), at(0), &limits()), 1);
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut attempts = Attempts::default();
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..3000 {
            attempts.fail(address(number), at(u64::from(number) / 1000), &limits());
        }
        assert_eq!(attempts.0.len(), limits().addresses);
        // The newest are known, the oldest are not.
        assert_eq!(attempts.fail(address(2999), at(3), &limits()), 2);
        assert_eq!(attempts.fail(address(0), at(3), &limits()), 1);
        attempts.fail(address(9999), at(100), &limits());
        assert_eq!(attempts.0.len(), 1);
    }
}
