//! The bytes of Raft messages between brokers: fixed little records, written by hand so that an
//! entry's payload is neither copied when it is sent nor when it is read.
//!
//! A peer's bytes are input: every length is checked before it is used. Fields are only ever
//! added at the end.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use openraft::{EmptyNode, EntryPayload, Membership, StoredMembership};
use raftmq_store::{Command, Entry, Vote};
use thiserror::Error;

use super::rope::Rope;
use crate::raft::state_machine::SnapshotMeta;
use crate::raft::types::{LogId, TypeConfig};

/// A peer's message did not have the form that its method has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("malformed peer message: {0}")]
pub struct Malformed(&'static str);

/// Bytes of an encoded entry without its payload.
pub const ENTRY_HEAD_BYTES: usize = 8 + 8 + 1 + 4;
const VOTE_BYTES: usize = 8 + 8 + 1;
const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Reads fields off the front of a message.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
}

impl Reader {
    /// A reader at the front.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    fn need(&self, count: usize) -> Result<(), Malformed> {
        if self.bytes.len() < count {
            Err(Malformed("truncated"))
        } else {
            Ok(())
        }
    }

    /// The next byte.
    ///
    /// # Errors
    ///
    /// [`Malformed`] at the end of the message; likewise for every other field.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.need(1)?;
        Ok(self.bytes.get_u8())
    }

    /// The next four bytes.
    ///
    /// # Errors
    ///
    /// See [`Self::u8`].
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.need(4)?;
        Ok(self.bytes.get_u32())
    }

    /// The next eight bytes.
    ///
    /// # Errors
    ///
    /// See [`Self::u8`].
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.need(8)?;
        Ok(self.bytes.get_u64())
    }

    /// A count, and as many bytes; no copy.
    ///
    /// # Errors
    ///
    /// See [`Self::u8`].
    pub fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let count = self.u32()? as usize;
        self.need(count)?;
        Ok(self.bytes.split_to(count))
    }

    /// A count of things that take at least `size_min` bytes each.
    ///
    /// # Errors
    ///
    /// See [`Self::u8`]; also when so many cannot be there.
    pub fn count(&mut self, size_min: usize) -> Result<usize, Malformed> {
        let count = self.u32()? as usize;
        if count.saturating_mul(size_min) > self.bytes.len() {
            return Err(Malformed("count is larger than the message"));
        }
        Ok(count)
    }

    /// A text.
    ///
    /// # Errors
    ///
    /// See [`Self::u8`]; also for bytes that are not UTF-8.
    pub fn text(&mut self) -> Result<String, Malformed> {
        let bytes = self.bytes()?;
        std::str::from_utf8(&bytes)
            .map(str::to_owned)
            .map_err(|_| Malformed("text is not UTF-8"))
    }

    /// A vote.
    ///
    /// # Errors
    ///
    /// See [`Self::u8`].
    pub fn vote(&mut self) -> Result<Vote, Malformed> {
        let (term, node, committed) = (self.u64()?, self.u64()?, self.u8()? != 0);
        Ok(if committed {
            Vote::new_committed(term, node)
        } else {
            Vote::new(term, node)
        })
    }

    /// An optional log id.
    ///
    /// # Errors
    ///
    /// See [`Self::u8`].
    pub fn log_id(&mut self) -> Result<Option<LogId>, Malformed> {
        if self.u8()? == 0 {
            return Ok(None);
        }
        let (term, index) = (self.u64()?, self.u64()?);
        Ok(Some(raftmq_store::log_id(term, index)))
    }

    fn membership(&mut self) -> Result<Membership<u64, EmptyNode>, Malformed> {
        let configs_count = self.count(4)?;
        let mut configs = Vec::with_capacity(configs_count);
        for _ in 0..configs_count {
            configs.push(self.ids()?);
        }
        let nodes = self.ids()?;
        Membership::new(configs, nodes).map_err(|_| Malformed("membership contradicts itself"))
    }

    fn ids(&mut self) -> Result<BTreeSet<u64>, Malformed> {
        let count = self.count(8)?;
        (0..count).map(|_| self.u64()).collect()
    }

    fn entry(&mut self) -> Result<Entry, Malformed> {
        let (term, index, kind) = (self.u64()?, self.u64()?, self.u8()?);
        let payload = match kind {
            BLANK => EntryPayload::Blank,
            NORMAL => EntryPayload::Normal(Command(self.bytes()?)),
            MEMBERSHIP => EntryPayload::Membership(self.membership()?),
            _ => return Err(Malformed("unknown kind of entry")),
        };
        Ok(Entry {
            log_id: raftmq_store::log_id(term, index),
            payload,
        })
    }
}

/// Writes a vote.
pub fn put_vote(buffer: &mut BytesMut, vote: &Vote) {
    buffer.put_u64(vote.leader_id.term);
    buffer.put_u64(vote.leader_id.voted_for);
    buffer.put_u8(u8::from(vote.committed));
}

/// Writes an optional log id.
pub fn put_log_id(buffer: &mut BytesMut, log_id: Option<&LogId>) {
    buffer.put_u8(u8::from(log_id.is_some()));
    if let Some(log_id) = log_id {
        buffer.put_u64(log_id.leader_id.term);
        buffer.put_u64(log_id.index);
    }
}

/// Writes a length and the bytes.
pub fn put_bytes(buffer: &mut BytesMut, bytes: &[u8]) {
    put_length(buffer, bytes.len());
    buffer.put_slice(bytes);
}

fn put_length(buffer: &mut BytesMut, length: usize) {
    buffer.put_u32(u32::try_from(length).expect("frames are far smaller than 4 GiB"));
}

fn put_ids(buffer: &mut BytesMut, ids: impl ExactSizeIterator<Item = u64>) {
    buffer.put_u32(u32::try_from(ids.len()).expect("memberships are small"));
    ids.for_each(|id| buffer.put_u64(id));
}

fn put_membership(buffer: &mut BytesMut, membership: &Membership<u64, EmptyNode>) {
    let configs = membership.get_joint_config();
    buffer.put_u32(u32::try_from(configs.len()).expect("at most two configs"));
    for config in configs {
        put_ids(buffer, config.iter().copied());
    }
    let nodes: Vec<u64> = membership.nodes().map(|(id, _)| *id).collect();
    put_ids(buffer, nodes.into_iter());
}

fn put_entry(rope: &mut Rope, entry: &Entry) {
    let buffer = rope.open();
    buffer.put_u64(entry.log_id.leader_id.term);
    buffer.put_u64(entry.log_id.index);
    match &entry.payload {
        EntryPayload::Blank => buffer.put_u8(BLANK),
        EntryPayload::Normal(command) => {
            buffer.put_u8(NORMAL);
            put_length(buffer, command.0.len());
            rope.share(command.0.clone());
        }
        EntryPayload::Membership(membership) => {
            buffer.put_u8(MEMBERSHIP);
            put_membership(buffer, membership);
        }
    }
}

/// Encodes an append; payloads are in it by reference.
#[must_use]
pub fn encode_append(request: &AppendEntriesRequest<TypeConfig>) -> Rope {
    let mut rope = Rope::default();
    let buffer = rope.open();
    buffer.reserve(VOTE_BYTES + 2 * 17 + 4 + request.entries.len() * ENTRY_HEAD_BYTES);
    put_vote(buffer, &request.vote);
    put_log_id(buffer, request.prev_log_id.as_ref());
    put_log_id(buffer, request.leader_commit.as_ref());
    buffer.put_u32(u32::try_from(request.entries.len()).expect("openraft limits entries"));
    for entry in &request.entries {
        put_entry(&mut rope, entry);
    }
    rope
}

/// Decodes an append; payloads are slices of `bytes`.
///
/// # Errors
///
/// See [`Malformed`].
pub fn decode_append(bytes: Bytes) -> Result<AppendEntriesRequest<TypeConfig>, Malformed> {
    let mut reader = Reader::new(bytes);
    let vote = reader.vote()?;
    let prev_log_id = reader.log_id()?;
    let leader_commit = reader.log_id()?;
    let count = reader.count(17)?;
    let entries = (0..count)
        .map(|_| reader.entry())
        .collect::<Result<_, _>>()?;
    Ok(AppendEntriesRequest {
        vote,
        prev_log_id,
        entries,
        leader_commit,
    })
}

/// Encodes the answer to an append.
#[must_use]
pub fn encode_append_response(response: &AppendEntriesResponse<TypeConfig>) -> Bytes {
    let mut buffer = BytesMut::with_capacity(24);
    match response {
        AppendEntriesResponse::Success => buffer.put_u8(0),
        AppendEntriesResponse::PartialSuccess(log_id) => {
            buffer.put_u8(1);
            put_log_id(&mut buffer, log_id.as_ref());
        }
        AppendEntriesResponse::Conflict => buffer.put_u8(2),
        AppendEntriesResponse::HigherVote(vote) => {
            buffer.put_u8(3);
            put_vote(&mut buffer, vote);
        }
    }
    buffer.freeze()
}

/// Decodes the answer to an append.
///
/// # Errors
///
/// See [`Malformed`].
pub fn decode_append_response(
    bytes: Bytes,
) -> Result<AppendEntriesResponse<TypeConfig>, Malformed> {
    let mut reader = Reader::new(bytes);
    Ok(match reader.u8()? {
        0 => AppendEntriesResponse::Success,
        1 => AppendEntriesResponse::PartialSuccess(reader.log_id()?),
        2 => AppendEntriesResponse::Conflict,
        3 => AppendEntriesResponse::HigherVote(reader.vote()?),
        _ => return Err(Malformed("unknown append answer")),
    })
}

/// Encodes a vote request.
#[must_use]
pub fn encode_vote(request: &VoteRequest<TypeConfig>) -> Bytes {
    let mut buffer = BytesMut::with_capacity(40);
    put_vote(&mut buffer, &request.vote);
    put_log_id(&mut buffer, request.last_log_id.as_ref());
    buffer.put_u8(u8::from(request.leadership_transfer));
    buffer.freeze()
}

/// Decodes a vote request.
///
/// # Errors
///
/// See [`Malformed`].
pub fn decode_vote(bytes: Bytes) -> Result<VoteRequest<TypeConfig>, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut request = VoteRequest::new(reader.vote()?, reader.log_id()?);
    request.leadership_transfer = reader.u8()? != 0;
    Ok(request)
}

/// Encodes a vote answer.
#[must_use]
pub fn encode_vote_response(response: &VoteResponse<TypeConfig>) -> Bytes {
    let mut buffer = BytesMut::with_capacity(40);
    put_vote(&mut buffer, &response.vote);
    buffer.put_u8(u8::from(response.vote_granted));
    put_log_id(&mut buffer, response.last_log_id.as_ref());
    buffer.freeze()
}

/// Decodes a vote answer.
///
/// # Errors
///
/// See [`Malformed`].
pub fn decode_vote_response(bytes: Bytes) -> Result<VoteResponse<TypeConfig>, Malformed> {
    let mut reader = Reader::new(bytes);
    let (vote, granted) = (reader.vote()?, reader.u8()? != 0);
    Ok(VoteResponse::new(vote, reader.log_id()?, granted))
}

/// Encodes a snapshot on its way.
#[must_use]
pub fn encode_snapshot(vote: &Vote, meta: &SnapshotMeta, body: &Bytes) -> Bytes {
    let mut buffer = BytesMut::with_capacity(body.len() + 256);
    put_vote(&mut buffer, vote);
    put_log_id(&mut buffer, meta.last_log_id.as_ref());
    put_log_id(&mut buffer, meta.last_membership.log_id().as_ref());
    put_membership(&mut buffer, meta.last_membership.membership());
    buffer.put_u32(crc32c::crc32c(body));
    put_bytes(&mut buffer, body);
    buffer.freeze()
}

/// Decodes and checks a snapshot: a damaged one must never be installed.
///
/// # Errors
///
/// See [`Malformed`].
pub fn decode_snapshot(bytes: Bytes) -> Result<(Vote, SnapshotMeta, Bytes), Malformed> {
    let mut reader = Reader::new(bytes);
    let vote = reader.vote()?;
    let last_log_id = reader.log_id()?;
    let membership_log_id = reader.log_id()?;
    let membership = reader.membership()?;
    let checksum = reader.u32()?;
    let body = reader.bytes()?;
    if crc32c::crc32c(&body) != checksum {
        return Err(Malformed("snapshot checksum differs"));
    }
    let last_membership = StoredMembership::new(membership_log_id, membership);
    Ok((
        vote,
        SnapshotMeta {
            last_log_id,
            last_membership,
        },
        body,
    ))
}
