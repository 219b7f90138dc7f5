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
    /// `acks=-1` is answered as soon as the entry is proposed.
    AckBeforeCommit,
    /// What waited while a leadership was handed over is answered as if it had been written.
    HandoverAnswersWaiting,
    /// A follower whose disk is full takes records all the same.
    FullFollowerTakesRecords,
    /// After an unclean stop nobody is asked what this broker had acknowledged.
    MarksNotAskedFor,
    /// A snapshot of a compacted partition goes without what is left of the log below it.
    SurvivorsNotSent,
    /// A replica of a broker that had one before and wiped it votes for anybody.
    WipedReplicaVotes,
    /// A leader that has heard nobody for a session goes on.
    StaleLeaderServes,
    /// `acks=-1` of a Kafka client counts as `acks=1`.
    KafkaAcksAllAsLeader,
    /// A fetch session keeps the offsets with which it began.
    KafkaSessionKeepsOffsets,
}

impl Bug {
    /// Every bug of this crate, with the name by which a command line chooses it.
    pub const ALL: &[(&str, Self)] = &[
        ("ack-before-commit", Self::AckBeforeCommit),
        ("handover-answers-waiting", Self::HandoverAnswersWaiting),
        (
            "full-follower-takes-records",
            Self::FullFollowerTakesRecords,
        ),
        ("marks-not-asked-for", Self::MarksNotAskedFor),
        ("survivors-not-sent", Self::SurvivorsNotSent),
        ("wiped-replica-votes", Self::WipedReplicaVotes),
        ("stale-leader-serves", Self::StaleLeaderServes),
        ("kafka-acks-all-as-leader", Self::KafkaAcksAllAsLeader),
        (
            "kafka-session-keeps-offsets",
            Self::KafkaSessionKeepsOffsets,
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
