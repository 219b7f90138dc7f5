//! Plans how replicas and preferred leaders are to be spread: evenly, racks apart, moving little.
//!
//! Pure: an image and what was measured come in, a bounded list of changes comes out. Each change
//! makes things better and none makes them worse, in this order: replicas leave brokers that are to
//! be empty; racks; replicas by count; replicas by bytes per second; preferred leaders by count;
//! preferred leaders by bytes per second. So a plan that is carried out and made again comes to an
//! end. Does not carry anything out (`SetReplicas` does), and leaves partitions alone that are being
//! moved.

mod leaders;
pub mod measured;
mod model;
mod replicas;

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::cluster::config_keys::REBALANCE_ENABLE;
use crate::cluster::image::{Broker, Image};
use crate::ids::{BrokerId, GroupNumber};

use self::model::Model;

/// Replicas that a cluster which evens itself moves at a time.
const MOVES_BY_ITSELF_MAX: usize = 4;

/// What was measured of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartitionLoad {
    /// What producers write to it, bytes per second.
    pub in_bytes_per_s: u64,
    /// Its retained log, bytes.
    pub size_bytes: u64,
}

/// What was measured, by group; a partition that is missing counts as idle and empty.
pub type Loads = BTreeMap<GroupNumber, PartitionLoad>;

/// How far a plan may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Replicas that one plan moves, at most. Reordering moves none.
    pub moves_max: usize,
    /// Largest difference between two brokers that is left alone, in percent of the mean. Counts are
    /// always left alone when they differ by one.
    pub deviation_percent: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            moves_max: 1_000,
            deviation_percent: 10,
        }
    }
}

/// The replicas of one partition, before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The partition's group.
    pub group: GroupNumber,
    /// Its replicas now, preferred leader first.
    pub from: Vec<BrokerId>,
    /// Its replicas then. The same ones in another order where only the preference changes.
    pub to: Vec<BrokerId>,
}

impl Change {
    /// Counts the replicas that are moved; 0 = only the order changes.
    #[must_use]
    pub fn moves_count(&self) -> usize {
        let is_new = |id: &&BrokerId| !self.from.contains(id);
        self.to.iter().filter(is_new).count()
    }
}

/// Why brokers cannot be emptied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BalanceError {
    /// No such broker.
    #[error("broker {broker} is not registered")]
    UnknownBroker {
        /// The broker.
        broker: BrokerId,
    },
    /// Nobody would be left.
    #[error("broker {broker} is the last one in service")]
    LastBroker {
        /// The broker.
        broker: BrokerId,
    },
    /// A partition has more replicas than there are brokers left.
    #[error(
        "group {group} has {replicas_count} replicas, and {brokers_count} brokers are left for them"
    )]
    DoesNotFit {
        /// The group.
        group: GroupNumber,
        /// Its replicas.
        replicas_count: usize,
        /// Brokers that could hold them.
        brokers_count: usize,
    },
}

/// Plans changes that spread replicas and preferred leaders over the live and willing brokers. Empty
/// when nothing is worth it.
///
/// Unwilling brokers keep what they have and get nothing.
#[must_use]
pub fn plan(
    image: &Image,
    loads: &Loads,
    bounds: Bounds,
    is_willing: impl Fn(&Broker) -> bool,
) -> Vec<Change> {
    let willing = |broker: &&std::sync::Arc<Broker>| is_willing(broker);
    let open: BTreeSet<BrokerId> = image
        .alive_brokers()
        .filter(willing)
        .map(|broker| broker.id)
        .collect();
    let mut model = Model::new(image, loads, bounds, open);
    replicas::separate_racks(&mut model);
    replicas::even_counts(&mut model);
    replicas::even_bytes(&mut model);
    leaders::even_counts(&mut model);
    leaders::even_bytes(&mut model);
    model.into_changes()
}

/// Plans a few changes where the cluster is to even itself (`rebalance.enable`), and it is quiet: no
/// replica is being moved, and every broker is in service. Empty otherwise.
///
/// A broker that is away for a moment would else have its share moved away and back.
#[must_use]
pub fn plan_by_itself(
    image: &Image,
    loads: &Loads,
    is_willing: impl Fn(&Broker) -> bool,
) -> Vec<Change> {
    let is_enabled = image.config_text(None, REBALANCE_ENABLE) == "true";
    let is_whole = image.brokers.values().all(|broker| !broker.is_fenced);
    let is_moving = || image.partitions.values().any(|info| info.is_moving());
    if !is_enabled || !is_whole || is_moving() {
        return Vec::new();
    }
    let bounds = Bounds {
        moves_max: MOVES_BY_ITSELF_MAX,
        ..Bounds::default()
    };
    plan(image, loads, bounds, is_willing)
}

/// Plans the changes that take every replica off a broker, and nothing else. Empty when it has none.
///
/// # Errors
/// `UnknownBroker`; `LastBroker`; `DoesNotFit`, with nothing planned.
pub fn plan_decommission(
    image: &Image,
    loads: &Loads,
    broker: BrokerId,
    is_willing: impl Fn(&Broker) -> bool,
) -> Result<Vec<Change>, BalanceError> {
    if image.broker(broker).is_none() {
        return Err(BalanceError::UnknownBroker { broker });
    }
    let willing = |other: &&std::sync::Arc<Broker>| other.id != broker && is_willing(other);
    let open: BTreeSet<BrokerId> = image
        .alive_brokers()
        .filter(willing)
        .map(|other| other.id)
        .collect();
    if open.is_empty() {
        return Err(BalanceError::LastBroker { broker });
    }
    let bounds = Bounds {
        moves_max: usize::MAX,
        ..Bounds::default()
    };
    let mut model = Model::new(image, loads, bounds, open);
    model.include_moving();
    replicas::empty_broker(&mut model, broker)?;
    Ok(model.into_changes())
}
