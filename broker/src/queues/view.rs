//! What the metadata image says of a queue to its replica.

use std::collections::BTreeMap;
use std::sync::Arc;

use raftmq_core::cluster::amqp::QueueInfo;
use raftmq_core::cluster::{Image, PartitionInfo};
use raftmq_core::ids::{BrokerEpoch, BrokerId};
use raftmq_core::queue::arguments::parse;
use raftmq_core::queue::{ChannelId, Settings};
use raftmq_core::space::SpaceOfBrokers;

use crate::hosting::GroupView;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueueView {
    pub(super) group: GroupView,
    /// `replica.lag.time.max.ms`.
    pub(super) lag_time_max_ms: u64,
    /// What the queue was declared with; `None` when it is not in the image.
    pub(super) settings: Option<Settings>,
    /// Every broker of the cluster, and its registration: a broker that is fenced has a new one at once.
    pub(super) brokers: BTreeMap<BrokerId, BrokerEpoch>,
}

impl QueueView {
    pub(super) fn new(image: &Image, info: &PartitionInfo, spaces: &SpaceOfBrokers) -> Self {
        let lag_time_max_ms = image.config_i64(None, "replica.lag.time.max.ms");
        let queue = image.amqp.queues.get(&info.group);
        let brokers = image.brokers.values();
        Self {
            group: GroupView::new(image, info, spaces),
            lag_time_max_ms: u64::try_from(lag_time_max_ms).unwrap_or(u64::MAX),
            settings: queue.and_then(settings_of),
            brokers: brokers.map(|broker| (broker.id, broker.epoch)).collect(),
        }
    }

    /// The registrations, among those of these channels, that are over: each broker with the newest one.
    pub(super) fn over(
        &self,
        channels: impl Iterator<Item = ChannelId>,
    ) -> BTreeMap<BrokerId, BrokerEpoch> {
        let mut over = BTreeMap::new();
        for channel in channels.filter(|channel| self.is_over(*channel)) {
            let newest = over.entry(channel.broker).or_insert(channel.broker_epoch);
            *newest = channel.broker_epoch.max(*newest);
        }
        over
    }

    /// Whether a channel is gone with its broker's registration. A registration that the image does not
    /// show yet is not over.
    pub(super) fn is_over(&self, channel: ChannelId) -> bool {
        let known = self.brokers.get(&channel.broker);
        known.is_none_or(|known| *known > channel.broker_epoch)
    }
}

/// What the machine of a queue is to decide by; `None` when its declaration cannot be read, which the
/// metadata group does not take.
pub(super) fn settings_of(queue: &Arc<QueueInfo>) -> Option<Settings> {
    let declared = parse(&queue.arguments, &queue.name, &queue.vhost).ok()?;
    Some(Settings {
        is_auto_delete: queue.is_auto_delete,
        ..declared.settings
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(broker: u32, epoch: u64, number: u64) -> ChannelId {
        ChannelId {
            broker: BrokerId(broker),
            broker_epoch: BrokerEpoch(epoch),
            number,
        }
    }

    fn view(brokers: &[(u32, u64)]) -> QueueView {
        let brokers = brokers.iter();
        let brokers = brokers.map(|(id, epoch)| (BrokerId(*id), BrokerEpoch(*epoch)));
        QueueView {
            group: GroupView::default(),
            lag_time_max_ms: 1,
            settings: None,
            brokers: brokers.collect(),
        }
    }

    #[test]
    fn channels_of_replaced_and_removed_registrations_are_over() {
        let view = view(&[(1, 5)]);

        assert!(!view.is_over(channel(1, 5, 1)), "in force");
        assert!(view.is_over(channel(1, 4, 1)), "fenced, or registered anew");
        assert!(!view.is_over(channel(1, 6, 1)), "the image lags");
        assert!(view.is_over(channel(3, 1, 1)), "no more in the cluster");
    }

    #[test]
    fn each_broker_is_named_with_its_newest_registration_that_is_over() {
        let view = view(&[(1, 5), (2, 8)]);
        let channels = [
            channel(1, 3, 1),
            channel(1, 4, 2),
            channel(1, 5, 3),
            channel(2, 7, 1),
        ];

        let over = view.over(channels.into_iter());

        let expected = [(BrokerId(1), BrokerEpoch(4)), (BrokerId(2), BrokerEpoch(7))];
        assert_eq!(over, BTreeMap::from(expected));
    }
}
