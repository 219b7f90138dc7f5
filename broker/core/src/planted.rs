//! Deliberate bugs, which prove that tests and chaos checkers can fail.
//!
//! Compiled in only with the feature `planted-bugs`; chosen at run time, for the whole process.
//! Without the feature [`is_planted`] is a constant `false` and costs nothing.

#[cfg(feature = "planted-bugs")]
use std::sync::atomic::{AtomicU32, Ordering};

/// A bug that can be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Bug {
    /// A new leader has forgotten what each producer sent before.
    DedupLostOnLeaderChange = 1,
    /// A gap in a producer's sequence is accepted.
    SequenceGapAccepted = 2,
    /// An entry stamped for another term or another offset is applied.
    VoidAccepted = 4,
    /// Retention by time trusts any clock.
    ClockTrusted = 16,
    /// A broker that drains is given leaderships.
    DrainingBrokerLeads = 8,
    /// A reassignment that is redirected or cancelled forgets the brokers of the target before:
    /// they wipe replicas that may vote.
    AbandonedReplicasForgotten = 1 << 8,
    /// Placement and balancing take every broker for one in a rack of its own.
    RacksIgnored = 1 << 9,
    /// A broker that lost its disk goes on under its old id.
    WipedBrokerKeepsId = 1 << 11,
    /// A broker of the metadata group votes before it has the log.
    LearnerVotesTooEarly = 1 << 12,
    /// A voter of the metadata group is replaced although too few of the others live.
    MetadataQuorumIgnored = 1 << 13,
    /// A move of replicas counts as done while others may still vote: they wipe their replicas.
    MoveDoneTooEarly = 1 << 10,
    /// Leaders take records whatever the disks have room for.
    FullDiskIgnored = 1 << 20,
    /// A disk counts as roomy again as soon as it is back at the line where it was full.
    FullDiskFlaps = 1 << 21,
    /// A loss is accepted although a majority of the replicas is whole.
    LossAcceptedNeedlessly = 1 << 22,
    /// Compaction drops the last record of a key, too.
    CompactionDropsNewest = 1 << 23,
    /// A tombstone goes with the first cleaning pass that sees it.
    TombstonesDroppedAtOnce = 1 << 24,
    /// What a closed channel had not settled is gone.
    QueueRequeueLost = 1 << 26,
    /// Settling a delivery twice settles the next one.
    QueueDoubleAckSettlesNext = 1 << 27,
    /// A message that is returned goes behind the others.
    QueueRequeueLosesOrder = 1 << 28,
    /// A snapshot of a queue does not contain the ids it has seen.
    QueueDedupForgotten = 1 << 29,
    /// A repeated delivery looks like the first one.
    QueueRedeliveredMissing = 1 << 30,
    /// A message that dies is not remembered until it is published.
    QueueDeadLetterLost = 1 << 31,
}

impl Bug {
    /// Every bug of this crate, with the name by which a command line chooses it.
    pub const ALL: [(&'static str, Self); 22] = [
        ("dedup-lost-on-leader-change", Self::DedupLostOnLeaderChange),
        ("sequence-gap-accepted", Self::SequenceGapAccepted),
        ("void-accepted", Self::VoidAccepted),
        ("clock-trusted", Self::ClockTrusted),
        ("draining-broker-leads", Self::DrainingBrokerLeads),
        (
            "abandoned-replicas-forgotten",
            Self::AbandonedReplicasForgotten,
        ),
        ("racks-ignored", Self::RacksIgnored),
        ("move-done-too-early", Self::MoveDoneTooEarly),
        ("wiped-broker-keeps-id", Self::WipedBrokerKeepsId),
        ("learner-votes-too-early", Self::LearnerVotesTooEarly),
        ("metadata-quorum-ignored", Self::MetadataQuorumIgnored),
        ("full-disk-ignored", Self::FullDiskIgnored),
        ("full-disk-flaps", Self::FullDiskFlaps),
        ("loss-accepted-needlessly", Self::LossAcceptedNeedlessly),
        ("compaction-drops-newest", Self::CompactionDropsNewest),
        ("tombstones-dropped-at-once", Self::TombstonesDroppedAtOnce),
        ("queue-requeue-lost", Self::QueueRequeueLost),
        (
            "queue-double-ack-settles-next",
            Self::QueueDoubleAckSettlesNext,
        ),
        ("queue-requeue-loses-order", Self::QueueRequeueLosesOrder),
        ("queue-dedup-forgotten", Self::QueueDedupForgotten),
        ("queue-redelivered-missing", Self::QueueRedeliveredMissing),
        ("queue-dead-letter-lost", Self::QueueDeadLetterLost),
    ];
}

#[cfg(feature = "planted-bugs")]
static PLANTED: AtomicU32 = AtomicU32::new(0);

/// Switches a bug on for the rest of the process; does nothing without the feature.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Bug) {
    PLANTED.fetch_or(bug as u32, Ordering::Relaxed);
}

/// Switches a bug on for the rest of the process; does nothing without the feature.
#[cfg(not(feature = "planted-bugs"))]
pub fn plant(_bug: Bug) {}

/// Tells whether a bug is switched on.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.load(Ordering::Relaxed) & bug as u32 != 0
}

/// Tells whether a bug is switched on.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is_planted(_bug: Bug) -> bool {
    false
}
