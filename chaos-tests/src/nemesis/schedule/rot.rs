//! When and where disks are damaged.
//!
//! Does not know whether a disk may be damaged when the time comes: the run looks at the others first.

use std::ops::RangeInclusive;

use rand::Rng;

use super::Timeline;
use crate::nemesis::{Action, Rot};

/// Entries that are damaged at once.
const ROTTEN_ENTRIES: RangeInclusive<u32> = 1..=6;

impl Timeline<'_> {
    /// Under a running broker, or while it is down.
    pub(super) fn bit_rot(&mut self, begin: u32, end: u32) {
        let broker = self.broker();
        let rot = Rot {
            entries_count: self.rng.random_range(ROTTEN_ENTRIES),
            is_at_the_end: self.rng.random_bool(0.5),
            rng_seed: self.rng.random(),
        };
        let is_stopped = self.rng.random_bool(0.5);
        let action = Action::Rot {
            broker,
            rot,
            is_stopped,
        };
        self.push(begin, action);
        if is_stopped {
            self.push(end, Action::Restart { broker });
        }
    }
}
