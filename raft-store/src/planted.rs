//! Bugs planted on purpose, to prove that the checks find them.
//!
//! Without the feature `planted-bugs` nothing can be planted and every check is a constant. Knows
//! nothing of who plants: the chaos binary and tests.

/// A bug of this crate that can be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// `save_vote` returns before its vote is written.
    VoteNotSynced,
    /// Appends are reported as flushed before the flush.
    AckBeforeFlush,
    /// Recovery does not verify the checksums of the journal's tail.
    TornTailAccepted,
    /// Damage that a start finds is not remembered for the next one.
    HoleForgotten,
    /// A newest segment whose header is damaged is dropped, with whatever it holds.
    DamagedSegmentDropped,
    /// Checksums of entries that are read are not looked at.
    DamageServed,
    /// After a start the index says that replay begins in the segment before, which may be freed.
    MarkLeftBehind,
}

impl Bug {
    /// Every bug of this crate, with the name by which a command line chooses it.
    pub const ALL: &[(&str, Self)] = &[
        ("vote-not-synced", Self::VoteNotSynced),
        ("ack-before-flush", Self::AckBeforeFlush),
        ("torn-tail-accepted", Self::TornTailAccepted),
        ("hole-forgotten", Self::HoleForgotten),
        ("damaged-segment-dropped", Self::DamagedSegmentDropped),
        ("damage-served", Self::DamageServed),
        ("mark-left-behind", Self::MarkLeftBehind),
    ];
}

#[cfg(feature = "planted-bugs")]
mod switch {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Bug;

    static PLANTED: AtomicU32 = AtomicU32::new(0);

    const fn bit(bug: Bug) -> u32 {
        1 << bug as u8
    }

    /// Switches `bug` on for this process. Repeating it changes nothing.
    pub fn plant(bug: Bug) {
        PLANTED.fetch_or(bit(bug), Ordering::Relaxed);
    }

    /// Switches every bug off.
    pub fn clear() {
        PLANTED.store(0, Ordering::Relaxed);
    }

    /// Whether `bug` is switched on.
    pub fn is_planted(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) & bit(bug) != 0
    }
}

#[cfg(feature = "planted-bugs")]
pub use switch::{clear, is_planted, plant};

/// Whether `bug` is switched on: never, without the feature `planted-bugs`.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is_planted(_bug: Bug) -> bool {
    false
}
