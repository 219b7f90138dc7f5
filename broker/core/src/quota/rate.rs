//! How much was used lately: Kafka's windowed rate (`SampledStat`, `quota.window.num` = 11 and
//! `quota.window.size.seconds` = 1). Knows no limit.

use std::collections::VecDeque;

/// Length of a sample.
const SAMPLE_MS: u64 = 1_000;
/// Samples that are kept: the running one and ten that are over.
const SAMPLES_COUNT: usize = 11;
/// The shortest time over which a rate is told, so that the first record is no burst. What a client may
/// use at once after a pause is its limit for this time.
pub(crate) const WINDOW_MS_MIN: u64 = (SAMPLES_COUNT as u64 - 1) * SAMPLE_MS;

#[derive(Debug, Clone, Copy)]
struct Sample {
    start_ms: u64,
    total: u64,
}

/// Amounts of the last eleven seconds. Takes less than 300 bytes.
#[derive(Debug, Clone, Default)]
pub struct Rate {
    /// Oldest first.
    samples: VecDeque<Sample>,
}

impl Rate {
    /// Adds an amount. A clock that went back counts as one that stood still.
    pub fn record(&mut self, amount: u64, now_ms: u64) {
        self.forget(now_ms);
        match self.samples.back_mut() {
            Some(newest) if now_ms.saturating_sub(newest.start_ms) < SAMPLE_MS => {
                newest.total = newest.total.saturating_add(amount);
            }
            Some(_) | None => {
                if self.samples.len() == SAMPLES_COUNT {
                    self.samples.pop_front();
                }
                self.samples.push_back(Sample {
                    start_ms: now_ms,
                    total: amount,
                });
            }
        }
    }

    /// Takes back what was recorded and then not used; no more than there is.
    pub fn take_back(&mut self, amount: u64) {
        let mut rest = amount;
        for sample in self.samples.iter_mut().rev() {
            let taken = rest.min(sample.total);
            sample.total -= taken;
            rest -= taken;
        }
    }

    /// The amount that is remembered, and over how many milliseconds: at least ten seconds.
    pub fn measure(&mut self, now_ms: u64) -> (u64, u64) {
        self.forget(now_ms);
        let add = |sum: u64, sample: &Sample| sum.saturating_add(sample.total);
        let total = self.samples.iter().fold(0, add);
        let oldest_ms = self
            .samples
            .front()
            .map_or(now_ms, |oldest| oldest.start_ms);
        (total, now_ms.saturating_sub(oldest_ms).max(WINDOW_MS_MIN))
    }

    fn forget(&mut self, now_ms: u64) {
        let is_old = |sample: &Sample| {
            now_ms.saturating_sub(sample.start_ms) >= SAMPLE_MS * SAMPLES_COUNT as u64
        };
        while self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
    }
}
