//! openraft's log storage on top of a group.
//!
//! Owns the adaptation only: errors, ranges, streams bounded in bytes. Durability and order are the
//! commit queue's. Source: openraft `RaftLogStorage` and `RaftLogReader`; Raft section 5.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use futures_util::Stream;
use futures_util::stream;
use openraft::errors::LeaderChanged;
use openraft::storage::LeaderBoundedStreamError;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};

use crate::group::GroupStore;
use crate::types::{Entry, LeaderId, LogId, StoreTypes, Vote};

/// Log storage and log reader of one group; cheap to clone.
#[derive(Debug, Clone)]
pub struct GroupLog {
    group: GroupStore,
}

impl GroupLog {
    pub(crate) const fn new(group: GroupStore) -> Self {
        Self { group }
    }

    /// The group whose log this is.
    #[must_use]
    pub const fn group(&self) -> &GroupStore {
        &self.group
    }

    fn bytes_max(&self) -> usize {
        self.group.store.config.read_bytes_max
    }

    /// The part of a range that the log can hold, as `[start, end)`.
    fn clip<RB: RangeBounds<u64>>(&self, range: &RB) -> (u64, u64) {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let first = self.group.first_log_index().unwrap_or(u64::MAX);
        let last = self
            .group
            .last_log_index()
            .map_or(0, |last| last.saturating_add(1));
        (start.max(first), end.min(last))
    }

    /// The next entries of a range: `None` at its end.
    async fn next_chunk(&self, from: u64, end: u64) -> Result<Option<Vec<Entry>>, io::Error> {
        if from >= end {
            return Ok(None);
        }
        let entries = self.group.read_range(from, end, self.bytes_max()).await?;
        Ok((!entries.is_empty()).then_some(entries))
    }
}

/// Index after the last entry of a chunk.
fn after(chunk: &[Entry], from: u64) -> u64 {
    chunk.last().map_or(from, |entry| entry.log_id.index + 1)
}

impl<C: StoreTypes> RaftLogReader<C> for GroupLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (mut from, end) = self.clip(&range);
        let mut entries = Vec::new();
        while let Some(chunk) = self.next_chunk(from, end).await? {
            from = after(&chunk, from);
            entries.extend(chunk);
        }
        Ok(entries)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let inner = self.group.lock()?;
        if let Some(what) = inner.damaged {
            let text = "the group must be rebuilt from its peers".to_owned();
            return Err(crate::error::StoreError::Damaged { what, text }.into());
        }
        Ok(inner.vote)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let (from, end) = self.clip(&(start..end));
        Ok(self.next_chunk(from, end).await?.unwrap_or_default())
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, end) = self.clip(&range);
        let state = (self.clone(), from, end, Vec::new().into_iter());
        let stream = stream::try_unfold(state, |(log, from, end, mut chunk)| async move {
            if let Some(entry) = chunk.next() {
                return Ok(Some((entry, (log, from, end, chunk))));
            }
            let Some(entries) = log.next_chunk(from, end).await? else {
                return Ok(None);
            };
            let from = after(&entries, from);
            let mut chunk = entries.into_iter();
            Ok(chunk.next().map(|entry| (entry, (log, from, end, chunk))))
        });
        Box::pin(stream)
    }

    async fn leader_bounded_stream<RB>(
        &mut self,
        leader: LeaderId,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, LeaderBoundedStreamError<C>>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, end) = self.clip(&range);
        let state = (self.clone(), from, end, None);
        let stream = stream::try_unfold(state, move |(log, from, end, chunk)| async move {
            let mut chunk: std::vec::IntoIter<Entry> = match chunk {
                Some(chunk) => chunk,
                None => {
                    check_leader::<C>(&log, leader)?;
                    Vec::new().into_iter()
                }
            };
            if let Some(entry) = chunk.next() {
                return Ok(Some((entry, (log, from, end, Some(chunk)))));
            }
            let entries = log
                .next_chunk(from, end)
                .await
                .map_err(LeaderBoundedStreamError::IoError)?;
            // Checked after the read: a changed leader may have truncated what was read.
            check_leader::<C>(&log, leader)?;
            let Some(entries) = entries else {
                return Ok(None);
            };
            let from = after(&entries, from);
            let mut chunk = entries.into_iter();
            Ok(chunk
                .next()
                .map(|entry| (entry, (log, from, end, Some(chunk)))))
        });
        Box::pin(stream)
    }
}

/// Whether the stored vote is still that of the committed leader `leader`.
fn check_leader<C>(log: &GroupLog, leader: LeaderId) -> Result<(), LeaderBoundedStreamError<C>>
where
    C: StoreTypes,
{
    let inner = log
        .group
        .lock()
        .map_err(|error| LeaderBoundedStreamError::IoError(error.into()))?;
    let vote = inner.vote;
    match vote {
        Some(Vote {
            leader_id,
            committed: true,
        }) if leader_id == leader => Ok(()),
        Some(_) | None => Err(LeaderBoundedStreamError::LeaderChanged(LeaderChanged::new(
            leader, vote,
        ))),
    }
}

impl<C: StoreTypes> RaftLogStorage<C> for GroupLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<C>, io::Error> {
        let inner = self.group.lock()?;
        Ok(LogState {
            last_purged_log_id: inner.purged,
            last_log_id: inner.last,
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        Ok(self.group.save_vote(*vote).await?)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        Ok(self.group.save_committed(committed)?)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.group.lock()?.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<C>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let done = Box::new(move |result: Result<(), crate::error::StoreError>| {
            callback.io_completed(result.map_err(Into::into));
        });
        Ok(self.group.append(entries, done).await?)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        Ok(self.group.truncate_after(last_log_id).await?)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        Ok(self.group.purge(log_id).await?)
    }
}
