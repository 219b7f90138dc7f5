//! Who gets which message: turns, priorities, prefetch, single active and exclusive consumers.

use raftmq_core::queue::{
    AckMode, Attach, Command, Message, Outcome, Refusal, Reply, Settings, Span, adds_messages,
};
use raftmq_core::{ConsumerId, DeliveryId};

use crate::support::queue::{Applied, Harness, channel, consumer, message};

fn who(applied: &Applied) -> Vec<u64> {
    let deliveries = applied.deliveries();
    let consumers = deliveries.iter().filter_map(|one| one.consumer);
    consumers.map(ConsumerId::get).collect()
}

#[test]
fn consumers_take_turns() {
    let mut harness = Harness::new(Settings::default());
    for number in 1..=3 {
        harness.attach(number, "c", 0);
    }

    let applied = harness.publish(&["a", "b", "c", "d"]);

    assert_eq!(who(&applied), [1, 2, 3, 1]);
    assert_eq!(harness.queue.unsettled_count(), 4);
    assert_eq!(harness.queue.ready_count(), 0);
}

#[test]
fn a_consumer_holds_no_more_than_its_prefetch() {
    let mut harness = Harness::new(Settings::default());
    harness.publish(&["a", "b", "c"]);

    let applied = harness.attach(1, "c", 2);

    let deliveries = applied.deliveries();
    assert_eq!(deliveries.len(), 2);
    assert_eq!(harness.ready(), ["c"]);
    let next = harness.settle(1, deliveries[0].id, Outcome::Acked);
    assert_eq!(harness.body(next.deliveries()[0].message), "c");
}

#[test]
fn a_consumer_gets_no_more_than_it_was_granted() {
    let mut harness = Harness::new(Settings::default());
    harness.publish(&["a", "b", "c"]);
    let attach = Attach {
        ack_mode: AckMode::Automatic,
        granted: 1,
        ..consumer(1, "c", 0)
    };

    let applied = harness.commit(&Command::Attach(attach));

    assert_eq!(applied.deliveries().len(), 1);
    assert!(applied.deliveries()[0].is_settled);
    let credit = Command::Credit {
        consumer: applied.consumer(),
        prefetch: 0,
        granted: 3,
    };
    assert_eq!(harness.commit(&credit).deliveries().len(), 2);
    assert_eq!(harness.commit(&credit).deliveries(), [], "repeated");
    assert_eq!(harness.queue.unsettled_count(), 0);
}

#[test]
fn consumers_of_higher_priority_come_first() {
    let mut harness = Harness::new(Settings::default());
    harness.attach(1, "low", 0);
    let high = Attach {
        priority: 5,
        ..consumer(2, "high", 1)
    };
    harness.commit(&Command::Attach(high));

    let applied = harness.publish(&["a", "b"]);

    assert_eq!(who(&applied), [2, 1], "while it can take them");
}

#[test]
fn attaching_twice_gives_the_same_consumer() {
    let mut harness = Harness::new(Settings::default());
    let first = harness.attach(1, "c", 1);

    let again = harness.attach(1, "c", 1);

    assert_eq!(again.reply, first.reply);
    assert_eq!(harness.queue.consumers_count(), 1);
}

#[test]
fn an_exclusive_consumer_is_the_only_one() {
    let exclusive = |number| {
        Command::Attach(Attach {
            is_exclusive: true,
            ..consumer(number, "c", 0)
        })
    };
    let refused = Reply::Refused(Refusal::ExclusiveConsumer);
    let mut harness = Harness::new(Settings::default());
    harness.commit(&exclusive(1));
    assert_eq!(harness.attach(2, "c", 0).reply, refused);

    harness.close(1);
    harness.attach(2, "c", 0);
    assert_eq!(harness.commit(&exclusive(1)).reply, refused);
}

#[test]
fn the_next_active_consumer_waits_until_the_old_one_holds_nothing() {
    let mut harness = Harness::new(Settings {
        is_single_active_consumer: true,
        ..Settings::default()
    });
    let active = harness.attach(1, "c", 2).consumer();
    harness.attach(2, "c", 2);
    let held = harness.publish(&["a", "b", "c"]).deliveries();
    assert!(held.iter().all(|one| one.consumer == Some(active)));

    let left = harness.commit(&Command::Detach { consumer: active });
    assert_eq!(left.deliveries(), [], "the old one still holds a and b");
    harness.settle(1, held[0].id, Outcome::Acked);
    let next = harness.close(1).deliveries();

    let bodies: Vec<_> = next.iter().map(|one| harness.body(one.message)).collect();
    assert_eq!(bodies, ["b", "c"], "in order");
    assert!(next[0].is_redelivered && !next[1].is_redelivered);
}

#[test]
fn messages_of_higher_priority_are_delivered_first() {
    let mut harness = Harness::new(Settings {
        priority_max: 5,
        ..Settings::default()
    });
    for (priority, body) in [(0, "low"), (5, "high"), (9, "as high"), (1, "middle")] {
        harness.publish_one(Message {
            priority,
            ..message(body)
        });
    }

    assert_eq!(harness.ready(), ["high", "as high", "middle", "low"]);
}

#[test]
fn a_get_takes_the_head_and_tells_what_is_left() {
    let mut harness = Harness::new(Settings::default());
    harness.publish(&["a", "b"]);

    let delivery = harness.get(1).unwrap();

    assert_eq!(harness.body(delivery.message), "a");
    assert_eq!(delivery.consumer, None);
    assert_eq!(harness.queue.deliveries(channel(1)), [delivery]);
    assert!(harness.get(1).is_some() && harness.get(1).is_none());
}

#[test]
fn what_a_cancelled_consumer_holds_can_still_be_settled() {
    let mut harness = Harness::new(Settings::default());
    let consumer = harness.attach(1, "c", 0).consumer();
    let held = harness.publish(&["a", "b"]).deliveries();
    harness.commit(&Command::Detach { consumer });
    assert_eq!(harness.queue.unsettled_count(), 2);

    let settled = harness.commit(&Command::Settle {
        channel: channel(1),
        spans: vec![Span::up_to(held[1].id)],
        outcome: Outcome::Acked,
    });

    assert_eq!(settled.reply, Reply::Settled { count: 2 });
    assert_eq!(harness.queue.unsettled_count(), 0);
}

#[test]
fn a_delivery_of_another_channel_cannot_be_settled() {
    let mut harness = Harness::new(Settings::default());
    harness.publish(&["a"]);
    let delivery = harness.get(1).unwrap();

    let settled = harness.settle(2, delivery.id, Outcome::Acked);

    assert_eq!(settled.reply, Reply::Settled { count: 0 });
    assert_eq!(harness.queue.unsettled_count(), 1);
}

#[test]
fn settling_twice_leaves_the_neighbour_alone() {
    let mut harness = Harness::new(Settings::default());
    harness.attach(1, "c", 0);
    let held = harness.publish(&["a", "b"]).deliveries();
    harness.settle(1, held[0].id, Outcome::Acked);

    let again = harness.settle(1, held[0].id, Outcome::Acked);

    assert_eq!(again.reply, Reply::Settled { count: 0 });
    assert_eq!(harness.queue.deliveries(channel(1)), [held[1]]);
    let unknown = harness.settle(1, DeliveryId(99), Outcome::Acked);
    assert_eq!(unknown.reply, Reply::Settled { count: 0 });
}

#[test]
fn what_consumers_hold_is_listed_in_order_without_what_a_get_took() {
    let mut harness = Harness::new(Settings::default());
    harness.publish(&["a", "b", "c"]);
    harness.commit(&Command::Get {
        channel: channel(9),
        ack_mode: AckMode::Manual,
    });
    let first = harness.attach(2, "c", 1).deliveries();
    let second = harness.attach(1, "c", 1).deliveries();

    let held = harness.queue.consumers_deliveries();

    assert_eq!(held, [first[0], second[0]]);
    let channels: Vec<_> = harness.queue.channels().collect();
    // By broker first, of which channel 9 has the lowest here.
    assert_eq!(channels, [channel(9), channel(1), channel(2)]);
}

#[test]
fn commands_that_add_messages_are_told_from_their_bytes() {
    let publish = Command::Publish(vec![message("a")]);
    let batch = |commands: &[Command]| Command::Batch(commands.to_vec());
    let adds = |command: &Command| adds_messages(&command.encode());

    assert!(adds(&publish));
    assert!(adds(&batch(&[Command::Tick, publish])));
    assert!(!adds(&Command::Purge));
    assert!(!adds(&batch(&[Command::Tick, Command::Touch])));
    assert!(!adds(&batch(&[])));
    let cut = batch(&[Command::Touch]).encode();
    assert!(adds_messages(&cut[..cut.len() - 1]), "what cannot be read");
    assert!(!adds_messages(b""));
}
