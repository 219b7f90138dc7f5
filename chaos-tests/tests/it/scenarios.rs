//! Negative controls: what may get lost does get lost under the right faults. A harness in which
//! nothing can be lost proves nothing about what is kept.

use raftmq_chaos::checkers::coverage::Coverage;
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
