//! Keys of the Meta family: one byte each, never reused.
//!
//! Owns the numbers. What stands behind each is encoded in `codec`.

/// The group's vote.
pub(crate) const VOTE: u8 = 1;
/// Highest committed log id that was saved.
pub(crate) const COMMITTED: u8 = 2;
/// Last purged log id.
pub(crate) const PURGED: u8 = 3;
/// Highest log index that this replica acknowledged, without its term. Only read: folders written
/// before [`ACKNOWLEDGED`] was there have it.
pub(crate) const ACKNOWLEDGED_INDEX: u8 = 4;
/// Applied log id and membership of the saved state.
pub(crate) const APPLIED: u8 = 5;
/// Log index of the checkpoint that is the group's Raft snapshot.
pub(crate) const SNAPSHOT: u8 = 6;
/// First log index that was found damaged.
pub(crate) const HOLE: u8 = 7;
/// Highest log id that this replica acknowledged.
pub(crate) const ACKNOWLEDGED: u8 = 8;

/// Which survivors are in force, with the host's note on them.
pub(crate) const SURVIVORS: u8 = 30;

/// Key of the clean-shutdown marker in the Node family. The host's keys are text without a leading
/// zero byte, so the two never meet.
pub(crate) const CLEAN_SHUTDOWN: &[u8] = b"\0clean-shutdown";

/// A Meta key as bytes.
pub(crate) const fn meta(key: u8) -> [u8; 1] {
    [key]
}
