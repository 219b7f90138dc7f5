//! Stable bytes of entries and rows.
//!
//! Owns every encoding that stands on the disk above the journal's frames. Numbers only grow: an
//! unknown version is an error. Integers are little-endian. Does not know where the bytes are kept.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use openraft::impls::EmptyNode;

use crate::engine::{EntryKind, EntryRecord, entry_crc};
use crate::error::StoreError;
use crate::state::Checkpoint;
use crate::types::{
    Command, Entry, GroupId, LogId, Membership, Payload, StoredMembership, Vote, log_id,
};

/// Version of every encoding in this file.
const VERSION: u8 = 1;

/// Configurations in one membership: two while it changes; more is damage.
const CONFIGS_MAX: usize = 16;

/// Nodes in one membership.
const NODES_MAX: usize = 4096;

/// Encodes what an entry carries. Commands are not copied.
pub(crate) fn encode_entry(group: GroupId, entry: &Entry, bytes_before: u64) -> EntryRecord {
    let (kind, payload) = match &entry.payload {
        Payload::Blank => (EntryKind::Blank, Bytes::new()),
        Payload::Normal(command) => (EntryKind::Normal, command.0.clone()),
        Payload::Membership(membership) => {
            let mut bytes = BytesMut::new();
            bytes.put_u8(VERSION);
            put_membership(&mut bytes, membership);
            (EntryKind::Membership, bytes.freeze())
        }
    };
    let (index, term) = (entry.log_id.index, entry.log_id.leader_id.term);
    let crc = entry_crc(group, index, term, kind, &payload);
    EntryRecord {
        index,
        term,
        kind,
        crc,
        bytes_before,
        payload,
    }
}

/// Decodes an entry whose checksum the engine has verified.
pub(crate) fn decode_entry(record: &EntryRecord) -> Result<Entry, StoreError> {
    let payload = match record.kind {
        EntryKind::Blank => Payload::Blank,
        EntryKind::Normal => Payload::Normal(Command(record.payload.clone())),
        EntryKind::Membership => {
            let mut reader = Reader::versioned("membership entry", &record.payload)?;
            let membership = reader.membership()?;
            reader.end()?;
            Payload::Membership(membership)
        }
    };
    Ok(Entry {
        log_id: log_id(record.term, record.index),
        payload,
    })
}

/// Encodes a vote with a checksum of its own, chained over the group.
pub(crate) fn encode_vote(group: GroupId, vote: &Vote) -> Bytes {
    let mut bytes = BytesMut::with_capacity(22);
    bytes.put_u8(VERSION);
    bytes.put_u64_le(vote.leader_id.term);
    bytes.put_u64_le(vote.leader_id.voted_for);
    bytes.put_u8(u8::from(vote.committed));
    seal(group, bytes)
}

/// Decodes a vote; its checksum must match.
pub(crate) fn decode_vote(group: GroupId, bytes: &[u8]) -> Result<Vote, StoreError> {
    let mut reader = Reader::sealed("vote", group, bytes)?;
    let (term, voted_for) = (reader.u64()?, reader.u64()?);
    let committed = reader.flag()?;
    reader.end()?;
    let vote = Vote::new(term, voted_for);
    Ok(Vote { committed, ..vote })
}

/// Encodes an optional log id.
pub(crate) fn encode_log_id(log_id: Option<LogId>) -> Bytes {
    let mut bytes = BytesMut::with_capacity(18);
    bytes.put_u8(VERSION);
    put_log_id(&mut bytes, log_id);
    bytes.freeze()
}

/// Decodes an optional log id.
pub(crate) fn decode_log_id(what: &'static str, bytes: &[u8]) -> Result<Option<LogId>, StoreError> {
    let mut reader = Reader::versioned(what, bytes)?;
    let log_id = reader.log_id()?;
    reader.end()?;
    Ok(log_id)
}

/// Encodes a plain number.
pub(crate) fn encode_u64(number: u64) -> Bytes {
    let mut bytes = BytesMut::with_capacity(9);
    bytes.put_u8(VERSION);
    bytes.put_u64_le(number);
    bytes.freeze()
}

/// Decodes a plain number.
pub(crate) fn decode_u64(what: &'static str, bytes: &[u8]) -> Result<u64, StoreError> {
    let mut reader = Reader::versioned(what, bytes)?;
    let number = reader.u64()?;
    reader.end()?;
    Ok(number)
}

/// Encodes the applied log id and the membership at it.
pub(crate) fn encode_applied(applied: Option<LogId>, membership: &StoredMembership) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(VERSION);
    put_log_id(&mut bytes, applied);
    put_stored_membership(&mut bytes, membership);
    bytes.freeze()
}

/// Decodes the applied log id and the membership at it.
pub(crate) fn decode_applied(
    bytes: &[u8],
) -> Result<(Option<LogId>, StoredMembership), StoreError> {
    let mut reader = Reader::versioned("applied state", bytes)?;
    let applied = reader.log_id()?;
    let membership = reader.stored_membership()?;
    reader.end()?;
    Ok((applied, membership))
}

/// Encodes a checkpoint with a checksum over all of it, chained over the group.
pub(crate) fn encode_checkpoint(group: GroupId, checkpoint: &Checkpoint) -> Bytes {
    let mut bytes = BytesMut::with_capacity(checkpoint.body.len() + 128);
    bytes.put_u8(VERSION);
    put_log_id(&mut bytes, Some(checkpoint.log_id));
    put_stored_membership(&mut bytes, &checkpoint.membership);
    bytes.put_slice(&checkpoint.body);
    seal(group, bytes)
}

/// Decodes a checkpoint; its checksum must match.
pub(crate) fn decode_checkpoint(group: GroupId, bytes: &Bytes) -> Result<Checkpoint, StoreError> {
    let mut reader = Reader::sealed("checkpoint", group, bytes)?;
    let Some(log_id) = reader.log_id()? else {
        return Err(reader.damaged("no log id"));
    };
    let membership = reader.stored_membership()?;
    let body = bytes.slice_ref(reader.rest);
    Ok(Checkpoint {
        log_id,
        membership,
        body,
    })
}

/// Encodes what is listed of a checkpoint without reading it, with a checksum chained over the group.
pub(crate) fn encode_checkpoint_head(group: GroupId, log_id: LogId) -> Bytes {
    let mut bytes = BytesMut::with_capacity(22);
    bytes.put_u8(VERSION);
    put_log_id(&mut bytes, Some(log_id));
    seal(group, bytes)
}

/// Decodes the head of a checkpoint; its checksum must match.
pub(crate) fn decode_checkpoint_head(group: GroupId, bytes: &[u8]) -> Result<LogId, StoreError> {
    let mut reader = Reader::sealed("checkpoint head", group, bytes)?;
    let log_id = reader.log_id()?;
    reader.end()?;
    log_id.ok_or_else(|| reader.damaged("no log id"))
}

/// Encodes a row of survivors, or the note on one, with a checksum chained over the group.
pub(crate) fn encode_survivor(group: GroupId, value: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(value.len() + 5);
    bytes.put_u8(VERSION);
    bytes.put_slice(value);
    seal(group, bytes)
}

/// Decodes a row of survivors, or the note on one; its checksum must match.
pub(crate) fn decode_survivor(
    what: &'static str,
    group: GroupId,
    bytes: &Bytes,
) -> Result<Bytes, StoreError> {
    let reader = Reader::sealed(what, group, bytes)?;
    Ok(bytes.slice_ref(reader.rest))
}

/// Encodes which survivors are in force, and the note on them.
pub(crate) fn encode_survivors(group: GroupId, generation: u64, note: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(note.len() + 13);
    bytes.put_u8(VERSION);
    bytes.put_u64_le(generation);
    bytes.put_slice(note);
    seal(group, bytes)
}

/// Decodes which survivors are in force, and the note on them.
pub(crate) fn decode_survivors(group: GroupId, bytes: &Bytes) -> Result<(u64, Bytes), StoreError> {
    let mut reader = Reader::sealed("survivors", group, bytes)?;
    let generation = reader.u64()?;
    Ok((generation, bytes.slice_ref(reader.rest)))
}

fn seal(group: GroupId, mut bytes: BytesMut) -> Bytes {
    let crc = sealing_crc(group, &bytes);
    bytes.put_u32_le(crc);
    bytes.freeze()
}

fn sealing_crc(group: GroupId, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&group.0.to_le_bytes()), bytes)
}

fn put_log_id(bytes: &mut BytesMut, log_id: Option<LogId>) {
    match log_id {
        None => bytes.put_u8(0),
        Some(id) => {
            bytes.put_u8(1);
            bytes.put_u64_le(id.leader_id.term);
            bytes.put_u64_le(id.index);
        }
    }
}

fn put_stored_membership(bytes: &mut BytesMut, stored: &StoredMembership) {
    put_log_id(bytes, *stored.log_id());
    put_membership(bytes, stored.membership());
}

fn put_membership(bytes: &mut BytesMut, membership: &Membership) {
    let configs = membership.get_joint_config();
    put_count(bytes, configs.len());
    for config in configs {
        put_count(bytes, config.len());
        for node in config {
            bytes.put_u64_le(*node);
        }
    }
    put_count(bytes, membership.nodes().count());
    for (node, EmptyNode {}) in membership.nodes() {
        bytes.put_u64_le(*node);
    }
}

fn put_count(bytes: &mut BytesMut, count: usize) {
    let count = u16::try_from(count).expect("a membership has fewer nodes than u16 holds");
    bytes.put_u16_le(count);
}

/// Reads fields and names what was damaged.
struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn versioned(what: &'static str, bytes: &'a [u8]) -> Result<Self, StoreError> {
        let mut reader = Self { what, rest: bytes };
        let found = reader.u8()?;
        if found != VERSION {
            return Err(StoreError::UnknownVersion {
                what,
                found,
                supported: VERSION,
            });
        }
        Ok(reader)
    }

    fn sealed(what: &'static str, group: GroupId, bytes: &'a [u8]) -> Result<Self, StoreError> {
        let mut reader = Self { what, rest: bytes };
        let Some((body, crc)) = bytes.split_last_chunk::<4>() else {
            return Err(reader.damaged("too short"));
        };
        if u32::from_le_bytes(*crc) != sealing_crc(group, body) {
            return Err(reader.damaged("checksum does not match"));
        }
        reader = Self::versioned(what, body)?;
        Ok(reader)
    }

    fn damaged(&self, text: &str) -> StoreError {
        StoreError::Damaged {
            what: self.what,
            text: text.to_owned(),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.damaged("too short"));
        };
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, StoreError> {
        Ok(self.take::<1>()?[0])
    }

    fn u64(&mut self) -> Result<u64, StoreError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn flag(&mut self) -> Result<bool, StoreError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.damaged("flag is neither 0 nor 1")),
        }
    }

    fn count(&mut self, count_max: usize) -> Result<usize, StoreError> {
        let count = usize::from(u16::from_le_bytes(self.take()?));
        if count > count_max {
            return Err(self.damaged("count over its limit"));
        }
        Ok(count)
    }

    fn log_id(&mut self) -> Result<Option<LogId>, StoreError> {
        if self.flag()? {
            let (term, index) = (self.u64()?, self.u64()?);
            return Ok(Some(log_id(term, index)));
        }
        Ok(None)
    }

    fn nodes(&mut self) -> Result<BTreeSet<u64>, StoreError> {
        let count = self.count(NODES_MAX)?;
        (0..count).map(|_| self.u64()).collect()
    }

    fn membership(&mut self) -> Result<Membership, StoreError> {
        let configs_count = self.count(CONFIGS_MAX)?;
        let mut configs = Vec::with_capacity(configs_count);
        for _ in 0..configs_count {
            configs.push(self.nodes()?);
        }
        let nodes = self.nodes()?;
        if configs.is_empty() && nodes.is_empty() {
            return Ok(Membership::default());
        }
        let nodes: BTreeMap<u64, EmptyNode> =
            nodes.into_iter().map(|node| (node, EmptyNode {})).collect();
        Membership::new(configs, nodes).map_err(|error| self.damaged(&error.to_string()))
    }

    fn stored_membership(&mut self) -> Result<StoredMembership, StoreError> {
        let log_id = self.log_id()?;
        Ok(StoredMembership::new(log_id, self.membership()?))
    }

    fn end(&self) -> Result<(), StoreError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.damaged("bytes after its end"))
        }
    }
}
