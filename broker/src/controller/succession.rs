//! Who follows a controller whose process is gone: its voters need not wait for their timers then.
//!
//! Connections that are refused say that nobody is there any more; silence says nothing and is left to
//! the timers of the metadata group. The order is that of any other election (ARCHITECTURE.md, "Leader
//! election"): drop the lease of the vote that is to be replaced, then campaign with a pre-vote. A
//! controller that still lives keeps its office, because whoever hears it grants no pre-vote.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::Controller;
use crate::raft::METADATA_GROUP;
use crate::raft::serve::CampaignOrder;

/// One voter after the other campaigns, so that they do not split the votes.
const STAGGER: Duration = Duration::from_millis(40);
/// Time for an election before the next one is tried: more refusals come meanwhile.
const PATIENCE: Duration = Duration::from_millis(120);

/// Whether this broker is seeing to a successor. Shared with the task that does it.
#[derive(Debug, Default)]
pub(super) struct Succession {
    is_running: AtomicBool,
}

impl Controller {
    /// Connections to `gone` are refused. If that was the controller and this broker may vote for
    /// another one, it sees to that, in a task that ends within a moment; repetition meanwhile does
    /// nothing.
    pub(super) fn succeed(&self, gone: u32) {
        let Some(rank) = self.rank_behind(gone) else {
            return;
        };
        let succession = &self.shared.succession;
        if succession.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let controller = self.clone();
        tokio::spawn(async move {
            controller.campaign_behind(gone, rank).await;
            sleep(PATIENCE).await;
            let succession = &controller.shared.succession;
            succession.is_running.store(false, Ordering::Release);
        });
    }

    /// This broker's place among the voters that are left; `None` when `gone` was not the controller, or
    /// this broker has no vote.
    fn rank_behind(&self, gone: u32) -> Option<u32> {
        let group = &self.shared.group;
        if group.leader() != Some(gone) {
            return None;
        }
        let me = u64::from(self.shared.host.broker_id());
        let left = group.raft().voter_ids().filter(|id| *id != u64::from(gone));
        let rank = left.into_iter().position(|id| id == me)?;
        u32::try_from(rank).ok()
    }

    async fn campaign_behind(&self, gone: u32, rank: u32) {
        let host = &self.shared.host;
        let states = host.group_states(&[METADATA_GROUP]);
        let Some(replaces) = states.first().map(|state| state.vote) else {
            return;
        };
        host.drop_lease(METADATA_GROUP, replaces).await;
        sleep(STAGGER * rank).await;
        if self.shared.group.leader() != Some(gone) {
            return;
        }
        tracing::trace!(target: "raftmq::mark", name = "controller_gone_campaign");
        tracing::info!(broker_id = gone, "the controller is gone: campaigning");
        let group = METADATA_GROUP;
        host.campaign(CampaignOrder { group, replaces }).await;
    }
}
