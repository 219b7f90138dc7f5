//! The switch of deliberate bugs, which prove that tests and chaos checkers can fail.
//!
//! Owns what a crate's `planted` module is made of. Does not know any bug, nor who plants it.

/// Makes a crate's `planted` module: `Bug` with a name on the command line for each bug, `plant`,
/// `clear` and `is_planted`.
///
/// Bugs are compiled in only with the feature `planted-bugs` of the crate that calls this, and chosen at run
/// time, for the whole process. Without the feature `is_planted` is a constant `false` and costs nothing.
/// A crate has at most 64 bugs.
#[macro_export]
macro_rules! bugs {
    ($($(#[$doc:meta])+ $bug:ident = $name:literal,)+) => {
        /// A deliberate bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Bug {
            $($(#[$doc])+ $bug,)+
        }

        impl Bug {
            /// Every bug, with its name on the command line.
            pub const ALL: &[(&str, Self)] = &[$(($name, Self::$bug),)+];
        }

        const _: () = assert!(Bug::ALL.len() <= 64, "one bit for each bug");

        #[cfg(feature = "planted-bugs")]
        static PLANTED: ::std::sync::atomic::AtomicU64 = ::std::sync::atomic::AtomicU64::new(0);

        /// Switches a bug on for the rest of the process; does nothing without the feature. Repetition
        /// changes nothing.
        #[cfg_attr(not(feature = "planted-bugs"), expect(unused_variables, reason = "the feature is off"))]
        pub fn plant(bug: Bug) {
            #[cfg(feature = "planted-bugs")]
            PLANTED.fetch_or(1 << bug as u8, ::std::sync::atomic::Ordering::Relaxed);
        }

        /// Switches every bug off.
        pub fn clear() {
            #[cfg(feature = "planted-bugs")]
            PLANTED.store(0, ::std::sync::atomic::Ordering::Relaxed);
        }

        /// Tells whether a bug is switched on.
        #[cfg(feature = "planted-bugs")]
        #[must_use]
        pub fn is_planted(bug: Bug) -> bool {
            PLANTED.load(::std::sync::atomic::Ordering::Relaxed) & (1 << bug as u8) != 0
        }

        /// Tells whether a bug is switched on: never, without the feature.
        #[cfg(not(feature = "planted-bugs"))]
        #[must_use]
        pub const fn is_planted(_bug: Bug) -> bool {
            false
        }
    };
}
