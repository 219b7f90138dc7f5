//! Loads of partitions on their way from the leaders, which measure them, to the controller, which plans
//! with them: only what changed much, a bounded part at a time.
//!
//! Pure: counters and times come in. Nothing of it is replicated; a new controller is told anew. Does not
//! know heartbeats, nor what a plan does with a load.

use std::collections::{BTreeMap, BTreeSet};

use super::{Loads, PartitionLoad};
use crate::cluster::image::Image;
use crate::ids::GroupNumber;
use crate::planted::{Bug, is_planted};

/// A partition that takes less than this counts as idle, bytes per second: it is not worth a move.
pub const IDLE_BYTES_PER_S: u64 = 64 * 1024;
/// Change of a load that is news, in percent of what was said last.
pub const NEWS_PERCENT: u64 = 20;
/// Smallest change of a size that is news, bytes.
pub const NEWS_SIZE_BYTES: u64 = 1024 * 1024;
/// Time after which a load is said again although it has not changed, ms.
pub const REPEATED_AFTER_MS: u64 = 300_000;
/// Time after which a load that was not said again counts for nothing, ms.
pub const FORGOTTEN_AFTER_MS: u64 = 3 * REPEATED_AFTER_MS;

/// A leader's counters of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The partition's group.
    pub group: GroupNumber,
    /// Everything that producers have ever written to it, bytes.
    pub written_bytes: u64,
    /// Its retained log, bytes.
    pub size_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Metered {
    written_bytes: u64,
    load: PartitionLoad,
    /// What was said last, and when; `None` = nothing yet, which counts as idle and empty.
    said: Option<(PartitionLoad, u64)>,
}

/// Measures the partitions that one broker leads, and finds what is news.
#[derive(Debug, Clone, Default)]
pub struct LoadMeter {
    metered: BTreeMap<GroupNumber, Metered>,
    news: BTreeSet<GroupNumber>,
    measured_at_ms: u64,
}

impl LoadMeter {
    /// Takes the counters of every partition that is led now. A rate is the mean of the one before and the
    /// one since; a partition that is new here has none yet.
    pub fn measure(&mut self, counted: impl IntoIterator<Item = Counted>, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.measured_at_ms);
        self.measured_at_ms = now_ms;
        let mut before = std::mem::take(&mut self.metered);
        for counted in counted {
            let known = before.remove(&counted.group);
            let rate = known.map_or(0, |known| known.rate_until(&counted, passed_ms));
            let load = PartitionLoad {
                in_bytes_per_s: rate,
                size_bytes: counted.size_bytes,
            };
            let metered = Metered {
                written_bytes: counted.written_bytes,
                load,
                said: known.and_then(|known| known.said),
            };
            if metered.is_news(now_ms) {
                self.news.insert(counted.group);
            }
            self.metered.insert(counted.group, metered);
        }
        // Whoever leads the others now says so.
        let Self { metered, news, .. } = self;
        news.retain(|group| metered.contains_key(group));
    }

    /// Takes what is to be said now, `count_max` partitions at most; the rest comes next time.
    #[must_use]
    pub fn take_news(
        &mut self,
        count_max: usize,
        now_ms: u64,
    ) -> Vec<(GroupNumber, PartitionLoad)> {
        let mut taken = Vec::new();
        while taken.len() < count_max
            && let Some(group) = self.news.pop_first()
        {
            if let Some(metered) = self.metered.get_mut(&group) {
                let load = metered.shown();
                metered.said = Some((load, now_ms));
                taken.push((group, load));
            }
        }
        taken
    }

    /// Whoever was told before knows nothing any more: everything is said again.
    pub fn begin_again(&mut self) {
        for (group, metered) in &mut self.metered {
            metered.said = None;
            if metered.shown() != PartitionLoad::default() {
                self.news.insert(*group);
            }
        }
    }
}

impl Metered {
    fn rate_until(&self, counted: &Counted, passed_ms: u64) -> u64 {
        let written = counted.written_bytes.saturating_sub(self.written_bytes);
        let since = u128::from(written) * 1_000 / u128::from(passed_ms.max(1));
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.load.in_bytes_per_s.midpoint(since)
    }

    /// The load as it is said: idle below the line.
    fn shown(&self) -> PartitionLoad {
        let PartitionLoad {
            in_bytes_per_s,
            size_bytes,
        } = self.load;
        let is_busy = in_bytes_per_s >= IDLE_BYTES_PER_S;
        PartitionLoad {
            in_bytes_per_s: if is_busy { in_bytes_per_s } else { 0 },
            size_bytes,
        }
    }

    fn is_news(&self, now_ms: u64) -> bool {
        let (said, said_at_ms) = self
            .said
            .unwrap_or_else(|| (PartitionLoad::default(), now_ms));
        let shown = self.shown();
        let differs = |now: u64, then: u64, least: u64| {
            let change = now.abs_diff(then);
            change > least && change > then / 100 * NEWS_PERCENT
        };
        let is_old = now_ms.saturating_sub(said_at_ms) >= REPEATED_AFTER_MS;
        let is_forgotten = shown.in_bytes_per_s == 0 && is_planted(Bug::IdleLoadsNotSaid);
        (differs(shown.in_bytes_per_s, said.in_bytes_per_s, 0) && !is_forgotten)
            || differs(shown.size_bytes, said.size_bytes, NEWS_SIZE_BYTES)
            || (is_old && shown != PartitionLoad::default())
    }
}

/// What the controller was told.
#[derive(Debug, Clone, Default)]
pub struct LoadBook {
    told: BTreeMap<GroupNumber, (PartitionLoad, u64)>,
}

impl LoadBook {
    /// Takes note of loads; those of partitions that the image does not show are left out.
    pub fn hear(
        &mut self,
        image: &Image,
        loads: impl IntoIterator<Item = (GroupNumber, PartitionLoad)>,
        now_ms: u64,
    ) {
        for (group, load) in loads {
            if image.partition(group).is_some() {
                self.told.insert(group, (load, now_ms));
            }
        }
    }

    /// Gives what is known and not too old, of the partitions that the image shows; forgets the rest.
    #[must_use]
    pub fn loads(&mut self, image: &Image, now_ms: u64) -> Loads {
        let is_kept = |group: &GroupNumber, told_at_ms: u64| {
            let is_fresh = now_ms.saturating_sub(told_at_ms) < FORGOTTEN_AFTER_MS;
            image.partition(*group).is_some() && (is_fresh || is_planted(Bug::OldLoadsCount))
        };
        self.told
            .retain(|group, (_, told_at_ms)| is_kept(group, *told_at_ms));
        let told = self.told.iter();
        told.map(|(group, (load, _))| (*group, *load)).collect()
    }
}
