//! Carries moves of replicas out: the controller orders one step after the other from the leader of
//! each group, until the group's committed membership is the target, and then says so in the image.
//!
//! Where replicas go is in the image, and what the next step is the group's own log says: a new
//! controller, a new leader or a new target goes on from there. Which steps there are is decided in
//! `raftmq_core::cluster::membership`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raftmq_core::cluster::membership::Goal;
use raftmq_core::cluster::{Command, Image, PartitionInfo};
use raftmq_core::ids::{BrokerId, GroupNumber, LogIndex, Term};
use raftmq_store::GroupId;
use tokio::time::sleep;

use super::Controller;
use super::messages::{MoveOrder, MoveProgress, decode, encode};
use crate::raft::transport::{Lane, Method, Refusal, Served};

/// Partitions whose replicas are moved at the same time.
const MOVES_AT_ONCE: usize = 16;
/// Pause between two steps of one move.
const STEP_PAUSE: Duration = Duration::from_millis(50);
/// Pause after a step that failed: the leader is changing, or the last change is not committed yet.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

impl Controller {
    /// Sees to it that the moves in the image are carried out, a few at a time. Returns whether there
    /// is none.
    pub(super) fn drive_moves(&self, image: &Image) -> bool {
        let mut none_moving = true;
        let mut moving_count = 0_u32;
        for info in image.partitions.values().filter(|info| info.is_moving()) {
            none_moving = false;
            moving_count += 1;
            let duties = &self.shared.duties;
            if can_go_on(image, info) && duties.begin_move(info.group, MOVES_AT_ONCE) {
                let (controller, info) = (self.clone(), info.clone());
                // Ends with the move, with this broker's office, or when the move cannot go on.
                tokio::spawn(async move {
                    controller.drive_move(&info).await;
                    controller.shared.progress.forget(info.group);
                    controller.shared.duties.end_move(info.group);
                });
            }
        }
        metrics::gauge!("raftmq_controller_moves_running").set(f64::from(moving_count));
        none_moving
    }

    async fn drive_move(&self, ordered: &PartitionInfo) {
        while self.leading_term().is_some() {
            let image = self.shared.images.current();
            let now = image.partition(ordered.group);
            let Some(info) = now.filter(|info| info.move_epoch == ordered.move_epoch) else {
                return;
            };
            if !info.is_moving() || !can_go_on(&image, info) {
                return;
            }
            match self.order_step(info).await {
                Ok(progress) if progress.is_done => {
                    self.complete_move(info, progress.membership).await;
                    return;
                }
                Ok(progress) => {
                    self.shared.progress.note(info.group, &progress);
                    tracing::debug!(
                        raft_group = info.group.get(),
                        step = progress.step,
                        "moving"
                    );
                    sleep(STEP_PAUSE).await;
                }
                Err(reason) => {
                    tracing::debug!(raft_group = info.group.get(), reason, "step not taken");
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn order_step(&self, info: &PartitionInfo) -> Result<MoveProgress, String> {
        let leader = info.leader.ok_or_else(|| "nobody leads".to_owned())?;
        let target = info.future_replicas().iter().map(|id| id.get()).collect();
        let order = MoveOrder {
            target,
            move_epoch: info.move_epoch,
        };
        let group = GroupId(info.group.get());
        let body = encode(&order);
        if leader.get() == self.shared.host.broker_id() {
            let served = self.serve_move(group, &body).await;
            return decode(&served.map_err(|(_, reason)| reason)?);
        }
        let transport = self.shared.host.transport();
        let call = transport.call(
            leader.get(),
            Lane::Control,
            group,
            Method::MoveReplicas,
            body,
        );
        decode(&call.await.map_err(|error| error.to_string())?)
    }

    async fn complete_move(&self, info: &PartitionInfo, membership: Option<(u64, u64)>) {
        let (group, replicas) = (info.group, info.future_replicas().to_vec());
        tracing::info!(raft_group = group.get(), ?replicas, "replicas moved");
        metrics::counter!("raftmq_controller_moves_completed_total").increment(1);
        let move_epoch = info.move_epoch;
        self.command(Command::CompleteReassignment {
            group,
            replicas,
            move_epoch,
            membership: membership.map(|(term, index)| (Term(term), LogIndex(index))),
        })
        .await;
    }

    /// Takes one step of a move in a group that this broker leads.
    ///
    /// # Errors
    ///
    /// The order is not of the move that this broker's image shows: it came late, or the image did.
    /// Or the step could not be taken; the next order goes on.
    pub async fn serve_move(&self, group: GroupId, body: &Bytes) -> Served {
        let order: MoveOrder = decode(body).map_err(|reason| (Refusal::Malformed, reason))?;
        let voters: BTreeSet<BrokerId> = order.target.iter().copied().map(BrokerId).collect();
        let image = self.shared.images.current();
        let shown = image.partition(GroupNumber(group.0));
        let is_shown = shown.is_some_and(|info| {
            let ids = info.future_replicas().iter().map(|id| id.get());
            info.move_epoch == order.move_epoch && info.is_moving() && ids.eq(order.target)
        });
        if !is_shown {
            let reason = "the image here shows another move".to_owned();
            return Err((Refusal::Failed, reason));
        }
        let open = self.shared.host.get(group);
        let open = open.ok_or((Refusal::UnknownGroup, String::new()))?;
        let goal = Goal {
            voters,
            learners: BTreeSet::new(),
        };
        let taken = open.step_towards(&goal).await;
        let taken = taken.map_err(|error| (Refusal::Failed, error.to_string()))?;
        let first_index = open.store().first_log_index().unwrap_or(0);
        let catch_up = open.membership().catch_up(&goal, first_index);
        Ok(encode(&MoveProgress::of(&taken, catch_up)))
    }
}

/// Whether a step can be hoped for: somebody leads, and whoever is to learn is alive. A move that
/// waits for a dead broker must not keep others waiting.
fn can_go_on(image: &Image, info: &Arc<PartitionInfo>) -> bool {
    let is_led = info.leader.is_some_and(|leader| image.is_alive(leader));
    is_led && info.adding.iter().all(|id| image.is_alive(*id))
}
