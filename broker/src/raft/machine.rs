//! Joins a pure state machine of `raftmq-core` to openraft: decodes commands, keeps the machine
//! readable for services, persists what changed, writes checkpoints.
//!
//! Does not know what commands mean. Openraft's side is `state_machine.rs`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::{RwLock, RwLockReadGuard};
use raftmq_core::codec::{CodecError, RestoreError};
use raftmq_core::effect::Effects;
use raftmq_core::machine::{EntryMeta, Machine, RowUpdates};

use super::types::Reply;

/// Version of the command envelope and of the machines' meaning of commands.
pub const MACHINE_VERSION: u16 = 1;

/// Bytes of the envelope: machine version, then the leader's wall clock in milliseconds.
pub const ENVELOPE_BYTES: usize = 2 + 8;

/// Starts a command: what follows in the buffer is the machine's own encoding.
pub fn put_envelope(buffer: &mut BytesMut, proposed_at_ms: i64) {
    buffer.put_u16(MACHINE_VERSION);
    buffer.put_i64(proposed_at_ms);
}

/// Envelope and command of a small, already encoded command.
#[must_use]
pub fn envelope(proposed_at_ms: i64, command: &[u8]) -> Bytes {
    let mut buffer = BytesMut::with_capacity(ENVELOPE_BYTES + command.len());
    put_envelope(&mut buffer, proposed_at_ms);
    buffer.put_slice(command);
    buffer.freeze()
}

/// Splits an entry's bytes into machine version, time stamp and command.
///
/// `None` when the bytes are shorter than an envelope or of a newer machine version.
#[must_use]
pub fn open_envelope(bytes: &Bytes) -> Option<(u16, i64, Bytes)> {
    if bytes.len() < ENVELOPE_BYTES {
        return None;
    }
    let mut rest = bytes.clone();
    let version = rest.get_u16();
    let proposed_at_ms = rest.get_i64();
    (version <= MACHINE_VERSION).then_some((version, proposed_at_ms, rest))
}

/// What the application of one entry asks of the host.
#[derive(Debug)]
pub struct Applied {
    /// The answer to the proposer.
    pub reply: Reply,
    /// A segment boundary: write a checkpoint of the state as it is now.
    pub checkpoint: bool,
}

/// A state machine as the host sees it, whatever its kind.
pub trait HostedMachine: Send + Sync + 'static {
    /// Applies one committed command; called in log order, once per entry and process life.
    ///
    /// # Errors
    ///
    /// The bytes are of a newer version than this binary knows: the group must stop here, because
    /// replicas that do know it go on differently.
    fn apply(&self, log_index: u64, term: u64, bytes: &Bytes) -> Result<Applied, CodecError>;
    /// Tells services that a run of entries has been applied.
    fn applied_through(&self, log_index: u64);
    /// What changed since the last call.
    fn dirty_rows(&self) -> RowUpdates;
    /// The whole state, without records.
    fn checkpoint(&self) -> Bytes;
    /// Replaces the state by a checkpoint; every row is dirty afterwards.
    ///
    /// # Errors
    ///
    /// The bytes are not a checkpoint of this machine; the state is unchanged.
    fn install(&self, checkpoint: &Bytes) -> Result<(), RestoreError>;
    /// Replaces the state by persisted rows, at start-up.
    ///
    /// # Errors
    ///
    /// The rows are not this machine's; the state is unchanged.
    fn restore(&self, rows: Vec<(Bytes, Bytes)>) -> Result<(), RestoreError>;
}

/// What differs between kinds of machines on the host's side.
pub trait Binding<M: Machine>: Send + Sync + 'static {
    /// Wraps the machine's reply, and takes note of it where that matters. Runs as `effects` does.
    fn reply(&self, reply: M::Reply) -> Reply;
    /// Acts on the effects of one entry; returns true for a checkpoint. Runs under the machine's
    /// write lock: must not block and must not lock the machine.
    fn effects(&self, machine: &M, effects: &mut Effects) -> bool;
    /// After a run of entries, and after a restore or install.
    fn settled(&self, machine: &M, log_index: u64);
}

/// A machine, the lock that lets services read it, and its binding.
#[derive(Debug)]
pub struct Hosted<M, B> {
    machine: RwLock<M>,
    binding: B,
}

impl<M: Machine, B: Binding<M>> Hosted<M, B> {
    /// An empty machine.
    pub fn new(machine: M, binding: B) -> Self {
        Self {
            machine: RwLock::new(machine),
            binding,
        }
    }

    /// The machine, for reading. Hold the guard briefly and never across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, M> {
        self.machine.read()
    }

    /// Changes what only this replica knows: never what is replicated.
    pub fn adjust(&self, change: impl FnOnce(&mut M)) {
        change(&mut self.machine.write());
    }

    /// The binding.
    pub fn binding(&self) -> &B {
        &self.binding
    }
}

impl<M: Machine, B: Binding<M>> HostedMachine for Hosted<M, B> {
    fn apply(&self, log_index: u64, term: u64, bytes: &Bytes) -> Result<Applied, CodecError> {
        let (machine_version, proposed_at_ms, command) =
            open_envelope(bytes).ok_or_else(unknown_envelope)?;
        let command = M::decode(&command)?;
        let meta = EntryMeta {
            log_index,
            term,
            proposed_at_ms,
            machine_version,
        };
        let mut effects = Effects::default();
        let mut machine = self.machine.write();
        let reply = machine.apply(&meta, command, &mut effects);
        let checkpoint = self.binding.effects(&machine, &mut effects);
        Ok(Applied {
            reply: self.binding.reply(reply),
            checkpoint,
        })
    }

    fn applied_through(&self, log_index: u64) {
        self.binding.settled(&self.machine.read(), log_index);
    }

    fn dirty_rows(&self) -> RowUpdates {
        self.machine.write().dirty_rows()
    }

    fn checkpoint(&self) -> Bytes {
        self.machine.read().checkpoint()
    }

    fn install(&self, checkpoint: &Bytes) -> Result<(), RestoreError> {
        let restored = M::restore_checkpoint(checkpoint)?;
        *self.machine.write() = restored;
        Ok(())
    }

    fn restore(&self, rows: Vec<(Bytes, Bytes)>) -> Result<(), RestoreError> {
        let restored = M::restore(rows.into_iter())?;
        *self.machine.write() = restored;
        Ok(())
    }
}

fn unknown_envelope() -> CodecError {
    CodecError::UnknownVersion {
        what: "command envelope".to_owned(),
        version: 0,
    }
}
