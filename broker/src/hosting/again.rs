//! Groups that go on from this broker's replica alone: its log is copied into the group's new one
//! before that is opened, and only then wiped.

use std::collections::BTreeSet;

use raftmq_core::cluster::Image;
use raftmq_core::cluster::loss::Loss;
use raftmq_core::ids::{BrokerId, GroupNumber};
use raftmq_store::GroupId;

use super::Hosting;
use super::follow::Kind;
use crate::raft::adopt::{AdoptError, adopt};

impl Hosting {
    /// Begins the groups among `groups` that take the place of a lost one and are not begun here yet.
    /// Returns the groups, old and new, that must be left as they are because that has failed.
    pub(super) async fn begin_again(
        &self,
        image: &Image,
        groups: impl IntoIterator<Item = GroupNumber>,
        kinds: &[&dyn Kind],
    ) -> BTreeSet<GroupNumber> {
        let me = BrokerId(self.shared.host.broker_id());
        let mut failed = BTreeSet::new();
        let losses = groups.into_iter().filter_map(|group| image.loss(group));
        for loss in losses.filter(|loss| loss.kept == me) {
            if let Err(error) = self.begin_one(loss, kinds).await {
                let raft_group = loss.group.get();
                tracing::error!(raft_group, %error, "replica not copied: the group stays offline");
                failed.extend([loss.group, loss.of_group]);
            }
        }
        failed
    }

    async fn begin_one(&self, loss: &Loss, kinds: &[&dyn Kind]) -> Result<(), AdoptError> {
        let host = &self.shared.host;
        let stored = host.stored_groups();
        let (old, new) = (GroupId(loss.of_group.get()), GroupId(loss.group.get()));
        if stored.contains(&new) && !stored.contains(&old) {
            return Ok(());
        }
        self.forget(old, kinds);
        host.close(old).await;
        let me = host.broker_id();
        adopt(host.store(), (old, new), me, loss.leader_epoch.get()).await?;
        host.store().remove_group(old).await?;
        tracing::warn!(
            raft_group = new.0,
            old_raft_group = old.0,
            "the group goes on from this replica: what only others had is lost"
        );
        Ok(())
    }
}
