//! The deduplication window, and the rule against cycles of dead letters.

use bytes::Bytes;
use raftmq_core::Machine;
use raftmq_core::queue::{
    Command, Death, DeathReason, Deaths, Decision, DedupSettings, Message, Overflow, Pending,
    Queue, Settings, Ticket,
};

use crate::support::queue::{Harness, message};

fn deduplicating(window_ms: u64, ids_count_max: u32) -> Settings {
    Settings {
        dedup: Some(DedupSettings {
            window_ms,
            ids_count_max,
        }),
        ..Settings::default()
    }
}

fn named(id: &'static str) -> Message {
    Message {
        dedup_id: Some(Bytes::from_static(id.as_bytes())),
        ..message("body")
    }
}

#[test]
fn a_duplicate_is_confirmed_but_not_enqueued() {
    let mut harness = Harness::new(deduplicating(1_000, 10));
    let both = Command::Publish(vec![named("a"), named("a"), message("without an id")]);

    let published = harness.commit(&both).published();

    assert_eq!(published.duplicates, [1]);
    assert_eq!(harness.queue.ready_count(), 2);
    assert_eq!(harness.publish_one(named("a")).published().duplicates, [0]);
}

#[test]
fn an_id_leaves_the_window_by_time_and_by_count() {
    let mut harness = Harness::new(deduplicating(1_000, 2));
    harness.publish_one(named("a"));
    harness.pass(1_000);
    assert!(
        harness
            .publish_one(named("a"))
            .published()
            .duplicates
            .is_empty()
    );

    harness.publish_one(named("b"));
    harness.publish_one(named("c"));

    assert_eq!(harness.queue.dedup_ids_count(), 2);
    assert!(
        harness
            .publish_one(named("a"))
            .published()
            .duplicates
            .is_empty()
    );
}

#[test]
fn a_duplicate_of_a_message_in_flight_waits_for_it() {
    let mut harness = Harness::new(deduplicating(1_000, 10));
    let mut pending = Pending::new();
    let now_ms = harness.now_ms;
    assert_eq!(
        harness.queue.decide(&pending, &named("a"), now_ms),
        Decision::Publish
    );
    let original = pending.record(&named("a"));

    let waits = Decision::DuplicateInFlight { original };
    assert_eq!(harness.queue.decide(&pending, &named("a"), now_ms), waits);

    harness.publish_one(named("a"));
    pending.settle(original);
    let decision = harness.queue.decide(&pending, &named("a"), now_ms);
    assert_eq!(decision, Decision::Duplicate);
    assert_eq!(pending.in_flight_count(), 0);
}

#[test]
fn the_id_of_a_refused_message_is_not_remembered() {
    let mut harness = Harness::new(Settings {
        length_max: Some(1),
        overflow: Overflow::RejectPublish,
        ..deduplicating(1_000, 10)
    });
    harness.publish(&["a"]);
    let (mut pending, now_ms) = (Pending::new(), harness.now_ms);
    assert_eq!(
        harness.queue.decide(&pending, &named("b"), now_ms),
        Decision::Refused
    );
    harness.commit(&Command::Purge);
    assert_eq!(
        harness.queue.decide(&pending, &named("b"), now_ms),
        Decision::Publish
    );

    // A proposal that Raft refused.
    let ticket = pending.record(&named("b"));
    pending.settle(ticket);

    assert_eq!(ticket, Ticket(0));
    assert_eq!(
        harness.queue.decide(&pending, &named("b"), now_ms),
        Decision::Publish
    );
}

#[test]
fn a_new_leader_knows_the_ids_from_the_snapshot() {
    let mut harness = Harness::new(deduplicating(1_000, 10));
    harness.publish_one(named("a"));

    let queue = Queue::restore_checkpoint(&harness.queue.checkpoint()).unwrap();

    let decision = queue.decide(&Pending::new(), &named("a"), harness.now_ms);
    assert_eq!(decision, Decision::Duplicate);
}

fn death(queue: &str, reason: DeathReason) -> Death {
    Death {
        queue: queue.to_owned(),
        reason,
        count: 1,
        exchange: String::new(),
        routing_keys: vec![queue.to_owned()],
        time_s: 1,
        original_expiration: None,
    }
}

#[test]
fn a_cycle_without_a_rejection_ends() {
    let mut deaths = Deaths::default();
    deaths.record(death("a", DeathReason::Expired));
    deaths.record(death("b", DeathReason::MaxLength));
    assert!(deaths.is_cycle("a") && deaths.is_cycle("b") && !deaths.is_cycle("c"));

    deaths.record(death("c", DeathReason::Rejected));
    assert!(!deaths.is_cycle("a") && !deaths.is_cycle("c"));

    deaths.record(death("a", DeathReason::Expired));
    assert!(deaths.is_cycle("a") && !deaths.is_cycle("b"));
}

#[test]
fn a_death_like_an_earlier_one_is_counted_and_comes_first() {
    let mut deaths = Deaths::default();
    deaths.record(death("a", DeathReason::Expired));
    deaths.record(death("b", DeathReason::Expired));
    deaths.record(death("a", DeathReason::Expired));

    let seen: Vec<_> = deaths
        .deaths
        .iter()
        .map(|one| (one.queue.as_str(), one.count))
        .collect();
    assert_eq!(seen, [("a", 2), ("b", 1)]);
}
