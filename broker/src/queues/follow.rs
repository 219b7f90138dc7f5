//! What the metadata image says of this broker's queues, and how their replicas are opened.
//!
//! When that is, `hosting` decides. Does not know what a replica does.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use raftmq_core::cluster::{Image, PartitionInfo};
use raftmq_core::queue::Queue;
use raftmq_store::GroupId;

use super::Queues;
use super::binding::{HostedQueue, QueueBinding};
use super::replica::QueueReplica;
use super::view::QueueView;
use crate::hosting::{Configured, Kind, beginning_of};
use crate::raft::GroupKind;
use crate::raft::machine::HostedMachine;

impl Kind for Queues {
    fn configure(&self, image: &Image, info: &Arc<PartitionInfo>) -> Configured {
        if !info.is_queue() {
            return Configured::NotOurs;
        }
        let Some(replica) = self.replica(GroupId(info.group.get())) else {
            return Configured::Closed;
        };
        replica.set_view(self.view_of(image, info));
        crate::hosting::Led::repeat_report(&*replica);
        Configured::Open
    }

    fn open<'a>(&'a self, image: &'a Image, info: &'a Arc<PartitionInfo>) -> BoxFuture<'a, ()> {
        let view = self.view_of(image, info);
        Box::pin(self.open_one(info, view))
    }

    fn forget(&self, id: GroupId) {
        self.shared.replicas.write().remove(&id);
    }
}

impl Queues {
    async fn open_one(&self, info: &PartitionInfo, view: QueueView) {
        let hosting = &self.shared.hosting;
        let id = GroupId(info.group.get());
        let machine = HostedQueue::new(Queue::default(), QueueBinding::default());
        let machine = Arc::new(machine);
        let hosted: Arc<dyn HostedMachine> = machine.clone();
        let beginning = beginning_of(info);
        let opened = hosting
            .host()
            .open(id, GroupKind::Queue, hosted, &beginning);
        match opened.await {
            Ok(group) => {
                let replica = QueueReplica::new((hosting, self), group, machine, view);
                self.shared.replicas.write().insert(id, replica.clone());
                hosting.insert(id, replica);
            }
            // The store has failed; the broker stops because of that, not because of this.
            Err(error) => tracing::error!(raft_group = id.0, %error, "replica not opened"),
        }
    }

    fn view_of(&self, image: &Image, info: &PartitionInfo) -> QueueView {
        QueueView::new(image, info, &self.shared.hosting.spaces())
    }
}
