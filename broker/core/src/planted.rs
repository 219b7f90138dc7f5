//! Deliberate bugs, which prove that tests and chaos checkers can fail.
//!
//! Compiled in only with the feature `planted-bugs`; chosen at run time, for the whole process.
//! Without the feature [`is_planted`] is a constant `false` and costs nothing.

#[cfg(feature = "planted-bugs")]
use std::sync::atomic::{AtomicU64, Ordering};

/// A bug that can be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// A new leader has forgotten what each producer sent before.
    DedupLostOnLeaderChange,
    /// A gap in a producer's sequence is accepted.
    SequenceGapAccepted,
    /// An entry stamped for another term or another offset is applied.
    VoidAccepted,
    /// Retention by time trusts any clock.
    ClockTrusted,
    /// A broker that drains is given leaderships.
    DrainingBrokerLeads,
    /// A reassignment that is redirected or cancelled forgets the brokers of the target before:
    /// they wipe replicas that may vote.
    AbandonedReplicasForgotten,
    /// Placement and balancing take every broker for one in a rack of its own.
    RacksIgnored,
    /// A broker that lost its disk goes on under its old id.
    WipedBrokerKeepsId,
    /// A broker of the metadata group votes before it has the log.
    LearnerVotesTooEarly,
    /// A voter of the metadata group is replaced although too few of the others live.
    MetadataQuorumIgnored,
    /// A move of replicas counts as done while others may still vote: they wipe their replicas.
    MoveDoneTooEarly,
    /// Leaders take records whatever the disks have room for.
    FullDiskIgnored,
    /// A disk counts as roomy again as soon as it is back at the line where it was full.
    FullDiskFlaps,
    /// A loss is accepted although a majority of the replicas is whole.
    LossAcceptedNeedlessly,
    /// Compaction drops the last record of a key, too.
    CompactionDropsNewest,
    /// A tombstone goes with the first cleaning pass that sees it.
    TombstonesDroppedAtOnce,
    /// Leaders are replaced by those who have just answered them.
    VouchesIgnored,
    /// A large piece costs no more than what the bucket holds: the rate is exceeded.
    ThrottleForgetsDebt,
    /// Replication to voters is slowed, too.
    VotersThrottled,
    /// The controller goes on planning with loads that nobody repeats.
    OldLoadsCount,
    /// A leader does not say that a partition has become idle.
    IdleLoadsNotSaid,
    /// A client's default quota counts before its own.
    QuotaDefaultsFirst,
    /// No client is ever told to wait.
    QuotaNeverThrottles,
    /// What a closed channel had not settled is gone.
    QueueRequeueLost,
    /// Settling a delivery twice settles the next one.
    QueueDoubleAckSettlesNext,
    /// A message that is returned goes behind the others.
    QueueRequeueLosesOrder,
    /// A snapshot of a queue does not contain the ids it has seen.
    QueueDedupForgotten,
    /// A repeated delivery looks like the first one.
    QueueRedeliveredMissing,
    /// A message that dies is not remembered until it is published.
    QueueDeadLetterLost,
    /// An exclusive queue stays when its connection is closed.
    ExclusiveQueueOutlivesOwner,
    /// A queue may be declared again with other arguments.
    InequivalentDeclareAccepted,
}

impl Bug {
    /// Every bug of this crate, with the name by which a command line chooses it.
    pub const ALL: &[(&str, Self)] = &[
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
        ("vouches-ignored", Self::VouchesIgnored),
        ("throttle-forgets-debt", Self::ThrottleForgetsDebt),
        ("voters-throttled", Self::VotersThrottled),
        ("old-loads-count", Self::OldLoadsCount),
        ("idle-loads-not-said", Self::IdleLoadsNotSaid),
        ("quota-defaults-first", Self::QuotaDefaultsFirst),
        ("quota-never-throttles", Self::QuotaNeverThrottles),
        ("queue-requeue-lost", Self::QueueRequeueLost),
        (
            "queue-double-ack-settles-next",
            Self::QueueDoubleAckSettlesNext,
        ),
        ("queue-requeue-loses-order", Self::QueueRequeueLosesOrder),
        ("queue-dedup-forgotten", Self::QueueDedupForgotten),
        ("queue-redelivered-missing", Self::QueueRedeliveredMissing),
        ("queue-dead-letter-lost", Self::QueueDeadLetterLost),
        (
            "exclusive-queue-outlives-owner",
            Self::ExclusiveQueueOutlivesOwner,
        ),
        (
            "inequivalent-declare-accepted",
            Self::InequivalentDeclareAccepted,
        ),
    ];
}

#[cfg(feature = "planted-bugs")]
static PLANTED: AtomicU64 = AtomicU64::new(0);

/// Switches a bug on for the rest of the process; does nothing without the feature.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Bug) {
    PLANTED.fetch_or(1 << bug as u8, Ordering::Relaxed);
}

/// Switches a bug on for the rest of the process; does nothing without the feature.
#[cfg(not(feature = "planted-bugs"))]
pub fn plant(_bug: Bug) {}

/// Tells whether a bug is switched on.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.load(Ordering::Relaxed) & (1 << bug as u8) != 0
}

/// Tells whether a bug is switched on.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is_planted(_bug: Bug) -> bool {
    false
}
