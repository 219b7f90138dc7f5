//! The tracker of in-sync replicas.

use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use raftmq_core::partition::isr::{IsrTracker, NotEnoughReplicas};
use raftmq_core::{BrokerId, LogIndex};

const LAG_MS: u64 = 1_000;
const ME: BrokerId = BrokerId(1);
const SECOND: BrokerId = BrokerId(2);
const THIRD: BrokerId = BrokerId(3);
const ALL: [BrokerId; 3] = [ME, SECOND, THIRD];

/// A leader of three replicas, all in sync, whose term began at log index 10.
fn three() -> IsrTracker {
    let mut tracker = IsrTracker::new(ME, &ALL, &ALL, LAG_MS, 0);
    tracker.observe_leader_last(LogIndex(10), 0);
    for broker in ALL {
        tracker.observe(broker, LogIndex(10), 0);
    }
    tracker
}

fn isr(tracker: &IsrTracker) -> Vec<u32> {
    tracker.isr().map(BrokerId::get).collect()
}

#[test]
fn a_new_leader_takes_over_the_known_in_sync_replicas() {
    let tracker = IsrTracker::new(ME, &ALL, &[ME, THIRD], LAG_MS, 0);

    assert_eq!(isr(&tracker), vec![1, 3]);
    assert_eq!(tracker.change_to_report(), None);
    assert_eq!(
        tracker.all_in_sync_flushed_up_to(),
        LogIndex(0),
        "nobody was heard of yet"
    );
}

#[test]
fn the_leader_is_in_sync_even_if_it_was_not_known_to_be() {
    let tracker = IsrTracker::new(ME, &ALL, &[SECOND], LAG_MS, 0);

    assert_eq!(isr(&tracker), vec![1, 2]);
    assert_eq!(tracker.change_to_report(), Some(vec![ME, SECOND]));
}

#[test]
fn an_entry_is_flushed_by_all_when_the_slowest_in_sync_replica_has_it() {
    let mut tracker = three();
    tracker.observe_leader_last(LogIndex(20), 5);

    tracker.observe(ME, LogIndex(20), 5);
    tracker.observe(SECOND, LogIndex(15), 5);
    assert_eq!(tracker.all_in_sync_flushed_up_to(), LogIndex(10));
    tracker.observe(THIRD, LogIndex(18), 6);
    assert_eq!(tracker.all_in_sync_flushed_up_to(), LogIndex(15));
    tracker.observe(SECOND, LogIndex(20), 7);
    assert_eq!(tracker.all_in_sync_flushed_up_to(), LogIndex(18));
}

#[test]
fn the_leaders_own_flush_counts() {
    let mut tracker = three();
    tracker.observe_leader_last(LogIndex(20), 5);
    tracker.observe(SECOND, LogIndex(20), 5);
    tracker.observe(THIRD, LogIndex(20), 5);

    assert_eq!(tracker.check_after_append(LogIndex(20)), Ok(false));
    tracker.observe(ME, LogIndex(20), 6);
    assert_eq!(tracker.check_after_append(LogIndex(20)), Ok(true));
}

#[test]
fn a_replica_that_lags_for_too_long_leaves() {
    let mut tracker = three();
    tracker.observe_leader_last(LogIndex(20), 100);
    tracker.observe(SECOND, LogIndex(20), 100);

    tracker.tick(100 + LAG_MS);
    assert_eq!(isr(&tracker), vec![1, 2, 3], "exactly as long as allowed");
    tracker.tick(101 + LAG_MS);
    assert_eq!(isr(&tracker), vec![1, 2]);
    assert_eq!(tracker.change_to_report(), Some(vec![ME, SECOND]));
}

#[test]
fn acknowledgements_go_on_without_a_replica_that_left() {
    let mut tracker = three();
    tracker.observe_leader_last(LogIndex(20), 100);
    tracker.observe(ME, LogIndex(20), 100);
    tracker.observe(SECOND, LogIndex(20), 100);
    assert_eq!(tracker.check_after_append(LogIndex(20)), Ok(false));

    tracker.tick(101 + LAG_MS);

    assert_eq!(tracker.check_after_append(LogIndex(20)), Ok(true));
}

#[test]
fn an_idle_replica_never_lags() {
    let mut tracker = three();

    tracker.tick(1_000 * LAG_MS);

    assert_eq!(isr(&tracker), vec![1, 2, 3]);
}

#[test]
fn a_replica_that_was_idle_for_long_lags_only_since_the_leader_wrote() {
    let mut tracker = three();
    tracker.observe_leader_last(LogIndex(11), 100 * LAG_MS);

    tracker.tick(101 * LAG_MS);
    assert_eq!(isr(&tracker), vec![1, 2, 3]);
    tracker.tick(101 * LAG_MS + 1);
    assert_eq!(isr(&tracker), vec![1]);
}

#[test]
fn a_replica_just_behind_a_busy_leader_stays_in_sync() {
    let mut tracker = three();
    for step in 1..100 {
        let now_ms = step * 100;
        tracker.observe_leader_last(LogIndex(10 + step * 10), now_ms);
        tracker.observe(ME, LogIndex(10 + step * 10), now_ms);
        // It always has what the leader had one step ago, never what it has now.
        tracker.observe(SECOND, LogIndex(step * 10), now_ms);
        tracker.tick(now_ms);
    }

    assert_eq!(isr(&tracker), vec![1, 2], "the third one is silent");
}

#[test]
fn a_replica_that_gets_on_but_not_nearer_leaves() {
    let mut tracker = three();
    for step in 1..100 {
        let now_ms = step * 100;
        tracker.observe_leader_last(LogIndex(10 + step * 10), now_ms);
        tracker.observe(ME, LogIndex(10 + step * 10), now_ms);
        tracker.observe(SECOND, LogIndex(10 + step * 10), now_ms);
        tracker.observe(THIRD, LogIndex(10 + step), now_ms);
        tracker.tick(now_ms);
    }

    assert_eq!(isr(&tracker), vec![1, 2]);
}

#[test]
fn a_fenced_replica_leaves_at_once() {
    let mut tracker = three();

    tracker.fence(THIRD);

    assert_eq!(isr(&tracker), vec![1, 2]);
    tracker.observe(THIRD, LogIndex(10), 5);
    assert_eq!(
        isr(&tracker),
        vec![1, 2],
        "and stays out while it is fenced"
    );
}

#[test]
fn a_replica_that_is_back_comes_into_sync_when_it_has_caught_up() {
    let mut tracker = three();
    tracker.fence(THIRD);
    tracker.observe_leader_last(LogIndex(20), 5);
    tracker.observe(ME, LogIndex(20), 5);
    tracker.observe(SECOND, LogIndex(20), 5);

    tracker.unfence(THIRD);
    tracker.observe(THIRD, LogIndex(19), 6);
    assert_eq!(isr(&tracker), vec![1, 2]);
    tracker.observe(THIRD, LogIndex(20), 7);

    assert_eq!(isr(&tracker), vec![1, 2, 3]);
}

#[test]
fn a_replica_needs_only_what_may_have_been_acknowledged() {
    let mut tracker = three();
    tracker.fence(THIRD);
    tracker.unfence(THIRD);
    tracker.observe_leader_last(LogIndex(30), 5);
    tracker.observe(ME, LogIndex(30), 5);
    tracker.observe(SECOND, LogIndex(20), 5);

    tracker.observe(THIRD, LogIndex(20), 6);

    assert_eq!(
        isr(&tracker),
        vec![1, 2, 3],
        "the last ten entries are nobody's yet"
    );
    assert_eq!(tracker.all_in_sync_flushed_up_to(), LogIndex(20));
}

#[test]
fn a_majority_of_four_is_three() {
    let four = [1, 2, 3, 4].map(BrokerId);
    let mut tracker = IsrTracker::new(ME, &four, &[ME], LAG_MS, 0);
    tracker.observe_leader_last(LogIndex(10), 0);
    tracker.observe(ME, LogIndex(30), 1);
    tracker.observe(SECOND, LogIndex(5), 1);
    tracker.observe(THIRD, LogIndex(20), 1);

    tracker.observe(BrokerId(4), LogIndex(12), 2);

    assert_eq!(
        isr(&tracker),
        vec![1, 3, 4],
        "no three replicas have more than entry 12"
    );
}

#[test]
fn nobody_joins_before_the_term_has_begun() {
    let mut tracker = IsrTracker::new(ME, &ALL, &[ME, SECOND], LAG_MS, 0);

    tracker.observe(THIRD, LogIndex(5), 1);
    assert_eq!(isr(&tracker), vec![1, 2]);
    tracker.observe_leader_last(LogIndex(10), 2);
    tracker.observe(THIRD, LogIndex(9), 3);
    assert_eq!(
        isr(&tracker),
        vec![1, 2],
        "an older leader may have acknowledged entry 10"
    );
    tracker.observe(THIRD, LogIndex(10), 4);
    assert_eq!(isr(&tracker), vec![1, 2, 3]);
}

#[test]
fn an_idle_leader_tells_where_its_log_ends_by_its_own_flush() {
    let mut tracker = IsrTracker::new(ME, &ALL, &[ME, SECOND], LAG_MS, 0);
    tracker.observe(ME, LogIndex(10), 1);
    tracker.observe(SECOND, LogIndex(10), 1);

    tracker.observe(THIRD, LogIndex(9), 2);
    assert_eq!(isr(&tracker), vec![1, 2]);
    tracker.observe(THIRD, LogIndex(10), 3);
    assert_eq!(isr(&tracker), vec![1, 2, 3]);
}

#[test]
fn old_news_of_a_replica_changes_nothing() {
    let mut tracker = three();

    tracker.observe(SECOND, LogIndex(3), 5);

    assert_eq!(tracker.matched(SECOND), Some(LogIndex(10)));
    assert_eq!(tracker.all_in_sync_flushed_up_to(), LogIndex(10));
}

#[test]
fn news_of_a_stranger_changes_nothing() {
    let mut tracker = three();

    tracker.observe(BrokerId(9), LogIndex(99), 5);
    tracker.fence(BrokerId(9));
    tracker.unfence(BrokerId(9));

    assert_eq!(isr(&tracker), vec![1, 2, 3]);
    assert_eq!(tracker.matched(BrokerId(9)), None);
}

#[test]
fn the_leader_cannot_be_fenced_out_of_its_own_list() {
    let mut tracker = three();

    tracker.fence(ME);
    tracker.observe_leader_last(LogIndex(99), 1);
    tracker.tick(99 * LAG_MS);

    assert_eq!(isr(&tracker), vec![1]);
}

#[test]
fn a_reported_change_is_not_reported_again() {
    let mut tracker = three();
    tracker.fence(THIRD);
    let change = tracker.change_to_report().unwrap();

    tracker.reported(&change);

    assert_eq!(tracker.change_to_report(), None);
    tracker.unfence(THIRD);
    tracker.observe(THIRD, LogIndex(10), 9);
    assert_eq!(tracker.change_to_report(), Some(ALL.to_vec()));
}

#[test]
fn a_majority_is_always_required() {
    let minimum = |replicas: &[BrokerId], min_insync_replicas| {
        let mut tracker = IsrTracker::new(ME, replicas, replicas, LAG_MS, 0);
        tracker.configure(min_insync_replicas, LAG_MS);
        tracker.effective_minimum()
    };
    let five = [1, 2, 3, 4, 5].map(BrokerId);
    assert_eq!(minimum(&[ME], 1), 1);
    assert_eq!(
        minimum(&[ME, SECOND], 1),
        2,
        "two replicas survive no failure"
    );
    assert_eq!(minimum(&ALL, 1), 2);
    assert_eq!(minimum(&ALL, 3), 3);
    assert_eq!(minimum(&five, 2), 3);
    assert_eq!(minimum(&[ME], 2), 2, "never satisfied, as in Kafka");
}

#[test]
fn below_the_minimum_nothing_is_written() {
    let mut tracker = three();
    assert_eq!(tracker.check_before_write(), Ok(()));
    tracker.fence(SECOND);
    assert_eq!(tracker.check_before_write(), Ok(()));

    tracker.fence(THIRD);

    let refused = NotEnoughReplicas::BeforeAppend {
        in_sync_count: 1,
        required_count: 2,
    };
    assert_eq!(tracker.check_before_write(), Err(refused));
}

#[test]
fn a_write_in_flight_is_not_acknowledged_below_the_minimum() {
    let mut tracker = three();
    tracker.fence(SECOND);
    tracker.fence(THIRD);

    let refused = NotEnoughReplicas::AfterAppend {
        in_sync_count: 1,
        required_count: 2,
    };
    assert_eq!(tracker.check_after_append(LogIndex(10)), Err(refused));
}

#[test]
fn a_changed_configuration_counts_at_once() {
    let mut tracker = three();
    tracker.fence(THIRD);
    assert_eq!(tracker.check_before_write(), Ok(()));

    tracker.configure(3, LAG_MS);

    assert!(tracker.check_before_write().is_err());
}

#[test]
fn new_replicas_start_out_of_sync_and_old_ones_are_forgotten() {
    let mut tracker = three();

    tracker.set_replicas(&[ME, SECOND, BrokerId(4)], 5);

    assert_eq!(isr(&tracker), vec![1, 2]);
    assert_eq!(tracker.matched(THIRD), None);
    tracker.observe(BrokerId(4), LogIndex(10), 6);
    assert_eq!(isr(&tracker), vec![1, 2, 4]);
}

#[test]
fn the_leader_stays_tracked_when_it_is_to_be_moved_away() {
    let mut tracker = three();

    tracker.set_replicas(&[SECOND, THIRD], 5);

    assert_eq!(isr(&tracker), vec![1, 2, 3]);
}

#[test]
fn a_single_replica_acknowledges_by_its_own_flush() {
    let mut tracker = IsrTracker::new(ME, &[ME], &[ME], LAG_MS, 0);
    tracker.observe_leader_last(LogIndex(3), 0);
    assert_eq!(tracker.check_after_append(LogIndex(3)), Ok(false));

    tracker.observe(ME, LogIndex(3), 1);

    assert_eq!(tracker.check_after_append(LogIndex(3)), Ok(true));
    assert_eq!(tracker.check_before_write(), Ok(()));
}

#[derive(Debug, Clone)]
enum Step {
    Write(u64),
    Flush { broker: u32, share: u64 },
    Fence(u32),
    Unfence(u32),
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..5_u64).prop_map(Step::Write),
        6 => (1..4_u32, 0..=100_u64).prop_map(|(broker, share)| Step::Flush { broker, share }),
        1 => (2..4_u32).prop_map(Step::Fence),
        2 => (2..4_u32).prop_map(Step::Unfence),
        2 => (0..800_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// The promise behind `acks=-1`: what was once acknowledged is flushed on a majority and by
    /// every replica that counts as in sync, then and later.
    #[test]
    fn every_in_sync_replica_has_what_was_acknowledged(
        steps in proptest::collection::vec(any_step(), 1..200),
    ) {
        let mut tracker = three();
        let mut last = 10;
        let mut flushed = [0, 10, 10, 10];
        let mut now_ms = 0;
        let mut acknowledged = 10;
        for step in steps {
            match step {
                Step::Write(count) => {
                    last += count;
                    tracker.observe_leader_last(LogIndex(last), now_ms);
                }
                Step::Flush { broker, share } => {
                    let at = usize::try_from(broker).unwrap();
                    flushed[at] += (last - flushed[at]) * share / 100;
                    tracker.observe(BrokerId(broker), LogIndex(flushed[at]), now_ms);
                }
                Step::Fence(broker) => tracker.fence(BrokerId(broker)),
                Step::Unfence(broker) => tracker.unfence(BrokerId(broker)),
                Step::Wait(ms) => now_ms += ms,
            }
            tracker.tick(now_ms);
            let mut sorted = flushed;
            sorted[1..].sort_unstable();
            let committed = sorted[2];
            let candidate = tracker.all_in_sync_flushed_up_to().0.min(committed);
            if tracker.check_after_append(LogIndex(candidate)) == Ok(true) {
                acknowledged = acknowledged.max(candidate);
            }
            prop_assert!(tracker.isr().any(|broker| broker == ME));
            for broker in tracker.isr() {
                let has = flushed[usize::try_from(broker.0).unwrap()];
                prop_assert!(has >= acknowledged, "broker {broker} has {has} of {acknowledged}");
            }
            prop_assert_eq!(tracker.isr().count(), tracker.in_sync_count());
        }
    }
}
