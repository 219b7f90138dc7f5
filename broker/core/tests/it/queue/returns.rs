//! What comes back: requeued messages, closed channels, fenced brokers, limits on attempts, timeouts.

use raftmq_core::queue::{
    Attempt, Command, DeathReason, EndReason, Outcome, QueueEvent, Refusal, Reply, Settings,
};
use raftmq_core::{BrokerEpoch, BrokerId, DeadLetterId};

use crate::support::queue::{Harness, channel};

#[test]
fn a_closed_channel_returns_what_it_holds_in_order() {
    let mut harness = Harness::new(Settings::default());
    harness.attach(1, "c", 3);
    harness.publish(&["a", "b", "c", "d"]);

    let closed = harness.close(1);

    assert_eq!(closed.reply, Reply::Settled { count: 3 });
    assert_eq!(harness.ready(), ["a", "b", "c", "d"]);
    let again = harness.attach(2, "c", 0).deliveries();
    let redelivered: Vec<_> = again.iter().map(|one| one.is_redelivered).collect();
    assert_eq!(redelivered, [true, true, true, false]);
    let attempts: Vec<_> = again.iter().map(|one| one.attempts).collect();
    assert_eq!(attempts, [1, 1, 1, 0]);
}

#[test]
fn a_fenced_broker_returns_what_its_channels_hold() {
    let mut harness = Harness::new(Settings::default());
    harness.attach(1, "c", 1);
    harness.attach(2, "c", 1);
    harness.publish(&["a", "b"]);
    let fence = |epoch| Command::CloseBroker {
        broker: BrokerId(1),
        broker_epoch: BrokerEpoch(epoch),
        attempt: Attempt::CountsNot,
    };

    assert_eq!(
        harness.commit(&fence(0)).reply,
        Reply::Settled { count: 0 },
        "an earlier registration"
    );
    harness.commit(&fence(1));

    assert_eq!(harness.ready(), ["a"]);
    assert_eq!(harness.queue.consumers_count(), 1);
    let delivery = harness.get(5).unwrap();
    assert!(delivery.is_redelivered);
    assert_eq!(delivery.attempts, 0, "not the client's doing");
}

#[test]
fn a_requeued_message_comes_before_those_behind_it() {
    let mut harness = Harness::new(Settings::default());
    harness.publish(&["a", "b", "c"]);
    let (first, second) = (harness.get(1).unwrap(), harness.get(1).unwrap());

    harness.settle(1, second.id, Outcome::Returned(Attempt::Counts));
    harness.settle(1, first.id, Outcome::Returned(Attempt::Counts));

    assert_eq!(harness.ready(), ["a", "b", "c"]);
}

#[test]
fn a_message_dies_when_it_failed_once_more_than_the_limit() {
    let mut harness = Harness::new(Settings {
        delivery_limit: Some(1),
        has_dead_letters: true,
        ..Settings::default()
    });
    harness.publish(&["a"]);
    let first = harness.get(1).unwrap();
    harness.settle(1, first.id, Outcome::Returned(Attempt::Counts));
    let second = harness.get(1).unwrap();
    assert_eq!(second.attempts, 1);

    let died = harness.settle(1, second.id, Outcome::Returned(Attempt::Counts));

    let letters = died.dead_letters();
    assert_eq!(letters[0].reason, DeathReason::DeliveryLimit);
    assert_eq!(letters[0].attempts, 2);
    assert_eq!(harness.queue.ready_count(), 0);
}

#[test]
fn a_dead_letter_stays_until_it_is_published() {
    let mut harness = Harness::new(Settings {
        has_dead_letters: true,
        ..Settings::default()
    });
    harness.publish(&["a", "b"]);
    for _ in 0..2 {
        let delivery = harness.get(1).unwrap();
        harness.settle(1, delivery.id, Outcome::Rejected);
    }
    let published = |ids: &[u64]| {
        Command::DeadLettersPublished(ids.iter().copied().map(DeadLetterId).collect())
    };

    harness.commit(&published(&[1]));
    assert_eq!(harness.queue.dead_letters(DeadLetterId(0), 9).len(), 1);
    assert_eq!(harness.queue.unsettled().count(), 1, "its body is needed");
    harness.commit(&Command::Delete {
        if_unused: true,
        if_empty: true,
    });
    assert!(harness.queue.ended().is_some() && !harness.queue.is_finished());
    harness.commit(&published(&[0, 7]));

    assert!(harness.queue.is_finished());
    assert_eq!(harness.queue.unsettled().count(), 0);
}

#[test]
fn a_rejected_message_that_nobody_wants_is_dropped() {
    let mut harness = Harness::new(Settings::default());
    harness.publish(&["a"]);
    let delivery = harness.get(1).unwrap();

    let rejected = harness.settle(1, delivery.id, Outcome::Rejected);

    let reason = DeathReason::Rejected;
    assert_eq!(rejected.events, [QueueEvent::Dropped { reason }]);
}

#[test]
fn a_consumer_that_takes_too_long_loses_its_message_but_not_its_channel() {
    let mut harness = Harness::new(Settings {
        consumer_timeout_ms: Some(100),
        ..Settings::default()
    });
    harness.attach(1, "c", 1);
    let held = harness.publish(&["a"]).deliveries()[0];
    assert_eq!(harness.queue.next_deadline_ms(), Some(harness.now_ms + 100));
    assert_eq!(harness.pass(99).events, []);

    let late = harness.pass(1);

    let taken_back = QueueEvent::TakenBack {
        channel: channel(1),
        delivery: held.id,
    };
    assert_eq!(late.events[0], taken_back);
    let again = late.deliveries()[0];
    assert!(again.is_redelivered && again.attempts == 0);
    assert_eq!(harness.queue.consumers_count(), 1);
}

#[test]
fn a_queue_in_use_or_with_messages_is_not_deleted_on_those_conditions() {
    let mut harness = Harness::new(Settings::default());
    harness.publish(&["a"]);
    let delete = |if_unused, if_empty| Command::Delete {
        if_unused,
        if_empty,
    };
    let not_empty = Refusal::NotEmpty { ready_count: 1 };
    assert_eq!(
        harness.commit(&delete(false, true)).reply,
        Reply::Refused(not_empty)
    );
    let consumer = harness.attach(1, "c", 0).consumer();
    let in_use = Refusal::InUse { consumers_count: 1 };
    assert_eq!(
        harness.commit(&delete(true, false)).reply,
        Reply::Refused(in_use)
    );

    let deleted = harness.commit(&delete(false, false));

    let reason = EndReason::Deleted;
    let cancelled = QueueEvent::ConsumerCancelled {
        channel: channel(1),
        consumer,
    };
    assert_eq!(deleted.events, [cancelled, QueueEvent::Ended { reason }]);
    assert_eq!(harness.queue.unsettled_count(), 0);
    assert_eq!(
        harness.publish(&["b"]).reply,
        Reply::Refused(Refusal::Gone),
        "and changes nothing"
    );
}

#[test]
fn an_auto_delete_queue_ends_with_its_last_consumer() {
    let mut harness = Harness::new(Settings {
        is_auto_delete: true,
        ..Settings::default()
    });
    harness.attach(1, "a", 0);
    let last = harness.attach(1, "b", 0).consumer();
    harness.commit(&Command::Detach { consumer: last });
    assert_eq!(harness.queue.ended(), None);

    harness.close(1);

    assert_eq!(harness.queue.ended(), Some(EndReason::Unused));
}
