//! `Sessions`: who is to be fenced, and when.

use proptest::prelude::{prop_assert, proptest};
use raftmq_core::cluster::Command;
use raftmq_core::cluster::election::Sessions;
use raftmq_core::{BrokerEpoch, BrokerId};

use crate::support::cluster::{Harness, register};

const TIMEOUT_MS: u64 = 1_000;

fn ids(expired: &[(BrokerId, BrokerEpoch)]) -> Vec<u32> {
    expired.iter().map(|(id, _)| id.0).collect()
}

/// Three live brokers, heard of at 0; somebody looks every 100 ms.
fn three() -> (Harness, Sessions) {
    let harness = Harness::with_brokers(3);
    let sessions = Sessions::new(harness.image(), 0);
    (harness, sessions)
}

/// Looks every 100 ms until `until_ms`, and gives what was expired then.
fn look_until(sessions: &mut Sessions, from_ms: u64, until_ms: u64) -> Vec<u32> {
    let mut now_ms = from_ms;
    while now_ms < until_ms {
        let _ = sessions.expired(now_ms, TIMEOUT_MS);
        now_ms += 100;
    }
    ids(&sessions.expired(until_ms, TIMEOUT_MS))
}

#[test]
fn a_new_controller_gives_everybody_a_full_session() {
    let (_, mut sessions) = three();

    assert_eq!(look_until(&mut sessions, 0, TIMEOUT_MS), Vec::<u32>::new());
    assert_eq!(
        look_until(&mut sessions, TIMEOUT_MS, TIMEOUT_MS + 1),
        vec![1, 2, 3]
    );
}

#[test]
fn a_heartbeat_prolongs_a_session() {
    let (harness, mut sessions) = three();
    for now_ms in (0..2_000).step_by(100) {
        sessions.heartbeat(BrokerId(1), harness.epoch_of(1), now_ms);
        sessions.heartbeat(BrokerId(3), harness.epoch_of(3), now_ms);
        let _ = sessions.expired(now_ms, TIMEOUT_MS);
    }

    let expired = sessions.expired(2_000, TIMEOUT_MS);

    assert_eq!(expired, vec![(BrokerId(2), harness.epoch_of(2))]);
}

#[test]
fn an_expired_broker_stays_listed_until_it_is_fenced() {
    let (mut harness, mut sessions) = three();
    look_until(&mut sessions, 0, 1_001);
    for id in [2, 3] {
        sessions.heartbeat(BrokerId(id), harness.epoch_of(id), 1_001);
    }
    assert_eq!(ids(&sessions.expired(1_002, TIMEOUT_MS)), vec![1]);
    assert_eq!(ids(&sessions.expired(1_003, TIMEOUT_MS)), vec![1]);

    harness.fence(1);
    sessions.follow(harness.image(), 1_004);

    assert_eq!(ids(&sessions.expired(1_004, TIMEOUT_MS)), Vec::<u32>::new());
}

#[test]
fn a_late_heartbeat_saves_a_broker_that_is_not_fenced_yet() {
    let (harness, mut sessions) = three();
    assert_eq!(look_until(&mut sessions, 0, 1_001), vec![1, 2, 3]);

    sessions.heartbeat(BrokerId(2), harness.epoch_of(2), 1_002);

    assert_eq!(ids(&sessions.expired(1_003, TIMEOUT_MS)), vec![1, 3]);
}

#[test]
fn a_heartbeat_of_an_older_process_counts_for_nothing() {
    let (mut harness, mut sessions) = three();
    let old = harness.epoch_of(2);
    harness.fence(2);
    harness.accept(&Command::RegisterBroker(register(2, 9, "")));
    harness.unfence(2);
    sessions.follow(harness.image(), 0);

    sessions.heartbeat(BrokerId(2), old, 900);

    assert_eq!(look_until(&mut sessions, 900, 1_001), vec![1, 2, 3]);
}

#[test]
fn a_new_process_has_a_session_of_its_own() {
    let (mut harness, mut sessions) = three();
    harness.fence(2);
    harness.accept(&Command::RegisterBroker(register(2, 9, "")));
    harness.unfence(2);

    sessions.follow(harness.image(), 500);

    assert_eq!(look_until(&mut sessions, 500, 1_001), vec![1, 3]);
}

#[test]
fn following_the_same_image_prolongs_nothing() {
    let (harness, mut sessions) = three();
    for now_ms in (0..=1_000).step_by(100) {
        sessions.follow(harness.image(), now_ms);
        let _ = sessions.expired(now_ms, TIMEOUT_MS);
    }

    assert_eq!(ids(&sessions.expired(1_001, TIMEOUT_MS)), vec![1, 2, 3]);
}

#[test]
fn a_suspect_is_fenced_at_once() {
    let (harness, mut sessions) = three();

    sessions.suspect(BrokerId(3), harness.epoch_of(3));

    assert_eq!(ids(&sessions.expired(1, TIMEOUT_MS)), vec![3]);
}

#[test]
fn a_heartbeat_clears_a_suspicion() {
    let (harness, mut sessions) = three();
    sessions.suspect(BrokerId(3), harness.epoch_of(3));

    sessions.heartbeat(BrokerId(3), harness.epoch_of(3), 1);

    assert_eq!(ids(&sessions.expired(1, TIMEOUT_MS)), Vec::<u32>::new());
}

#[test]
fn a_suspicion_of_an_older_process_counts_for_nothing() {
    let (_, mut sessions) = three();

    sessions.suspect(BrokerId(3), BrokerEpoch(1));
    sessions.suspect(BrokerId(77), BrokerEpoch(1));

    assert_eq!(ids(&sessions.expired(1, TIMEOUT_MS)), Vec::<u32>::new());
}

#[test]
fn a_stranger_gets_no_session_by_a_heartbeat() {
    let (_, mut sessions) = three();

    sessions.heartbeat(BrokerId(77), BrokerEpoch(1), 0);

    assert_eq!(look_until(&mut sessions, 0, 5_000), vec![1, 2, 3]);
}

#[test]
fn a_fenced_broker_has_no_session() {
    let mut harness = Harness::with_brokers(2);
    harness.fence(2);
    let mut sessions = Sessions::new(harness.image(), 0);

    assert_eq!(look_until(&mut sessions, 0, 5_000), vec![1]);
}

#[test]
fn a_controller_that_stood_still_blames_nobody() {
    let (harness, mut sessions) = three();
    assert_eq!(ids(&sessions.expired(100, TIMEOUT_MS)), Vec::<u32>::new());

    assert_eq!(
        ids(&sessions.expired(60_000, TIMEOUT_MS)),
        Vec::<u32>::new()
    );
    sessions.heartbeat(BrokerId(1), harness.epoch_of(1), 60_001);
    assert_eq!(look_until(&mut sessions, 60_100, 60_950), vec![2, 3]);
}

#[test]
fn a_slow_timer_is_no_standstill() {
    let (_, mut sessions) = three();
    assert_eq!(ids(&sessions.expired(0, 100)), Vec::<u32>::new());

    assert_eq!(ids(&sessions.expired(101, 100)), vec![1, 2, 3]);
}

#[test]
fn the_next_deadline_is_that_of_the_oldest_session() {
    let (harness, mut sessions) = three();
    assert_eq!(sessions.next_deadline_ms(TIMEOUT_MS), Some(1_000));
    for (id, now_ms) in [(1, 300), (2, 200), (3, 400)] {
        sessions.heartbeat(BrokerId(id), harness.epoch_of(id), now_ms);
    }
    assert_eq!(sessions.next_deadline_ms(TIMEOUT_MS), Some(1_200));
    assert_eq!(Sessions::default().next_deadline_ms(TIMEOUT_MS), None);
}

#[test]
fn time_that_goes_back_expires_nobody() {
    let (harness, mut sessions) = three();
    for id in 1..=3 {
        sessions.heartbeat(BrokerId(id), harness.epoch_of(id), 5_000);
    }

    assert_eq!(ids(&sessions.expired(10, TIMEOUT_MS)), Vec::<u32>::new());
    sessions.heartbeat(BrokerId(1), harness.epoch_of(1), 10);
    assert_eq!(sessions.next_deadline_ms(TIMEOUT_MS), Some(6_000));
}

proptest! {
    #[test]
    fn whoever_sends_heartbeats_in_time_is_never_listed(
        gaps in proptest::collection::vec(1..900_u64, 1..100),
    ) {
        let (harness, mut sessions) = three();
        let mut now_ms = 0;
        for gap_ms in gaps {
            now_ms += gap_ms;
            let expired = sessions.expired(now_ms, TIMEOUT_MS);
            prop_assert!(!ids(&expired).contains(&1));
            sessions.heartbeat(BrokerId(1), harness.epoch_of(1), now_ms);
        }
    }
}
