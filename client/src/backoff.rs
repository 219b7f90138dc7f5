//! Pauses between retries: exponential, with jitter from the client's seeded generator.

use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::error::Error;
use crate::limits::{BACKOFF_MAX, BACKOFF_MIN, LEADER_PAUSE_MAX};

/// The client's only source of randomness.
#[derive(Debug)]
pub(crate) struct Random(Mutex<SmallRng>);

impl Random {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(Mutex::new(
            seed.map_or_else(SmallRng::from_os_rng, SmallRng::seed_from_u64),
        ))
    }

    /// A number from 0 to `end`, exclusive; 0 when `end` is 0.
    pub(crate) fn below(&self, end: u32) -> u32 {
        if end == 0 {
            return 0;
        }
        self.0.lock().random_range(0..end)
    }

    /// An id that nobody else makes up: 128 bits, as text.
    pub(crate) fn id(&self) -> String {
        let mut random = self.0.lock();
        format!("{:032x}", random.random::<u128>())
    }

    /// The pause before the retry that follows `failures` failures in a row: doubles from
    /// [`BACKOFF_MIN`] to [`BACKOFF_MAX`], times 0.5 to 1.0.
    pub(crate) fn backoff(&self, failures: u32) -> Duration {
        self.backoff_up_to(BACKOFF_MAX, failures)
    }

    /// The same for a request to a partition's leader that failed like this: while the leader is looked
    /// for, a pause grows to [`LEADER_PAUSE_MAX`] only, so that a new one is found soon.
    pub(crate) fn backoff_after(&self, error: &Error, failures: u32) -> Duration {
        let longest = if error.wants_leader() {
            LEADER_PAUSE_MAX
        } else {
            BACKOFF_MAX
        };
        self.backoff_up_to(longest, failures)
    }

    fn backoff_up_to(&self, longest: Duration, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let full = BACKOFF_MIN.saturating_mul(1 << doublings).min(longest);
        full.mul_f64(self.0.lock().random_range(0.5..1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_repeat_with_their_seed() {
        let pauses = |seed| -> Vec<_> {
            let random = Random::new(Some(seed));
            (1..40).map(|failures| random.backoff(failures)).collect()
        };

        let first = pauses(7);

        assert_eq!(first, pauses(7));
        assert!(first[0] <= BACKOFF_MIN);
        assert!(first.iter().all(|pause| *pause <= BACKOFF_MAX));
        assert!(first[38] >= BACKOFF_MAX / 2);
    }

    #[test]
    fn pauses_stay_short_only_while_a_leader_is_looked_for() {
        let random = Random::new(Some(7));
        let lost = Error::ConnectionLost {
            endpoint: "one:1".to_owned(),
            reason: "reset".to_owned(),
        };
        let full = Error::from(raftmq_proto::v1::Error::unknown_topic("t"));

        assert!(random.backoff_after(&lost, 30) <= LEADER_PAUSE_MAX);
        assert!(random.backoff_after(&full, 30) >= BACKOFF_MAX / 2);
    }
}
