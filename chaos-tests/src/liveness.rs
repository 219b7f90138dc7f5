//! When a healed cluster has converged: every group has one leader, and every voter holds,
//! has committed and has applied the same.
//!
//! Owns the judgement on one instant; how long it may take is the run's affair. Uniform faults hide
//! livelocks, therefore this phase runs without any (TigerBeetle's liveness mode).

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;

use crate::invariants::{LogPosition, RaftStatus};

/// Why a cluster has not converged yet; names the first group that has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotConverged {
    /// Fewer brokers run than there should be.
    Brokers {
        /// That run.
        running: usize,
        /// That should.
        expected: usize,
    },
    /// No group exists at all.
    NoGroups,
    /// A group whose replicas do not name exactly one leader.
    Leaders {
        /// Raft group.
        group: u64,
        /// How many believe that they lead.
        leaders: usize,
    },
    /// A membership change that is not finished.
    JointMembership {
        /// Raft group.
        group: u64,
    },
    /// A broker that has not fetched again what was damaged on its disk.
    Rotten {
        /// Which.
        broker: u32,
    },
    /// A voter that is missing or behind.
    Behind {
        /// Raft group.
        group: u64,
        /// The voter.
        broker: u32,
        /// What it lacks, with the numbers.
        detail: String,
    },
}

impl fmt::Display for NotConverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Brokers { running, expected } => {
                write!(f, "{running} of {expected} brokers run")
            }
            Self::NoGroups => f.write_str("no raft group exists"),
            Self::Leaders { group, leaders } => write!(f, "group {group} has {leaders} leaders"),
            Self::JointMembership { group } => {
                write!(f, "group {group} is in a joint membership change")
            }
            Self::Rotten { broker } => {
                write!(f, "broker {broker} misses entries that were damaged")
            }
            Self::Behind {
                group,
                broker,
                detail,
            } => {
                write!(f, "group {group}: broker {broker} {detail}")
            }
        }
    }
}

/// Judges one instant of a cluster of `brokers_count` brokers.
///
/// # Errors
/// The first reason why it has not converged.
pub fn converged<S>(statuses: &[S], brokers_count: usize) -> Result<(), NotConverged>
where
    S: Borrow<RaftStatus>,
{
    let mut groups: BTreeMap<u64, BTreeMap<u32, &RaftStatus>> = BTreeMap::new();
    let mut brokers: Vec<u32> = Vec::new();
    for status in statuses.iter().map(Borrow::borrow) {
        groups
            .entry(status.group)
            .or_default()
            .insert(status.broker, status);
        brokers.push(status.broker);
    }
    brokers.sort_unstable();
    brokers.dedup();
    if groups.is_empty() {
        return Err(NotConverged::NoGroups);
    }
    if brokers.len() < brokers_count {
        return Err(NotConverged::Brokers {
            running: brokers.len(),
            expected: brokers_count,
        });
    }
    groups
        .iter()
        .try_for_each(|(group, replicas)| group_converged(*group, replicas))
}

fn group_converged(group: u64, replicas: &BTreeMap<u32, &RaftStatus>) -> Result<(), NotConverged> {
    let leaders: Vec<&&RaftStatus> = replicas
        .values()
        .filter(|status| status.is_leader)
        .collect();
    let [leader] = leaders.as_slice() else {
        return Err(NotConverged::Leaders {
            group,
            leaders: leaders.len(),
        });
    };
    let [voters] = leader.voters.as_slice() else {
        return Err(NotConverged::JointMembership { group });
    };
    for broker in voters {
        let behind = |detail: String| NotConverged::Behind {
            group,
            broker: *broker,
            detail,
        };
        let Some(status) = replicas.get(broker) else {
            return Err(behind("does not run this replica".to_owned()));
        };
        let index = |position: Option<LogPosition>| position.map(|position| position.index);
        let pairs = [
            ("last log", status.last_log, leader.last_log),
            ("committed", index(status.committed), leader.last_log),
            ("applied", index(status.applied), leader.last_log),
        ];
        for (what, own, expected) in pairs {
            if own != expected {
                return Err(behind(format!("has {what} {own:?}, expected {expected:?}")));
            }
        }
        if status.state != leader.state {
            return Err(behind(format!(
                "has {:?}, expected {:?}",
                status.state, leader.state
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::StateStatus;

    const fn state(hash: u64) -> StateStatus {
        StateStatus {
            applied_index: 5,
            log_start: 0,
            log_end: 7,
            hash,
        }
    }

    fn replica(broker: u32, last: u64) -> RaftStatus {
        let at = Some(LogPosition {
            term: 1,
            index: last,
        });
        RaftStatus {
            broker,
            group: 4,
            is_leader: broker == 1,
            last_log: Some(last),
            committed: at,
            applied: at,
            voters: vec![[1, 2, 3].into()],
            state: Some(state(last)),
            ..RaftStatus::default()
        }
    }

    #[test]
    fn equal_replicas_with_one_leader_have_converged() {
        assert_eq!(
            converged(&[replica(1, 5), replica(2, 5), replica(3, 5)], 3),
            Ok(())
        );
    }

    #[test]
    fn a_replica_that_is_behind_is_named() {
        let result = converged(&[replica(1, 5), replica(2, 5), replica(3, 4)], 3);

        assert!(matches!(
            result,
            Err(NotConverged::Behind {
                group: 4,
                broker: 3,
                ..
            })
        ));
    }

    #[test]
    fn a_missing_broker_is_counted() {
        let result = converged(&[replica(1, 5), replica(2, 5)], 3);

        assert_eq!(
            result,
            Err(NotConverged::Brokers {
                running: 2,
                expected: 3
            })
        );
    }

    #[test]
    fn a_group_without_a_leader_or_with_two_has_not_converged() {
        let mut none = [replica(1, 5), replica(2, 5), replica(3, 5)];
        none[0].is_leader = false;
        let mut two = [replica(1, 5), replica(2, 5), replica(3, 5)];
        two[1].is_leader = true;

        assert_eq!(
            converged(&none, 3),
            Err(NotConverged::Leaders {
                group: 4,
                leaders: 0
            })
        );
        assert_eq!(
            converged(&two, 3),
            Err(NotConverged::Leaders {
                group: 4,
                leaders: 2
            })
        );
    }

    #[test]
    fn different_states_have_not_converged() {
        let mut replicas = [replica(1, 5), replica(2, 5), replica(3, 5)];
        replicas[2].state = Some(state(99));

        assert!(matches!(
            converged(&replicas, 3),
            Err(NotConverged::Behind { broker: 3, .. })
        ));
    }

    #[test]
    fn a_joint_membership_and_an_empty_cluster_have_not_converged() {
        let mut replicas = [replica(1, 5), replica(2, 5), replica(3, 5)];
        replicas[0].voters.push([1, 2].into());

        assert_eq!(
            converged(&replicas, 3),
            Err(NotConverged::JointMembership { group: 4 })
        );
        assert_eq!(converged::<RaftStatus>(&[], 3), Err(NotConverged::NoGroups));
    }
}
