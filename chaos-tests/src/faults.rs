//! The classes of faults, and the count of what each really did.
//!
//! Owns their names. When faults happen stands in `nemesis`; how they are done, in the cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// A kind of fault that a seed turns on or off as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultClass {
    /// One broker stops; its unsynced writes vanish or tear; it starts again later.
    Crash,
    /// All brokers lose power at the same instant.
    PowerLoss,
    /// The hosts fall into two halves that do not hear each other.
    Partition,
    /// One host does not reach another one, the way back works.
    OneWay,
    /// A link delivers late.
    SlowLink,
    /// Syncs of one broker take long.
    SlowDisk,
    /// Some brokers do not hear some others, but one broker hears all.
    Bridge,
    /// A link breaks and heals many times a second.
    Flapping,
    /// Syncs of one broker take longer than a session.
    HungDisk,
    /// One broker's wall clock jumps, up to a day either way.
    ClockJump,
    /// An operator moves a partition to other brokers.
    Reassignment,
    /// A broker is asked to stop, which has its leaderships moved first; it starts again later, in
    /// the middle of that if it took too long.
    Leave,
    /// The disk of one broker, or of all, has little room left for a while.
    DiskFull,
    /// Bits flip in what one broker has stored and acknowledged, while it runs or while it is down.
    /// No other broker's disk is damaged before that one has fetched everything again.
    BitRot,
    /// One broker stands still: nothing that was sent to it is read and nothing of its own is sent, until
    /// it goes on. Its timers run, because turmoil cannot hold those of a host.
    Pause,
    /// Records are deleted and compacted away, of two more topics that the workload writes to.
    Cleanup,
    /// No fault: clients that speak AMQP use queues, and ack, return, reject and die as they like.
    Amqp,
    /// No fault: the same with queues that are purged, are full, or whose messages wait, have priorities or
    /// expire one by one.
    AmqpLimits,
}

impl FaultClass {
    /// Every class.
    pub const ALL: [Self; 18] = [
        Self::Crash,
        Self::PowerLoss,
        Self::Partition,
        Self::OneWay,
        Self::SlowLink,
        Self::SlowDisk,
        Self::Bridge,
        Self::Flapping,
        Self::HungDisk,
        Self::ClockJump,
        Self::Reassignment,
        Self::Leave,
        Self::DiskFull,
        Self::BitRot,
        Self::Pause,
        Self::Cleanup,
        Self::Amqp,
        Self::AmqpLimits,
    ];

    /// The names of all, separated by commas.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// The name on the command line and in ledgers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::PowerLoss => "power-loss",
            Self::Partition => "partition",
            Self::OneWay => "one-way",
            Self::SlowLink => "slow-link",
            Self::SlowDisk => "slow-disk",
            Self::Bridge => "bridge",
            Self::Flapping => "flapping",
            Self::HungDisk => "hung-disk",
            Self::ClockJump => "clock-jump",
            Self::Reassignment => "reassignment",
            Self::Leave => "leave",
            Self::DiskFull => "disk-full",
            Self::BitRot => "bit-rot",
            Self::Pause => "pause",
            Self::Cleanup => "cleanup",
            Self::Amqp => "amqp",
            Self::AmqpLimits => "amqp-limits",
        }
    }
}

impl fmt::Display for FaultClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no fault class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown fault class {0:?}, expected one of {names}", names = FaultClass::names())]
pub struct UnknownFaultClass(String);

impl FromStr for FaultClass {
    type Err = UnknownFaultClass;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|class| class.name() == text)
            .ok_or_else(|| UnknownFaultClass(text.to_owned()))
    }
}

/// Counts how often each class took effect: a host stopped, a segment dropped, a sync delayed.
/// A fault that was scheduled and touched nothing does not count.
#[derive(Debug, Clone, Default)]
pub struct Effects {
    counts: Arc<Mutex<BTreeMap<FaultClass, u64>>>,
}

impl Effects {
    /// Adds `times` effects of `class`.
    pub fn add(&self, class: FaultClass, times: u64) {
        if times > 0 {
            *self.counts.lock().entry(class).or_default() += times;
        }
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<FaultClass, u64> {
        self.counts.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_found_by_its_name() {
        for class in FaultClass::ALL {
            assert_eq!(class.name().parse::<FaultClass>(), Ok(class));
        }
        assert!("fire".parse::<FaultClass>().is_err());
    }

    #[test]
    fn a_fault_without_effect_is_not_counted() {
        let effects = Effects::default();
        effects.add(FaultClass::Crash, 0);
        effects.add(FaultClass::OneWay, 2);
        effects.add(FaultClass::OneWay, 1);

        assert_eq!(effects.counts(), [(FaultClass::OneWay, 3)].into());
    }
}
