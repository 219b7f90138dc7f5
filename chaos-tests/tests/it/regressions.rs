//! Every seed that ever failed, in the length in which it failed.

use raftmq_chaos::sweep::Plan;
use raftmq_chaos::verdict::Verdict;

const PAST_FAILURES: &str = include_str!("../../seeds-that-failed.txt");

#[test]
fn seeds_that_once_failed_fail_no_more() {
    let plan = Plan {
        seconds: 60,
        ..super::short_plan()
    };
    let lines = PAST_FAILURES
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    for seed in lines.filter(|line| !line.is_empty()) {
        let report = plan.run(seed.parse().expect("one seed a line"));

        assert_ne!(
            report.verdict,
            Verdict::Anomalous,
            "{seed}: {:?}",
            report.complaints()
        );
    }
}
