//! Our numbers and texts as Kafka's wire has them. Knows no message.

use bytestring::ByteString;
use raftmq_core::ids::{BrokerId, Term};

/// No broker, no leader.
pub(super) const NO_NODE: i32 = -1;
/// No leader epoch.
pub(super) const NO_EPOCH: i32 = -1;
/// No offset, no timestamp.
pub(super) const NONE: i64 = -1;

/// A broker's id; ids above Kafka's range are no node.
pub(super) fn node_id(id: BrokerId) -> i32 {
    i32::try_from(id.get()).unwrap_or(NO_NODE)
}

/// A leader epoch; saturates, which takes two thousand million elections.
pub(super) fn epoch(term: Term) -> i32 {
    i32::try_from(term.get()).unwrap_or(i32::MAX)
}

/// A partition's index or a count.
pub(super) fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A partition's index.
pub(super) fn index(index: u32) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

/// A text of ours.
pub(super) fn text(text: &str) -> ByteString {
    ByteString::from(text)
}

/// An error in words.
pub(super) fn words(error: &impl std::fmt::Display) -> Option<ByteString> {
    Some(ByteString::from(error.to_string()))
}
