//! Replicas that answered a leader help to replace it only when that is worth nothing any more.

use raftmq_core::cluster::vouches::{Replaced, VOUCHED_BROKERS_MAX, Vouches};
use raftmq_core::ids::{BrokerEpoch, BrokerId};

const SESSION_MS: u64 = 1_000;
const LEADER: BrokerId = BrokerId(1);
const EPOCH: BrokerEpoch = BrokerEpoch(5);
const FENCE: Replaced = Replaced {
    broker: LEADER,
    fenced_at: BrokerEpoch(9),
};

#[test]
fn a_leader_that_was_never_answered_may_be_replaced_a_session_after_the_start() {
    assert!(!Vouches::default().may_replace(FENCE, 1_000, SESSION_MS));
    assert!(Vouches::default().may_replace(FENCE, 1_001, SESSION_MS));
}

#[test]
fn an_answer_holds_for_a_session() {
    let mut vouches = Vouches::default();
    assert!(vouches.vouch(LEADER, EPOCH, 100));

    assert!(!vouches.may_replace(FENCE, 100, SESSION_MS));
    assert!(!vouches.may_replace(FENCE, 1_100, SESSION_MS));
    assert!(vouches.may_replace(FENCE, 1_101, SESSION_MS));
}

#[test]
fn whom_an_order_replaces_is_answered_no_more_until_it_has_registered_anew() {
    let mut vouches = Vouches::default();
    vouches.vouch(LEADER, EPOCH, 100);
    vouches.may_replace(FENCE, 200, SESSION_MS);

    assert!(!vouches.vouch(LEADER, EPOCH, 300));
    assert!(
        vouches.may_replace(FENCE, 1_101, SESSION_MS),
        "300 counts for nothing"
    );
    assert!(vouches.vouch(LEADER, BrokerEpoch(9), 1_200));
    assert!(
        vouches.vouch(BrokerId(2), EPOCH, 1_200),
        "others are not concerned"
    );
}

#[test]
fn an_order_that_comes_late_lowers_nothing() {
    let mut vouches = Vouches::default();
    vouches.may_replace(FENCE, 0, SESSION_MS);
    let late = Replaced {
        fenced_at: BrokerEpoch(7),
        ..FENCE
    };
    vouches.may_replace(late, 0, SESSION_MS);

    assert!(!vouches.vouch(LEADER, BrokerEpoch(8), 0));
}

#[test]
fn whoever_was_answered_after_its_fence_knows_of_it_and_is_not_waited_for() {
    let mut vouches = Vouches::default();
    vouches.vouch(LEADER, BrokerEpoch(9), 100);

    assert!(vouches.may_replace(FENCE, 100, SESSION_MS));
}

#[test]
fn more_brokers_than_can_be_remembered_are_not_answered() {
    let mut vouches = Vouches::default();
    let most = u32::try_from(VOUCHED_BROKERS_MAX).unwrap();
    for broker in 1..=most {
        assert!(vouches.vouch(BrokerId(broker), EPOCH, 100));
    }

    assert!(!vouches.vouch(BrokerId(most + 1), EPOCH, 100));
    assert!(vouches.vouch(BrokerId(most), EPOCH, 200));
}

#[test]
fn a_process_that_is_gone_is_not_waited_for() {
    let mut vouches = Vouches::default();
    vouches.vouch(LEADER, EPOCH, 100);
    vouches.forget(LEADER);

    assert!(vouches.may_replace(FENCE, 100, SESSION_MS));
}
