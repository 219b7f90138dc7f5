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
    /// A publish is confirmed again with the next ones.
    ConfirmedTwice,
    /// An out-of-order confirm says `multiple`: it covers publishes that are not settled.
    ConfirmTooMuch,
    /// `multiple` settles the delivery behind the last one, too.
    MultipleSettlesTooMuch,
    /// `basic.get` uses the delivery tag of the delivery before.
    DeliveryTagReused,
    /// A channel that was closed by an error goes on working.
    ClosedChannelWorks,
    /// A channel's limit for all its consumers is forgotten.
    GlobalPrefetchIgnored,
}

impl Bug {
    /// Every bug of this crate, with the name by which a command line chooses it.
    pub const ALL: &[(&str, Self)] = &[
        ("amqp-confirmed-twice", Self::ConfirmedTwice),
        ("amqp-confirm-too-much", Self::ConfirmTooMuch),
        (
            "amqp-multiple-settles-too-much",
            Self::MultipleSettlesTooMuch,
        ),
        ("amqp-delivery-tag-reused", Self::DeliveryTagReused),
        ("amqp-closed-channel-works", Self::ClosedChannelWorks),
        ("amqp-global-prefetch-ignored", Self::GlobalPrefetchIgnored),
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
