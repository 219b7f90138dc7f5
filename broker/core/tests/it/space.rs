//! How full a disk is, and who takes records then.

use proptest::prelude::*;
use raftmq_core::BrokerId;
use raftmq_core::space::{Space, SpaceOfBrokers, SpaceWatch, may_take_records};

const RESERVE: u64 = 1_000;

fn seen(watch: &mut SpaceWatch, free_bytes: u64) -> Space {
    watch.observe(Some(free_bytes))
}

fn spaces(full: &[(u32, Space)]) -> SpaceOfBrokers {
    let named = full.iter().map(|(id, space)| (BrokerId(*id), *space));
    named.collect()
}

fn takes(me: u32, replicas: &[u32], full: &[(u32, Space)]) -> bool {
    let replicas: Vec<BrokerId> = replicas.iter().copied().map(BrokerId).collect();
    may_take_records(BrokerId(me), &replicas, &spaces(full))
}

#[test]
fn room_is_low_below_the_reserve_and_scarce_below_half_of_it() {
    let mut watch = SpaceWatch::new(RESERVE);

    assert_eq!(watch.space(), Space::Ample);
    assert_eq!(seen(&mut watch, 1_000), Space::Ample);
    assert_eq!(seen(&mut watch, 999), Space::Low);
    assert_eq!(seen(&mut watch, 500), Space::Low);
    assert_eq!(seen(&mut watch, 499), Space::Scarce);
    assert_eq!(seen(&mut watch, 0), Space::Scarce);
    assert_eq!(watch.space(), Space::Scarce);
}

#[test]
fn a_level_ends_a_quarter_above_where_it_began() {
    let mut watch = SpaceWatch::new(RESERVE);
    seen(&mut watch, 0);

    assert_eq!(seen(&mut watch, 624), Space::Scarce);
    assert_eq!(seen(&mut watch, 625), Space::Low);
    assert_eq!(seen(&mut watch, 510), Space::Low);
    assert_eq!(seen(&mut watch, 1_249), Space::Low);
    assert_eq!(seen(&mut watch, 1_250), Space::Ample);
    assert_eq!(seen(&mut watch, 1_000), Space::Ample);
    seen(&mut watch, 0);
    assert_eq!(seen(&mut watch, 9_999), Space::Ample, "both at once");
}

#[test]
fn a_disk_that_nothing_limits_is_ample() {
    let mut watch = SpaceWatch::new(u64::MAX);

    assert_eq!(seen(&mut watch, u64::MAX - 1), Space::Low);
    assert_eq!(watch.observe(None), Space::Ample);
}

#[test]
fn a_leader_takes_records_while_it_and_a_majority_have_room() {
    let three = [1, 2, 3];

    assert!(takes(1, &three, &[]));
    assert!(takes(1, &three, &[(2, Space::Scarce)]), "a minority");
    assert!(!takes(1, &three, &[(1, Space::Low)]), "itself");
    let two = [(2, Space::Low), (3, Space::Low)];
    assert!(!takes(1, &three, &two), "a majority");
    assert!(!takes(1, &[1], &[(1, Space::Low)]));
    assert!(takes(1, &[1], &[(2, Space::Scarce)]), "not a replica");
    assert!(!takes(1, &[1, 2], &[(2, Space::Low)]), "half");
    assert!(takes(1, &three, &[(2, Space::Ample), (3, Space::Low)]));
}

proptest! {
    /// The level never contradicts the lines, wherever it came from.
    #[test]
    fn the_level_fits_the_free_bytes_whatever_came_before(
        reserve in 0_u64..10_000,
        all_free in prop::collection::vec(0_u64..20_000, 1..20),
    ) {
        let mut watch = SpaceWatch::new(reserve);
        for free in all_free {
            let before = watch.space();
            let now = seen(&mut watch, free);
            prop_assert!(free >= reserve / 2 || now == Space::Scarce);
            prop_assert!(free >= reserve || now >= Space::Low);
            prop_assert!(free < reserve + reserve / 4 || now == Space::Ample);
            let is_between = free >= reserve && free < reserve + reserve / 4;
            prop_assert!(!is_between || now == before.min(Space::Low));
        }
    }
}
