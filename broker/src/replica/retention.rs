//! What a leader proposes for the sake of space: log starts, ends of segments, and that silent
//! producers are forgotten.
//!
//! What is then purged, and when, is each replica's own business (`Replicas::run_purges`). Does not
//! know protocols.

use raftmq_core::partition::{self, Command, LogStartReason, compaction};

use super::error::ReplicaError;
use super::local::Replica;
use crate::raft::Reply;
use crate::raft::machine::envelope;

/// `retention.ms` of what is kept for ever.
const RETENTION_OFF: i64 = -1;

impl Replica {
    /// Moves the log start forward. Where that leaves no record, the open segment ends there, so
    /// that all of it can be purged.
    ///
    /// # Errors
    ///
    /// Not the leader; the offset lies beyond the high watermark.
    pub async fn advance_log_start(
        &self,
        log_start: i64,
        reason: LogStartReason,
    ) -> Result<i64, ReplicaError> {
        let (now_start, log_end, has_open_segment) = {
            let state = self.machine().read();
            let has_open_segment = state.segment_age_ms(0).is_some();
            let (start, end) = (state.log_start().get(), state.log_end().get());
            (start, end, has_open_segment)
        };
        if log_start > log_end || log_start < 0 {
            let (offset, log_start) = (log_start, now_start);
            return Err(ReplicaError::OffsetOutOfRange {
                offset,
                log_start,
                log_end,
            });
        }
        if log_start == log_end && log_start > now_start && has_open_segment {
            self.close_segment(i64::MIN).await?;
        }
        let command = Command::AdvanceLogStart {
            log_start: log_start.into(),
            reason,
        };
        match self.write(&command).await? {
            partition::Reply::LogStart { log_start } => Ok(log_start.get()),
            partition::Reply::Appended { .. }
            | partition::Reply::Void(_)
            | partition::Reply::ProducersExpired { .. }
            | partition::Reply::SegmentClosed { .. } => Err(ReplicaError::Void),
        }
    }

    /// Deletes records below `before_offset`; -1 = all that are committed. Returns the new log
    /// start. Repetition changes nothing.
    ///
    /// # Errors
    ///
    /// As for [`Self::advance_log_start`].
    pub async fn delete_records(&self, before_offset: i64) -> Result<i64, ReplicaError> {
        let log_start = match before_offset {
            -1 => self.machine().read().log_end().get(),
            offset => offset,
        };
        self.advance_log_start(log_start, LogStartReason::DeleteRecords)
            .await
    }

    /// Ends the open segment where `segment.ms` asks for it, forgets producers where
    /// `producer.id.expiration.ms` does, and proposes a new log start where retention does;
    /// `by_time` says whether this broker's clock may be trusted for that.
    pub(super) async fn enforce_retention(&self, by_time: bool) {
        if self.leading_term().is_none() {
            return;
        }
        let done = async {
            if by_time {
                self.close_old_segment().await?;
                self.expire_producers().await?;
            }
            self.drop_expired(by_time).await
        };
        if let Err(error) = done.await {
            tracing::debug!(raft_group = self.id().0, %error, "retention failed");
        }
    }

    async fn close_old_segment(&self) -> Result<(), ReplicaError> {
        let segment_ms = self.view().settings.segment_ms;
        let age_ms = self.machine().read().segment_age_ms(self.now_ms());
        if age_ms.is_some_and(|age_ms| age_ms >= segment_ms) {
            self.close_segment(segment_ms).await?;
        }
        Ok(())
    }

    async fn expire_producers(&self) -> Result<(), ReplicaError> {
        let expiration_ms = self.view().settings.producer_expiration_ms;
        let now_ms = self.now_ms();
        let command = self
            .machine()
            .read()
            .expire_producers_command(now_ms, expiration_ms);
        let Some(command) = command else {
            return Ok(());
        };
        if let partition::Reply::ProducersExpired { count } = self.write(&command).await? {
            tracing::debug!(
                raft_group = self.id().0,
                count,
                "silent producers forgotten"
            );
        }
        Ok(())
    }

    async fn drop_expired(&self, by_time: bool) -> Result<(), ReplicaError> {
        let settings = self.view().settings;
        if settings
            .compaction
            .is_some_and(|policy| !policy.also_deletes)
        {
            return Ok(());
        }
        let survivors = self.survivors().await?;
        let heads = survivors.heads()?;
        let retention_ms = if by_time {
            settings.retention_ms
        } else {
            RETENTION_OFF
        };
        let cut = {
            let state = self.machine().read();
            compaction::cut(
                &state,
                &survivors.whole,
                &heads,
                self.now_ms(),
                retention_ms,
                settings.retention_bytes,
            )
        };
        let Some(cut) = cut else { return Ok(()) };
        let log_start = cut.log_start.get();
        let log_start = self.advance_log_start(log_start, cut.reason).await?;
        let raft_group = self.id().0;
        tracing::info!(raft_group, log_start, reason = ?cut.reason, "retention");
        Ok(())
    }

    async fn close_segment(&self, age_ms_min: i64) -> Result<(), ReplicaError> {
        let command = Command::CloseSegment { age_ms_min };
        self.write(&command).await.map(|_reply| ())
    }

    async fn write(&self, command: &Command) -> Result<partition::Reply, ReplicaError> {
        let term = self.leading_term().ok_or_else(|| self.not_leader())?;
        let bytes = envelope(self.now_ms(), &command.encode());
        match self.group().write(term, bytes).await {
            Ok((_, Reply::Partition(reply))) => Ok(reply),
            Ok(_) => Err(ReplicaError::Void),
            Err(_) => Err(self.not_leader()),
        }
    }
}
