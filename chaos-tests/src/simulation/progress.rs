//! Progress that is demanded while a fault lasts.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Run;
use crate::invariants::RaftStatus;

/// The metadata group.
const METADATA: u64 = 0;

impl Run {
    /// Looks whether each group is led by one of these brokers, which has committed something in its
    /// term. Where that is not demanded, only says what traps are set: one of them is the controller, or
    /// leads a partition, from which it may be about to go.
    pub(super) fn look_for_leaders(&self, among: &[u32], is_demanded: bool, now_us: u64) {
        let statuses = self.system.statuses();
        let leads = |group: u64| {
            let mut replicas = statuses.iter().filter(|status| status.group == group);
            replicas.any(|status| {
                let committed = status.committed.map(|position| position.term);
                let is_ready = status.is_leader && committed == Some(status.vote.term);
                is_ready && among.contains(&status.broker)
            })
        };
        if !is_demanded {
            let leads_partition = |status: &Rc<RaftStatus>| {
                status.is_leader && status.group != METADATA && among.contains(&status.broker)
            };
            if statuses.iter().any(leads_partition) {
                tracing::trace!(target: "raftmq::mark", name = "scenario_met_a_leader_of_a_partition");
            }
            if leads(METADATA) {
                tracing::trace!(target: "raftmq::mark", name = "scenario_met_the_controller");
            }
            return;
        }
        let groups: BTreeSet<u64> = statuses.iter().map(|status| status.group).collect();
        for group in groups.into_iter().filter(|group| !leads(*group)) {
            let failure = format!("at {now_us} us: none of {among:?} leads group {group}");
            self.failures.borrow_mut().push(failure);
        }
    }
}
