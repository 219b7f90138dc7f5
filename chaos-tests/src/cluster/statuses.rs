//! What replicas show of themselves, translated into the harness's plain numbers.
//!
//! Every tick of a simulation looks at every replica, and most of them show what they showed before: that is
//! kept, and shared with whoever has it from an earlier look. Does not know what is checked.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::rc::Rc;
use std::sync::Arc;

use raftmq::raft::status::{RaftStatus as BrokerStatus, StatusWatch};
use raftmq::raft::{Group, GroupKind};
use raftmq_core::ids::Term;
use raftmq_core::partition::Partition;
use raftmq_core::queue::Queue;

use super::Running;
use crate::invariants::{LogPosition, RaftStatus, StateStatus, VoteStatus};
use crate::trace::Fnv;

/// What each replica showed when it was looked at last, by broker and group.
#[derive(Debug, Default)]
pub(super) struct Statuses(BTreeMap<u32, BTreeMap<u64, Seen>>);

#[derive(Debug)]
struct Seen {
    watch: StatusWatch,
    broker: BrokerStatus,
    shown: Rc<RaftStatus>,
}

impl Statuses {
    /// All replicas of these brokers; of each the same value as before, while nothing of it has changed.
    pub(super) fn of(&mut self, brokers: &BTreeMap<u32, Running>) -> Vec<Rc<RaftStatus>> {
        let mut shown = Vec::new();
        for (id, running) in brokers {
            let groups = self.0.entry(*id).or_default();
            for group in running.parts.host.groups() {
                let seen = match groups.entry(group.id().0) {
                    Entry::Occupied(mut known) if known.get().watch.follows(&group) => {
                        known.get_mut().look(running, &group);
                        known.into_mut()
                    }
                    another @ (Entry::Vacant(_) | Entry::Occupied(_)) => {
                        another.insert_entry(Seen::new(running, &group)).into_mut()
                    }
                };
                shown.push(Rc::clone(&seen.shown));
            }
        }
        shown
    }
}

impl Seen {
    fn new(running: &Running, group: &Arc<Group>) -> Self {
        let (watch, broker) = StatusWatch::new(running.parts.host.broker_id(), group);
        let shown = RaftStatus {
            state: state_of(running, group),
            ..translate(&broker, running)
        };
        Self {
            watch,
            broker,
            shown: Rc::new(shown),
        }
    }

    fn look(&mut self, running: &Running, group: &Group) {
        let state = state_of(running, group);
        let broker = self.watch.look(running.parts.host.broker_id(), group);
        if broker.is_none() && state == self.shown.state {
            return;
        }
        if let Some(broker) = broker {
            self.broker = broker;
        }
        let now = RaftStatus {
            state,
            ..translate(&self.broker, running)
        };
        if now != *self.shown {
            self.shown = Rc::new(now);
        }
    }
}

/// The state machine of a group, of kinds that show it.
fn state_of(running: &Running, group: &Group) -> Option<StateStatus> {
    match group.kind() {
        GroupKind::Metadata => None,
        GroupKind::Partition => {
            let replica = running.parts.replicas.of_group(group.id())?;
            Some(partition_state(&replica.machine().read()))
        }
        GroupKind::Queue => {
            let machine = running.parts.queues.machine(group.id())?;
            Some(queue_state(&machine.read()))
        }
    }
}

/// What replicas must agree on, in constant time: bounds, payload ever written, epoch, producers, newest
/// timestamp. Not the readable size: what a replica finds in its index is its own matter.
fn partition_state(partition: &Partition) -> StateStatus {
    let (log_start, log_end) = (partition.log_start().get(), partition.log_end().get());
    let epoch = partition.latest_epoch().map_or(0, Term::get);
    let producers_count = u64::try_from(partition.producers_count()).unwrap_or(u64::MAX);
    let newest_ms = partition.max_timestamp_ms().unwrap_or(i64::MIN);
    let facts = [
        epoch,
        partition.written_bytes(),
        producers_count,
        newest_ms.cast_unsigned(),
    ];
    StateStatus {
        applied_index: partition.applied().get(),
        log_start,
        log_end,
        hash: hash_of(&facts),
    }
}

/// The same of a queue: what was ever published, and how much waits, is delayed, is held, is dead, is remembered.
fn queue_state(queue: &Queue) -> StateStatus {
    let facts = [
        queue.ready_count(),
        queue.ready_bytes(),
        queue.unsettled_count(),
        queue.delayed_count() as u64,
        queue.dead_letters_count(),
        queue.dedup_ids_count() as u64,
        queue.consumers_count() as u64,
        queue.written_bytes(),
        queue.now_ms().cast_unsigned(),
    ];
    StateStatus {
        applied_index: queue.applied().get(),
        log_start: 0,
        log_end: i64::try_from(queue.published_total()).unwrap_or(i64::MAX),
        hash: hash_of(&facts),
    }
}

fn hash_of(facts: &[u64]) -> u64 {
    let mut hash = Fnv::default();
    facts.iter().for_each(|fact| hash.add_word(*fact));
    hash.value()
}

fn translate(status: &BrokerStatus, running: &Running) -> RaftStatus {
    let position = |pair: Option<(u64, u64)>| pair.map(|(term, index)| LogPosition { term, index });
    // Broker ids are 32 bits; openraft's node ids only look wider.
    let id = |id: u64| u32::try_from(id).unwrap_or(u32::MAX);
    RaftStatus {
        broker: status.broker_id,
        incarnation: running.incarnation,
        group: status.group_id,
        is_leader: status.is_leader,
        vote: VoteStatus {
            term: status.term,
            is_committed: status.vote_committed,
            candidate: id(status.voted_for),
        },
        last_log: status.last_log_index,
        flushed: None,
        lost_up_to: status
            .is_recovering
            .then_some(position(status.acknowledged).unwrap_or(LogPosition::MAX)),
        committed: position(status.committed),
        applied: position(status.applied),
        snapshot: position(status.snapshot),
        purged: position(status.purged),
        terms: Vec::new(),
        voters: status
            .voters
            .iter()
            .map(|config| config.iter().map(|voter| id(*voter)).collect())
            .collect(),
        membership_at: position(status.membership_at),
        state: None,
    }
}
