//! A move of replicas from end to end, in a model of one group: whatever is set, redirected, cancelled,
//! lost or late, no broker wipes a replica that may vote, and every move comes to an end.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Just, Strategy, prop_oneof, proptest};
use raftmq_core::cluster::Command;
use raftmq_core::cluster::membership::{Membership, Step};
use raftmq_core::{BrokerId, GroupNumber};

use crate::support::cluster::{Harness, brokers};

/// Steps after which every move must have come to an end.
const STEPS_MAX: usize = 40;

#[derive(Debug, Clone)]
enum Event {
    Set(Vec<u32>),
    Cancel,
    /// The controller orders a step, which the leader takes.
    Step,
    /// The newest membership in the log is committed.
    Commit,
    /// The leader dies with what is not committed.
    LeaderLost,
    /// The newest learners are caught up.
    CatchUp,
    /// A completion reaches the metadata group, perhaps late.
    Complete,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Members {
    voters: Vec<BTreeSet<BrokerId>>,
    learners: BTreeSet<BrokerId>,
}

struct World {
    harness: Harness,
    group: GroupNumber,
    committed: Members,
    newest: Members,
    caught_up: BTreeSet<BrokerId>,
    /// Who has ever been a member and has not wiped what it holds.
    holders: BTreeSet<BrokerId>,
    completions: Vec<(Vec<BrokerId>, u64)>,
}

impl World {
    fn new() -> Self {
        let mut harness = Harness::with_brokers(6);
        let group = harness.add_partition_on("logs", &[1, 2, 3]);
        harness.lead(group, 1, 1);
        let voters: BTreeSet<BrokerId> = brokers(&[1, 2, 3]).into_iter().collect();
        let members = Members {
            voters: vec![voters.clone()],
            learners: BTreeSet::new(),
        };
        Self {
            harness,
            group,
            committed: members.clone(),
            newest: members,
            caught_up: BTreeSet::new(),
            holders: voters,
            completions: Vec::new(),
        }
    }

    fn take(&mut self, event: &Event) {
        let group = self.group;
        match event {
            Event::Set(ids) => {
                let target = brokers(ids);
                let _ = self.harness.commit(&Command::SetReplicas { group, target });
            }
            Event::Cancel => {
                let _ = self.harness.commit(&Command::CancelReassignment { group });
            }
            Event::Step => self.step(),
            Event::Commit => self.committed = self.newest.clone(),
            Event::LeaderLost => self.newest = self.committed.clone(),
            Event::CatchUp => self.caught_up.extend(&self.newest.learners),
            Event::Complete => self.complete(),
        }
        self.wipe();
    }

    fn step(&mut self) {
        let partition = self.harness.partition(self.group);
        let Some(target) = partition.target else {
            return;
        };
        let wanted: BTreeSet<BrokerId> = target.iter().copied().collect();
        let matched: BTreeMap<BrokerId, u64> =
            self.caught_up.iter().map(|id| (*id, 10_000)).collect();
        let membership = Membership {
            voters: self.newest.voters.clone(),
            learners: self.newest.learners.clone(),
            is_committed: self.newest == self.committed,
            last_index: 10_000,
            matched,
            leader: BrokerId(0),
        };
        match membership.next_step(&wanted) {
            Step::AwaitCommit | Step::AwaitLearners(_) => {}
            Step::AddLearner(id) => {
                assert!(partition.adding.contains(&id) || partition.replicas.contains(&id));
                self.newest.learners.insert(id);
                self.holders.insert(id);
            }
            Step::ChangeVoters(next) => self.change_voters(next),
            Step::RemoveLearners(left) => {
                self.newest.learners.retain(|id| !left.contains(id));
                self.caught_up.retain(|id| !left.contains(id));
            }
            Step::Done => self.completions.push((target, partition.move_epoch)),
        }
    }

    /// As openraft does it: through a joint membership, and without those who are out.
    fn change_voters(&mut self, next: BTreeSet<BrokerId>) {
        self.newest.learners.retain(|id| !next.contains(id));
        let now = &self.newest.voters;
        self.newest.voters = if now.len() == 1 && now[0] != next {
            vec![now[0].clone(), next]
        } else {
            vec![next]
        };
    }

    fn complete(&mut self) {
        // The oldest first: a completion may be very late.
        if self.completions.is_empty() {
            return;
        }
        let (replicas, move_epoch) = self.completions.remove(0);
        let complete = Command::CompleteReassignment {
            group: self.group,
            replicas,
            move_epoch,
            membership: None,
        };
        let was_moving = self.harness.partition(self.group).is_moving();
        let reply = self.harness.commit(&complete).reply;
        let partition = self.harness.partition(self.group);
        if reply.is_ok() && was_moving && !partition.is_moving() {
            let replicas: BTreeSet<BrokerId> = partition.replicas.iter().copied().collect();
            assert_eq!(self.committed.voters, vec![replicas], "it is there");
        }
    }

    /// Brokers that the image does not know as holders wipe what they hold.
    fn wipe(&mut self) {
        let partition = self.harness.partition(self.group);
        let wiped: Vec<BrokerId> = self
            .holders
            .iter()
            .copied()
            .filter(|id| !partition.has_replica(*id))
            .collect();
        for id in wiped {
            for members in [&self.committed, &self.newest] {
                let may_vote = members.voters.iter().any(|set| set.contains(&id));
                assert!(
                    !may_vote,
                    "broker {id} wiped a replica that may vote: {members:?}"
                );
            }
            self.holders.remove(&id);
            self.caught_up.remove(&id);
        }
    }

    fn finish(&mut self) {
        for _ in 0..STEPS_MAX {
            for event in [Event::Commit, Event::CatchUp, Event::Step, Event::Complete] {
                self.take(&event);
            }
        }
        let partition = self.harness.partition(self.group);
        assert!(!partition.is_moving(), "{partition:?}");
        let replicas: BTreeSet<BrokerId> = partition.replicas.iter().copied().collect();
        assert_eq!(self.committed.voters, vec![replicas.clone()]);
        assert!(self.committed.learners.is_empty());
        assert_eq!(self.holders, replicas, "everybody else has wiped it");
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => proptest::sample::subsequence(vec![1, 2, 3, 4, 5, 6_u32], 1..=4).prop_map(Event::Set),
        1 => Just(Event::Cancel),
        6 => Just(Event::Step),
        5 => Just(Event::Commit),
        1 => Just(Event::LeaderLost),
        3 => Just(Event::CatchUp),
        2 => Just(Event::Complete),
    ]
}

proptest! {
    #[test]
    fn nobody_wipes_a_replica_that_may_vote_and_every_move_ends(
        events in proptest::collection::vec(any_event(), 1..120),
    ) {
        let mut world = World::new();
        for event in &events {
            world.take(event);
        }
        world.finish();
    }
}

#[test]
fn a_move_that_is_cancelled_in_its_joint_membership_goes_back_and_then_lets_go() {
    let mut world = World::new();
    let to_the_joint_membership = [
        Event::Set(vec![1, 4, 5]),
        Event::Step,
        Event::Commit,
        Event::Step,
        Event::Commit,
        Event::CatchUp,
        Event::Step,
        Event::Commit,
    ];
    to_the_joint_membership
        .iter()
        .for_each(|event| world.take(event));
    assert_eq!(world.committed.voters.len(), 2);

    world.take(&Event::Cancel);
    assert!(world.holders.contains(&BrokerId(4)), "it may vote");
    world.finish();

    let partition = world.harness.partition(world.group);
    assert_eq!(partition.replicas, brokers(&[1, 2, 3]));
}
