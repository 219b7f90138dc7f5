//! Reports of leaders and in-sync replicas, and leaders that are cleared.

use raftmq_core::cluster::{ClusterError, Command, LeaderReport, Outcome, Reply};
use raftmq_core::{BrokerId, Effect, GroupNumber, Term};

use crate::support::cluster::{Harness, brokers, report_isr, report_leader};

/// Three brokers and one partition on all of them.
fn one_partition() -> (Harness, GroupNumber) {
    let mut harness = Harness::with_brokers(3);
    let group = harness.add_partition_on("logs", &[1, 2, 3]);
    (harness, group)
}

fn all_taken() -> Reply {
    Ok(Outcome::Reported { refused: vec![] })
}

#[test]
fn a_leader_reports_itself() {
    let (mut harness, group) = one_partition();
    let before = harness.partition(group);

    let applied = harness.lead(group, 2, 4);

    assert_eq!(applied.reply, all_taken());
    assert_eq!(
        applied.effects,
        vec![Effect::GroupChanged { group }, Effect::ImageChanged]
    );
    let after = harness.partition(group);
    assert_eq!(after.leader, Some(BrokerId(2)));
    assert_eq!(after.leader_epoch, Term(4));
    assert_eq!(after.partition_epoch, before.partition_epoch + 1);
}

#[test]
fn the_same_report_again_changes_nothing() {
    let (mut harness, group) = one_partition();
    harness.lead(group, 2, 4);
    let before = harness.cluster.clone();

    let again = harness.lead(group, 2, 4);

    assert_eq!(again.reply, all_taken());
    assert_eq!(again.effects, vec![]);
    assert_eq!(harness.cluster, before);
}

#[test]
fn a_report_of_an_older_epoch_is_refused() {
    let (mut harness, group) = one_partition();
    harness.lead(group, 2, 4);

    let refused = harness.refuse(&report_leader(group, 1, 3));

    let (current, actual) = (Term(4), Term(3));
    assert_eq!(
        refused,
        ClusterError::StaleLeaderEpoch {
            group,
            current,
            actual
        }
    );
}

#[test]
fn a_second_leader_of_one_epoch_is_refused() {
    let (mut harness, group) = one_partition();
    harness.lead(group, 2, 4);

    let refused = harness.refuse(&report_leader(group, 1, 4));

    let (current, actual) = (Term(4), Term(4));
    assert_eq!(
        refused,
        ClusterError::StaleLeaderEpoch {
            group,
            current,
            actual
        }
    );
}

#[test]
fn a_newer_leader_takes_over() {
    let (mut harness, group) = one_partition();
    harness.lead(group, 2, 4);

    harness.lead(group, 1, 7).reply.unwrap();

    assert_eq!(harness.partition(group).leader, Some(BrokerId(1)));
    assert_eq!(harness.partition(group).leader_epoch, Term(7));
}

#[test]
fn a_broker_without_a_replica_does_not_lead() {
    let mut harness = Harness::with_brokers(3);
    let group = harness.add_partition_on("logs", &[1, 2]);

    let refused = harness.refuse(&report_leader(group, 3, 1));

    assert_eq!(
        refused,
        ClusterError::NotAReplica {
            group,
            broker: BrokerId(3)
        }
    );
}

#[test]
fn a_fenced_broker_does_not_lead() {
    let (mut harness, group) = one_partition();
    harness.fence(2);

    let refused = harness.refuse(&report_leader(group, 2, 1));

    assert_eq!(
        refused,
        ClusterError::BrokerFenced {
            broker: BrokerId(2)
        }
    );
}

#[test]
fn a_broker_that_is_back_may_report_the_epoch_it_still_leads_in() {
    let (mut harness, group) = one_partition();
    harness.lead(group, 2, 4);
    harness.fence(2);
    assert_eq!(harness.partition(group).leader, None);
    harness.unfence(2);

    harness.lead(group, 2, 4).reply.unwrap();

    assert_eq!(harness.partition(group).leader, Some(BrokerId(2)));
}

#[test]
fn an_unknown_group_is_refused() {
    let (mut harness, _) = one_partition();
    let group = GroupNumber(99);
    let unknown = ClusterError::UnknownGroup { group };

    assert_eq!(harness.refuse(&report_leader(group, 1, 1)), unknown);
    assert_eq!(harness.refuse(&report_isr(group, 1, &[1])), unknown);
    let target = brokers(&[1]);
    assert_eq!(
        harness.refuse(&Command::SetReplicas { group, target }),
        unknown
    );
    let replicas = brokers(&[1]);
    assert_eq!(
        harness.refuse(&Command::CompleteReassignment {
            group,
            replicas,
            move_epoch: 0,
            membership: None,
        }),
        unknown
    );
}

#[test]
fn a_leader_that_was_out_of_sync_is_in_sync_now() {
    let (mut harness, group) = one_partition();
    harness.lead(group, 2, 4);
    harness.accept(&report_isr(group, 4, &[2, 3]));

    harness.lead(group, 1, 5).reply.unwrap();

    assert_eq!(harness.partition(group).isr, brokers(&[1, 2, 3]));
}

#[test]
fn a_leader_reports_its_in_sync_replicas() {
    let (mut harness, group) = one_partition();
    harness.lead(group, 2, 4);

    let applied = harness.commit(&report_isr(group, 4, &[3, 2]));

    assert_eq!(applied.reply, all_taken());
    assert_eq!(
        applied.effects,
        vec![Effect::GroupChanged { group }, Effect::ImageChanged]
    );
    assert_eq!(harness.partition(group).isr, brokers(&[2, 3]));
}

#[test]
fn the_same_in_sync_replicas_again_change_nothing() {
    let (mut harness, group) = one_partition();
    harness.lead(group, 2, 4);
    harness.accept(&report_isr(group, 4, &[2, 3]));
    let before = harness.cluster.clone();

    let again = harness.commit(&report_isr(group, 4, &[3, 2, 3]));

    assert_eq!(again.reply, all_taken());
    assert_eq!(again.effects, vec![]);
    assert_eq!(harness.cluster, before);
}

#[test]
fn in_sync_replicas_of_another_epoch_are_refused() {
    let (mut harness, group) = one_partition();
    harness.lead(group, 2, 4);

    let stale = harness.refuse(&report_isr(group, 3, &[1]));
    assert_eq!(
        stale,
        ClusterError::StaleLeaderEpoch {
            group,
            current: Term(4),
            actual: Term(3)
        }
    );
    let early = harness.refuse(&report_isr(group, 5, &[1]));
    assert_eq!(
        early,
        ClusterError::LeaderUnknown {
            group,
            leader_epoch: Term(5)
        }
    );
}

#[test]
fn in_sync_replicas_of_a_group_without_a_leader_are_refused() {
    let (mut harness, group) = one_partition();

    let refused = harness.refuse(&report_isr(group, 0, &[1]));

    assert_eq!(
        refused,
        ClusterError::LeaderUnknown {
            group,
            leader_epoch: Term(0)
        }
    );
}

#[test]
fn in_sync_replicas_must_hold_the_leader() {
    let (mut harness, group) = one_partition();
    harness.lead(group, 2, 4);

    for isr in [&[][..], &[1, 3]] {
        let refused = harness.refuse(&report_isr(group, 4, isr));
        assert_eq!(
            refused,
            ClusterError::IsrWithoutLeader {
                group,
                leader: BrokerId(2)
            }
        );
    }
}

#[test]
fn in_sync_replicas_must_be_live_replicas() {
    let mut harness = Harness::with_brokers(4);
    let group = harness.add_partition_on("logs", &[1, 2, 3]);
    harness.lead(group, 2, 4);

    let stranger = harness.refuse(&report_isr(group, 4, &[2, 4]));
    assert_eq!(
        stranger,
        ClusterError::NotAReplica {
            group,
            broker: BrokerId(4)
        }
    );
    harness.fence(3);
    let fenced = harness.refuse(&report_isr(group, 4, &[2, 3]));
    assert_eq!(
        fenced,
        ClusterError::BrokerFenced {
            broker: BrokerId(3)
        }
    );
    harness.accept(&report_isr(group, 4, &[1, 2]));
}

#[test]
fn a_fenced_leader_reports_nothing() {
    let (mut harness, group) = one_partition();
    harness.lead(group, 2, 4);
    harness.fence(2);

    let refused = harness.refuse(&report_isr(group, 4, &[2]));

    assert_eq!(
        refused,
        ClusterError::LeaderUnknown {
            group,
            leader_epoch: Term(4)
        }
    );
}

#[test]
fn too_many_in_sync_replicas_are_refused() {
    let (mut harness, group) = one_partition();
    harness.lead(group, 2, 4);
    let many: Vec<u32> = vec![2; 19];

    let refused = harness.refuse(&report_isr(group, 4, &many));

    assert!(
        matches!(refused, ClusterError::LimitExceeded { actual: 19, .. }),
        "{refused}"
    );
}

#[test]
fn clearing_leaders_leaves_live_ones_alone() {
    let (mut harness, group) = one_partition();
    harness.lead(group, 2, 4);
    let before = harness.cluster.clone();

    let groups = vec![group, GroupNumber(77)];
    let applied = harness.commit(&Command::ClearLeader { groups });

    assert_eq!(applied.reply, Ok(Outcome::LeadersCleared { count: 0 }));
    assert_eq!(applied.effects, vec![]);
    assert_eq!(harness.cluster, before);
}

#[test]
fn of_many_reports_those_that_are_stale_are_refused_and_the_others_taken() {
    let (mut harness, group) = one_partition();
    harness.lead(group, 1, 4);
    let unknown = GroupNumber(77);
    let leads = |group, leader, leader_epoch| LeaderReport::Leads {
        group,
        leader: BrokerId(leader),
        leader_epoch: Term(leader_epoch),
    };
    let in_sync = |leader_epoch, isr: &[u32]| LeaderReport::InSync {
        group,
        leader_epoch: Term(leader_epoch),
        isr: brokers(isr),
    };

    let applied = harness.commit(&Command::Report {
        reports: vec![
            leads(unknown, 1, 1),
            leads(group, 2, 5),
            in_sync(4, &[1]),
            in_sync(5, &[2, 3]),
        ],
    });

    let stale = ClusterError::StaleLeaderEpoch {
        group,
        current: Term(5),
        actual: Term(4),
    };
    let refused = vec![ClusterError::UnknownGroup { group: unknown }, stale];
    assert_eq!(applied.reply, Ok(Outcome::Reported { refused }));
    let partition = harness.partition(group);
    assert_eq!(partition.leader, Some(BrokerId(2)));
    assert_eq!(partition.isr, brokers(&[2, 3]));
}

#[test]
fn every_change_has_a_larger_partition_epoch() {
    let (mut harness, group) = one_partition();
    let mut last = harness.partition(group).partition_epoch;
    let changes = [
        report_leader(group, 2, 1),
        report_isr(group, 1, &[1, 2]),
        report_leader(group, 1, 2),
        report_isr(group, 2, &[1]),
    ];
    for change in changes {
        harness.accept(&change);
        let epoch = harness.partition(group).partition_epoch;
        assert!(epoch > last, "{change:?}");
        last = epoch;
    }
}

#[test]
fn the_version_is_the_log_index_of_the_last_change() {
    let (mut harness, group) = one_partition();
    harness.lead(group, 2, 4);
    let version = harness.image().version;
    assert_eq!(version, harness.log.len() as u64);

    harness.refuse(&report_leader(group, 1, 1));

    assert_eq!(harness.image().version, version);
}
