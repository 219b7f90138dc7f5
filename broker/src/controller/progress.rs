//! How far the moves of replicas are, for people and metrics: kept by the controller that drives them,
//! and asked of it by the others.
//!
//! As fleeting as the orders themselves: a new controller knows it with its first step of each move.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use raftmq_core::cluster::membership::{CatchUp, Step};
use raftmq_core::ids::GroupNumber;
use tokio::time::timeout;

use super::Controller;
use super::messages::{MoveProgress, MovesDriven, decode, encode};
use crate::raft::membership::Taken;
use crate::raft::transport::{Lane, Method, Refusal, Served};

/// Time that the controller is given to answer what only it knows.
pub(super) const ASK_WITHIN: Duration = Duration::from_millis(1_000);

/// The moves that are being driven, and how far they are. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    driven: Arc<Mutex<MovesDriven>>,
}

impl Progress {
    /// Takes note of a step.
    pub(super) fn note(&self, group: GroupNumber, progress: &MoveProgress) {
        self.change(|driven| drop(driven.insert(group.get(), progress.clone())));
    }

    /// A move is over, or put down.
    pub(super) fn forget(&self, group: GroupNumber) {
        self.change(|driven| drop(driven.remove(&group.get())));
    }

    fn change(&self, change: impl FnOnce(&mut MovesDriven)) {
        let mut driven = self.driven.lock();
        change(&mut driven);
        let left: u64 = driven.values().filter_map(|one| one.entries_left).sum();
        #[expect(clippy::cast_precision_loss, reason = "a gauge takes floats")]
        metrics::gauge!("raftmq_controller_moves_left_entries").set(left as f64);
    }
}

impl MoveProgress {
    pub(super) fn of(taken: &Taken, catch_up: CatchUp) -> Self {
        Self {
            is_done: taken.step == Step::Done,
            step: name_of(&taken.step).to_owned(),
            entries_left: Some(catch_up.entries_left),
            entries_count: Some(catch_up.entries_count),
            membership: taken
                .arrived_at
                .map(|log_id| (log_id.leader_id.term, log_id.index)),
        }
    }
}

fn name_of(step: &Step) -> &'static str {
    match step {
        Step::AwaitCommit => "committing",
        Step::AddLearner(_) => "adding",
        Step::AwaitLearners(_) => "copying",
        Step::ChangeVoters(_) => "changing-voters",
        Step::RemoveLearners(_) => "removing",
        Step::Done => "done",
    }
}

impl Controller {
    /// How far the moves are, by group: those that the controller drives at this moment. Empty when it
    /// does not answer.
    pub async fn moves_progress(&self) -> BTreeMap<GroupNumber, MoveProgress> {
        let driven = if self.leading_term().is_some() {
            self.shared.progress.driven.lock().clone()
        } else {
            self.ask_progress().await.unwrap_or_default()
        };
        let by_group = driven.into_iter();
        by_group
            .map(|(group, progress)| (GroupNumber(group), progress))
            .collect()
    }

    async fn ask_progress(&self) -> Option<MovesDriven> {
        let controller = self.controller_id()?;
        let (group, transport) = (self.shared.group.id(), self.shared.host.transport());
        let method = Method::MovesProgress;
        let call = transport.call(controller, Lane::Control, group, method, Bytes::new());
        let answer = timeout(ASK_WITHIN, call).await.ok()?.ok()?;
        decode(&answer).ok()
    }

    /// Answers how far the moves are that this broker drives.
    ///
    /// # Errors
    ///
    /// It is not the controller.
    pub fn serve_moves_progress(&self) -> Served {
        let term = self.leading_term();
        term.ok_or((Refusal::NotController, String::new()))?;
        Ok(encode(&*self.shared.progress.driven.lock()))
    }
}
