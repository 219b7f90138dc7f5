//! Commands that declare and delete queues, and what ends with a connection or a broker.
//!
//! A queue gets a group like a new partition's (`topics.rs`); who leads it, and where it moves, is not
//! looked at here. Source: AMQP 0-9-1 `queue.declare`, `queue.delete`, with RabbitMQ's rules and texts.

use std::sync::Arc;

use crate::cluster::amqp::command::DeclareQueue;
use crate::cluster::amqp::edit::Edit;
use crate::cluster::amqp::exchanges::check_not_reserved;
use crate::cluster::amqp::vhosts::check_name;
use crate::cluster::amqp::{AmqpError, ConnectionId, QueueInfo};
use crate::cluster::{Cluster, ClusterError, Outcome, Reply};
use crate::effect::Effects;
use crate::ids::{BrokerId, GroupNumber, PartitionIndex, TopicId};
use crate::limits::REPLICATION_FACTOR_MAX;
use crate::planted::{Bug, is_planted};
use crate::queue::arguments::{Declared, parse};

impl Cluster {
    pub(super) fn declare_queue(&mut self, declare: DeclareQueue, effects: &mut Effects) -> Reply {
        let vhost = self.vhost_of(&declare.vhost)?;
        check_name("queue", &declare.name)?;
        if !declare.is_server_named {
            check_not_reserved("queue", &declare.name)?;
        }
        let known = vhost.routing.queue(&declare.name);
        if let Some(known) = known.and_then(|group| self.image.amqp.queues.get(&group)) {
            known.check_same(&declare)?;
            return Ok(Outcome::QueueDeclared {
                group: known.group,
                is_new: false,
            });
        }
        let declared = parse(&declare.arguments, &declare.name, &declare.vhost);
        let declared = declared.map_err(|error| AmqpError::Invalid {
            reason: error.to_string(),
        })?;
        let replicas = self.place_queue(declare.owner, &declared)?;
        let group = self.put_new_group(TopicId::QUEUES, PartitionIndex(0), replicas, effects);
        let mut edit = Edit::new(&vhost);
        let name: Arc<str> = declare.name.into();
        edit.add_queue(&name, group);
        self.put_edit(edit);
        self.put_queue(QueueInfo {
            group,
            vhost_id: vhost.id,
            vhost: Arc::clone(&vhost.name),
            name,
            is_durable: declare.is_durable,
            is_auto_delete: declare.is_auto_delete,
            owner: declare.owner,
            arguments: declare.arguments,
        });
        Ok(Outcome::QueueDeclared {
            group,
            is_new: true,
        })
    }

    /// Chooses the replicas: an exclusive queue is on its connection's broker only, any other one as
    /// a partition is, on as many brokers as asked for or as there are.
    fn place_queue(
        &self,
        owner: Option<ConnectionId>,
        declared: &Declared,
    ) -> Result<Vec<BrokerId>, ClusterError> {
        self.check_groups_count(1)?;
        if let Some(owner) = owner {
            self.broker_of_epoch(owner.broker, owner.broker_epoch)?;
            self.check_alive(owner.broker)?;
            return Ok(vec![owner.broker]);
        }
        let replication_factor = match declared.replicas_count {
            Some(wanted) => {
                let alive = u32::try_from(self.image.alive_brokers().count());
                wanted.min(alive.unwrap_or(u32::MAX).min(REPLICATION_FACTOR_MAX))
            }
            None => self.default_replication_factor(),
        };
        let placed = self.place(1, replication_factor)?;
        Ok(placed.into_iter().flatten().collect())
    }

    pub(super) fn delete_queue(&mut self, group: GroupNumber, effects: &mut Effects) -> Reply {
        self.forget_queue(group, effects);
        Ok(Outcome::Done)
    }

    pub(super) fn close_connection(
        &mut self,
        connection: ConnectionId,
        effects: &mut Effects,
    ) -> Reply {
        self.forget_queues_owned(connection, connection, effects);
        Ok(Outcome::Done)
    }

    /// Ends every connection of a broker: its registration is over, or it is gone.
    pub(in crate::cluster) fn close_connections_of(
        &mut self,
        broker: BrokerId,
        effects: &mut Effects,
    ) {
        let first = ConnectionId {
            broker,
            ..ConnectionId::default()
        };
        let last = ConnectionId {
            broker,
            broker_epoch: u64::MAX.into(),
            number: u64::MAX,
        };
        self.forget_queues_owned(first, last, effects);
    }

    /// Deletes the exclusive queues of connections from one to another, both inclusive.
    fn forget_queues_owned(
        &mut self,
        first: ConnectionId,
        last: ConnectionId,
        effects: &mut Effects,
    ) {
        if is_planted(Bug::ExclusiveQueueOutlivesOwner) {
            return;
        }
        let bounds = (first, GroupNumber(0))..=(last, GroupNumber(u64::MAX));
        let owned = self.image.amqp.owned.range(bounds);
        let groups: Vec<GroupNumber> = owned.map(|(_, group)| *group).collect();
        for group in groups {
            tracing::trace!(target: "raftmq::mark", name = "exclusive_queue_deleted");
            self.forget_queue(group, effects);
        }
    }

    /// Takes a queue, its bindings and its group out of the image, if it is there.
    pub(super) fn forget_queue(&mut self, group: GroupNumber, effects: &mut Effects) {
        let Some(queue) = self.take_queue(group) else {
            return;
        };
        if let Some(vhost) = self.image.amqp.vhosts.get(&queue.vhost_id) {
            let mut edit = Edit::new(vhost);
            edit.remove_queue(&queue.name, group);
            self.put_edit(edit);
        }
        self.forget_partition(group, effects);
    }

    /// The queue of a group goes on in another one (`loss.rs`).
    pub(in crate::cluster) fn move_queue(&mut self, from: GroupNumber, to: GroupNumber) {
        let Some(queue) = self.take_queue(from) else {
            return;
        };
        if let Some(vhost) = self.image.amqp.vhosts.get(&queue.vhost_id) {
            let mut edit = Edit::new(vhost);
            edit.move_queue(&queue.name, from, to);
            self.put_edit(edit);
        }
        self.put_queue(QueueInfo {
            group: to,
            ..QueueInfo::clone(&queue)
        });
    }

    fn put_queue(&mut self, queue: QueueInfo) {
        let group = queue.group;
        if let Some(owner) = queue.owner {
            self.image.amqp.owned.insert((owner, group));
        }
        self.image.amqp.queues.insert(group, Arc::new(queue));
        self.dirty.mark_amqp().queues.insert(group);
    }

    fn take_queue(&mut self, group: GroupNumber) -> Option<Arc<QueueInfo>> {
        let queue = self.image.amqp.queues.remove(&group)?;
        if let Some(owner) = queue.owner {
            self.image.amqp.owned.remove(&(owner, group));
        }
        self.dirty.mark_amqp().queues.insert(group);
        Some(queue)
    }
}
