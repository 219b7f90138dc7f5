//! The index beside the journal: an ordered map that persists prefixes of what was applied to it.
//!
//! Owns the trait, the keys and the fixed values. An index has no log of its own: what it lost is
//! replayed from the journal, starting at the place that it recorded with the last persisted change.

use super::frame::{EntryHead, Fields, Location};
use super::{EntryKind, EntryMeta, RowFamily};
use crate::error::StoreError;
use crate::types::GroupId;

/// One change of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IndexOp {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    /// Removes keys from the first, inclusive, to the second, exclusive.
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// Key and value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// Sees rows of a scan; answers whether to go on.
pub(crate) type Visitor<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> bool;

/// An ordered map. Reads see every applied change; only flushed ones survive the process.
pub(crate) trait Index: Send + Sync + 'static {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Applies changes atomically and in order.
    fn apply(&self, ops: Vec<IndexOp>) -> Result<(), StoreError>;

    /// Visits rows from `start`, inclusive, to `end`, exclusive, in order.
    fn scan(&self, start: &[u8], end: &[u8], visit: Visitor<'_>) -> Result<(), StoreError>;

    /// The last row in a range, if there is one.
    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Row>, StoreError>;

    /// Starts to persist everything applied so far, in the background.
    fn start_flush(&self) -> Result<(), StoreError>;

    /// Whether every started flush is durable; an error when one failed.
    fn is_flushed(&self) -> Result<bool, StoreError>;

    /// Persists everything applied so far before it returns.
    fn flush(&self) -> Result<(), StoreError>;
}

const TAG_JOURNAL: u8 = 0x01;
const TAG_SEGMENT: u8 = 0x02;
const TAG_ENTRY: u8 = 0x03;
const TAG_ROW: u8 = 0x10;

/// Key of the row that says up to where the journal was applied.
pub(crate) fn journal_key() -> Vec<u8> {
    vec![TAG_JOURNAL]
}

/// Key of a segment's live bytes.
pub(crate) fn segment_key(segment: u64) -> Vec<u8> {
    tagged(TAG_SEGMENT, segment)
}

/// Bounds of all segments' rows.
pub(crate) fn segment_bounds() -> (Vec<u8>, Vec<u8>) {
    (vec![TAG_SEGMENT], vec![TAG_SEGMENT + 1])
}

/// The segment behind a key of [`segment_bounds`].
pub(crate) fn segment_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..9)?.try_into().ok()?))
}

fn tagged(tag: u8, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(tag);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Key of an entry.
pub(crate) fn entry_key(group: GroupId, index: u64) -> Vec<u8> {
    let mut key = tagged(TAG_ENTRY, group.0);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// Key after the last entry of a group.
pub(crate) fn entries_end(group: GroupId) -> Vec<u8> {
    let mut key = entry_key(group, u64::MAX);
    key.push(0);
    key
}

/// Group and log index behind an entry's key.
pub(crate) fn entry_of(key: &[u8]) -> Option<(GroupId, u64)> {
    let group = u64::from_be_bytes(key.get(1..9)?.try_into().ok()?);
    Some((
        GroupId(group),
        u64::from_be_bytes(key.get(9..17)?.try_into().ok()?),
    ))
}

/// Bounds of all entries of all groups.
pub(crate) fn all_entries() -> (Vec<u8>, Vec<u8>) {
    (vec![TAG_ENTRY], vec![TAG_ENTRY + 1])
}

/// Key of a row.
pub(crate) fn row_key(group: GroupId, family: RowFamily, row: &[u8]) -> Vec<u8> {
    let mut key = tagged(TAG_ROW + family as u8, group.0);
    key.extend_from_slice(row);
    key
}

/// Bounds of a family's rows; keys start with the first bound.
pub(crate) fn family_bounds(group: GroupId, family: RowFamily) -> (Vec<u8>, Vec<u8>) {
    let start = row_key(group, family, &[]);
    (start.clone(), next_prefix(start))
}

/// The smallest key after every key with this prefix.
fn next_prefix(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if let Some(next) = last.checked_add(1) {
            prefix.push(next);
            break;
        }
    }
    prefix
}

/// Bounds of everything that stands under one tag and names groups.
pub(crate) fn group_tags() -> [u8; 5] {
    let row = |family: RowFamily| TAG_ROW + family as u8;
    [
        TAG_ENTRY,
        row(RowFamily::Meta),
        row(RowFamily::State),
        row(RowFamily::Checkpoint),
        row(RowFamily::CheckpointHead),
    ]
}

/// First key under a tag at or after a group.
pub(crate) fn group_start(tag: u8, group: u64) -> Vec<u8> {
    tagged(tag, group)
}

/// What the index says about an entry: where it is and how to verify it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryRow {
    pub(crate) head: EntryHead,
    pub(crate) place: Location,
}

impl EntryRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(41);
        bytes.extend_from_slice(&self.place.segment.to_le_bytes());
        bytes.extend_from_slice(&self.place.position.to_le_bytes());
        bytes.extend_from_slice(&self.head.term.to_le_bytes());
        bytes.push(self.head.kind as u8);
        bytes.extend_from_slice(&self.head.crc.to_le_bytes());
        bytes.extend_from_slice(&self.head.bytes_before.to_le_bytes());
        bytes.extend_from_slice(&self.head.payload_bytes.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<(GroupId, Self), StoreError> {
        Self::read(key, value).ok_or_else(|| StoreError::Damaged {
            what: "index",
            text: "row of an entry does not make sense".to_owned(),
        })
    }

    fn read(key: &[u8], value: &[u8]) -> Option<(GroupId, Self)> {
        let (group, index) = entry_of(key)?;
        let mut fields = Fields { rest: value };
        let place = Location {
            segment: fields.u64()?,
            position: fields.u64()?,
        };
        let head = EntryHead {
            index,
            term: fields.u64()?,
            kind: EntryKind::from_u8(fields.u8()?)?,
            crc: fields.u32()?,
            bytes_before: fields.u64()?,
            payload_bytes: fields.u32()?,
        };
        fields
            .rest
            .is_empty()
            .then_some((group, Self { head, place }))
    }

    pub(crate) const fn meta(&self) -> EntryMeta {
        EntryMeta {
            index: self.head.index,
            term: self.head.term,
            bytes_before: self.head.bytes_before,
            payload_bytes: self.head.payload_bytes,
        }
    }
}

/// Up to where the journal was applied: the next frame's place and sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalMark {
    pub(crate) place: Location,
    pub(crate) next_sequence: u64,
}

impl JournalMark {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(24);
        bytes.extend_from_slice(&self.place.segment.to_le_bytes());
        bytes.extend_from_slice(&self.place.position.to_le_bytes());
        bytes.extend_from_slice(&self.next_sequence.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut fields = Fields { rest: bytes };
        let mut read = || {
            let place = Location {
                segment: fields.u64()?,
                position: fields.u64()?,
            };
            Some(Self {
                place,
                next_sequence: fields.u64()?,
            })
        };
        read().ok_or_else(|| StoreError::Damaged {
            what: "index",
            text: "journal mark does not make sense".to_owned(),
        })
    }
}
