//! Whether a broker is ready for clients, and why not.

use raftmq_core::ids::{BrokerId, GroupNumber};
use raftmq_store::{GroupHealth, GroupId};

use super::Parts;
use crate::http::Readiness;

impl Parts {
    /// Why this broker is not ready for clients; empty = it is.
    #[must_use]
    pub fn not_ready_because(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.controller.session().is_out() {
            let refusal = self.controller.session().refusal().unwrap_or_default();
            return vec![format!("not part of the cluster: {refusal}")];
        }
        if self.controller.session().is_fenced() {
            reasons.push("not in service yet: the controller has it fenced".to_owned());
        }
        if let Some(refusal) = self.controller.session().refusal() {
            reasons.push(format!("registration refused: {refusal}"));
        }
        for (group, health) in self.recovering() {
            reasons.push(format!("group {group} is recovering: {health:?}"));
        }
        let hosted = self.hosting.all().into_iter();
        let lagging = hosted.filter(|led| !led.group().is_caught_up());
        let lagging = lagging.count();
        if lagging > 0 {
            reasons.push(format!("{lagging} partitions and queues are not caught up"));
        }
        reasons
    }

    /// The groups that lack something which this broker had acknowledged, and what that is. A
    /// replica that is being added has acknowledged nothing yet.
    pub(super) fn recovering(&self) -> Vec<(GroupId, GroupHealth)> {
        let image = self.controller.images().current();
        let me = BrokerId(self.host.broker_id());
        let is_learning = |id: GroupId| {
            let info = image.partition(GroupNumber(id.0));
            info.is_some_and(|info| info.adding.contains(&me))
        };
        let groups = self.host.groups().into_iter();
        let states = groups.map(|group| (group.id(), group.store().health()));
        states
            .filter(|(id, health)| *health != GroupHealth::Ok && !is_learning(*id))
            .collect()
    }
}

impl Readiness for Parts {
    fn readiness(&self) -> Result<(), Vec<String>> {
        let reasons = self.not_ready_because();
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }
}
