//! What does not stay: TTL, expiry, delays, length limits, purge; and how little memory waiting takes.

use bytes::Bytes;
use raftmq_core::queue::{
    Command, DeathReason, Decision, EndReason, Message, Overflow, Pending, Queue, QueueEvent,
    Reply, Settings,
};
use raftmq_core::{Effects, Machine};

use crate::support::meta;
use crate::support::queue::{Harness, message};

fn with_ttl(body: &'static str, ttl_ms: u64) -> Message {
    Message {
        ttl_ms: Some(ttl_ms),
        ..message(body)
    }
}

#[test]
fn a_message_expires_by_replicated_time_at_the_head() {
    let mut harness = Harness::new(Settings {
        message_ttl_ms: Some(1_000),
        has_dead_letters: true,
        ..Settings::default()
    });
    harness.publish_one(message("long"));
    harness.publish_one(with_ttl("short", 10));
    assert_eq!(
        harness.queue.next_deadline_ms(),
        Some(harness.now_ms + 1_000)
    );
    assert_eq!(harness.pass(999).events, [], "short is behind long");

    let letters = harness.pass(1).dead_letters();

    assert_eq!(letters.len(), 2);
    assert!(letters.iter().all(|one| one.reason == DeathReason::Expired));
}

#[test]
fn a_clock_that_goes_back_expires_nothing_late() {
    let mut harness = Harness::new(Settings {
        message_ttl_ms: Some(100),
        ..Settings::default()
    });
    harness.publish(&["a"]);
    harness.pass(60);
    harness.pass(-5_000);
    assert_eq!(harness.queue.ready_count(), 1);

    harness.pass(5_040);

    assert_eq!(harness.queue.ready_count(), 0);
}

#[test]
fn a_message_with_a_ttl_of_zero_is_delivered_at_once_or_not_at_all() {
    let mut harness = Harness::new(Settings::default());
    harness.publish_one(with_ttl("lost", 0));
    harness.attach(1, "c", 0);

    let delivered = harness.publish_one(with_ttl("a", 0)).deliveries();

    assert_eq!(delivered.len(), 1);
    assert_eq!(harness.body(delivered[0].message), "a");
}

#[test]
fn an_unused_queue_expires() {
    let mut harness = Harness::new(Settings {
        expires_ms: Some(100),
        ..Settings::default()
    });
    harness.publish(&["a"]);
    harness.pass(60);
    harness.commit(&Command::Touch);
    assert_eq!(harness.pass(60).events, [], "it was declared again");
    let consumer = harness.attach(1, "c", 0).consumer();
    assert_eq!(harness.pass(500).events, [], "it has a consumer");
    harness.commit(&Command::Detach { consumer });
    assert_eq!(harness.queue.next_deadline_ms(), Some(harness.now_ms + 100));

    let ended = harness.pass(100);

    let reason = EndReason::Expired;
    assert_eq!(ended.events, [QueueEvent::Ended { reason }]);
}

#[test]
fn a_delayed_message_joins_the_end_when_it_is_due() {
    let mut harness = Harness::new(Settings::default());
    harness.publish_one(Message {
        delay_ms: Some(50),
        ..message("late")
    });
    harness.publish(&["a"]);
    assert_eq!(harness.ready(), ["a"]);
    assert_eq!(harness.queue.next_deadline_ms(), Some(harness.now_ms + 50));

    harness.pass(50);

    assert_eq!(harness.ready(), ["a", "late"]);
    assert_eq!(harness.queue.delayed_count(), 0);
}

#[test]
fn the_head_goes_when_the_queue_is_too_long() {
    let mut harness = Harness::new(Settings {
        length_max: Some(2),
        ..Settings::default()
    });

    let published = harness.publish(&["a", "b", "c"]);

    let reason = DeathReason::MaxLength;
    assert_eq!(published.events, [QueueEvent::Dropped { reason }]);
    assert!(published.published().refused.is_empty(), "c is taken");
    assert_eq!(harness.ready(), ["b", "c"]);
}

#[test]
fn bytes_are_a_limit_too() {
    let mut harness = Harness::new(Settings {
        length_bytes_max: Some(6),
        ..Settings::default()
    });
    harness.publish(&["aaa", "bbb", "cc"]);

    assert_eq!(harness.ready(), ["bbb", "cc"]);
    assert_eq!(harness.queue.ready_bytes(), 5);
}

#[test]
fn a_full_queue_refuses_before_anything_is_proposed() {
    let mut harness = Harness::new(Settings {
        length_max: Some(2),
        overflow: Overflow::RejectPublish,
        ..Settings::default()
    });
    harness.publish(&["a"]);
    let mut pending = Pending::new();
    let decide = |queue: &Queue, pending: &Pending| queue.decide(pending, &message("b"), 0);
    assert_eq!(decide(&harness.queue, &pending), Decision::Publish);
    let ticket = pending.record(&message("b"));

    assert_eq!(decide(&harness.queue, &pending), Decision::Refused);

    pending.settle(ticket);
    assert_eq!(decide(&harness.queue, &pending), Decision::Publish);
    assert_eq!(harness.queue.ready_count(), 1, "and changed nothing");
}

#[test]
fn a_refused_message_is_dead_lettered_where_that_is_asked_for() {
    let mut harness = Harness::new(Settings {
        length_max: Some(0),
        overflow: Overflow::RejectPublishDlx,
        has_dead_letters: true,
        ..Settings::default()
    });
    let decision = harness
        .queue
        .decide(&Pending::new(), &message("a"), harness.now_ms);
    assert_eq!(decision, Decision::DeadLetter);

    let applied = harness.publish_one(Message {
        arrival: raftmq_core::queue::Arrival::DeadLetter,
        ..message("a")
    });

    assert_eq!(applied.published().refused, [0]);
    assert_eq!(applied.dead_letters()[0].reason, DeathReason::MaxLength);
}

#[test]
fn a_purge_takes_what_is_ready_and_nothing_else() {
    let mut harness = Harness::new(Settings {
        has_dead_letters: true,
        ..Settings::default()
    });
    harness.publish(&["a", "b", "c"]);
    harness.get(1);

    let purged = harness.commit(&Command::Purge);

    assert_eq!(purged.reply, Reply::Removed { count: 2 });
    assert_eq!(purged.events, []);
    assert_eq!(harness.queue.unsettled_count(), 1);
}

/// `count` messages of different sizes, so many in each entry.
fn filled(count: usize, in_entry: usize) -> Queue {
    let mut queue = Queue::default();
    let body = Bytes::from(vec![b'x'; 1_000]);
    for entry in 0..count / in_entry {
        let messages = (0..in_entry).map(|at| Message {
            body: body.slice(..(entry * 7_919 + at * 104_729) % 1_000),
            ..Message::default()
        });
        let command = Command::Publish(messages.collect());
        queue.apply(&meta(entry as u64 + 1, 1), command, &mut Effects::new());
    }
    queue
}

#[test]
fn a_million_ready_messages_take_a_few_megabytes() {
    for in_entry in [1, 50] {
        let mut queue = filled(1_000_000, in_entry);
        assert_eq!(queue.ready_count(), 1_000_000);
        let bytes = queue.ready_memory_bytes();
        assert!(bytes < 5_000_000, "{bytes} bytes with {in_entry} an entry");

        let rows: usize = queue
            .dirty_rows()
            .puts
            .iter()
            .map(|(_, row)| row.len())
            .sum();
        assert!(rows < 5_000_000, "{rows} bytes of rows");
    }
}
