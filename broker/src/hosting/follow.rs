//! Makes this broker's replicas agree with the metadata image: opens, reconfigures, removes them.
//!
//! Looks only at what differs from the image before. Does not know what a replica does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use raftmq_core::cluster::{Image, PartitionInfo};
use raftmq_core::ids::{BrokerId, GroupNumber, Term};
use raftmq_store::{GroupId, log_id};

use super::Hosting;
use crate::raft::Beginning;

/// Replicas that are opened or removed at the same time: their writes share syncs.
const REPLICAS_AT_ONCE: usize = 64;

/// What a service made of a group in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Configured {
    /// It is another service's.
    NotOurs,
    /// Its replica is open here, and has what the image says.
    Open,
    /// It must be opened first.
    Closed,
}

/// The service of one kind of groups.
pub trait Kind: Send + Sync {
    /// Gives the replica of a group what the image says, if the group is of this kind and open here.
    fn configure(&self, image: &Image, info: &Arc<PartitionInfo>) -> Configured;
    /// Opens a group of this kind, which this broker has a replica of.
    fn open<'a>(&'a self, image: &'a Image, info: &'a Arc<PartitionInfo>) -> BoxFuture<'a, ()>;
    /// Forgets a replica that is being removed, if it is of this kind.
    fn forget(&self, id: GroupId);
}

impl Hosting {
    /// Opens, reconfigures and removes replicas until they are as `image` says. Call it with one
    /// image after the other, never twice at once. Unless it `judges`, nothing is removed: a later one that
    /// does looks at everything on disk.
    pub async fn follow(&self, image: &Image, judges: bool, kinds: &[&dyn Kind]) {
        let me = BrokerId(self.shared.host.broker_id());
        let before = self.shared.followed.lock().clone();
        let changed = match &before {
            Some(before) => image.groups_changed_since(before),
            None => image.partitions.keys().copied().collect(),
        };
        let infos = changed.iter().filter_map(|group| image.partition(*group));
        let mut to_open = Vec::new();
        for info in infos.filter(|info| info.has_replica(me)) {
            for kind in kinds {
                match kind.configure(image, info) {
                    Configured::NotOurs => {}
                    Configured::Open => break,
                    Configured::Closed => {
                        to_open.push((*kind, info));
                        break;
                    }
                }
            }
        }
        let opened = to_open.iter().map(|(_, info)| info.group);
        let opened: Vec<GroupNumber> = opened.collect();
        let failed = self.begin_again(image, opened, kinds).await;
        to_open.retain(|(_, info)| !failed.contains(&info.group));
        stream::iter(to_open)
            .for_each_concurrent(REPLICAS_AT_ONCE, |(kind, info)| kind.open(image, info))
            .await;
        if judges {
            let has_judged = self.shared.has_judged.swap(true, Ordering::Relaxed);
            let mut obsolete = match &before {
                // What is on disk may be of groups that no image of this process has shown.
                Some(before) if has_judged && before.last_group == image.last_group => changed,
                Some(_) | None => self.stored(image),
            };
            obsolete.retain(|group| !failed.contains(group));
            self.remove_obsolete(image, me, obsolete, kinds).await;
        }
        *self.shared.followed.lock() = Some(image.clone());
    }

    /// Groups on disk that `image` can judge: one that it does not know yet may be news to it, so
    /// only numbers that were given out before the image can be obsolete.
    fn stored(&self, image: &Image) -> BTreeSet<GroupNumber> {
        let stored = self.shared.host.stored_groups().into_iter();
        let numbers = stored.filter(|id| id.0 != 0).map(|id| GroupNumber(id.0));
        numbers.filter(|id| *id <= image.last_group).collect()
    }

    async fn remove_obsolete(
        &self,
        image: &Image,
        me: BrokerId,
        groups: BTreeSet<GroupNumber>,
        kinds: &[&dyn Kind],
    ) {
        let is_ours = |group: &GroupNumber| {
            let info = image.partition(*group);
            info.is_some_and(|info| info.has_replica(me))
        };
        let obsolete = groups.into_iter().filter(|group| !is_ours(group));
        stream::iter(obsolete)
            .for_each_concurrent(REPLICAS_AT_ONCE, |group| {
                self.remove(GroupId(group.get()), kinds)
            })
            .await;
    }

    async fn remove(&self, id: GroupId, kinds: &[&dyn Kind]) {
        let is_open = self.forget(id, kinds);
        match self.shared.host.remove(id).await {
            Ok(()) if is_open => tracing::info!(raft_group = id.0, "replica removed"),
            Ok(()) => {}
            Err(error) => tracing::error!(raft_group = id.0, %error, "replica not removed"),
        }
    }

    /// Stops a replica, and forgets it; says whether there was one.
    pub(super) fn forget(&self, id: GroupId, kinds: &[&dyn Kind]) -> bool {
        let led = self.shared.led.write().remove(&id);
        let is_open = led.is_some();
        if let Some(led) = led {
            led.stop();
        }
        for kind in kinds {
            kind.forget(id);
        }
        is_open
    }
}

/// How a group begins here. It has no first voters once it has had a leader: its log has begun, and its
/// replicas may be others by now.
pub(crate) fn beginning_of(info: &PartitionInfo) -> Beginning {
    let settled_at = info.settled_at;
    let settled_at = settled_at.map(|(term, index)| log_id(term.get(), index.0));
    let is_begun = info.leader_epoch > Term(0);
    let first_voters = if is_begun { &[][..] } else { &info.replicas };
    Beginning {
        first_voters: first_voters.iter().map(|id| id.get()).collect(),
        settled_at,
    }
}
