//! Traps that are set by hand, and negative controls: what may get lost does get lost under the right
//! faults. A harness in which nothing can be lost proves nothing about what is kept.

use std::ops::Range;

use raftmq_chaos::checkers::coverage::Coverage;
use raftmq_chaos::nemesis::Scenario;
use raftmq_chaos::sweep::Plan;
use raftmq_chaos::verdict::Verdict;

const SEEDS: std::ops::Range<u64> = 200..208;

#[test]
fn at_most_once_clients_lose_records_and_nobody_else_does() {
    let plan = Plan {
        seconds: 60,
        ..super::short_plan()
    };

    let reports = plan.sweep(SEEDS, |_| ());

    for report in &reports {
        assert_ne!(
            report.verdict,
            Verdict::Anomalous,
            "{:?}",
            report.complaints()
        );
    }
    let total = |of: fn(&Coverage) -> u64| reports.iter().map(|report| of(&report.coverage)).sum();
    let sends: u64 = total(|coverage| coverage.losses.sends);
    let records: u64 = total(|coverage| coverage.losses.records);
    assert!(sends > 0, "no acks=0 record was lost");
    assert!(
        records > 0,
        "no record was lost by the consumer that commits first"
    );
}

/// Runs seeds of a scenario: none may be anomalous, and the trap must have been set in one.
fn is_survived(scenario: Scenario, seeds: Range<u64>, sprung: &str) {
    let plan = Plan {
        seconds: 60,
        scenario: Some(scenario),
        ..super::short_plan()
    };

    let reports = plan.sweep(seeds, |_| ());

    for report in &reports {
        let complaints = report.complaints();
        assert_ne!(report.verdict, Verdict::Anomalous, "{complaints:?}");
    }
    let is_sprung = |marks: &Coverage| marks.marks.contains_key(sprung);
    let sprung = reports.iter().filter(|report| is_sprung(&report.coverage));
    assert!(sprung.count() > 0, "the trap was never set");
}

/// An old leader reaches only a bridge whose lease it could renew for ever, and hears nobody.
#[test]
fn a_leader_that_reaches_only_a_bridge_does_not_keep_the_others_from_electing() {
    is_survived(Scenario::BridgeTrap, 1..4, "scenario_met_the_controller");
}

/// A leader is to be left out of its group, and is cut off while it still leads.
#[test]
fn a_leader_that_is_left_out_and_cut_off_does_not_keep_the_others_from_electing() {
    let sprung = "scenario_met_a_leader_of_a_partition";
    is_survived(Scenario::RemovedLeader, 1..4, sprung);
}
