//! What `/metrics` shows of partitions that lack a replica or a leader, with a real broker that dies.

use crate::support::{Dev, get, ok, text, wait_until, with_bootstrap};

const UNDER_REPLICATED: &str = "raftmq_controller_under_replicated_partitions";
const OFFLINE: &str = "raftmq_controller_offline_partitions";
const SHRINKS: &str = "raftmq_partition_isr_shrinks_total";
const EXPANDS: &str = "raftmq_partition_isr_expands_total";
const RECOVERING: &str = "raftmq_broker_recovering_groups";

/// A metric without labels as one broker shows it; `None` when it does not.
fn shown(dev: &Dev, broker: u64, metric: &str) -> Option<f64> {
    let page = get(&text(&dev.broker(broker), "http"), "/metrics");
    let rest = |line: &str| line.strip_prefix(metric)?.trim().parse().ok();
    page.lines().find_map(rest)
}

/// The sum over these brokers; who does not show it counts as 0.
fn total(dev: &Dev, brokers: &[u64], metric: &str) -> f64 {
    let shown = brokers.iter().filter_map(|id| shown(dev, *id, metric));
    shown.sum()
}

#[test]
fn partitions_without_a_replica_or_a_leader_are_counted_until_the_dead_broker_is_back() {
    let dev = Dev::start(&[]);
    let bootstrap = dev.bootstrap();
    for (topic, replicas) in [("t", "3"), ("lone", "1")] {
        let create = ["topic", "create", topic, "-p", "3", "-r", replicas];
        ok(&with_bootstrap(&create, &bootstrap));
    }
    let (all, survivors) = ([1, 2, 3], [1, 2]);
    let healthy = ["cluster", "health", "--wait", "60"];
    ok(&with_bootstrap(&healthy, &bootstrap));
    for metric in [UNDER_REPLICATED, OFFLINE] {
        wait_until(|| total(&dev, &all, metric) < 0.5);
    }
    let (shrinks, expands) = (
        total(&dev, &survivors, SHRINKS),
        total(&dev, &survivors, EXPANDS),
    );

    dev.kill(3);

    wait_until(|| total(&dev, &survivors, UNDER_REPLICATED) > 0.5);
    wait_until(|| total(&dev, &survivors, SHRINKS) > shrinks);
    // Nobody else has what was on the dead broker alone.
    wait_until(|| (total(&dev, &survivors, OFFLINE) - 1.0).abs() < 0.5);

    dev.restart(3);

    for metric in [UNDER_REPLICATED, OFFLINE] {
        wait_until(|| total(&dev, &all, metric) < 0.5);
    }
    wait_until(|| total(&dev, &survivors, EXPANDS) > expands);
    for id in all {
        wait_until(|| shown(&dev, id, RECOVERING).is_some_and(|count| count < 0.5));
    }
}
