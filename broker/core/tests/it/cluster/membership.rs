//! The next step of a group towards other members.

use std::collections::{BTreeMap, BTreeSet};

use raftmq_core::BrokerId;
use raftmq_core::cluster::membership::{
    CAUGHT_UP_LAG_ENTRIES_MAX, CatchUp, Goal, Membership, Step,
};

fn set(ids: &[u32]) -> BTreeSet<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

/// Led by broker 1, whose log ends at 1,000.
fn group(voters: &[&[u32]], learners: &[u32]) -> Membership {
    Membership {
        voters: voters.iter().map(|ids| set(ids)).collect(),
        learners: set(learners),
        is_committed: true,
        last_index: 1_000,
        matched: BTreeMap::new(),
        leader: BrokerId(1),
    }
}

fn matched(mut membership: Membership, at: &[(u32, u64)]) -> Membership {
    let at = at.iter().map(|(id, index)| (BrokerId(*id), *index));
    membership.matched = at.collect();
    membership
}

#[test]
fn nothing_is_done_before_the_last_change_is_committed() {
    let mut membership = group(&[&[1, 2, 3]], &[4]);
    membership.is_committed = false;

    for target in [&[1, 2, 3][..], &[1, 2, 4], &[5]] {
        assert_eq!(membership.next_step(&set(target)), Step::AwaitCommit);
    }
}

#[test]
fn who_is_new_learns_first() {
    let target = set(&[1, 4, 5]);

    let step = group(&[&[1, 2, 3]], &[]).next_step(&target);
    assert_eq!(step, Step::AddLearner(BrokerId(4)));
    let step = group(&[&[1, 2, 3]], &[4]).next_step(&target);
    assert_eq!(step, Step::AddLearner(BrokerId(5)));
}

#[test]
fn learners_vote_once_they_are_caught_up() {
    let (target, learning) = (set(&[1, 4, 5]), group(&[&[1, 2, 3]], &[4, 5]));
    let near = 1_000 - CAUGHT_UP_LAG_ENTRIES_MAX;

    let unknown = learning.clone();
    assert_eq!(
        unknown.next_step(&target),
        Step::AwaitLearners(set(&[4, 5]))
    );
    let one = matched(learning.clone(), &[(4, near), (5, near - 1)]);
    assert_eq!(one.next_step(&target), Step::AwaitLearners(set(&[5])));
    let both = matched(learning, &[(4, near), (5, 1_000)]);
    assert_eq!(both.next_step(&target), Step::ChangeVoters(target));
}

#[test]
fn fewer_voters_need_no_learner() {
    let step = group(&[&[1, 2, 3]], &[]).next_step(&set(&[2]));

    assert_eq!(step, Step::ChangeVoters(set(&[2])));
}

#[test]
fn a_joint_membership_goes_to_the_target_or_back() {
    let joint = group(&[&[1, 2, 3], &[1, 4, 5]], &[]);

    for (target, next) in [
        (&[1, 4, 5][..], &[1, 4, 5][..]),
        (&[1, 2, 3], &[1, 2, 3]),
        (&[1, 2, 6], &[1, 2, 3]),
    ] {
        assert_eq!(joint.next_step(&set(target)), Step::ChangeVoters(set(next)));
    }
}

#[test]
fn learners_of_a_target_that_was_given_up_go() {
    let back = group(&[&[1, 2, 3]], &[4, 5]);

    let target = set(&[1, 2, 3]);
    assert_eq!(back.next_step(&target), Step::RemoveLearners(set(&[4, 5])));
    assert_eq!(group(&[&[1, 2, 3]], &[]).next_step(&target), Step::Done);
}

#[test]
fn a_move_is_as_far_as_the_member_that_lacks_most() {
    let goal = Goal {
        voters: set(&[1, 4, 5]),
        learners: BTreeSet::new(),
    };
    let left = |membership: &Membership| {
        let catch_up = membership.catch_up(&goal, 501);
        assert_eq!(catch_up.entries_count, 500, "from 501 to 1,000");
        catch_up.entries_left
    };
    let nobody_heard_of = group(&[&[1, 2, 3]], &[4, 5]);
    assert_eq!(left(&nobody_heard_of), 500);
    // Broker 2 goes: how far it is behind is no matter. Below 501 there is nothing to send.
    let behind = matched(nobody_heard_of.clone(), &[(2, 501), (4, 900), (5, 10)]);
    assert_eq!(left(&behind), 500);
    let nearer = matched(nobody_heard_of.clone(), &[(4, 900), (5, 990)]);
    assert_eq!(left(&nearer), 100);
    let there = matched(nobody_heard_of, &[(4, 1_000), (5, 1_000)]);
    assert_eq!(left(&there), 0, "the leader has its own log");
    let empty = Membership::default().catch_up(&Goal::default(), 1);
    assert_eq!(empty, CatchUp::default());
}
