//! What a broker does before it stops, so that nobody notices: has its leaderships taken over, that
//! of the metadata group last, and takes itself out of service.
//!
//! It tells the controller with its heartbeats that it is about to stop; that ends with the process,
//! because the next one registers anew. `raftmq broker drain` is another matter: it is kept in
//! the image until somebody ends it.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use raftmq_core::cluster::{Command, Image, config_keys};
use raftmq_core::ids::{BrokerEpoch, BrokerId, GroupNumber};
use raftmq_store::GroupId;
use tokio::time::{sleep, timeout};

use super::Controller;
use crate::raft::Group;
use crate::raft::handover::ready_for;
use crate::raft::transport::{Lane, Method};

/// Pause between two looks at what the controller has said.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// Pause between two attempts to hand the metadata group over.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a controller stays that stops together with every other broker: they wait for its word.
const LAST_WORDS: Duration = Duration::from_millis(250);
const FENCE_WITHIN: Duration = Duration::from_secs(1);

impl Controller {
    /// Prepares the stop of this broker, for no longer than `controlled.shutdown.timeout.ms`: its
    /// leaderships move to others, and it is fenced. Returns at once when there is nobody else.
    /// Whatever could not be moved is elected anew, as after a crash.
    pub async fn leave(&self) {
        let image = self.shared.images.current();
        let limit_ms = image.config_i64(None, config_keys::CONTROLLED_SHUTDOWN_TIMEOUT_MS);
        let limit = Duration::from_millis(u64::try_from(limit_ms).unwrap_or(0));
        if self.shared.session.is_fenced() || !self.has_others(&image) || limit.is_zero() {
            return;
        }
        if timeout(limit, self.leave_in_order()).await.is_err() {
            tracing::warn!(limit_ms, "leaderships were not moved in time");
        }
    }

    fn has_others(&self, image: &Image) -> bool {
        let me = BrokerId(self.shared.host.broker_id());
        image.alive_brokers().any(|broker| broker.id != me)
    }

    async fn leave_in_order(&self) {
        self.shared.session.begin_stopping();
        loop {
            let farewell = self.shared.session.farewell();
            if farewell.is_alone {
                if self.leading_term().is_some() {
                    sleep(LAST_WORDS).await;
                }
                return;
            }
            if farewell.is_drained && !self.leads_unseen() {
                break;
            }
            // Twice a session: the controller may have been the one that stopped before.
            if !self
                .shared
                .session
                .hears_controller(2 * self.session_timeout())
            {
                return;
            }
            sleep(LOOK_PAUSE).await;
        }
        tracing::info!("leads nothing any more");
        tracing::trace!(target: "raftmq::mark", name = "broker_drained_before_stop");
        self.hand_metadata_over().await;
        self.fence_itself().await;
    }

    /// Whether it leads a partition without the image showing that.
    fn leads_unseen(&self) -> bool {
        let image = self.shared.images.current();
        let me = BrokerId(self.shared.host.broker_id());
        let is_unseen = |group: &Arc<Group>| {
            let info = image.partition(GroupNumber(group.id().0));
            group.is_leader() && info.is_some_and(|info| info.leader != Some(me))
        };
        self.shared.host.groups().iter().any(is_unseen)
    }

    /// Has another voter of the metadata group lead it, if this broker does.
    pub(super) async fn hand_metadata_over(&self) {
        while self.shared.group.is_leader() {
            let Some(to) = self.successor() else { return };
            let applied = self.shared.images.applied();
            if let Some(ready) = ready_for(&self.shared.group, to, applied) {
                let (group, method) = (GroupId(0), Method::TakeLeadership);
                let transport = self.shared.host.transport();
                let call = transport.call(to, Lane::Control, group, method, ready.encode());
                match call.await {
                    Ok(_) => tracing::info!(to, "handing the metadata group over"),
                    Err(error) => tracing::info!(to, %error, "metadata group not handed over"),
                }
            }
            // Entries that were written meanwhile can have made this one void.
            sleep(ATTEMPT_PAUSE).await;
        }
    }

    /// The voter in service that has most of the log and is not about to stop itself.
    fn successor(&self) -> Option<u32> {
        let image = self.shared.images.current();
        let me = BrokerId(self.shared.host.broker_id());
        let stopping = self.shared.duties.stopping(&image);
        let raft = self.shared.group.raft();
        let data = raft.data_metrics();
        let data = data.borrow_watched();
        let matched = |id: BrokerId| {
            let matched = data.replication.as_ref()?.get(&u64::from(id.get()))?;
            matched.as_ref().map(|log_id| log_id.index)
        };
        let voters = raft.voter_ids().filter_map(|id| u32::try_from(id).ok());
        voters
            .map(BrokerId)
            .filter(|id| *id != me && image.is_alive(*id) && !stopping.contains(id))
            .max_by_key(|id| (matched(*id), std::cmp::Reverse(*id)))
            .map(BrokerId::get)
    }

    /// Leaders wait for this broker's acknowledgements no longer.
    async fn fence_itself(&self) {
        let id = BrokerId(self.shared.host.broker_id());
        let epoch = BrokerEpoch(self.shared.session.broker_epoch());
        let command = Command::FenceBroker { id, epoch };
        if let Err(error) = self.propose(&command, FENCE_WITHIN).await {
            tracing::info!(%error, "not fenced before the stop");
        }
    }
}
