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
    /// `acks=-1` is answered as soon as the entry is proposed.
    AckBeforeCommit = 1,
    /// What waited while a leadership was handed over is answered as if it had been written.
    HandoverAnswersWaiting = 2,
    /// A follower whose disk is full takes records all the same.
    FullFollowerTakesRecords = 1 << 20,
    /// After an unclean stop nobody is asked what this broker had acknowledged.
    MarksNotAskedFor = 1 << 21,
    /// A snapshot of a compacted partition goes without what is left of the log below it.
    SurvivorsNotSent = 1 << 22,
}

impl Bug {
    /// Every bug of this crate, with the name by which a command line chooses it.
    pub const ALL: [(&'static str, Self); 5] = [
        ("ack-before-commit", Self::AckBeforeCommit),
        ("handover-answers-waiting", Self::HandoverAnswersWaiting),
        (
            "full-follower-takes-records",
            Self::FullFollowerTakesRecords,
        ),
        ("marks-not-asked-for", Self::MarksNotAskedFor),
        ("survivors-not-sent", Self::SurvivorsNotSent),
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
