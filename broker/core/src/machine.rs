//! The contract of every state machine: same bytes in, same state out, on every replica.
//!
//! A machine is synchronous: no I/O, no clock, no randomness, no unordered iteration, no panic
//! that a client's input can reach. It does not know Raft, storage or wires: the host hands it
//! committed commands in log order, persists the rows that changed, and does the effects.

use bytes::Bytes;

use crate::codec::{CodecError, RestoreError};
use crate::effect::Effects;

/// The newest behaviour that this build knows: what leaders write into new entries.
pub const MACHINE_VERSION: u16 = 1;

/// What a machine may know about the entry it applies, beside the command itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryMeta {
    /// Where the entry stands in the Raft log of its group.
    pub log_index: u64,
    /// The Raft term in which the entry was proposed.
    pub term: u64,
    /// The leader's wall clock when it proposed, milliseconds since 1970; it only stamps.
    pub proposed_at_ms: i64,
    /// Which behaviour the command means (STYLE rule 24).
    pub machine_version: u16,
}

/// The rows that changed since they were last asked for. A key is in one of the two lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowUpdates {
    /// Keys and values to write, in ascending order of keys.
    pub puts: Vec<(Bytes, Bytes)>,
    /// Keys to delete, in ascending order; a key may be absent already.
    pub deletes: Vec<Bytes>,
}

impl RowUpdates {
    /// Tells whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty()
    }
}

/// A replicated state machine of one kind of group.
pub trait Machine: Default + Send + Sync + 'static {
    /// What is proposed to Raft.
    type Command;
    /// What the proposer is told when the entry is applied.
    type Reply;

    /// Reads a command from the bytes of an entry, without copying its payload.
    ///
    /// # Errors
    /// An unknown version or tag, a length that does not fit, bytes that are left over.
    fn decode(bytes: &Bytes) -> Result<Self::Command, CodecError>;

    /// Changes the state by one committed command. Called once for each entry, in log order;
    /// after a restart it is called again from the last persisted state on.
    fn apply(
        &mut self,
        meta: &EntryMeta,
        command: Self::Command,
        effects: &mut Effects,
    ) -> Self::Reply;

    /// Takes the rows that changed since the last call (or since `restore`).
    fn dirty_rows(&mut self) -> RowUpdates;

    /// Rebuilds the state from all rows that `dirty_rows` ever gave, in ascending order of keys.
    ///
    /// # Errors
    /// Rows that are missing, damaged, or contradict each other.
    fn restore(rows: impl Iterator<Item = (Bytes, Bytes)>) -> Result<Self, RestoreError>;

    /// Writes the full state, without records, as one value.
    fn checkpoint(&self) -> Bytes;

    /// Rebuilds the state from a checkpoint. Every row of it counts as changed, so that the next
    /// `dirty_rows` after the host dropped the old rows persists all of it.
    ///
    /// # Errors
    /// As for [`Machine::restore`].
    fn restore_checkpoint(bytes: &Bytes) -> Result<Self, RestoreError>;
}
