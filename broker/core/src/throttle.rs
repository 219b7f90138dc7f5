//! A token bucket: whether bytes may be sent now, and else when to ask again.
//!
//! Pure: the time comes in with every question, on any clock that does not go back. Does not know what is
//! sent, nor to whom. A piece that is larger than what the bucket holds is let through and paid for
//! afterwards, so that the rate holds for pieces of any size.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::planted::{Bug, is_planted};

/// The bucket holds this part of a second: what may be sent at once after a pause.
pub const BURSTS_PER_SECOND: u64 = 4;
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Tells whether what a leader sends to a member is held to the limit: only to those that do not vote, who
/// are catching up. Commits wait for voters, and nothing that clients wait for is ever slowed.
///
/// `voter_sets` is the membership in force, with two sets while it changes; none = it is not known yet, and
/// nobody is slowed.
#[must_use]
pub fn concerns<Id: Ord>(voter_sets: &[BTreeSet<Id>], member: &Id) -> bool {
    let votes = voter_sets.iter().any(|voters| voters.contains(member));
    !voter_sets.is_empty() && (!votes || is_planted(Bug::VotersThrottled))
}

/// See the module. Begins without a limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenBucket {
    /// Bytes per second; `None` = no limit.
    rate: Option<NonZeroU64>,
    /// What may be sent; below zero after a piece that was larger.
    balance_bytes: i64,
    /// Up to when the balance is filled.
    filled_to: Duration,
}

impl TokenBucket {
    /// The limit, bytes per second; `None` = none.
    #[must_use]
    pub const fn rate(&self) -> Option<NonZeroU64> {
        self.rate
    }

    /// Sets the limit, bytes per second; `None` lets everything through. What was sent before is paid for
    /// at the new rate. Repetition changes nothing.
    pub fn set_rate(&mut self, rate: Option<NonZeroU64>, now: Duration) {
        if self.rate == rate {
            return;
        }
        self.fill(now);
        let was_unlimited = self.rate.is_none();
        self.rate = rate;
        let burst = self.burst_bytes();
        self.balance_bytes = if was_unlimited {
            burst
        } else {
            self.balance_bytes.min(burst)
        };
        self.filled_to = self.filled_to.max(now);
    }

    /// Takes `bytes` from the bucket, and lets them through, as long as it is not empty.
    ///
    /// # Errors
    /// The time after which it is worth asking again; nothing was taken. Others who ask may be quicker then.
    pub fn take(&mut self, bytes: u64, now: Duration) -> Result<(), Duration> {
        let Some(rate) = self.rate else {
            return Ok(());
        };
        self.fill(now);
        if self.balance_bytes <= 0 {
            let missing = u128::from(self.balance_bytes.unsigned_abs()) + 1;
            let nanos = (missing * NANOS_PER_SECOND).div_ceil(u128::from(rate.get()));
            return Err(Duration::from_nanos(
                u64::try_from(nanos).unwrap_or(u64::MAX),
            ));
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.balance_bytes = self.balance_bytes.saturating_sub(bytes);
        if is_planted(Bug::ThrottleForgetsDebt) {
            self.balance_bytes = self.balance_bytes.max(0);
        }
        Ok(())
    }

    fn burst_bytes(&self) -> i64 {
        let rate = self.rate.map_or(0, NonZeroU64::get);
        i64::try_from((rate / BURSTS_PER_SECOND).max(1)).unwrap_or(i64::MAX)
    }

    fn fill(&mut self, now: Duration) {
        let (Some(rate), Some(passed)) = (self.rate, now.checked_sub(self.filled_to)) else {
            return;
        };
        let rate = u128::from(rate.get());
        let earned = passed.as_nanos().saturating_mul(rate) / NANOS_PER_SECOND;
        let balance =
            i128::from(self.balance_bytes) + i128::try_from(earned).unwrap_or(i128::MAX / 2);
        let burst = self.burst_bytes();
        if balance >= i128::from(burst) {
            self.balance_bytes = burst;
            self.filled_to = now;
        } else {
            self.balance_bytes = i64::try_from(balance).unwrap_or(burst);
            // What is left of a byte is earned with the next one.
            let nanos = (earned * NANOS_PER_SECOND).div_ceil(rate);
            self.filled_to += Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        }
    }
}
