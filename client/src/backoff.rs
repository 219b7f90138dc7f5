//! Pauses between retries: exponential, with jitter from the client's seeded generator.

use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::limits::{BACKOFF_MAX, BACKOFF_MIN};

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

    /// The pause before the retry that follows `failures` failures in a row: doubles from
    /// [`BACKOFF_MIN`] to [`BACKOFF_MAX`], times 0.5 to 1.0.
    pub(crate) fn backoff(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let full = BACKOFF_MIN.saturating_mul(1 << doublings).min(BACKOFF_MAX);
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
}
