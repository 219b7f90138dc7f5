//! Compares the brokers' wall clocks: whose is off must expire nothing by time (docs/guarantees.md).
//!
//! Fed with what heartbeats say; does not know how long they travelled, which is far less than
//! [`CLOCK_OFFSET_MS_MAX`]. Reads no clock itself.

use std::collections::BTreeMap;

use crate::ids::BrokerId;
use crate::planted::{self, Bug};

/// Furthest from the median of all brokers, in milliseconds, that a clock may be for retention by
/// time to trust it.
pub const CLOCK_OFFSET_MS_MAX: i64 = 10_000;

/// Whether retention by time may trust a clock with this offset. One that is not known yet may be
/// anything.
#[must_use]
pub fn is_trusted(offset_ms: Option<i64>) -> bool {
    let is_near = |offset_ms: i64| offset_ms.unsigned_abs() <= CLOCK_OFFSET_MS_MAX.unsigned_abs();
    planted::is_planted(Bug::ClockTrusted) || offset_ms.is_some_and(is_near)
}

/// The wall clocks of the brokers that send heartbeats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clocks {
    /// What each wall clock is ahead of the observer's monotonic one, in milliseconds.
    leads: BTreeMap<BrokerId, i64>,
}

impl Clocks {
    /// Notes that the wall clock of `broker` showed `wall_ms` when the observer's monotonic clock
    /// showed `now_ms`. Repetition replaces.
    pub fn observe(&mut self, broker: BrokerId, wall_ms: i64, now_ms: u64) {
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        self.leads.insert(broker, wall_ms.saturating_sub(now_ms));
    }

    /// Forgets every broker that is not `kept`.
    pub fn retain(&mut self, kept: impl Fn(BrokerId) -> bool) {
        self.leads.retain(|broker, _| kept(*broker));
    }

    /// How far, in milliseconds, the clock of `broker` is ahead of the median of all; `None` when it
    /// was never observed, or no majority of `brokers_count` brokers was: a clock that is compared
    /// with itself alone is always right. The median of an even number is the middle between the two
    /// in the middle, so that of two brokers that differ neither is trusted more.
    #[must_use]
    pub fn offset_ms(&self, broker: BrokerId, brokers_count: usize) -> Option<i64> {
        let lead = self.leads.get(&broker)?;
        if self.leads.len() * 2 <= brokers_count {
            return None;
        }
        let mut leads: Vec<i64> = self.leads.values().copied().collect();
        leads.sort_unstable();
        let upper = *leads.get(leads.len() / 2)?;
        let lower = *leads.get((leads.len() - 1) / 2)?;
        let median = lower.saturating_add(upper.saturating_sub(lower) / 2);
        Some(lead.saturating_sub(median))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn clocks(walls_ms: &[(u32, i64)]) -> Clocks {
        let mut clocks = Clocks::default();
        for (broker, wall_ms) in walls_ms {
            clocks.observe(BrokerId(*broker), *wall_ms, 1_000);
        }
        clocks
    }

    #[test]
    fn a_clock_that_jumps_is_off_and_the_others_are_not() {
        let mut clocks = clocks(&[(1, 50_000), (2, 50_001), (3, 50_002)]);

        clocks.observe(BrokerId(2), 50_001 + HOUR_MS, 1_000);

        assert_eq!(clocks.offset_ms(BrokerId(1), 3), Some(-2));
        assert_eq!(clocks.offset_ms(BrokerId(2), 3), Some(HOUR_MS - 1));
        assert_eq!(clocks.offset_ms(BrokerId(3), 3), Some(0));
    }

    #[test]
    fn before_a_majority_was_heard_nobody_is_right() {
        let mut clocks = clocks(&[(1, HOUR_MS)]);
        assert_eq!(clocks.offset_ms(BrokerId(1), 3), None);
        assert_eq!(clocks.offset_ms(BrokerId(1), 2), None);
        assert_eq!(clocks.offset_ms(BrokerId(1), 1), Some(0));

        clocks.observe(BrokerId(2), 0, 1_000);

        assert_eq!(clocks.offset_ms(BrokerId(1), 3), Some(HOUR_MS / 2));
    }

    #[test]
    fn time_that_passes_between_two_heartbeats_is_no_offset() {
        let mut clocks = clocks(&[(1, 50_000), (2, 50_000)]);

        clocks.observe(BrokerId(1), 80_000, 31_000);

        assert_eq!(clocks.offset_ms(BrokerId(1), 3), Some(0));
        assert_eq!(clocks.offset_ms(BrokerId(2), 3), Some(0));
    }

    #[test]
    fn of_two_brokers_that_differ_neither_is_trusted() {
        let clocks = clocks(&[(1, 0), (2, HOUR_MS)]);

        for broker in [BrokerId(1), BrokerId(2)] {
            let offset_ms = clocks.offset_ms(broker, 2).unwrap();
            assert_eq!(offset_ms.abs(), HOUR_MS / 2);
            assert!(offset_ms.abs() > CLOCK_OFFSET_MS_MAX);
        }
    }

    #[test]
    fn who_is_gone_or_unknown_has_no_offset_and_does_not_count() {
        let mut clocks = clocks(&[(1, 0), (2, 7), (3, HOUR_MS)]);
        assert_eq!(clocks.offset_ms(BrokerId(9), 3), None);

        clocks.retain(|broker| broker != BrokerId(3));

        assert_eq!(clocks.offset_ms(BrokerId(3), 3), None);
        assert_eq!(clocks.offset_ms(BrokerId(1), 3), Some(-3));
    }

    #[test]
    fn only_a_clock_that_is_known_to_be_near_is_trusted() {
        assert!(is_trusted(Some(CLOCK_OFFSET_MS_MAX)));
        assert!(is_trusted(Some(-CLOCK_OFFSET_MS_MAX)));
        assert!(!is_trusted(Some(CLOCK_OFFSET_MS_MAX + 1)));
        assert!(!is_trusted(Some(i64::MIN)));
        assert!(!is_trusted(None));
    }

    #[test]
    fn absurd_clocks_do_not_overflow() {
        let mut clocks = clocks(&[(1, i64::MIN), (2, i64::MAX)]);
        clocks.observe(BrokerId(3), i64::MAX, u64::MAX);

        for broker in 1..=3 {
            assert!(clocks.offset_ms(BrokerId(broker), 3).is_some());
        }
    }
}
