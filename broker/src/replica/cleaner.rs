//! The cleaner of a compacted partition: carries a pass out on this replica.
//!
//! What is due and what goes is decided in `raftmq_core::partition::compaction`. The order of the
//! steps makes a pass that is cut off harmless: rows first (those of the log's part are not looked
//! at yet), then the note that puts them in force, then the purge of the log they stand for.

use std::time::Duration;

use raftmq_core::ids::{LogIndex, Offset};
use raftmq_core::limits::COMPACTION_KEYS_BYTES_MAX;
use raftmq_core::partition::Boundary;
use raftmq_core::partition::compaction::{ChunkHead, Pass, Plan, Region, Survivors, plan};
use raftmq_core::partition::reader::Progress;
use raftmq_records::BatchHeader;
use raftmq_store::{GroupHealth, SurvivorChange};

use super::Replicas;
use super::error::ReplicaError;
use super::local::Replica;
use super::rewriter::Rewriter;
use super::survivors::{SurvivorView, key_of, storage};
use super::view::CompactionPolicy;

/// Bytes of the log that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// How often it is looked whether a compacted partition should be cleaned.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);
/// Longest time until a partition whose records may have become old enough is looked at again.
const LAG_LOOK_MS_MAX: i64 = 60_000;

/// Nothing was due: nothing will be until one of these is another. So an idle partition costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NothingToClean {
    applied: LogIndex,
    policy: CompactionPolicy,
    until_ms: i64,
}

/// What a pass works with.
struct Work<'a> {
    replica: &'a Replica,
    view: SurvivorView,
    plan: Plan,
    pass: Pass,
}

impl Replica {
    /// Cleans the partition if that is due; `now_ms` is a clock that may be trusted. Every replica
    /// does so by itself. True: something was done.
    ///
    /// # Errors
    ///
    /// The log or the survivors cannot be read or written.
    pub async fn clean(&self, now_ms: i64) -> Result<bool, ReplicaError> {
        let store = self.group().store();
        let mut view = self.survivors().await?;
        let policy = self.view().settings.compaction;
        if policy.is_none() && view.index.heads.is_empty() {
            return Ok(false);
        }
        let applied = self.machine().read().applied();
        let is_known = |known: NothingToClean| {
            known.applied == applied && Some(known.policy) == policy && now_ms < known.until_ms
        };
        if self.nothing_to_clean.lock().is_some_and(is_known) {
            return Ok(false);
        }
        let Some(_right) = store.clean_survivors() else {
            return Ok(false);
        };
        if store.health() != GroupHealth::Ok {
            return Ok(false);
        }
        self.purge_compacted(&view.whole).await?;
        if self.drop_deleted(&view).await? {
            view = self.survivors().await?;
        }
        let Some(policy) = policy else {
            return Ok(false);
        };
        let Some(plan) = self.plan(&view, &policy, now_ms).await? else {
            let horizons = view.heads()?;
            let horizon_ms = horizons.iter().filter_map(|head| head.horizon_ms).min();
            let lag_ms = policy.settings.lag_ms.min(LAG_LOOK_MS_MAX);
            let aged_ms = (lag_ms > 0).then(|| now_ms.saturating_add(lag_ms));
            let until_ms = horizon_ms.unwrap_or(i64::MAX);
            *self.nothing_to_clean.lock() = Some(NothingToClean {
                applied,
                policy,
                until_ms: until_ms.min(aged_ms.unwrap_or(i64::MAX)),
            });
            return Ok(false);
        };
        let delete_retention_ms = policy.settings.delete_retention_ms;
        let pass = Pass::new(COMPACTION_KEYS_BYTES_MAX, now_ms, delete_retention_ms);
        let work = Work {
            replica: self,
            view,
            plan,
            pass,
        };
        work.run().await?;
        Ok(true)
    }

    async fn plan(
        &self,
        view: &SurvivorView,
        policy: &CompactionPolicy,
        now_ms: i64,
    ) -> Result<Option<Plan>, ReplicaError> {
        let heads = view.heads()?;
        let checkpoints = self.group().store().checkpoints().await.map_err(storage)?;
        let checkpoints: Vec<LogIndex> = checkpoints.iter().map(|at| LogIndex(at.index)).collect();
        let state = self.machine().read();
        let settings = &policy.settings;
        Ok(plan(
            &state,
            &view.whole,
            heads.iter(),
            settings,
            &checkpoints,
            now_ms,
        ))
    }

    /// Lets go of the log that the survivors stand for. Changes nothing when that is done already.
    async fn purge_compacted(&self, whole: &Survivors) -> Result<(), ReplicaError> {
        if whole.boundary == LogIndex(0) {
            return Ok(());
        }
        let purged = self.group().purge_to_checkpoint(whole.boundary.get()).await;
        purged.map_err(storage)?;
        let end = whole.end;
        self.machine().adjust(|state| state.forget_index_below(end));
        Ok(())
    }

    /// Drops the chunks that lie below the log start.
    async fn drop_deleted(&self, view: &SurvivorView) -> Result<bool, ReplicaError> {
        let log_start = self.machine().read().log_start();
        let heads = view.heads()?;
        let deleted = heads.iter().take_while(|head| head.end <= log_start);
        let deletes: Vec<u64> = deleted.map(|head| key_of(head.base_offset)).collect();
        if deletes.is_empty() {
            return Ok(false);
        }
        let change = SurvivorChange {
            puts: Vec::new(),
            deletes,
        };
        let store = self.group().store();
        let changed = store.change_survivors(view.index.generation, change).await;
        changed.map_err(storage)?;
        Ok(true)
    }
}

impl Replicas {
    /// Cleans compacted partitions as they come due. Runs for ever.
    pub async fn run_cleaner(&self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            self.clean_compacted().await;
        }
    }

    /// Looks once at every compacted partition of this broker, and cleans those where that is due. One
    /// after the other: each may take the memory for a pass.
    pub async fn clean_compacted(&self) {
        if !self.trusts_clock() {
            return;
        }
        for replica in self.all() {
            let now_ms = replica.now_ms();
            if let Err(error) = replica.clean(now_ms).await {
                tracing::warn!(raft_group = replica.id().0, %error, "compaction failed");
            }
        }
    }
}

impl Work<'_> {
    async fn run(mut self) -> Result<(), ReplicaError> {
        self.forget_unfinished().await?;
        let heads = self.view.heads()?;
        let covered_to = self.learn(&heads).await?;
        let target = self.plan.target_for(covered_to);
        let mut rewriter = Rewriter::new(self.replica.group().store(), &self.view);
        for head in &heads {
            self.check_alone()?;
            self.clean_chunk(head, covered_to, &mut rewriter).await?;
        }
        rewriter.commit().await?;
        if let Some(target) = target {
            self.clean_log(target, covered_to, &mut rewriter).await?;
        }
        let whole = Survivors {
            end: target.map_or(self.view.whole.end, |target| target.log_end),
            cleaned_to: covered_to.max(self.view.whole.cleaned_to),
            boundary: target.map_or(self.view.whole.boundary, |target| target.log_index),
        };
        self.note(&whole).await?;
        self.replica.purge_compacted(&whole).await?;
        let (keys, raft_group) = (self.pass.keys_count(), self.replica.id().0);
        tracing::trace!(target: "raftmq::mark", name = "partition_compacted");
        tracing::debug!(raft_group, keys, cleaned_to = covered_to.get(), "compacted");
        metrics::counter!("raftmq_compaction_passes_total").increment(1);
        Ok(())
    }

    /// Rows that an earlier pass wrote and did not put in force. From the first note on, every row
    /// on the disk is known after a restart.
    async fn forget_unfinished(&mut self) -> Result<(), ReplicaError> {
        if self.view.index.note.is_empty() {
            let whole = self.view.whole;
            self.note(&whole).await?;
        }
        let end = key_of(self.view.whole.end);
        let unfinished = self.view.index.heads.range(end..);
        let deletes: Vec<u64> = unfinished.map(|(key, _)| *key).collect();
        if !deletes.is_empty() {
            let change = SurvivorChange {
                puts: Vec::new(),
                deletes,
            };
            let store = self.replica.group().store();
            let changed = store.change_survivors(self.view.index.generation, change);
            changed.await.map_err(storage)?;
        }
        Ok(())
    }

    async fn note(&self, whole: &Survivors) -> Result<(), ReplicaError> {
        let store = self.replica.group().store();
        let noted = store.note_survivors(self.view.index.generation, whole.encode());
        noted.await.map_err(storage)
    }

    /// Learns keys, as many as there is memory for; says up to where.
    async fn learn(&mut self, heads: &[ChunkHead]) -> Result<Offset, ReplicaError> {
        let dirty_from = self.plan.dirty_from;
        for head in heads.iter().filter(|head| head.end > dirty_from) {
            for batch in self.chunk(head).await? {
                let header = BatchHeader::parse(&batch).map_err(storage)?;
                let is_dirty = header.next_offset() > dirty_from.get();
                if is_dirty && self.pass.learn(&batch) == Progress::Full {
                    return Ok(Offset(header.base_offset));
                }
            }
        }
        let (mut at, end) = (self.plan.log_from, self.plan.dirty_end());
        while at < end {
            self.check_alone()?;
            for (header, batch) in self.log(at, end).await? {
                if self.pass.learn(&batch) == Progress::Full {
                    return Ok(Offset(header.base_offset));
                }
                at = Offset(header.next_offset());
            }
        }
        Ok(end)
    }

    async fn clean_chunk(
        &self,
        head: &ChunkHead,
        covered_to: Offset,
        rewriter: &mut Rewriter<'_>,
    ) -> Result<(), ReplicaError> {
        for batch in self.chunk(head).await? {
            let header = BatchHeader::parse(&batch).map_err(storage)?;
            let region = self.region(header.base_offset, head.horizon_ms, covered_to);
            rewriter.take(&header, &batch, region, &self.pass);
        }
        rewriter.end_source(head).await
    }

    async fn clean_log(
        &self,
        target: Boundary,
        covered_to: Offset,
        rewriter: &mut Rewriter<'_>,
    ) -> Result<(), ReplicaError> {
        let mut at = self.plan.log_from;
        while at < target.log_end {
            self.check_alone()?;
            for (header, batch) in self.log(at, target.log_end).await? {
                let region = self.region(header.base_offset, None, covered_to);
                rewriter.take(&header, &batch, region, &self.pass);
                at = Offset(header.next_offset());
            }
            rewriter.commit_when_full().await?;
        }
        rewriter.commit().await
    }

    fn region(&self, base_offset: i64, horizon_ms: Option<i64>, covered_to: Offset) -> Region {
        if base_offset < self.view.whole.cleaned_to.get() {
            Region::Clean { horizon_ms }
        } else if base_offset < covered_to.get() {
            Region::Dirty
        } else {
            Region::Beyond
        }
    }

    async fn chunk(&self, head: &ChunkHead) -> Result<Vec<bytes::Bytes>, ReplicaError> {
        let batches = self.view.read(self.replica.group().store(), head).await?;
        // Nobody else changes them while this pass has the right to.
        batches.ok_or_else(|| storage("a survivor is missing"))
    }

    /// The next batches of the log; at least one, or an error.
    async fn log(
        &self,
        from: Offset,
        until: Offset,
    ) -> Result<Vec<(BatchHeader, bytes::Bytes)>, ReplicaError> {
        let position = self.replica.machine().read().locate(from);
        let position = position.map_err(storage)?;
        let batches = self
            .replica
            .read(position, from.get(), until.get(), READ_BYTES)
            .await?;
        if batches.is_empty() {
            return Err(storage("the log to be compacted is not there"));
        }
        let parsed = batches.into_iter().map(|batch| {
            let header = BatchHeader::parse(&batch).map_err(storage)?;
            Ok((header, batch))
        });
        parsed.collect()
    }

    /// A snapshot that comes in replaces everything: there is no point in going on.
    fn check_alone(&self) -> Result<(), ReplicaError> {
        if self.replica.group().store().is_replacing_survivors() {
            return Err(storage("a snapshot replaces what is being compacted"));
        }
        Ok(())
    }
}
