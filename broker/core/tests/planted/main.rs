//! The planted bugs do harm: each one breaks a promise that the other tests hold.
//!
//! One test only, in a binary of its own: a bug, once chosen, stays for the whole process.
//! Built with the feature `planted-bugs`.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail a test in the same way as the test itself"
)]

mod amqp;
mod queues;
mod quotas;

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use raftmq_core::cluster::balance::PartitionLoad;
use raftmq_core::cluster::balance::measured::{Counted, FORGOTTEN_AFTER_MS, LoadBook, LoadMeter};
use raftmq_core::cluster::election::{Survivor, VoteInfo};
use raftmq_core::cluster::leadership::{MoveLimits, plan_moves};
use raftmq_core::cluster::loss::plan_loss;
use raftmq_core::cluster::membership::{Membership, Step};
use raftmq_core::cluster::placement::place;
use raftmq_core::cluster::voters::{Electorate, plan_voters};
use raftmq_core::cluster::vouches::{Replaced, Vouches};
use raftmq_core::cluster::{
    Broker, Cluster, Command, CreateTopic, Endpoints, Image, PartitionInfo, RegisterBroker,
};
use raftmq_core::partition::compaction::{Pass, Region};
use raftmq_core::partition::{
    AppendBuilder, AppendError, Decision, Partition, Pending, Reply, VoidReason,
};
use raftmq_core::planted::{Bug, is_planted, plant};
use raftmq_core::space::{Space, SpaceWatch, may_take_records};
use raftmq_core::throttle::{TokenBucket, concerns};
use raftmq_core::{
    BrokerEpoch, BrokerId, DirectoryId, Effects, EntryMeta, GroupNumber, LogIndex, Machine, Offset,
    PartitionIndex, Term, TopicId,
};
use raftmq_records::{BatchHeader, Retained};

/// A batch of one record of producer 1.
fn batch(sequence: i32) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i64(0);
    bytes.put_i32(49);
    bytes.put_i32(-1);
    bytes.put_i8(2);
    bytes.put_u32(0);
    bytes.put_u16(0);
    bytes.put_i32(0);
    bytes.put_i64(1);
    bytes.put_i64(1);
    bytes.put_i64(1);
    bytes.put_i16(0);
    bytes.put_i32(sequence);
    bytes.put_i32(1);
    bytes.freeze()
}

fn append(
    partition: &mut Partition,
    log_index: u64,
    term: u64,
    stamp: u64,
    sequence: i32,
) -> Reply {
    let base_offset = partition.log_end();
    let mut builder = AppendBuilder::new(Term(stamp), base_offset, 0, 100);
    builder.push(&batch(sequence), base_offset, None);
    let meta = EntryMeta {
        log_index,
        term,
        proposed_at_ms: 1,
        machine_version: 1,
    };
    let command = Partition::decode(&builder.finish()).unwrap();
    partition.apply(&meta, command, &mut Effects::new())
}

fn decide(partition: &Partition, sequence: i32) -> Result<Decision, AppendError> {
    let header = BatchHeader::parse(&batch(sequence)).unwrap();
    partition.decide(&Pending::new(partition), &header)
}

#[test]
fn each_planted_bug_breaks_its_promise() {
    let mut partition = Partition::default();
    append(&mut partition, 1, 1, 1, 0);
    let duplicate = Decision::Duplicate {
        base_offset: Offset(0),
        log_append_time_ms: None,
    };
    let void = VoidReason::WrongTerm {
        stamped: Term(1),
        actual: Term(2),
    };
    assert!(decide(&partition, 5).is_err());
    assert_eq!(decide(&partition, 0), Ok(duplicate));
    assert_eq!(append(&mut partition, 2, 2, 1, 1), Reply::Void(void));

    plant(Bug::SequenceGapAccepted);
    assert!(is_planted(Bug::SequenceGapAccepted) && !is_planted(Bug::VoidAccepted));
    let appended = Decision::Append {
        base_offset: Offset(1),
    };
    assert_eq!(decide(&partition, 5), Ok(appended), "a gap is accepted");
    assert_eq!(
        decide(&partition, 0),
        Ok(duplicate),
        "a duplicate is still one"
    );

    plant(Bug::VoidAccepted);
    let reply = append(&mut partition, 3, 2, 1, 1);
    assert!(
        matches!(reply, Reply::Appended { .. }),
        "a void entry is applied: {reply:?}"
    );

    plant(Bug::DedupLostOnLeaderChange);
    let appended = Decision::Append {
        base_offset: Offset(2),
    };
    assert_eq!(
        decide(&partition, 1),
        Ok(appended),
        "a duplicate is appended again"
    );
    append(&mut partition, 4, 3, 3, 2);
    assert_eq!(
        partition.producers_count(),
        1,
        "only what came in the new term is known"
    );

    let image = draining_preferred_replica();
    assert_eq!(movable_count(&image), 0);
    plant(Bug::DrainingBrokerLeads);
    assert_eq!(movable_count(&image), 1, "it gets its leadership back");

    each_bug_of_moves_breaks_its_promise();
    each_bug_of_the_throttle_breaks_its_promise();
    each_bug_of_loads_breaks_its_promise();
    each_bug_of_full_disks_breaks_its_promise();
    each_bug_of_compaction_breaks_its_promise();
    quotas::each_bug_of_quotas_breaks_its_promise();
    queues::each_bug_of_queues_breaks_its_promise();
    amqp::each_bug_of_amqp_breaks_its_promise();
}

fn each_bug_of_full_disks_breaks_its_promise() {
    let me = BrokerId(1);
    let full = [(me, Space::Scarce)].into();
    assert!(!may_take_records(me, &[me], &full));
    plant(Bug::FullDiskIgnored);
    assert!(may_take_records(me, &[me], &full), "it is full");

    let flaps = || {
        let mut watch = SpaceWatch::new(1_000);
        watch.observe(Some(999));
        watch.observe(Some(1_000)) == Space::Ample
    };
    assert!(!flaps());
    plant(Bug::FullDiskFlaps);
    assert!(flaps(), "room for one more record is no room");

    let mut image = draining_preferred_replica();
    let mut partition = PartitionInfo::clone(image.partition(GroupNumber(1)).unwrap());
    partition.leader = None;
    let whole = |id| Survivor {
        broker: BrokerId(id),
        vote: VoteInfo::default(),
        last_log: Some((Term(1), LogIndex(1))),
        is_recovering: false,
        is_leading: false,
    };
    image.partitions.clear();
    let both = [whole(1), whole(2)];
    let plan = || plan_loss(&image, &partition, &both, None, String::new());
    assert!(plan().is_err());
    plant(Bug::LossAcceptedNeedlessly);
    assert!(plan().is_ok(), "they need only elect one of them");
}

/// One stamped batch of one record of the key `k`.
fn keyed(base_offset: i64, value: Option<&[u8]>) -> Bytes {
    let mut builder = raftmq_records::BatchBuilder::new(raftmq_records::Compression::None, 100);
    builder.append(1, Some(b"k"), value, &[]).unwrap();
    let mut batch = builder.finish().unwrap().to_vec();
    raftmq_records::stamp(&mut batch, base_offset, 1);
    batch.into()
}

fn each_bug_of_compaction_breaks_its_promise() {
    let mut pass = Pass::new(1_000, 1, 1_000);
    let (value, tombstone) = (keyed(0, Some(b"v")), keyed(1, None));
    pass.learn(&value);
    let left = |pass: &Pass, batch| pass.clean(batch, Region::Dirty).retained;
    assert_eq!(left(&pass, &value), Retained::All);
    pass.learn(&tombstone);
    assert_eq!(left(&pass, &value), Retained::Nothing);
    assert_eq!(left(&pass, &tombstone), Retained::All);

    plant(Bug::TombstonesDroppedAtOnce);
    assert_eq!(left(&pass, &tombstone), Retained::Nothing, "too early");
    plant(Bug::CompactionDropsNewest);
    let mut pass = Pass::new(1_000, 1, 1_000);
    pass.learn(&value);
    assert_eq!(
        left(&pass, &value),
        Retained::Nothing,
        "the last of its key"
    );
}

/// One partition of the brokers 1 and 2, led by 2; its preferred leader 1 drains.
fn draining_preferred_replica() -> Image {
    let mut image = Image::default();
    for id in [1, 2] {
        let broker = Broker {
            id: BrokerId(id),
            endpoints: Endpoints::default(),
            rack: String::new(),
            epoch: BrokerEpoch(1),
            incarnation: [0; 16],
            is_fenced: false,
            is_draining: id == 1,
            is_decommissioned: false,
            directory_id: DirectoryId::default(),
        };
        image.brokers.insert(broker.id, Arc::new(broker));
    }
    let both = vec![BrokerId(1), BrokerId(2)];
    let partition = PartitionInfo {
        group: GroupNumber(1),
        topic_id: TopicId([0; 16]),
        index: PartitionIndex(0),
        replicas: both.clone(),
        target: None,
        adding: Vec::new(),
        removing: Vec::new(),
        move_epoch: 0,
        settled_at: None,
        leader: Some(BrokerId(2)),
        leader_epoch: Term(1),
        isr: both,
        partition_epoch: 1,
    };
    image
        .partitions
        .insert(partition.group, Arc::new(partition));
    image
}

fn movable_count(image: &Image) -> usize {
    let limits = MoveLimits {
        moves_max: 10,
        restores_preferred: true,
        busy: BTreeSet::new(),
        takers: BTreeSet::from([BrokerId(1), BrokerId(2)]),
    };
    plan_moves(image, &limits).moves.len()
}

/// Live brokers 1 and 2 in rack a, 3 and 4 in rack b, and one partition on 1 and 3.
fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    let cluster_id = "c".to_owned();
    let mut commands = vec![Command::CreateCluster {
        cluster_id: cluster_id.clone(),
    }];
    for (id, rack) in [(1, "a"), (2, "a"), (3, "b"), (4, "b")] {
        // The epoch of a broker is the log index of its registration.
        let epoch = BrokerEpoch(commands.len() as u64 + 1);
        commands.push(Command::RegisterBroker(RegisterBroker {
            cluster_id: cluster_id.clone(),
            id: BrokerId(id),
            incarnation: [1; 16],
            endpoints: Endpoints::default(),
            rack: rack.to_owned(),
            directory_id: DirectoryId::default(),
        }));
        let id = BrokerId(id);
        commands.push(Command::UnfenceBroker { id, epoch });
    }
    commands.push(Command::CreateTopic(CreateTopic {
        name: "t".to_owned(),
        topic_id: TopicId([1; 16]),
        partitions_count: 0,
        replication_factor: 0,
        assignments: vec![vec![BrokerId(1), BrokerId(3)]],
        configs: std::collections::BTreeMap::new(),
    }));
    for command in commands {
        commit(&mut cluster, command);
    }
    cluster
}

fn commit(cluster: &mut Cluster, command: Command) {
    let meta = EntryMeta {
        log_index: cluster.image().version + 1,
        term: 1,
        proposed_at_ms: 1,
        machine_version: 1,
    };
    cluster.apply(&meta, command, &mut Effects::new()).unwrap();
}

/// Sends the partition to broker 4 and then elsewhere; tells whether broker 4, which may vote by
/// then, keeps its replica.
fn is_abandoned_replica_kept(mut cluster: Cluster) -> bool {
    let group = GroupNumber(1);
    for last in [4, 2] {
        let target = vec![BrokerId(1), BrokerId(last)];
        commit(&mut cluster, Command::SetReplicas { group, target });
    }
    let partition = cluster.image().partition(group).unwrap();
    partition.has_replica(BrokerId(4))
}

fn are_racks_apart(cluster: &Cluster) -> bool {
    let is_low = |id: &BrokerId| id.get() <= 2;
    let placed = place(cluster.image(), 10, 2);
    placed
        .iter()
        .all(|replicas| is_low(&replicas[0]) != is_low(&replicas[1]))
}

fn each_bug_of_members_breaks_its_promise() {
    let set = |ids: &[u32]| ids.iter().copied().map(BrokerId).collect::<BTreeSet<_>>();
    let lagging = Membership {
        voters: vec![set(&[1])],
        learners: set(&[2, 3]),
        last_index: 1_000,
        matched: [(BrokerId(2), 1), (BrokerId(3), 1)].into(),
        leader: BrokerId(1),
        ..Membership::default()
    };
    assert_eq!(lagging.caught_up(), set(&[1]));
    plant(Bug::LearnerVotesTooEarly);
    assert_eq!(lagging.caught_up(), set(&[1, 2, 3]), "without the log");

    // Two of three voters are dead, and the only one that lives may not decide alone.
    let mut cluster = cluster();
    let epoch = |cluster: &Cluster, id| cluster.image().broker(id).unwrap().epoch;
    for id in [BrokerId(2), BrokerId(3)] {
        let epoch = epoch(&cluster, id);
        commit(&mut cluster, Command::FenceBroker { id, epoch });
    }
    let seen = Electorate {
        voters: set(&[1, 2, 3]),
        caught_up: set(&[1, 4]),
        overdue: set(&[2, 3]),
        leader: BrokerId(1),
    };
    assert_eq!(plan_voters(cluster.image(), &seen), seen.voters);
    plant(Bug::MetadataQuorumIgnored);
    assert_eq!(plan_voters(cluster.image(), &seen), set(&[1, 3, 4]));

    let wiped = |cluster: &mut Cluster, folder| {
        let known = cluster.image().broker(BrokerId(2)).unwrap();
        let register = RegisterBroker {
            cluster_id: cluster.image().cluster_id.as_deref().unwrap().to_owned(),
            id: known.id,
            incarnation: [folder; 16],
            endpoints: Endpoints::default(),
            rack: String::new(),
            directory_id: DirectoryId([folder; 16]),
        };
        let meta = EntryMeta {
            log_index: cluster.image().version + 1,
            term: 1,
            proposed_at_ms: 1,
            machine_version: 1,
        };
        let command = Command::RegisterBroker(register);
        cluster.apply(&meta, command, &mut Effects::new()).is_ok()
    };
    assert!(wiped(&mut cluster, 5), "its first folder");
    assert!(!wiped(&mut cluster, 6), "another folder");
    plant(Bug::WipedBrokerKeepsId);
    assert!(
        wiped(&mut cluster, 6),
        "a broker without its log is taken for the old one"
    );
}

fn each_bug_of_moves_breaks_its_promise() {
    let set = |ids: &[u32]| ids.iter().copied().map(BrokerId).collect();
    let joint = Membership {
        voters: vec![set(&[1, 2]), set(&[3, 4])],
        is_committed: false,
        ..Membership::default()
    };
    let target = set(&[3, 4]);
    assert!(is_abandoned_replica_kept(cluster()));
    assert!(are_racks_apart(&cluster()));
    assert_eq!(joint.next_step(&target), Step::AwaitCommit);

    plant(Bug::AbandonedReplicasForgotten);
    assert!(!is_abandoned_replica_kept(cluster()), "a voter is wiped");

    each_bug_of_members_breaks_its_promise();

    plant(Bug::RacksIgnored);
    assert!(!are_racks_apart(&cluster()), "two replicas in one rack");

    plant(Bug::MoveDoneTooEarly);
    assert_eq!(joint.next_step(&target), Step::Done, "others vote still");

    let mut vouches = Vouches::default();
    vouches.vouch(BrokerId(1), BrokerEpoch(5), 2_000);
    let replaced = Replaced {
        broker: BrokerId(1),
        fenced_at: BrokerEpoch(9),
    };
    assert!(!vouches.may_replace(replaced, 2_000, 1_000));
    plant(Bug::VouchesIgnored);
    assert!(
        vouches.may_replace(replaced, 2_000, 1_000),
        "its old leader may still answer reads"
    );
}

fn each_bug_of_the_throttle_breaks_its_promise() {
    let voters = [BTreeSet::from([1, 2, 3])];
    assert!(!concerns(&voters, &2));
    plant(Bug::VotersThrottled);
    assert!(concerns(&voters, &2), "commits wait for a slowed voter");

    // A second's worth ten times over.
    let sends_all_at_once = || {
        let mut bucket = TokenBucket::default();
        bucket.set_rate(NonZeroU64::new(1_000), Duration::ZERO);
        let mut now = Duration::ZERO;
        for _ in 0..10 {
            while let Err(wait) = bucket.take(1_000, now) {
                now += wait;
            }
        }
        now < Duration::from_secs(1)
    };
    assert!(!sends_all_at_once());
    plant(Bug::ThrottleForgetsDebt);
    assert!(sends_all_at_once(), "the rate is exceeded");
}

fn each_bug_of_loads_breaks_its_promise() {
    let cluster = cluster();
    let image = cluster.image();
    let group = *image.partitions.keys().next().unwrap();
    let mut book = LoadBook::default();
    book.hear(image, [(group, PartitionLoad::default())], 0);
    plant(Bug::OldLoadsCount);
    let loads = book.loads(image, FORGOTTEN_AFTER_MS);
    assert!(!loads.is_empty(), "nobody repeated it");

    let says_that_it_is_idle = || {
        let mut meter = LoadMeter::default();
        let mut measure = |written_bytes, now_ms| {
            let counted = Counted {
                group,
                written_bytes,
                size_bytes: 0,
            };
            meter.measure([counted], now_ms);
            meter.take_news(1, now_ms).pop().map(|(_, load)| load)
        };
        measure(0, 1_000);
        let busy = measure(1 << 20, 2_000);
        assert!(busy.is_some_and(|load| load.in_bytes_per_s > 0));
        let mut said = (3..13).filter_map(|second| measure(1 << 20, second * 1_000));
        said.any(|load| load.in_bytes_per_s == 0)
    };
    assert!(says_that_it_is_idle());
    plant(Bug::IdleLoadsNotSaid);
    assert!(!says_that_it_is_idle(), "the controller takes it for busy");
}
