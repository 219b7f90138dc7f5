//! How much room a broker's disk has, and who takes records because of that.
//!
//! Below the reserve a broker takes no more records as a leader; below half of it, not as a follower
//! either. What is left keeps elections, metadata, deletions and consumption alive. Pure: free bytes
//! come in; measuring them is the store's, telling the others the heartbeat's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::BrokerId;
use crate::planted::{self, Bug};

/// Room on a disk. Ordered: the later, the less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// Enough.
    #[default]
    Ample,
    /// Less than the reserve: the broker takes no records as a leader.
    Low,
    /// Less than half of the reserve: it takes none as a follower either.
    Scarce,
}

impl Space {
    /// Every level.
    pub const ALL: [Self; 3] = [Self::Ample, Self::Low, Self::Scarce];
}

/// Brokers that have little room; those that are not named have enough.
pub type SpaceOfBrokers = BTreeMap<BrokerId, Space>;

/// Watches the room of one disk. A level ends only a quarter above where it begins, so that what a
/// refusal itself frees does not end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceWatch {
    reserve_bytes: u64,
    space: Space,
}

impl SpaceWatch {
    /// A watch that has seen nothing yet and takes the disk for ample.
    #[must_use]
    pub const fn new(reserve_bytes: u64) -> Self {
        Self {
            reserve_bytes,
            space: Space::Ample,
        }
    }

    /// The level now.
    #[must_use]
    pub const fn space(&self) -> Space {
        self.space
    }

    /// The level that so many free bytes would make, coming from the level now.
    #[must_use]
    pub fn level_at(&self, free_bytes: u64) -> Space {
        let (low, scarce) = (self.reserve_bytes, self.reserve_bytes / 2);
        let begins = level(free_bytes, low, scarce);
        if begins > self.space || planted::is_planted(Bug::FullDiskFlaps) {
            return begins;
        }
        let ends = level(free_bytes, with_quarter(low), with_quarter(scarce));
        ends.min(self.space)
    }

    /// Takes note of the bytes that are free; `None` where nothing limits them. Returns the level now.
    pub fn observe(&mut self, free_bytes: Option<u64>) -> Space {
        let before = self.space;
        self.space = self.level_at(free_bytes.unwrap_or(u64::MAX));
        if before == Space::Ample && self.space > before {
            tracing::trace!(target: "raftmq::mark", name = "disk_ran_low");
        }
        if before > Space::Ample && self.space == Space::Ample {
            tracing::trace!(target: "raftmq::mark", name = "disk_has_room_again");
        }
        self.space
    }
}

const fn level(free_bytes: u64, low: u64, scarce: u64) -> Space {
    if free_bytes < scarce {
        Space::Scarce
    } else if free_bytes < low {
        Space::Low
    } else {
        Space::Ample
    }
}

const fn with_quarter(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 4)
}

/// Tells whether a leader may take records: its own disk has room, and so have those of a majority of
/// the replicas, because what a minority has taken can never be committed.
#[must_use]
pub fn may_take_records(me: BrokerId, replicas: &[BrokerId], spaces: &SpaceOfBrokers) -> bool {
    if planted::is_planted(Bug::FullDiskIgnored) {
        return true;
    }
    let has_room = |id: &&BrokerId| spaces.get(*id).copied().unwrap_or_default() == Space::Ample;
    let roomy_count = replicas.iter().filter(has_room).count();
    has_room(&&me) && roomy_count > replicas.len() / 2
}
