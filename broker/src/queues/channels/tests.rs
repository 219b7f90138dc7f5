//! Tests of the channels of a broker.

use bytes::Bytes;
use raftmq_core::ids::DeliveryId;
use raftmq_core::queue::{Delivery, MessageRef};
use tokio::sync::mpsc::error::TryRecvError;

use super::super::events::EVENTS_MAX;
use super::*;

const QUEUE: GroupNumber = GroupNumber(7);
const CONSUMER: ConsumerId = ConsumerId(1);

fn open(channels: &Channels) -> (ChannelId, ChannelEvents) {
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

fn ids(events: &mut ChannelEvents) -> Vec<u64> {
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
    assert!(channels.take(QUEUE, first).is_empty());
    let again = vec![delivered(id, 1), delivered(id, 2), delivered(id, 3)];
    assert!(channels.take(QUEUE, again).is_empty());

    assert_eq!(ids(&mut events), [1, 2, 3]);
}

#[test]
fn a_full_channel_takes_the_rest_later() {
    let channels = Channels::default();
    let (id, mut events) = open(&channels);
    let count = EVENTS_MAX as u64 + 2;
    let pushes = || (1..=count).map(|number| delivered(id, number)).collect();

    assert_eq!(channels.take(QUEUE, pushes()), [EVENTS_MAX, EVENTS_MAX + 1]);
    assert_eq!(ids(&mut events).len(), EVENTS_MAX);
    assert!(channels.take(QUEUE, pushes()).is_empty());

    assert_eq!(ids(&mut events), [count - 1, count]);
}

#[test]
fn a_full_channel_keeps_its_order_and_holds_up_no_other() {
    let channels = Channels::default();
    let (full, mut slow) = open(&channels);
    let (other, mut events) = open(&channels);
    let filling = (1..=EVENTS_MAX as u64).map(|number| delivered(full, number));
    assert!(channels.take(QUEUE, filling.collect()).is_empty());
    let [next, last] = [EVENTS_MAX as u64 + 1, EVENTS_MAX as u64 + 2];

    // What takes no room would overtake what does.
    let pushes = vec![
        delivered(full, next),
        delivered(other, 7),
        Push::TakenBack(full, DeliveryId(next)),
        delivered(full, last),
    ];
    assert_eq!(channels.take(QUEUE, pushes), [0, 2, 3]);

    assert_eq!(ids(&mut events), [7]);
    assert_eq!(ids(&mut slow).len(), EVENTS_MAX);
    let again = vec![delivered(full, next), delivered(full, last)];
    assert!(channels.take(QUEUE, again).is_empty());
    assert_eq!(ids(&mut slow), [next, last]);
}

#[test]
fn a_consumer_that_is_being_attached_holds_up_nobody() {
    let channels = Channels::default();
    let (id, mut events) = open(&channels);
    channels.attaching(id, QUEUE);

    let early = vec![delivered(id, 1), Push::Cancelled(id, CONSUMER)];
    assert!(channels.take(QUEUE, early).is_empty());
    channels.attached(id, QUEUE, Some(CONSUMER));
    assert!(channels.take(QUEUE, vec![delivered(id, 2)]).is_empty());

    assert_eq!(ids(&mut events), [1]);
    assert_eq!(
        ids(&mut events),
        [2],
        "behind what its owner knows nothing of yet"
    );
}

#[test]
fn what_is_for_a_closed_channel_counts_as_taken() {
    let channels = Channels::default();
    let (id, _events) = open(&channels);
    channels.touch(id, QUEUE);

    assert_eq!(channels.close(id), BTreeSet::from([QUEUE]));

    assert!(channels.take(QUEUE, vec![delivered(id, 1)]).is_empty());
    assert_eq!(channels.close(id), BTreeSet::new(), "it is forgotten");
}

#[test]
fn channels_that_are_closed_are_told_from_open_ones_and_those_of_other_registrations() {
    let channels = Channels::default();
    let registration = (BrokerId(1), BrokerEpoch(3));
    let (open, _events) = open(&channels);
    let (closed, _) = channels.open(registration.0, registration.1);
    channels.touch(closed, QUEUE);
    assert_eq!(channels.touched(closed), BTreeSet::from([QUEUE]));
    let before = ChannelId {
        broker_epoch: BrokerEpoch(2),
        ..closed
    };
    let unheard_of = ChannelId {
        number: closed.number + 1,
        ..closed
    };
    let pushes = [open, closed, closed, before, unheard_of].map(|id| delivered(id, 1));
    let among = || channels.closed_among(&pushes, registration);
    assert_eq!(among(), BTreeSet::new());

    channels.close(closed);

    assert_eq!(among(), BTreeSet::from([closed]));
    assert_eq!(channels.touched(closed), BTreeSet::new());
    let returned = [Push::TakenBack(closed, DeliveryId(1))];
    assert_eq!(
        channels.closed_among(&returned, registration),
        BTreeSet::new()
    );
}

#[test]
fn a_consumer_is_cancelled_once() {
    let channels = Channels::default();
    let (id, mut events) = open(&channels);
    channels.attaching(id, QUEUE);
    channels.attached(id, QUEUE, Some(CONSUMER));

    assert_eq!(channels.consumed_queues(), BTreeSet::from([QUEUE]));
    assert!(channels.cancel_consumers(QUEUE));
    let again = vec![Push::Cancelled(id, CONSUMER)];
    assert!(channels.take(QUEUE, again).is_empty());

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
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
    channels.keep_only(None);

    assert_eq!(events.try_recv(), Err(TryRecvError::Disconnected));
}
