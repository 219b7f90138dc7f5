//! Planted bugs are found, each within a bounded number of seeds.
//!
//! `void-accepted` is not among them: proposals are pinned to their leader's term, so no void entry
//! ever came up in a simulation; the tests of `raftmq-core` find that bug, and those that only they plant. Those of
//! the host that no seed was found for are found by the broker's own planted tests.

use std::ops::Range;

use raftmq_chaos::faults::FaultClass;
use raftmq_chaos::sweep::Plan;
use raftmq_chaos::verdict::Verdict;

/// Runs seeds until one is anomalous with the bug and good without it; fails when none is. The
/// ranges begin with a seed that finds the bug as things are, and of those that do with a cheap one; the others
/// are there for the day when a change makes other runs of the seeds.
fn is_found(bug: &str, seeds: Range<u64>) {
    is_found_with(&[], bug, seeds);
}

/// [`is_found`] with classes of faults on that not every seed draws.
fn is_found_with(with: &[FaultClass], bug: &str, mut seeds: Range<u64>) {
    let good = Plan {
        seconds: 60,
        with: with.to_vec(),
        ..super::short_plan()
    };
    let planted = Plan {
        plant: Some(bug.to_owned()),
        ..good.clone()
    };
    let searched = seeds.clone();
    let is_found = seeds.any(|seed| {
        planted.run(seed).verdict == Verdict::Anomalous
            && good.run(seed).verdict != Verdict::Anomalous
    });
    assert!(is_found, "{bug} was not found by seeds {searched:?}");
}

#[test]
fn an_acknowledgement_before_the_flush_is_found() {
    is_found("ack-before-flush", 61..90);
}

#[test]
fn a_torn_tail_that_is_accepted_is_found() {
    is_found("torn-tail-accepted", 85..130);
}

#[test]
fn deduplication_that_is_lost_on_a_change_of_leader_is_found() {
    is_found("dedup-lost-on-leader-change", 6..30);
}

#[test]
fn an_accepted_sequence_gap_is_found() {
    is_found("sequence-gap-accepted", 6..45);
}

#[test]
fn an_acknowledgement_before_the_commit_is_found() {
    is_found("ack-before-commit", 5..30);
}

#[test]
fn a_vote_that_is_not_synced_is_found() {
    is_found("vote-not-synced", 38..120);
}

#[test]
fn an_answer_to_what_waited_during_a_handover_is_found() {
    is_found("handover-answers-waiting", 1..30);
}

#[test]
fn damage_that_is_served_is_found() {
    is_found_with(&[FaultClass::BitRot], "damage-served", 1..10);
}

#[test]
fn an_acknowledgement_of_kafkas_produce_before_the_commit_is_found() {
    is_found("kafka-acks-all-as-leader", 4..60);
}

#[test]
fn a_fetch_session_that_keeps_its_offsets_is_found() {
    is_found("kafka-session-keeps-offsets", 2..20);
}

#[test]
fn a_compaction_that_drops_the_newest_record_of_a_key_is_found() {
    is_found_with(&[FaultClass::Cleanup], "compaction-drops-newest", 1..20);
}

#[test]
fn a_confirm_of_a_message_before_the_commit_is_found() {
    is_found_with(&[FaultClass::Amqp], "queue-confirm-before-commit", 2..10);
}

#[test]
fn messages_that_a_closed_channel_takes_with_it_are_found() {
    is_found_with(&[FaultClass::Amqp], "queue-requeue-lost", 5..10);
}

#[test]
fn a_settlement_that_is_done_twice_and_hits_the_next_message_is_found() {
    is_found_with(&[FaultClass::Amqp], "queue-double-ack-settles-next", 1..4);
}

#[test]
fn an_ack_of_several_that_hits_one_more_is_found() {
    is_found_with(&[FaultClass::Amqp], "amqp-multiple-settles-too-much", 5..10);
}

#[test]
fn settlements_that_are_lost_with_a_leader_are_found() {
    is_found_with(&[FaultClass::Amqp], "queue-settle-not-repeated", 25..32);
}

#[test]
fn deliveries_that_a_new_leader_repeats_are_found() {
    is_found_with(&[FaultClass::Amqp], "queue-deliveries-repeated", 5..10);
}

#[test]
fn a_message_that_comes_again_and_does_not_say_so_is_found() {
    is_found_with(&[FaultClass::Amqp], "queue-redelivered-missing", 5..10);
}

#[test]
fn a_returned_message_that_loses_its_place_is_found() {
    is_found_with(&[FaultClass::Amqp], "queue-requeue-loses-order", 5..10);
}

#[test]
fn single_active_consumers_that_overlap_are_found() {
    is_found_with(&[FaultClass::Amqp], "queue-active-consumers-overlap", 5..10);
}

#[test]
fn a_purge_that_leaves_what_was_ready_is_found() {
    let limits = [FaultClass::AmqpLimits];
    is_found_with(&limits, "queue-purge-removes-nothing", 1..4);
}

#[test]
fn a_delay_that_is_ignored_is_found() {
    is_found_with(&[FaultClass::AmqpLimits], "queue-delay-ignored", 1..4);
}

#[test]
fn dead_letters_that_are_lost_are_found() {
    is_found_with(&[FaultClass::Amqp], "queue-dead-letter-lost", 5..10);
}
