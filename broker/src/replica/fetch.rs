//! Reads of committed records: fetch, wait for more, and look up offsets.
//!
//! Only the leader reads. Below the high watermark everything is committed, so nothing that is
//! served is ever taken back.

use bytes::Bytes;
use openraft::EntryPayload;
use raftmq_core::ids::{LogIndex, Offset, Term};
use raftmq_core::partition::reader::Progress;
use raftmq_core::partition::{LogReader, Position, RawEntry};
use raftmq_records::{BatchError, BatchHeader, DecodeLimits};

use super::error::ReplicaError;
use super::local::Replica;
use crate::raft::machine::open_envelope;

/// Bytes read from the log at a time.
const READ_BYTES: usize = 1 << 20;
/// Bytes looked through for the first record at a time; a batch is never longer.
const SEARCH_BYTES: usize = 4 << 20;

/// What a fetch found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Whole record batches, in order.
    pub batches: Vec<Bytes>,
    /// The next offset that will be committed.
    pub high_watermark: i64,
    /// The first readable offset.
    pub log_start: i64,
    /// The leader's term.
    pub leader_epoch: u64,
}

/// Which offset is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetAt {
    /// The first readable one.
    Earliest,
    /// The high watermark.
    Latest,
    /// That of the record with the largest timestamp.
    MaxTimestamp,
    /// That of the first record with this timestamp or a later one.
    Timestamp(i64),
}

/// An offset and its record's timestamp; both -1 where there is no such record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: i64,
    /// The record's timestamp; -1 for the specials without a record.
    pub timestamp_ms: i64,
}

impl Replica {
    /// Checks that this replica leads, and in the epoch that the client means.
    ///
    /// # Errors
    ///
    /// Not the leader; the client's epoch (-1 = any) is older or newer than the leader's.
    pub fn check_leader(&self, requested_epoch: i64) -> Result<u64, ReplicaError> {
        let term = self.leading_term().ok_or_else(|| self.not_leader())?;
        let current = i64::try_from(term).unwrap_or(i64::MAX);
        match requested_epoch {
            epoch if epoch < 0 || epoch == current => Ok(term),
            epoch if epoch < current => Err(ReplicaError::FencedLeaderEpoch {
                requested: epoch,
                current,
            }),
            epoch => Err(ReplicaError::UnknownLeaderEpoch {
                requested: epoch,
                current,
            }),
        }
    }

    /// Reads batches from `offset` on: at most `bytes_max`, but at least one if there is one.
    ///
    /// # Errors
    ///
    /// Not the leader, an offset outside the log, or a log that cannot be read.
    pub async fn fetch(
        &self,
        offset: i64,
        bytes_max: usize,
        requested_epoch: i64,
    ) -> Result<Fetched, ReplicaError> {
        let leader_epoch = self.check_leader(requested_epoch)?;
        let read = self.read_committed(offset, bytes_max).await?;
        Ok(Fetched {
            leader_epoch,
            ..read
        })
    }

    /// Reads what is committed and applied on this replica, whether it leads or not: a follower
    /// may be behind, but never shows what is not committed. `leader_epoch` is 0.
    ///
    /// # Errors
    ///
    /// As for [`Self::fetch`], except that leadership is not asked for.
    pub async fn read_committed(
        &self,
        offset: i64,
        bytes_max: usize,
    ) -> Result<Fetched, ReplicaError> {
        let compacted_end = self.survivors().await?.whole.end;
        let (position, log_start, log_end) = {
            let state = self.machine().read();
            let (log_start, log_end) = (state.log_start().get(), state.log_end().get());
            if offset < log_start || offset > log_end {
                return Err(ReplicaError::OffsetOutOfRange {
                    offset,
                    log_start,
                    log_end,
                });
            }
            let in_log = compacted_end.max(Offset(offset));
            (state.locate(in_log).ok(), log_start, log_end)
        };
        let is_wanted = offset < log_end && bytes_max > 0;
        let mut batches = Vec::new();
        if is_wanted && offset < compacted_end.get() {
            batches = self.read_survivors(offset, bytes_max).await?;
        }
        if let Some(position) = position.filter(|_| is_wanted && batches.is_empty()) {
            let from = offset.max(compacted_end.get());
            batches = self.read(position, from, log_end, bytes_max).await?;
        }
        Ok(Fetched {
            batches,
            high_watermark: log_end,
            log_start,
            leader_epoch: 0,
        })
    }

    pub(super) async fn read(
        &self,
        position: Position,
        from: i64,
        until: i64,
        bytes_max: usize,
    ) -> Result<Vec<Bytes>, ReplicaError> {
        let storage = |error: &dyn std::fmt::Display| ReplicaError::Storage(error.to_string());
        let mut reader = LogReader::new(position, Offset(from), Offset(until), bytes_max);
        'read: loop {
            let wanted = READ_BYTES.min(bytes_max.saturating_sub(reader.bytes()).max(1));
            let next = reader.next_log_index().get();
            let entries = self.group().store().read_entries(next, wanted).await;
            let entries = entries.map_err(|error| storage(&error))?;
            if entries
                .first()
                .is_none_or(|entry| entry.log_id.index != next)
            {
                // Purged under our feet: the caller sees the new log start next time.
                break;
            }
            for entry in entries {
                let raw = raw_entry(entry);
                match reader.feed(&raw).map_err(|error| storage(&error))? {
                    Progress::More => {}
                    Progress::Full => break 'read,
                }
            }
        }
        Ok(reader
            .finish()
            .into_iter()
            .map(|batch| batch.bytes)
            .collect())
    }

    /// Waits until the high watermark is beyond `offset`. Cancel safe.
    pub async fn wait_beyond(&self, offset: i64) {
        let mut log_end = self.machine().binding().log_end();
        // The sender lives as long as the machine, which this replica holds.
        let _ = log_end.wait_for(|log_end| *log_end > offset).await;
    }

    /// Finds an offset.
    ///
    /// # Errors
    ///
    /// Not the leader, or a log that cannot be read.
    pub async fn find_offset(&self, at: OffsetAt) -> Result<(FoundOffset, u64), ReplicaError> {
        let term = self.check_leader(-1)?;
        let special = |offset: i64| FoundOffset {
            offset,
            timestamp_ms: -1,
        };
        let found = match at {
            OffsetAt::Earliest => special(self.machine().read().log_start().get()),
            OffsetAt::Latest => special(self.machine().read().log_end().get()),
            OffsetAt::Timestamp(timestamp_ms) => self.search_all(timestamp_ms).await?,
            OffsetAt::MaxTimestamp => {
                let survivors = self.survivors().await?;
                let newest = survivors.heads()?.into_iter();
                let newest = newest.map(|head| head.max_timestamp_ms).max();
                let newest_in_log = {
                    let state = self.machine().read();
                    state.max_timestamp_from(survivors.whole.end)
                };
                let newest = newest.max(newest_in_log).unwrap_or(-1);
                self.search_all(newest).await?
            }
        };
        Ok((found, term))
    }

    /// The first readable record that has this timestamp or a later one.
    async fn search_all(&self, timestamp_ms: i64) -> Result<FoundOffset, ReplicaError> {
        let compacted_end = self.survivors().await?.whole.end;
        let (log_start, position) = {
            let state = self.machine().read();
            let position = state.offset_for_time(compacted_end, timestamp_ms);
            (state.log_start().get(), position)
        };
        if compacted_end.get() > log_start
            && let Some(found) = self.search_survivors(timestamp_ms, log_start).await?
        {
            return Ok(found);
        }
        self.search(position, timestamp_ms).await
    }

    /// The first record from `position` on that has this timestamp or a later one.
    async fn search(
        &self,
        position: Option<Position>,
        timestamp_ms: i64,
    ) -> Result<FoundOffset, ReplicaError> {
        let none = FoundOffset {
            offset: -1,
            timestamp_ms: -1,
        };
        let Some(mut position) = position else {
            return Ok(none);
        };
        let (log_start, log_end) = {
            let state = self.machine().read();
            (state.log_start().get(), state.log_end().get())
        };
        let mut from = position.base_offset.get().max(log_start);
        while from < log_end {
            let batches = self.read(position, from, log_end, SEARCH_BYTES).await?;
            if batches.is_empty() {
                return Ok(none);
            }
            for batch in batches {
                let header = BatchHeader::parse(&batch);
                let header = header.map_err(|error| ReplicaError::Storage(error.to_string()))?;
                from = header.base_offset + i64::from(header.last_offset_delta) + 1;
                if header.max_timestamp >= timestamp_ms
                    && let Some(found) = first_record_at(&batch, timestamp_ms, log_start)?
                {
                    return Ok(found);
                }
            }
            match self.machine().read().locate(Offset(from)) {
                Ok(next) => position = next,
                Err(_) => return Ok(none),
            }
        }
        Ok(none)
    }
}

/// The first record of a batch, from `log_start` on, that has this timestamp or a later one. Of a batch whose records
/// cannot be read (nobody looks into compressed ones that are produced) its beginning: who starts there misses nothing.
pub(super) fn first_record_at(
    batch: &Bytes,
    timestamp_ms: i64,
    log_start: i64,
) -> Result<Option<FoundOffset>, ReplicaError> {
    let header = BatchHeader::parse(batch);
    let header = header.map_err(|error| ReplicaError::Storage(error.to_string()))?;
    let found = first_readable_at(batch, timestamp_ms, log_start).unwrap_or_else(|_unreadable| {
        (header.max_timestamp >= timestamp_ms).then_some(FoundOffset {
            offset: header.base_offset.max(log_start),
            timestamp_ms: header.max_timestamp,
        })
    });
    Ok(found)
}

fn first_readable_at(
    batch: &Bytes,
    timestamp_ms: i64,
    log_start: i64,
) -> Result<Option<FoundOffset>, BatchError> {
    for record in raftmq_records::records(batch, DecodeLimits::default())? {
        let record = record?;
        if record.timestamp_ms >= timestamp_ms && record.offset >= log_start {
            let found = FoundOffset {
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
            };
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn raw_entry(entry: raftmq_store::Entry) -> RawEntry {
    let command = match entry.payload {
        EntryPayload::Normal(command) => {
            open_envelope(&command.0).map_or_else(Bytes::new, |(_, _, command)| command)
        }
        EntryPayload::Blank | EntryPayload::Membership(_) => Bytes::new(),
    };
    RawEntry {
        log_index: LogIndex(entry.log_id.index),
        term: Term(entry.log_id.leader_id.term),
        command,
    }
}
