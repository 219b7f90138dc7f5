//! Loads on their way from leaders to the controller: what is news, and for how long it counts.

use raftmq_core::GroupNumber;
use raftmq_core::cluster::balance::PartitionLoad;
use raftmq_core::cluster::balance::measured::{
    Counted, FORGOTTEN_AFTER_MS, IDLE_BYTES_PER_S, LoadBook, LoadMeter, REPEATED_AFTER_MS,
};

use crate::support::cluster::Harness;

const TICK_MS: u64 = 5_000;
const ALL: usize = usize::MAX;

/// A broker whose partitions are written to at given rates.
#[derive(Default)]
struct Leader {
    meter: LoadMeter,
    written: Vec<u64>,
    now_ms: u64,
}

impl Leader {
    /// Lets some ticks pass at these rates, bytes per second, of groups 1, 2 and so on.
    fn run(&mut self, ticks: u64, rates: &[u64]) {
        for _ in 0..ticks {
            self.now_ms += TICK_MS;
            self.written.resize(rates.len(), 0);
            for (written, rate) in self.written.iter_mut().zip(rates) {
                *written += rate * TICK_MS / 1_000;
            }
            let counted = self
                .written
                .iter()
                .zip(1..)
                .map(|(written, group)| Counted {
                    group: GroupNumber(group),
                    written_bytes: *written,
                    size_bytes: 0,
                });
            self.meter.measure(counted, self.now_ms);
        }
    }

    /// Groups and rates of what is news.
    fn news(&mut self) -> Vec<(u64, u64)> {
        let news = self.meter.take_news(ALL, self.now_ms);
        let pair = |(group, load): (GroupNumber, PartitionLoad)| (group.get(), load.in_bytes_per_s);
        news.into_iter().map(pair).collect()
    }
}

fn about(rate: u64, expected: u64) -> bool {
    rate.abs_diff(expected) <= expected / 10
}

#[test]
fn a_steady_load_is_said_a_few_times_and_then_not_again() {
    let (mut leader, rate) = (Leader::default(), 1_000_000);
    let mut said = Vec::new();
    for _ in 0..20 {
        leader.run(1, &[rate]);
        said.extend(leader.news());
    }
    assert!((1..=4).contains(&said.len()), "{said:?}");
    let (_, last) = said[said.len() - 1];
    assert!(last >= rate * 8 / 10 && last <= rate, "{said:?}");
}

#[test]
fn what_is_written_before_a_leadership_is_no_load_of_it() {
    let mut leader = Leader {
        written: vec![1 << 40],
        ..Leader::default()
    };
    leader.run(1, &[0]);
    assert_eq!(leader.news(), []);
}

#[test]
fn a_partition_with_little_to_do_is_idle() {
    let mut leader = Leader::default();
    leader.run(20, &[IDLE_BYTES_PER_S / 2]);
    assert_eq!(leader.news(), []);
}

#[test]
fn a_load_that_ends_is_said_once() {
    let mut leader = Leader::default();
    leader.run(10, &[1_000_000]);
    assert_eq!(leader.news().len(), 1);
    let mut last = None;
    for _ in 0..10 {
        leader.run(1, &[0]);
        last = leader.news().pop().or(last);
    }
    assert_eq!(last, Some((1, 0)));
    leader.run(1, &[0]);
    assert_eq!(leader.news(), []);
}

#[test]
fn news_are_said_a_bounded_part_at_a_time_and_none_is_left_out() {
    let mut leader = Leader::default();
    leader.run(10, &[1_000_000; 7]);
    let mut groups = Vec::new();
    loop {
        let taken = leader.meter.take_news(3, leader.now_ms);
        assert!(taken.len() <= 3);
        if taken.is_empty() {
            break;
        }
        groups.extend(taken.into_iter().map(|(group, _)| group.get()));
    }
    assert_eq!(groups, [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_new_controller_is_told_everything_and_an_old_load_is_said_again() {
    let mut leader = Leader::default();
    leader.run(10, &[1_000_000, 0]);
    assert_eq!(leader.news().len(), 1);
    leader.run(1, &[1_000_000, 0]);
    assert_eq!(leader.news(), []);
    leader.meter.begin_again();
    let again = leader.news();
    assert!(
        matches!(again[..], [(1, rate)] if about(rate, 1_000_000)),
        "{again:?}"
    );

    leader.run(REPEATED_AFTER_MS / TICK_MS, &[1_000_000, 0]);
    assert_eq!(leader.news().len(), 1, "the idle one is not repeated");
}

#[test]
fn who_leads_no_more_says_nothing() {
    let mut leader = Leader::default();
    leader.run(10, &[1_000_000, 1_000_000]);
    leader.written.truncate(1);
    leader.run(1, &[1_000_000]);
    assert_eq!(leader.news().len(), 1);
}

#[test]
fn a_counter_that_went_back_is_no_load() {
    let mut leader = Leader {
        written: vec![1 << 40],
        ..Leader::default()
    };
    leader.run(1, &[0]);
    leader.written[0] = 0;
    leader.run(1, &[0]);
    assert_eq!(leader.news(), []);
}

#[test]
fn the_controller_forgets_what_is_old_or_deleted() {
    let mut harness = Harness::with_brokers(1);
    let groups = harness.add_topic("t", 2, 1);
    let load = PartitionLoad {
        in_bytes_per_s: 5,
        size_bytes: 6,
    };
    let mut book = LoadBook::default();
    let unknown = GroupNumber(99);
    book.hear(harness.image(), [(groups[0], load), (unknown, load)], 0);
    book.hear(harness.image(), [(groups[1], load)], 10);

    let now_ms = FORGOTTEN_AFTER_MS - 1;
    let loads = book.loads(harness.image(), now_ms);
    assert_eq!(loads.keys().copied().collect::<Vec<_>>(), groups);
    assert_eq!(loads[&groups[0]], load);
    let loads = book.loads(harness.image(), now_ms + 10);
    assert_eq!(loads.keys().copied().collect::<Vec<_>>(), [groups[1]]);
    let loads = book.loads(Harness::with_brokers(1).image(), now_ms);
    assert!(loads.is_empty());
}
