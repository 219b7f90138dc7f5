//! Bytes of the journal: segment headers and frames.
//!
//! A frame holds one atomic batch: a header, the descriptions of its changes, then the payloads of
//! its entries. One checksum covers header and descriptions and is seeded with the frame's place, so
//! that a frame read elsewhere is recognised; every payload has its own checksum in its description,
//! so no payload byte is summed twice. Knows nothing of files or of what is applied to the index.

use bytes::Bytes;

use super::{EntryKind, EntryRecord, Op, RowFamily};
use crate::types::GroupId;

/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER_LEN: usize = 32;
pub(crate) const SEGMENT_HEADER_BYTES: u64 = SEGMENT_HEADER_LEN as u64;
/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER_LEN: usize = 40;
pub(crate) const FRAME_HEADER_BYTES: u64 = FRAME_HEADER_LEN as u64;
/// Bytes of a frame's header up to the end of its checksum, which covers what follows.
pub(crate) const FRAME_CRC_BYTES: u64 = 8;
/// Frames start at multiples of this.
pub(crate) const FRAME_ALIGNMENT: u64 = 8;

const SEGMENT_MAGIC: u64 = 0x3147_4553_514d_4652; // "RFMQSEG1"
const SEGMENT_VERSION: u32 = 1;
const FRAME_MAGIC: u32 = 0x314d_5246; // "FRM1"

/// Place of bytes in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    pub(crate) segment: u64,
    pub(crate) position: u64,
}

/// Header of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) segment: u64,
    /// Sequence of the first frame in the segment.
    pub(crate) first_sequence: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut bytes = [0_u8; SEGMENT_HEADER_LEN];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC.to_le_bytes());
        bytes[8..12].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_sequence.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER_LEN]) -> Option<Self> {
        let mut fields = Fields { rest: bytes };
        let (magic, version, crc) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let header = Self {
            segment: fields.u64()?,
            first_sequence: fields.u64()?,
        };
        let mut plain = *bytes;
        plain[12..16].fill(0);
        let is_valid =
            magic == SEGMENT_MAGIC && version == SEGMENT_VERSION && crc == crc32c::crc32c(&plain);
        is_valid.then_some(header)
    }
}

/// Header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    crc: u32,
    /// Number of the frame; consecutive over all segments.
    pub(crate) sequence: u64,
    /// Highest frame known to be synced when this one was written.
    pub(crate) synced: u64,
    pub(crate) meta_bytes: u32,
    ops_count: u32,
    pub(crate) body_bytes: u64,
}

impl FrameHeader {
    /// Reads a header whose checksum is still to be verified, with [`FrameHeader::verify`].
    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER_LEN]) -> Option<Self> {
        let mut fields = Fields { rest: bytes };
        if fields.u32()? != FRAME_MAGIC {
            return None;
        }
        Some(Self {
            crc: fields.u32()?,
            sequence: fields.u64()?,
            synced: fields.u64()?,
            meta_bytes: fields.u32()?,
            ops_count: fields.u32()?,
            body_bytes: fields.u64()?,
        })
    }

    /// Whether bytes start like a frame.
    pub(crate) fn is_magic(bytes: &[u8]) -> bool {
        bytes.starts_with(&FRAME_MAGIC.to_le_bytes())
    }

    fn encode(&self) -> [u8; FRAME_HEADER_LEN] {
        let mut bytes = [0_u8; FRAME_HEADER_LEN];
        bytes[..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.crc.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.synced.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.meta_bytes.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.ops_count.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes
    }

    fn checksum(&self, place: Location, meta: &[u8]) -> u32 {
        let header = self.encode();
        let crc = crc32c::crc32c_append(place_crc(place), &header[8..]);
        crc32c::crc32c_append(crc, meta)
    }

    /// Whether header and descriptions are what was written at `place`.
    pub(crate) fn verify(&self, place: Location, meta: &[u8]) -> bool {
        self.crc == self.checksum(place, meta)
    }

    /// Whether `sum`, the checksum of everything between the header's own checksum and the body, is
    /// that of a frame written at `place`.
    pub(crate) fn verify_sum(&self, place: Location, sum: u32) -> bool {
        let len = FRAME_HEADER_LEN - 8 + self.meta_bytes as usize;
        self.crc == crc32c::crc32c_combine(place_crc(place), sum, len)
    }

    /// Bytes from the frame's start to the next one's; `None` when no frame can be that long.
    pub(crate) fn total_bytes(&self) -> Option<u64> {
        let bytes = FRAME_HEADER_BYTES + u64::from(self.meta_bytes);
        bytes
            .checked_add(self.body_bytes)?
            .checked_next_multiple_of(FRAME_ALIGNMENT)
    }
}

/// Checksum with which that of a frame at `place` starts.
fn place_crc(place: Location) -> u32 {
    let mut seed = [0_u8; 16];
    seed[..8].copy_from_slice(&place.segment.to_le_bytes());
    seed[8..].copy_from_slice(&place.position.to_le_bytes());
    crc32c::crc32c(&seed)
}

/// Description of an entry in a frame or in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryHead {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) kind: EntryKind,
    pub(crate) crc: u32,
    pub(crate) bytes_before: u64,
    pub(crate) payload_bytes: u32,
}

/// A change as a frame describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FrameOp {
    /// An entry whose payload lies `body_offset` bytes into the frame's body. A moved entry names the
    /// place that it had before, and counts only while the index still points there.
    Entry {
        group: GroupId,
        head: EntryHead,
        body_offset: u64,
        moved_from: Option<Location>,
    },
    /// Any other change.
    Other(Op),
}

const TAG_APPEND: u8 = 1;
const TAG_TRUNCATE: u8 = 2;
const TAG_PURGE: u8 = 3;
const TAG_PUT: u8 = 4;
const TAG_DELETE: u8 = 5;
const TAG_DELETE_FAMILY: u8 = 6;
const TAG_REMOVE_GROUP: u8 = 7;
const TAG_MOVE: u8 = 8;

/// Builds one frame; its buffers are kept from frame to frame.
#[derive(Debug, Default)]
pub(crate) struct FrameBuilder {
    meta: Vec<u8>,
    body: Vec<Bytes>,
    ops: Vec<FrameOp>,
    body_bytes: u64,
}

/// A frame ready to be written at its place.
#[derive(Debug)]
pub(crate) struct BuiltFrame<'a> {
    pub(crate) header: [u8; FRAME_HEADER_LEN],
    pub(crate) meta: &'a [u8],
    pub(crate) body: &'a [Bytes],
}

impl FrameBuilder {
    pub(crate) fn clear(&mut self) {
        self.meta.clear();
        self.body.clear();
        self.ops.clear();
        self.body_bytes = 0;
    }

    /// Bytes from the frame's start to the next one's.
    pub(crate) fn total_bytes(&self) -> u64 {
        let bytes = FRAME_HEADER_BYTES + self.meta.len() as u64 + self.body_bytes;
        bytes.next_multiple_of(FRAME_ALIGNMENT)
    }

    /// Bytes from the frame's start to its body.
    pub(crate) fn body_start(&self) -> u64 {
        FRAME_HEADER_BYTES + self.meta.len() as u64
    }

    pub(crate) fn take_ops(&mut self) -> Vec<FrameOp> {
        std::mem::take(&mut self.ops)
    }

    /// Checksums the frame for its place. `None` when it is too long to be described.
    pub(crate) fn build(
        &self,
        place: Location,
        sequence: u64,
        synced: u64,
    ) -> Option<BuiltFrame<'_>> {
        let mut header = FrameHeader {
            crc: 0,
            sequence,
            synced,
            meta_bytes: u32::try_from(self.meta.len()).ok()?,
            ops_count: u32::try_from(self.ops.len()).ok()?,
            body_bytes: self.body_bytes,
        };
        header.crc = header.checksum(place, &self.meta);
        Some(BuiltFrame {
            header: header.encode(),
            meta: &self.meta,
            body: &self.body,
        })
    }

    pub(crate) fn push(&mut self, op: Op) {
        match op {
            Op::Append { group, entry } => self.push_entry(group, &entry, None),
            Op::Truncate { group, from } => {
                self.tag(TAG_TRUNCATE, group);
                self.meta.extend_from_slice(&from.to_le_bytes());
                self.ops.push(FrameOp::Other(Op::Truncate { group, from }));
            }
            Op::Purge { group, from, upto } => {
                self.tag(TAG_PURGE, group);
                self.meta.extend_from_slice(&from.to_le_bytes());
                self.meta.extend_from_slice(&upto.to_le_bytes());
                self.ops
                    .push(FrameOp::Other(Op::Purge { group, from, upto }));
            }
            Op::Put {
                group,
                family,
                key,
                value,
            } => {
                self.tag(TAG_PUT, group);
                self.row_key(family, &key);
                self.put_bytes(&value);
                self.ops.push(FrameOp::Other(Op::Put {
                    group,
                    family,
                    key,
                    value,
                }));
            }
            Op::Delete { group, family, key } => {
                self.tag(TAG_DELETE, group);
                self.row_key(family, &key);
                self.ops
                    .push(FrameOp::Other(Op::Delete { group, family, key }));
            }
            Op::DeleteFamily { group, family } => {
                self.tag(TAG_DELETE_FAMILY, group);
                self.meta.push(family as u8);
                self.ops
                    .push(FrameOp::Other(Op::DeleteFamily { group, family }));
            }
            Op::RemoveGroup { group } => {
                self.tag(TAG_REMOVE_GROUP, group);
                self.ops.push(FrameOp::Other(Op::RemoveGroup { group }));
            }
        }
    }

    pub(crate) fn push_entry(
        &mut self,
        group: GroupId,
        entry: &EntryRecord,
        moved_from: Option<Location>,
    ) {
        let payload_bytes =
            u32::try_from(entry.payload.len()).expect("the store bounds one operation below 4 GiB");
        let head = EntryHead {
            index: entry.index,
            term: entry.term,
            kind: entry.kind,
            crc: entry.crc,
            bytes_before: entry.bytes_before,
            payload_bytes,
        };
        self.tag(
            if moved_from.is_some() {
                TAG_MOVE
            } else {
                TAG_APPEND
            },
            group,
        );
        self.meta.extend_from_slice(&head.index.to_le_bytes());
        self.meta.extend_from_slice(&head.term.to_le_bytes());
        self.meta.push(head.kind as u8);
        self.meta.extend_from_slice(&head.crc.to_le_bytes());
        self.meta
            .extend_from_slice(&head.bytes_before.to_le_bytes());
        self.meta
            .extend_from_slice(&head.payload_bytes.to_le_bytes());
        if let Some(place) = moved_from {
            self.meta.extend_from_slice(&place.segment.to_le_bytes());
            self.meta.extend_from_slice(&place.position.to_le_bytes());
        }
        let body_offset = self.body_bytes;
        self.body_bytes += u64::from(payload_bytes);
        self.body.push(entry.payload.clone());
        self.ops.push(FrameOp::Entry {
            group,
            head,
            body_offset,
            moved_from,
        });
    }

    fn tag(&mut self, tag: u8, group: GroupId) {
        self.meta.push(tag);
        self.meta.extend_from_slice(&group.0.to_le_bytes());
    }

    fn row_key(&mut self, family: RowFamily, key: &[u8]) {
        self.meta.push(family as u8);
        self.put_bytes(key);
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).expect("the store bounds one operation below 4 GiB");
        self.meta.extend_from_slice(&len.to_le_bytes());
        self.meta.extend_from_slice(bytes);
    }
}

/// Reads the descriptions of a verified frame; `None` when they do not make sense, which is damage.
pub(crate) fn decode_ops(header: &FrameHeader, meta: &[u8]) -> Option<Vec<FrameOp>> {
    let mut fields = Fields { rest: meta };
    let mut ops = Vec::new();
    let mut body_offset = 0_u64;
    for _ in 0..header.ops_count {
        let tag = fields.u8()?;
        let group = GroupId(fields.u64()?);
        ops.push(match tag {
            TAG_APPEND | TAG_MOVE => {
                let head = EntryHead {
                    index: fields.u64()?,
                    term: fields.u64()?,
                    kind: EntryKind::from_u8(fields.u8()?)?,
                    crc: fields.u32()?,
                    bytes_before: fields.u64()?,
                    payload_bytes: fields.u32()?,
                };
                let moved_from = if tag == TAG_MOVE {
                    Some(Location {
                        segment: fields.u64()?,
                        position: fields.u64()?,
                    })
                } else {
                    None
                };
                let op = FrameOp::Entry {
                    group,
                    head,
                    body_offset,
                    moved_from,
                };
                body_offset += u64::from(head.payload_bytes);
                op
            }
            TAG_TRUNCATE => FrameOp::Other(Op::Truncate {
                group,
                from: fields.u64()?,
            }),
            TAG_PURGE => FrameOp::Other(Op::Purge {
                group,
                from: fields.u64()?,
                upto: fields.u64()?,
            }),
            TAG_PUT => {
                let family = RowFamily::from_u8(fields.u8()?)?;
                let (key, value) = (fields.bytes()?, fields.bytes()?);
                FrameOp::Other(Op::Put {
                    group,
                    family,
                    key,
                    value,
                })
            }
            TAG_DELETE => {
                let family = RowFamily::from_u8(fields.u8()?)?;
                FrameOp::Other(Op::Delete {
                    group,
                    family,
                    key: fields.bytes()?,
                })
            }
            TAG_DELETE_FAMILY => {
                let family = RowFamily::from_u8(fields.u8()?)?;
                FrameOp::Other(Op::DeleteFamily { group, family })
            }
            TAG_REMOVE_GROUP => FrameOp::Other(Op::RemoveGroup { group }),
            _ => return None,
        });
    }
    (fields.rest.is_empty() && body_offset == header.body_bytes).then_some(ops)
}

/// Reads little-endian fields; `None` at the end.
pub(crate) struct Fields<'a> {
    pub(crate) rest: &'a [u8],
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        Some(self.take::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take()?))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take()?))
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let len = usize::try_from(self.u32()?).ok()?;
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(Bytes::copy_from_slice(head))
    }
}

#[cfg(test)]
mod tests;
