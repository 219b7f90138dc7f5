//! Commands by which a broker leaves for good.
//!
//! Its replicas are moved away by reassignments (`balance`), its vote by `voters`; here is what the
//! image says of it. A decommissioned broker keeps its place until it holds nothing any more.

use crate::cluster::brokers::over_limit;
use crate::cluster::image::Broker;
use crate::cluster::{Cluster, ClusterError, Outcome, Reply};
use crate::effect::{Effect, Effects};
use crate::ids::BrokerId;
use crate::limits::REMOVED_BROKERS_COUNT_MAX;

impl Cluster {
    pub(super) fn decommission_broker(&mut self, id: BrokerId, effects: &mut Effects) -> Reply {
        if self.image.removed_brokers.contains(&id) {
            return Err(ClusterError::BrokerRemoved { broker: id });
        }
        let Some(broker) = self.image.broker(id) else {
            return Err(ClusterError::UnknownBroker { broker: id });
        };
        if broker.is_decommissioned {
            return Ok(Outcome::Done);
        }
        let mut brokers = self.image.brokers.values();
        if brokers.all(|other| other.id == id || other.is_decommissioned) {
            return Err(ClusterError::LastBroker { broker: id });
        }
        let changed = Broker {
            is_draining: true,
            is_decommissioned: true,
            ..Broker::clone(broker)
        };
        self.put_broker(changed, effects);
        Ok(Outcome::Done)
    }

    pub(super) fn remove_broker(&mut self, id: BrokerId, effects: &mut Effects) -> Reply {
        let Some(broker) = self.image.broker(id) else {
            if self.image.removed_brokers.contains(&id) {
                return Ok(Outcome::Done);
            }
            return Err(ClusterError::UnknownBroker { broker: id });
        };
        if !broker.is_decommissioned {
            return Err(ClusterError::NotDecommissioned { broker: id });
        }
        let partitions_count = self.image.partitions_on(id).count();
        if partitions_count > 0 {
            return Err(ClusterError::BrokerHoldsReplicas {
                broker: id,
                partitions_count,
            });
        }
        let removed_count = self.image.removed_brokers.len() + 1;
        if removed_count > REMOVED_BROKERS_COUNT_MAX {
            let limit = REMOVED_BROKERS_COUNT_MAX;
            return Err(over_limit("decommissioned brokers", removed_count, limit));
        }
        self.close_connections_of(id, effects);
        self.image.brokers.remove(&id);
        self.image.removed_brokers.insert(id);
        self.dirty.mark_removed(id);
        effects.push(Effect::BrokerChanged { broker: id });
        Ok(Outcome::Done)
    }
}
