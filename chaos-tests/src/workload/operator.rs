//! A person who moves partitions while the cluster works.
//!
//! Carries out what the nemesis has ordered; whether a move ends is the cluster's business.

use std::rc::Rc;
use std::time::Duration;

use super::{Phase, Workload};
use crate::faults::FaultClass;
use crate::system::Clients;

/// How often new orders are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A partition and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) partition: u32,
    pub(super) replicas: Vec<u32>,
}

/// Carries orders out, one after the other, until everything is drained. One that fails is not tried
/// again: the next comes soon.
pub(super) async fn run(workload: Workload, clients: Rc<dyn Clients>) {
    while !workload.has_reached(Phase::Done) {
        let order = workload.orders.borrow_mut().pop_front();
        let Some(order) = order else {
            tokio::time::sleep(LOOK_INTERVAL).await;
            continue;
        };
        let Order {
            partition,
            replicas,
        } = order;
        match clients.reassign(partition, replicas).await {
            Ok(()) => workload.effects.add(FaultClass::Reassignment, 1),
            Err(error) => tracing::debug!(partition, error, "not moved"),
        }
    }
}
