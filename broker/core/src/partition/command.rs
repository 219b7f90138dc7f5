//! What is proposed to a partition's group, and its bytes.
//!
//! Format (big-endian): version (1) u8, tag u8, then the fields. `Append` ends with its record
//! batches verbatim, so that decoding slices them out and encoding copies them once.
//! Knows nothing of the state. Tags and versions are never reused (STYLE rule 23).

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::{CodecError, Reader, Writer};
use crate::ids::{Offset, Term};
use crate::limits::{APPEND_BYTES_MAX, COMMAND_BYTES_MAX};

const VERSION: u8 = 1;
const TAG_APPEND: u8 = 1;
const TAG_ADVANCE_LOG_START: u8 = 2;
const TAG_EXPIRE_PRODUCERS: u8 = 3;
const TAG_CLOSE_SEGMENT: u8 = 30;

/// Bytes of an encoded `Append` before its batches.
pub const APPEND_HEADER_BYTES: usize = 26;

/// Why a log start moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStartReason {
    /// `retention.ms`.
    RetentionTime,
    /// `retention.bytes`.
    RetentionBytes,
    /// Someone asked for it (Kafka: `DeleteRecords`).
    DeleteRecords,
}

/// Record batches, decided and stamped by the leader of one term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The term the leader decided in; the entry is void in any other.
    pub leader_epoch: Term,
    /// Offset of the first record; the entry is void unless it is the next offset.
    pub base_offset: Offset,
    /// Payload after which the state is checkpointed, bytes (`segment.bytes`); 0 = the default.
    pub segment_bytes: u64,
    /// Stamped record batches (Kafka's v2), one after the other.
    pub batches: Bytes,
}

/// What can be proposed to a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Adds records at the end.
    Append(Append),
    /// Makes records below an offset unreadable. Repeating it changes nothing.
    AdvanceLogStart {
        /// The first offset that stays readable; bounded by the log end at apply.
        log_start: Offset,
        /// Why.
        reason: LogStartReason,
    },
    /// Forgets producers that have been silent (`producer.id.expiration.ms`).
    ExpireProducers {
        /// Forget those whose last append was before this, milliseconds since 1970.
        idle_before_ms: i64,
    },
    /// Ends the open segment, if its first record was appended so long ago (`segment.ms`): the
    /// state is checkpointed there. Repeating it changes nothing, nor does it without records.
    CloseSegment {
        /// Smallest age of the segment, milliseconds of replicated time.
        age_ms_min: i64,
    },
}

/// Whether these bytes of a command add records, without decoding them.
#[must_use]
pub fn adds_records(command: &[u8]) -> bool {
    matches!(command, [VERSION, TAG_APPEND, ..])
}

impl Command {
    /// Writes the command. Use [`AppendBuilder`] for appends on the hot path: this copies.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Append(append) => {
                let mut builder = AppendBuilder::new(
                    append.leader_epoch,
                    append.base_offset,
                    append.segment_bytes,
                    append.batches.len(),
                );
                builder.buffer.put_slice(&append.batches);
                builder.buffer.freeze()
            }
            Self::AdvanceLogStart { log_start, reason } => {
                let mut writer = Writer::with_capacity(11);
                writer.u8(VERSION).u8(TAG_ADVANCE_LOG_START);
                writer.i64(log_start.0).u8(reason_tag(*reason));
                writer.finish()
            }
            Self::ExpireProducers { idle_before_ms } => {
                let mut writer = Writer::with_capacity(10);
                writer
                    .u8(VERSION)
                    .u8(TAG_EXPIRE_PRODUCERS)
                    .i64(*idle_before_ms);
                writer.finish()
            }
            Self::CloseSegment { age_ms_min } => {
                let mut writer = Writer::with_capacity(10);
                writer.u8(VERSION).u8(TAG_CLOSE_SEGMENT).i64(*age_ms_min);
                writer.finish()
            }
        }
    }

    /// Reads a command; an `Append` shares the payload with `bytes`.
    ///
    /// # Errors
    /// `Truncated`, `UnknownVersion`, `UnknownTag`, `OverLimit`, `LeftOver`.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes.clone());
        reader.version("partition command", VERSION)?;
        let tag = reader.u8()?;
        check_size(tag, bytes.len())?;
        let command = match tag {
            TAG_APPEND => Self::Append(Append {
                leader_epoch: Term(reader.u64()?),
                base_offset: Offset(reader.i64()?),
                segment_bytes: reader.u64()?,
                batches: reader.rest(),
            }),
            TAG_ADVANCE_LOG_START => Self::AdvanceLogStart {
                log_start: Offset(reader.i64()?),
                reason: reason_of(reader.u8()?)?,
            },
            TAG_EXPIRE_PRODUCERS => Self::ExpireProducers {
                idle_before_ms: reader.i64()?,
            },
            TAG_CLOSE_SEGMENT => Self::CloseSegment {
                age_ms_min: reader.i64()?,
            },
            tag => {
                return Err(CodecError::UnknownTag {
                    what: "partition command".to_owned(),
                    tag,
                });
            }
        };
        reader.finish()?;
        Ok(command)
    }
}

fn check_size(tag: u8, actual: usize) -> Result<(), CodecError> {
    let limit = if tag == TAG_APPEND {
        APPEND_BYTES_MAX
    } else {
        COMMAND_BYTES_MAX
    };
    if actual <= limit {
        return Ok(());
    }
    Err(CodecError::OverLimit {
        what: "partition command".to_owned(),
        actual,
        limit,
    })
}

const fn reason_tag(reason: LogStartReason) -> u8 {
    match reason {
        LogStartReason::RetentionTime => 1,
        LogStartReason::RetentionBytes => 2,
        LogStartReason::DeleteRecords => 3,
    }
}

fn reason_of(tag: u8) -> Result<LogStartReason, CodecError> {
    match tag {
        1 => Ok(LogStartReason::RetentionTime),
        2 => Ok(LogStartReason::RetentionBytes),
        3 => Ok(LogStartReason::DeleteRecords),
        tag => Err(CodecError::UnknownTag {
            what: "log start reason".to_owned(),
            tag,
        }),
    }
}

/// Builds the bytes of one `Append`: each batch is copied once, into the entry, and stamped there.
#[derive(Debug)]
pub struct AppendBuilder {
    buffer: BytesMut,
    leader_epoch: Term,
    head_bytes: usize,
}

impl AppendBuilder {
    /// Starts an entry whose first record gets `base_offset`, with room for its batches.
    #[must_use]
    pub fn new(
        leader_epoch: Term,
        base_offset: Offset,
        segment_bytes: u64,
        batches_bytes: usize,
    ) -> Self {
        Self::with_prefix(&[], leader_epoch, base_offset, segment_bytes, batches_bytes)
    }

    /// As [`AppendBuilder::new`], with the host's own bytes in front of the command, so that the
    /// batches are copied once.
    #[must_use]
    pub fn with_prefix(
        prefix: &[u8],
        leader_epoch: Term,
        base_offset: Offset,
        segment_bytes: u64,
        batches_bytes: usize,
    ) -> Self {
        let head_bytes = prefix.len() + APPEND_HEADER_BYTES;
        let mut buffer = BytesMut::with_capacity(head_bytes.saturating_add(batches_bytes));
        buffer.put_slice(prefix);
        buffer.put_u8(VERSION);
        buffer.put_u8(TAG_APPEND);
        buffer.put_u64(leader_epoch.0);
        buffer.put_i64(base_offset.0);
        buffer.put_u64(segment_bytes);
        Self {
            buffer,
            leader_epoch,
            head_bytes,
        }
    }

    /// Adds one validated batch and stamps it with its offset and the leader epoch.
    ///
    /// `log_append_time_ms` is for topics with `message.timestamp.type=LogAppendTime`: it
    /// rewrites the batch's timestamps, and its CRC with them.
    pub fn push(&mut self, batch: &[u8], base_offset: Offset, log_append_time_ms: Option<i64>) {
        let start = self.buffer.len();
        self.buffer.put_slice(batch);
        let stored = &mut self.buffer[start..];
        raftmq_records::stamp(stored, base_offset.0, batch_leader_epoch(self.leader_epoch));
        if let Some(timestamp_ms) = log_append_time_ms {
            raftmq_records::set_log_append_time(stored, timestamp_ms);
        }
    }

    /// Counts the bytes of the batches so far.
    #[must_use]
    pub fn batches_bytes(&self) -> usize {
        self.buffer.len() - self.head_bytes
    }

    /// Tells whether no batch was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches_bytes() == 0
    }

    /// Ends the entry: these are the bytes to propose.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.buffer.freeze()
    }
}

/// The leader epoch as a batch carries it: Kafka gives it 31 bits, Raft terms have 64.
///
/// A term beyond that (two thousand million elections of one partition) is stamped as the
/// largest; the entry's own 64-bit term is the one that apply compares.
#[must_use]
pub fn batch_leader_epoch(term: Term) -> i32 {
    i32::try_from(term.0).unwrap_or(i32::MAX)
}
