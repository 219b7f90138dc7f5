//! Planted bugs are found, each within a bounded number of seeds.

use raftmq_chaos::planted::Planted;
use raftmq_chaos::sweep::Plan;
use raftmq_chaos::verdict::Verdict;

/// Sweeps until the bug is found; fails after `seeds_max`.
fn is_found(bug: Planted, seeds_max: u64) {
    let plan = Plan {
        seconds: 60,
        plant: Some(bug.name().to_owned()),
        stop_at_first: true,
        ..super::short_plan()
    };
    let reports = plan.sweep(1..1 + seeds_max, |_| ());
    let found = reports
        .iter()
        .find(|report| report.verdict == Verdict::Anomalous);
    assert!(found.is_some(), "{bug} was not found by {seeds_max} seeds");
}

#[test]
fn an_acknowledgement_before_the_flush_is_found() {
    is_found(Planted::AckBeforeFlush, 40);
}

#[test]
fn a_vote_that_is_not_synced_is_found() {
    is_found(Planted::VoteNotSynced, 40);
}

#[test]
fn a_torn_tail_that_is_accepted_is_found() {
    is_found(Planted::TornTailAccepted, 40);
}

#[test]
fn deduplication_that_is_lost_on_a_change_of_leader_is_found() {
    is_found(Planted::DedupLostOnLeaderChange, 40);
}

#[test]
fn an_accepted_sequence_gap_is_found() {
    is_found(Planted::SequenceGapAccepted, 40);
}

#[test]
fn an_accepted_void_entry_is_found() {
    is_found(Planted::VoidAccepted, 40);
}

#[test]
fn an_acknowledgement_before_the_commit_is_found() {
    is_found(Planted::AckBeforeCommit, 40);
}
