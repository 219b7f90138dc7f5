//! Whether a group's log can be trusted after a start.
//!
//! Owns the words for it. What a recovering group may do is decided by the host; see
//! `docs/adr/0001-storage-layout.md` for how damage and a torn tail are told apart.

use crate::types::LogId;

/// State of a group's stored log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupHealth {
    /// Everything acknowledged is there.
    Ok,
    /// Acknowledged entries are missing or damaged from `missing_from` on. The group must lead
    /// nothing and acknowledge nothing until they were fetched from its peers.
    Recovering {
        /// First log index that is missing.
        missing_from: u64,
        /// Highest log id that this replica may have acknowledged: it is healthy again once its log
        /// ends there or later. `None` if that is not known.
        acknowledged: Option<LogId>,
    },
    /// A row that cannot be rebuilt from peers is damaged: the replica must be wiped and join anew.
    Damaged {
        /// Which row.
        what: &'static str,
    },
}
