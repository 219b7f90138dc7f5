//! Tends the membership of the metadata group: lets brokers learn, gives votes and takes them, and
//! forgets brokers that were decommissioned.
//!
//! Which change is next is decided in `raftmq_core::cluster::voters`, from the committed membership,
//! so that any controller goes on where another one ended. One change at a time, beside the other
//! duties: a change that waits for a slow disk must not hold up fencing.

use std::collections::BTreeSet;
use std::time::Duration;

use raftmq_core::cluster::balance::plan_decommission;
use raftmq_core::cluster::voters::{Duty, next_duty};
use raftmq_core::cluster::{Command, Image, config_keys, placement};
use raftmq_core::ids::BrokerId;
use tokio::time::{Instant, sleep};

use super::Controller;

/// Pause after a change that failed, or that waits for somebody.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How often it is looked whether decommissioned brokers hold replicas that nobody moves.
const EMPTYING_INTERVAL: Duration = Duration::from_secs(2);

impl Controller {
    /// Takes up what is to be done about the metadata group, unless that is under way.
    pub(super) fn tend_members(&self, image: &Image) {
        let membership = self.shared.group.membership();
        let voters_count = membership.voters.last().map_or(0, BTreeSet::len);
        let shown = u32::try_from(voters_count).unwrap_or(u32::MAX);
        metrics::gauge!("raftmq_controller_metadata_voters").set(f64::from(shown));
        let overdue = self.overdue(image, membership.voters.last());
        let duty = next_duty(image, &membership, &overdue);
        if duty == Duty::Rest {
            return;
        }
        {
            let mut state = self.shared.duties.state.lock();
            if std::mem::replace(&mut state.is_tending, true) {
                return;
            }
        }
        let controller = self.clone();
        tokio::spawn(async move {
            controller.carry_duty_out(duty).await;
            controller.shared.duties.state.lock().is_tending = false;
            controller.shared.duties.wake.notify_one();
        });
    }

    /// Voters that have been out of service for longer than they may.
    fn overdue(&self, image: &Image, voters: Option<&BTreeSet<BrokerId>>) -> BTreeSet<BrokerId> {
        let key = config_keys::CONTROLLER_QUORUM_VOTER_REPLACE_AFTER_MS;
        let limit_ms = u64::try_from(image.config_i64(None, key)).unwrap_or(0);
        let limit = Duration::from_millis(limit_ms);
        let now = Instant::now();
        let mut state = self.shared.duties.state.lock();
        let absent = &mut state.absent_since;
        absent.retain(|id, _| {
            !image.is_alive(*id) && voters.is_some_and(|voters| voters.contains(id))
        });
        for id in voters.into_iter().flatten() {
            if !image.is_alive(*id) {
                absent.entry(*id).or_insert(now);
            }
        }
        let is_overdue = |since: &Instant| limit_ms > 0 && now.duration_since(*since) >= limit;
        let overdue = absent.iter().filter(|(_, since)| is_overdue(since));
        overdue.map(|(id, _)| *id).collect()
    }

    async fn carry_duty_out(&self, duty: Duty) {
        match duty {
            Duty::Change(goal) => {
                tracing::info!(voters = ?goal.voters, learners = ?goal.learners, "changing the metadata group");
                match self.shared.group.step_towards(&goal).await {
                    Ok(taken) => {
                        tracing::trace!(target: "raftmq::mark", name = "metadata_members_changed");
                        metrics::counter!("raftmq_controller_metadata_changes_total").increment(1);
                        tracing::debug!(step = ?taken.step, "metadata group changed");
                    }
                    Err(error) => {
                        tracing::info!(%error, "metadata group not changed");
                        sleep(RETRY_PAUSE).await;
                    }
                }
            }
            Duty::HandOver => {
                tracing::info!("leaves for good: another voter is to lead the metadata group");
                self.hand_metadata_over().await;
                sleep(RETRY_PAUSE).await;
            }
            Duty::Remove(id) => {
                tracing::info!(
                    broker_id = id.get(),
                    "decommissioned: removed from the cluster"
                );
                tracing::trace!(target: "raftmq::mark", name = "decommissioned_broker_removed");
                self.command(Command::RemoveBroker { id }).await;
            }
            Duty::Rest => {}
        }
    }

    /// Sees to it that decommissioned brokers are emptied, whoever began it and died, and whatever was
    /// placed on them since. Runs for ever.
    pub async fn run_emptying(&self) {
        loop {
            sleep(EMPTYING_INTERVAL).await;
            if self.leading_term().is_some() {
                self.empty_decommissioned().await;
            }
        }
    }

    async fn empty_decommissioned(&self) {
        let image = self.shared.images.current();
        if !image.brokers.values().any(|one| one.is_decommissioned) {
            return;
        }
        let loads = self.loads().await;
        let leaving = image.brokers.values().filter(|one| one.is_decommissioned);
        for broker in leaving {
            let changes = plan_decommission(&image, &loads, broker.id, placement::is_willing);
            let changes = match changes {
                Ok(changes) => changes,
                Err(error) => {
                    tracing::warn!(broker_id = broker.id.get(), %error, "cannot be emptied yet");
                    continue;
                }
            };
            for change in changes {
                let (group, target) = (change.group, change.to);
                self.command(Command::SetReplicas { group, target }).await;
            }
        }
    }
}
