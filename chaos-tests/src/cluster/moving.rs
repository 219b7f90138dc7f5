//! Moves of the replicas of queues, which clients cannot order: they are carried out inside a broker's host, as
//! if an operator had balanced the cluster.
//!
//! Does not know when or where to; whether a move ends is the cluster's business.

use std::time::Duration;

use raftmq::controller::Controller;
use raftmq_core::cluster::Command;
use raftmq_core::ids::BrokerId;
use tokio::sync::mpsc;

use crate::history::Queue;

/// Orders that wait for one broker; more are forgotten.
pub(super) const ORDERS_MAX: usize = 8;
const COMMAND_WITHIN: Duration = Duration::from_secs(5);
/// The virtual host of the workload.
const VHOST: &str = "/";

/// A queue and where it goes.
pub(super) type Order = (Queue, Vec<u32>);

/// Carries orders out, one after the other, as long as the broker runs.
pub(super) async fn carry_out(controller: Controller, mut orders: mpsc::Receiver<Order>) {
    while let Some((queue, replicas)) = orders.recv().await {
        let image = controller.images().current();
        let Ok(info) = image.amqp.queue(VHOST, queue.name()) else {
            continue;
        };
        let target = replicas.into_iter().map(BrokerId).collect();
        let command = Command::SetReplicas {
            group: info.group,
            target,
        };
        match controller.propose(&command, COMMAND_WITHIN).await {
            Ok(_) => {
                tracing::trace!(target: "raftmq::mark", name = "queue_move_ordered");
            }
            Err(error) => {
                tracing::debug!(target: "raftmq_chaos::moving", queue = queue.name(), %error, "not moved");
            }
        }
    }
}
