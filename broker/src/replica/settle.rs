//! Who waits for an append, and for what: the answers of entries that are committed but not yet on
//! every in-sync replica's disk, and the search for entries on the leader's own disk.

use std::collections::VecDeque;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::async_runtime::watch::WatchReceiver;
use raftmq_core::ids::{LogIndex, Offset};
use raftmq_core::partition::isr::{IsrTracker, NotEnoughReplicas};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::append::{Acks, Appended};
use super::error::ReplicaError;
use super::stages::Stages;
use crate::raft::Group;

/// Bytes read per look into the leader's own log; it is in the tail cache.
const LOOK_BYTES: usize = 1 << 20;

/// The answer that one append waits for. `acks=0` is answered at once.
#[derive(Debug)]
pub(super) struct Answer {
    acks: Acks,
    reply: Option<oneshot::Sender<Result<Appended, ReplicaError>>>,
    _permit: OwnedSemaphorePermit,
    pub(super) base_offset: Offset,
    pub(super) is_duplicate: bool,
}

impl Answer {
    pub(super) fn new(
        acks: Acks,
        reply: oneshot::Sender<Result<Appended, ReplicaError>>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let mut reply = Some(reply);
        if acks == Acks::None
            && let Some(reply) = reply.take()
        {
            let taken = Appended {
                base_offset: -1,
                log_append_time_ms: None,
                is_duplicate: false,
            };
            let _ = reply.send(Ok(taken));
        }
        let base_offset = Offset(-1);
        Self {
            acks,
            reply,
            _permit: permit,
            base_offset,
            is_duplicate: false,
        }
    }

    pub(super) fn acks(&self) -> Acks {
        self.acks
    }

    pub(super) fn fail(self, error: ReplicaError) {
        if let Some(reply) = self.reply {
            let _ = reply.send(Err(error));
        }
    }

    pub(super) fn succeed(self, log_append_time_ms: Option<i64>) {
        let (base_offset, is_duplicate) = (self.base_offset.get(), self.is_duplicate);
        if let Some(reply) = self.reply {
            let _ = reply.send(Ok(Appended {
                base_offset,
                log_append_time_ms,
                is_duplicate,
            }));
        }
    }
}

struct Committed {
    log_index: LogIndex,
    log_append_time_ms: Option<i64>,
    answers: Vec<Answer>,
    /// When it was; unknown for what was committed before it was asked for again.
    at: Option<Instant>,
}

/// See the module.
pub(super) struct Settling {
    committed: VecDeque<Committed>,
    /// Payloads of entries in flight that have not been seen on the own disk, oldest first.
    unflushed: VecDeque<Bytes>,
    /// Entries in flight, from the oldest, that have been seen there.
    flushed_ahead: usize,
    /// Next log index to look at.
    look_at: u64,
}

impl Settling {
    pub(super) fn new(group: &Group) -> Self {
        let last = group.raft().metrics().borrow_watched().last_applied;
        Self {
            committed: VecDeque::new(),
            unflushed: VecDeque::new(),
            flushed_ahead: 0,
            look_at: last.map_or(0, |log_id| log_id.index + 1),
        }
    }

    /// The entry that was applied last when the session began.
    pub(super) fn term_start(&self) -> u64 {
        self.look_at.saturating_sub(1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.committed.is_empty()
    }

    /// An entry was handed to openraft.
    pub(super) fn proposed(&mut self, payload: Bytes) {
        self.unflushed.push_back(payload);
    }

    /// The oldest entry in flight was applied at `log_index`.
    pub(super) fn applied(&mut self, log_index: u64) {
        if self.flushed_ahead > 0 {
            self.flushed_ahead -= 1;
        } else {
            self.unflushed.pop_front();
        }
        self.look_at = self.look_at.max(log_index + 1);
    }

    /// Answers may be given as soon as their `acks` is fulfilled.
    pub(super) fn committed(
        &mut self,
        log_index: LogIndex,
        log_append_time_ms: Option<i64>,
        answers: Vec<Answer>,
        at: Option<Instant>,
    ) {
        if !answers.is_empty() {
            self.committed.push_back(Committed {
                log_index,
                log_append_time_ms,
                answers,
                at,
            });
        }
    }

    /// How many of the entries in flight, from the oldest, are on this broker's disk, given that
    /// its log is there up to `flushed`. Looks for the very bytes that were proposed: log indexes
    /// of entries in flight are openraft's to give.
    pub(super) async fn flushed_ahead(&mut self, group: &Group, flushed: u64) -> usize {
        while self.look_at <= flushed && !self.unflushed.is_empty() {
            let Ok(entries) = group.store().read_entries(self.look_at, LOOK_BYTES).await else {
                break;
            };
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                if entry.log_id.index > flushed {
                    break;
                }
                self.look_at = entry.log_id.index + 1;
                let EntryPayload::Normal(command) = entry.payload else {
                    continue;
                };
                // In the tail cache it is the very same memory: a megabyte need not be compared.
                let is_same = |payload: &Bytes| {
                    payload.as_ptr() == command.0.as_ptr() && payload.len() == command.0.len()
                };
                let is_ours = |payload: &Bytes| is_same(payload) || *payload == command.0;
                if self.unflushed.front().is_some_and(is_ours) {
                    self.unflushed.pop_front();
                    self.flushed_ahead += 1;
                }
            }
        }
        self.flushed_ahead
    }

    /// Answers everybody whose `acks` is fulfilled, in order of the log.
    pub(super) fn answer_in_sync(&mut self, isr: &IsrTracker, stages: &Stages) {
        while let Some(front) = self.committed.front() {
            match isr.check_after_append(front.log_index) {
                Ok(false) => return,
                Ok(true) => {
                    let Some(done) = self.committed.pop_front() else {
                        return;
                    };
                    if let Some(at) = done.at {
                        stages.in_sync(at);
                    }
                    let stamp = done.log_append_time_ms;
                    done.answers
                        .into_iter()
                        .for_each(|answer| answer.succeed(stamp));
                }
                Err(error) => {
                    let Some(done) = self.committed.pop_front() else {
                        return;
                    };
                    let error = too_few(&error);
                    done.answers
                        .into_iter()
                        .for_each(|answer| answer.fail(error.clone()));
                }
            }
        }
    }

    pub(super) fn fail(&mut self, error: &ReplicaError) {
        for done in self.committed.drain(..) {
            done.answers
                .into_iter()
                .for_each(|answer| answer.fail(error.clone()));
        }
    }
}

/// The core's refusal as a replica's error.
pub(super) fn too_few(error: &NotEnoughReplicas) -> ReplicaError {
    match *error {
        NotEnoughReplicas::BeforeAppend {
            in_sync_count,
            required_count,
        } => ReplicaError::NotEnoughReplicas {
            in_sync: in_sync_count,
            required: required_count,
        },
        NotEnoughReplicas::AfterAppend {
            in_sync_count,
            required_count,
        } => ReplicaError::NotEnoughReplicasAfterAppend {
            in_sync: in_sync_count,
            required: required_count,
        },
    }
}
