//! A few seeds of full length, and the command line.

use std::process::Command;

use raftmq_chaos::faults::FaultClass;
use raftmq_chaos::sweep::{Plan, Totals};
use raftmq_chaos::verdict::Report;

fn complaints(reports: &[Report]) -> Vec<String> {
    let of = |report: &Report| {
        let seed = report.seed;
        report
            .complaints()
            .into_iter()
            .map(move |text| format!("seed {seed}: {text}"))
    };
    reports.iter().flat_map(of).collect()
}

#[test]
fn full_runs_of_a_few_seeds_are_clean() {
    let plan = Plan {
        seconds: 60,
        ..super::short_plan()
    };

    let reports = plan.sweep(10..18, |_| ());

    assert_eq!(complaints(&reports), Vec::<String>::new());
    let totals = Totals::of(&reports);
    assert!(totals.clean >= 4, "{totals:?}");
}

/// What queues with limits are for does happen.
#[test]
fn queues_are_purged_full_late_and_moved_and_lose_nothing_else() {
    let plan = Plan {
        seconds: 60,
        with: vec![FaultClass::AmqpLimits, FaultClass::Reassignment],
        ..super::short_plan()
    };

    let reports = plan.sweep(1..3, |_| ());

    assert_eq!(complaints(&reports), Vec::<String>::new());
    for mark in [
        "queue_purged",
        "delayed_message_due",
        "queue_head_dropped",
        "message_expired",
        "publish_refused_by_full_queue",
        "queue_move_ordered",
    ] {
        let is_hit = |report: &Report| report.coverage.marks.contains_key(mark);
        assert!(reports.iter().any(is_hit), "{mark}");
    }
}

#[test]
fn a_bad_command_line_is_refused_with_code_two() {
    for arguments in [
        &["--seeds", "9..3"][..],
        &["--seed", "1", "--plant", "moth"],
        &[],
    ] {
        let ended = Command::new(env!("CARGO_BIN_EXE_chaos"))
            .args(arguments)
            .output()
            .unwrap();

        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
    }
}
