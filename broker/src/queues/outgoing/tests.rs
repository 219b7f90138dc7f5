//! Tests of what a leader keeps to be pushed and read.

use futures_util::FutureExt;
use raftmq_core::ids::LogIndex;

use super::*;

const BROKER: BrokerId = BrokerId(2);
const CONSUMER: ConsumerId = ConsumerId(3);
const ONE: Took = Took {
    count: 1,
    is_full: false,
};

fn channel(number: u64) -> ChannelId {
    ChannelId {
        broker: BROKER,
        number,
        ..ChannelId::default()
    }
}

fn taken_back(id: u64) -> QueueEvent {
    QueueEvent::TakenBack {
        channel: channel(1),
        delivery: DeliveryId(id),
    }
}

fn delivery(id: u64, is_settled: bool) -> Delivery {
    Delivery {
        id: DeliveryId(id),
        channel: channel(1),
        consumer: Some(CONSUMER),
        message: message(id),
        size: 5,
        attempts: 0,
        is_redelivered: false,
        is_settled,
    }
}

fn message(log_index: u64) -> MessageRef {
    MessageRef {
        log_index: LogIndex(log_index),
        position: 0,
    }
}

fn got(delivery: Delivery) -> Vec<Reply> {
    let delivery = Some(Delivery {
        consumer: None,
        ..delivery
    });
    vec![
        Reply::Done,
        Reply::Got {
            delivery,
            ready_count: 0,
        },
    ]
}

fn peek(outgoing: &Outgoing, term: u64) -> Vec<QueueEvent> {
    outgoing.peek(term, BROKER, Instant::now(), 9)
}

#[tokio::test(start_paused = true)]
async fn a_follower_keeps_nothing() {
    let outgoing = Outgoing::default();

    outgoing.take(taken_back(1));
    outgoing.take_got(&Reply::Batch(got(delivery(1, true))));

    assert!(outgoing.is_empty());
    assert_eq!(outgoing.unread(), []);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_goes_and_the_rest_stays_in_order() {
    let outgoing = Outgoing::default();
    outgoing.begin(5, &Queue::default());
    (1..=3).for_each(|id| outgoing.take(taken_back(id)));
    let now = Instant::now();

    assert_eq!(outgoing.ready_at(5, now), [(BROKER, now)]);
    let two = Took { count: 2, ..ONE };
    outgoing.done(5, &[(channel(1), two)], now);

    assert_eq!(peek(&outgoing, 5), [taken_back(3)]);
    outgoing.done(5, &[(channel(1), ONE)], now);
    assert!(outgoing.is_empty());
    assert_eq!(outgoing.ready_at(5, now), []);
}

#[tokio::test(start_paused = true)]
async fn a_push_of_the_term_before_takes_nothing_out() {
    let outgoing = Outgoing::default();
    outgoing.begin(5, &Queue::default());
    outgoing.take(taken_back(1));
    outgoing.begin(6, &Queue::default());
    let cancelled = QueueEvent::ConsumerCancelled {
        channel: channel(1),
        consumer: CONSUMER,
    };
    outgoing.take(cancelled);

    outgoing.done(5, &[(channel(1), ONE)], Instant::now());
    outgoing.end(5);

    assert_eq!(peek(&outgoing, 5), []);
    assert_eq!(peek(&outgoing, 6), [cancelled]);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_settled_already_must_still_be_read() {
    let outgoing = Outgoing::default();
    outgoing.begin(5, &Queue::default());

    outgoing.take(QueueEvent::Delivered(delivery(7, false)));
    assert_eq!(outgoing.unread(), [], "the state has it");
    outgoing.take(QueueEvent::Delivered(delivery(8, true)));
    assert_eq!(outgoing.unread(), [(message(8), 5)]);
    assert!(outgoing.has_deliveries_of(CONSUMER));

    let both = Took { count: 2, ..ONE };
    outgoing.done(5, &[(channel(1), both)], Instant::now());
    assert_eq!(outgoing.unread(), []);
    assert!(!outgoing.has_deliveries_of(CONSUMER));
}

#[tokio::test(start_paused = true)]
async fn what_a_get_took_for_good_is_kept_from_its_entry_on_until_somebody_else_holds_it() {
    let outgoing = Outgoing::default();
    outgoing.begin(5, &Queue::default());

    outgoing.take_got(&Reply::Batch(got(delivery(4, true))));
    outgoing.take_got(&Reply::Batch(got(delivery(5, false))));
    outgoing.take_got(&Reply::Batch(got(delivery(6, true))));
    assert_eq!(outgoing.unread(), [(message(4), 5), (message(6), 5)]);

    outgoing.release_got(&got(delivery(5, false)));
    assert_eq!(outgoing.unread().len(), 2, "nothing for good was in it");
    outgoing.release_got(&got(delivery(4, true)));
    assert_eq!(outgoing.unread(), [(message(6), 5)]);
    outgoing.end(5);
    assert_eq!(outgoing.unread(), []);
}

#[tokio::test(start_paused = true)]
async fn a_term_that_is_over_does_not_begin_any_more() {
    let outgoing = Outgoing::default();
    outgoing.begin(6, &Queue::default());
    outgoing.take(taken_back(1));

    outgoing.begin(5, &Queue::default());

    assert_eq!(peek(&outgoing, 5), []);
    assert_eq!(peek(&outgoing, 6), [taken_back(1)]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_term_wakes_who_works_for_the_next_one() {
    let outgoing = Outgoing::default();
    outgoing.begin(5, &Queue::default());
    outgoing.begin(6, &Queue::default());
    outgoing.take(taken_back(1));
    let is_woken = || outgoing.pushes.notified().now_or_never().is_some();
    assert!(is_woken(), "somebody of the term before, who finds nothing");
    assert_eq!(peek(&outgoing, 5), []);
    assert!(!is_woken());

    outgoing.end(5);

    assert!(is_woken());
    assert_eq!(peek(&outgoing, 6), [taken_back(1)]);
}
