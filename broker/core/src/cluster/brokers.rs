//! Commands about the cluster and its brokers: creation, registration, fencing, producer ids.
//!
//! Does not know heartbeats (`election::Sessions` does) nor who follows a fenced broker
//! as leader (`election`, and `partitions.rs` for the reports).

use crate::cluster::command::RegisterBroker;
use crate::cluster::image::Broker;
use crate::cluster::{Cluster, ClusterError, Outcome, Reply};
use crate::effect::Effects;
use crate::ids::{BrokerEpoch, BrokerId};
use crate::limits::{
    BROKERS_COUNT_MAX, KAFKA_LISTENERS_COUNT_MAX, NAME_BYTES_MAX, PRODUCER_ID_BLOCK_COUNT_MAX,
};
use crate::machine::EntryMeta;
use crate::planted::{Bug, is_planted};

impl Cluster {
    pub(super) fn create_cluster(&mut self, cluster_id: &str) -> Reply {
        check_length("cluster id", cluster_id)?;
        match self.image.cluster_id.as_deref() {
            Some(current) if current == cluster_id => Ok(Outcome::Done),
            Some(current) => Err(ClusterError::ClusterIdMismatch {
                current: Some(current.to_owned()),
                actual: cluster_id.to_owned(),
            }),
            None => {
                self.image.cluster_id = Some(cluster_id.into());
                self.dirty.mark_head();
                Ok(Outcome::Done)
            }
        }
    }

    pub(super) fn register_broker(
        &mut self,
        meta: &EntryMeta,
        register: RegisterBroker,
        effects: &mut Effects,
    ) -> Reply {
        let id = self.id_for(&register);
        self.check_registration(id, &register)?;
        let mut epoch = BrokerEpoch(meta.log_index);
        let mut is_fenced = true;
        if let Some(known) = self.image.broker(id) {
            if known.incarnation == register.incarnation {
                epoch = known.epoch;
                is_fenced = known.is_fenced;
            } else if !known.is_fenced {
                return Err(ClusterError::BrokerIdInUse {
                    broker: id,
                    epoch: known.epoch,
                });
            }
        }
        let is_chosen = register.id.get() == 0;
        let known = self.image.broker(id).cloned();
        let broker = registered(id, register, known.as_deref());
        let broker = Broker {
            epoch,
            is_fenced,
            ..broker
        };
        let is_new_process = known.as_ref().is_none_or(|known| known.epoch != epoch);
        if known.is_none_or(|known| *known != broker) {
            self.put_broker(broker, effects);
        }
        if is_new_process {
            self.clear_leader_everywhere(id, effects);
        }
        Ok(if is_chosen {
            Outcome::IdAllotted { id, epoch }
        } else {
            Outcome::Registered { epoch }
        })
    }

    /// The id that is asked for; where none is, that of the directory, else one above all that ever
    /// were.
    fn id_for(&self, register: &RegisterBroker) -> BrokerId {
        if register.id.get() != 0 {
            return register.id;
        }
        let mut brokers = self.image.brokers.values();
        let directory_id = register.directory_id;
        let same =
            brokers.find(|known| directory_id.is_known() && known.directory_id == directory_id);
        let newest = self.image.brokers.keys().next_back();
        let removed = self.image.removed_brokers.get_max();
        let last = newest.max(removed).map_or(0, |id| id.get());
        let unused = BrokerId(last.saturating_add(1));
        same.map_or(unused, |known| known.id)
    }

    fn check_registration(
        &self,
        id: BrokerId,
        register: &RegisterBroker,
    ) -> Result<(), ClusterError> {
        let current = self.image.cluster_id.as_deref();
        if current != Some(register.cluster_id.as_str()) {
            return Err(ClusterError::ClusterIdMismatch {
                current: current.map(str::to_owned),
                actual: register.cluster_id.clone(),
            });
        }
        let endpoints = &register.endpoints;
        for text in [
            &endpoints.grpc,
            &endpoints.http,
            &endpoints.peer,
            &register.rack,
        ] {
            check_length("endpoint or rack", text)?;
        }
        let listeners_count = endpoints.kafka.len();
        if listeners_count > KAFKA_LISTENERS_COUNT_MAX {
            let limit = KAFKA_LISTENERS_COUNT_MAX;
            return Err(over_limit("kafka listeners", listeners_count, limit));
        }
        for (name, endpoint) in &endpoints.kafka {
            check_length("kafka listener", name)?;
            check_length("kafka endpoint", endpoint)?;
        }
        if self.image.removed_brokers.contains(&id) {
            return Err(ClusterError::BrokerRemoved { broker: id });
        }
        let Some(known) = self.image.broker(id) else {
            let brokers_count = self.image.brokers.len() + 1;
            if brokers_count > BROKERS_COUNT_MAX {
                return Err(over_limit("brokers", brokers_count, BROKERS_COUNT_MAX));
            }
            return Ok(());
        };
        let (theirs, ours) = (known.directory_id, register.directory_id);
        let is_wiped = theirs.is_known() && ours.is_known() && theirs != ours;
        if is_wiped && !is_planted(Bug::WipedBrokerKeepsId) {
            let is_alive = !known.is_fenced;
            return Err(ClusterError::BrokerIdOfAnotherDirectory {
                broker: id,
                is_alive,
            });
        }
        Ok(())
    }

    /// A broker that was in service comes back under a new epoch: what it led before is over, and so are
    /// its clients' connections; it learns of that before it leads anything again.
    pub(super) fn fence_broker(
        &mut self,
        meta: &EntryMeta,
        id: BrokerId,
        epoch: BrokerEpoch,
        effects: &mut Effects,
    ) -> Reply {
        let broker = self.broker_of_epoch(id, epoch)?;
        if !broker.is_fenced {
            self.put_broker(
                Broker {
                    is_fenced: true,
                    epoch: BrokerEpoch(meta.log_index),
                    ..broker
                },
                effects,
            );
            self.clear_leader_everywhere(id, effects);
            self.close_connections_of(id, effects);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn unfence_broker(
        &mut self,
        id: BrokerId,
        epoch: BrokerEpoch,
        effects: &mut Effects,
    ) -> Reply {
        let broker = self.broker_of_epoch(id, epoch)?;
        if broker.is_fenced {
            self.put_broker(
                Broker {
                    is_fenced: false,
                    ..broker
                },
                effects,
            );
        }
        Ok(Outcome::Done)
    }

    pub(super) fn set_broker_draining(
        &mut self,
        id: BrokerId,
        is_draining: bool,
        effects: &mut Effects,
    ) -> Reply {
        let Some(broker) = self.image.broker(id) else {
            return Err(ClusterError::UnknownBroker { broker: id });
        };
        let changed = Broker {
            is_draining,
            is_decommissioned: broker.is_decommissioned && is_draining,
            ..Broker::clone(broker)
        };
        if **broker != changed {
            self.put_broker(changed, effects);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn allocate_producer_ids(&mut self, broker: BrokerId, count: u32) -> Reply {
        if self.image.broker(broker).is_none() {
            return Err(ClusterError::UnknownBroker { broker });
        }
        let first = self.image.next_producer_id;
        let next = first.checked_add(i64::from(count));
        match next {
            Some(next) if (1..=PRODUCER_ID_BLOCK_COUNT_MAX).contains(&count) => {
                self.image.next_producer_id = next;
                self.dirty.mark_head();
                Ok(Outcome::ProducerIds { first, count })
            }
            Some(_) | None => Err(ClusterError::InvalidProducerIdCount {
                actual: count,
                max: PRODUCER_ID_BLOCK_COUNT_MAX,
            }),
        }
    }

    /// Finds a broker for a command that names its registration.
    pub(super) fn broker_of_epoch(
        &self,
        id: BrokerId,
        epoch: BrokerEpoch,
    ) -> Result<Broker, ClusterError> {
        let Some(broker) = self.image.broker(id) else {
            return Err(ClusterError::UnknownBroker { broker: id });
        };
        if broker.epoch != epoch {
            return Err(ClusterError::StaleBrokerEpoch {
                broker: id,
                current: broker.epoch,
                actual: epoch,
            });
        }
        Ok(Broker::clone(broker))
    }
}

/// The broker of a registration, fenced; it keeps what was decided about it before.
fn registered(id: BrokerId, register: RegisterBroker, known: Option<&Broker>) -> Broker {
    let RegisterBroker {
        incarnation,
        endpoints,
        rack,
        directory_id,
        ..
    } = register;
    let known_directory = known.map(|known| known.directory_id).unwrap_or_default();
    Broker {
        id,
        endpoints,
        rack,
        epoch: BrokerEpoch::default(),
        incarnation,
        is_fenced: true,
        is_draining: known.is_some_and(|known| known.is_draining),
        is_decommissioned: known.is_some_and(|known| known.is_decommissioned),
        directory_id: if directory_id.is_known() {
            directory_id
        } else {
            known_directory
        },
    }
}

/// Checks the length of a name or endpoint.
pub(super) fn check_length(what: &str, text: &str) -> Result<(), ClusterError> {
    if text.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    Err(over_limit(what, text.len(), NAME_BYTES_MAX))
}

/// Makes the refusal of a count.
pub(super) fn over_limit(what: &str, actual: usize, limit: usize) -> ClusterError {
    ClusterError::LimitExceeded {
        what: what.to_owned(),
        actual,
        limit,
    }
}
