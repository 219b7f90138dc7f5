//! Tests of the channels of a broker.

use bytes::Bytes;
use raftmq_core::ids::DeliveryId;
use raftmq_core::queue::{Delivery, MessageRef};

use super::*;

const QUEUE: GroupNumber = GroupNumber(7);
const CONSUMER: ConsumerId = ConsumerId(1);

fn open(channels: &Channels) -> (ChannelId, mpsc::Receiver<ChannelEvent>) {
    channels.open(BrokerId(1), BrokerEpoch(3))
}

fn delivered(channel: ChannelId, id: u64) -> Push {
    let delivery = Delivery {
        id: DeliveryId(id),
        channel,
        consumer: Some(CONSUMER),
        message: MessageRef::default(),
        size: 0,
        attempts: 0,
        is_redelivered: false,
        is_settled: false,
    };
    Push::Delivered(delivery, Bytes::new())
}

fn ids(events: &mut mpsc::Receiver<ChannelEvent>) -> Vec<u64> {
    let ids = std::iter::from_fn(|| match events.try_recv() {
        Ok(ChannelEvent::Delivered { delivery, .. }) => Some(delivery.id.0),
        Ok(ChannelEvent::TakenBack { .. } | ChannelEvent::ConsumerCancelled { .. }) | Err(_) => {
            None
        }
    });
    ids.collect()
}

#[test]
fn a_delivery_comes_once_however_often_it_is_pushed() {
    let channels = Channels::default();
    let (id, mut events) = open(&channels);

    let first = vec![delivered(id, 1), delivered(id, 2)];
    assert_eq!(channels.take(QUEUE, first), 2);
    let again = vec![delivered(id, 1), delivered(id, 2), delivered(id, 3)];
    assert_eq!(channels.take(QUEUE, again), 3);

    assert_eq!(ids(&mut events), [1, 2, 3]);
}

#[test]
fn a_full_channel_takes_the_rest_later() {
    let channels = Channels::default();
    let (id, mut events) = open(&channels);
    let count = CHANNEL_EVENTS_MAX as u64 + 2;
    let pushes = || (1..=count).map(|number| delivered(id, number)).collect();

    assert_eq!(channels.take(QUEUE, pushes()), CHANNEL_EVENTS_MAX);
    assert_eq!(ids(&mut events).len(), CHANNEL_EVENTS_MAX);
    assert_eq!(channels.take(QUEUE, pushes()), CHANNEL_EVENTS_MAX + 2);

    assert_eq!(ids(&mut events), [count - 1, count]);
}

#[test]
fn deliveries_of_a_consumer_wait_until_it_is_known() {
    let channels = Channels::default();
    let (id, mut events) = open(&channels);
    channels.attaching(id, QUEUE);

    assert_eq!(channels.take(QUEUE, vec![delivered(id, 1)]), 0);
    channels.attached(id, QUEUE, Some(CONSUMER));
    assert_eq!(channels.take(QUEUE, vec![delivered(id, 1)]), 1);

    assert_eq!(ids(&mut events), [1]);
}

#[test]
fn what_is_for_a_closed_channel_counts_as_taken() {
    let channels = Channels::default();
    let (id, _events) = open(&channels);
    channels.touch(id, QUEUE);

    assert_eq!(channels.close(id), BTreeSet::from([QUEUE]));

    assert_eq!(channels.take(QUEUE, vec![delivered(id, 1)]), 1);
    assert_eq!(channels.close(id), BTreeSet::new(), "it is forgotten");
}

#[test]
fn a_consumer_is_cancelled_once() {
    let channels = Channels::default();
    let (id, mut events) = open(&channels);
    channels.attaching(id, QUEUE);
    channels.attached(id, QUEUE, Some(CONSUMER));

    assert_eq!(channels.consumed_queues(), BTreeSet::from([QUEUE]));
    assert!(channels.cancel_consumers(QUEUE));
    assert_eq!(channels.take(QUEUE, vec![Push::Cancelled(id, CONSUMER)]), 1);

    let cancelled = ChannelEvent::ConsumerCancelled {
        queue: QUEUE,
        consumer: CONSUMER,
    };
    assert_eq!(events.try_recv(), Ok(cancelled));
    assert!(events.try_recv().is_err());
    assert_eq!(channels.consumed_queues(), BTreeSet::new());
}

#[test]
fn channels_of_another_registration_end() {
    let channels = Channels::default();
    let (_, mut events) = open(&channels);

    channels.keep_only(Some(BrokerEpoch(3)));
    assert_eq!(events.try_recv(), Err(mpsc::error::TryRecvError::Empty));
    channels.keep_only(None);

    assert_eq!(
        events.try_recv(),
        Err(mpsc::error::TryRecvError::Disconnected)
    );
}
