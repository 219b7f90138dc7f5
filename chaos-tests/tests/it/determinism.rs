//! The same seed is the same run, in another process too.

use raftmq_chaos::verdict::Report;

const SEEDS: std::ops::Range<u64> = 100..120;

#[test]
fn twenty_seeds_give_identical_traces_in_two_processes() {
    let hashes = || {
        let reports = super::short_plan().sweep(SEEDS, |_| ());
        let hash = |report: &Report| (report.seed, report.trace_hash.clone(), report.trace_events);
        reports.iter().map(hash).collect::<Vec<_>>()
    };

    let (first, second) = (hashes(), hashes());

    assert_eq!(first, second);
    assert!(
        first.iter().all(|(_, _, events)| *events > 100),
        "too little was traced: {first:?}"
    );
}
