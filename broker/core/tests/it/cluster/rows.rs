//! Incremental persistence and checkpoints of the metadata.

use bytes::Bytes;
use proptest::prelude::{any, prop, proptest};
use raftmq_core::cluster::{Cluster, Command};
use raftmq_core::codec::RestoreError;
use raftmq_core::{GroupNumber, Machine, RowUpdates};

use crate::support::Rows;
use crate::support::cluster::{Harness, brokers, configs, register, report_isr, topic_id};

fn keys(updates: &RowUpdates) -> Vec<Vec<u8>> {
    updates.puts.iter().map(|(key, _)| key.to_vec()).collect()
}

fn deleted(updates: &RowUpdates) -> Vec<Vec<u8>> {
    updates.deletes.iter().map(|key| key.to_vec()).collect()
}

fn broker_key(id: u8) -> Vec<u8> {
    vec![b'b', 0, 0, 0, id]
}

fn partition_key(group: u8) -> Vec<u8> {
    vec![b'p', 0, 0, 0, 0, 0, 0, 0, group]
}

fn topic_key(name: &str) -> Vec<u8> {
    [&[b't'][..], &topic_id(name).0].concat()
}

const HEAD: &[u8] = b"h";

/// A cluster with some of everything.
fn busy() -> Harness {
    let mut harness = Harness::with_brokers(3);
    harness.add_topic("logs", 3, 2);
    harness.add_topic("gone", 2, 1);
    let group = harness.add_partition_on("moving", &[1, 2]);
    harness.lead(group, 1, 3);
    harness.accept(&report_isr(group, 3, &[1]));
    harness.accept(&Command::SetReplicas {
        group,
        target: vec![2.into(), 3.into()],
    });
    harness.accept(&Command::AlterClusterConfigs {
        set: configs(&[("num.partitions", "7")]),
        unset: vec![],
    });
    harness.accept(&Command::AlterTopicConfigs {
        topic_id: topic_id("logs"),
        set: configs(&[("retention.ms", "5")]),
        unset: vec![],
    });
    harness.accept(&Command::DeleteTopic {
        topic_id: topic_id("gone"),
    });
    harness.accept(&Command::AllocateProducerIds {
        broker: 1.into(),
        count: 10,
    });
    harness.fence(3);
    harness.persist();
    harness
}

#[test]
fn a_new_cluster_has_no_rows() {
    let mut cluster = Cluster::default();

    assert!(cluster.dirty_rows().is_empty());
    assert_eq!(Cluster::restore(std::iter::empty()), Ok(cluster));
}

#[test]
fn only_what_changed_is_written() {
    let mut harness = Harness::with_brokers(2);
    harness.persist();

    harness.add_topic("logs", 2, 1);

    let updates = harness.cluster.dirty_rows();
    let expected = vec![
        HEAD.to_vec(),
        partition_key(1),
        partition_key(2),
        topic_key("logs"),
    ];
    assert_eq!(keys(&updates), expected);
    assert_eq!(deleted(&updates), Vec::<Vec<u8>>::new());
    assert!(harness.cluster.dirty_rows().is_empty());
}

#[test]
fn changes_of_several_commands_are_written_together() {
    let mut harness = Harness::with_brokers(2);
    harness.persist();

    harness.fence(1);
    harness.fence(2);
    harness.unfence(1);

    let expected = vec![broker_key(1), broker_key(2), HEAD.to_vec()];
    assert_eq!(keys(&harness.cluster.dirty_rows()), expected);
}

#[test]
fn a_refused_command_writes_nothing() {
    let mut harness = busy();

    harness.refuse(&Command::RegisterBroker(register(1, 99, "")));

    assert!(harness.cluster.dirty_rows().is_empty());
}

#[test]
fn a_repeated_command_writes_nothing() {
    let mut harness = busy();

    harness.fence(3);

    assert!(harness.cluster.dirty_rows().is_empty());
}

#[test]
fn a_deleted_topic_loses_its_rows() {
    let mut harness = Harness::with_brokers(1);
    harness.add_topic("logs", 2, 1);
    harness.persist();

    harness.accept(&Command::DeleteTopic {
        topic_id: topic_id("logs"),
    });

    let updates = harness.cluster.dirty_rows();
    assert_eq!(keys(&updates), vec![HEAD.to_vec()]);
    assert_eq!(
        deleted(&updates),
        vec![partition_key(1), partition_key(2), topic_key("logs")]
    );
}

#[test]
fn the_restored_state_is_the_same() {
    let harness = busy();

    let restored = Cluster::restore(harness.rows.iter()).unwrap();

    assert_eq!(restored, harness.cluster);
    assert_eq!(restored.checkpoint(), harness.cluster.checkpoint());
}

#[test]
fn a_checkpoint_holds_everything() {
    let harness = busy();

    let mut restored = Cluster::restore_checkpoint(&harness.cluster.checkpoint()).unwrap();

    assert_eq!(restored, harness.cluster);
    let mut rows = Rows::default();
    rows.update(restored.dirty_rows());
    assert_eq!(
        Cluster::restore(rows.iter()),
        Ok(restored),
        "its rows are written anew"
    );
    assert_eq!(
        rows.rows.keys().collect::<Vec<_>>(),
        harness.rows.rows.keys().collect::<Vec<_>>()
    );
}

#[test]
fn an_empty_cluster_survives_a_checkpoint() {
    let cluster = Cluster::default();

    assert_eq!(
        Cluster::restore_checkpoint(&cluster.checkpoint()),
        Ok(cluster)
    );
}

#[test]
fn the_restored_state_goes_on() {
    let harness = busy();
    let mut restored = Harness {
        cluster: Cluster::restore(harness.rows.iter()).unwrap(),
        ..harness
    };

    let groups = restored.add_topic("more", 1, 1);

    assert_eq!(
        groups,
        vec![GroupNumber(7)],
        "deleted groups are not used again"
    );
}

#[test]
fn rows_without_a_head_are_refused() {
    let mut harness = busy();
    harness.rows.rows.remove(HEAD);

    let rows_count = harness.rows.rows.len();
    assert_eq!(
        Cluster::restore(harness.rows.iter()),
        Err(RestoreError::HeadMissing { rows_count })
    );
}

#[test]
fn a_missing_partition_is_noticed() {
    let mut harness = busy();
    harness.rows.rows.remove(&partition_key(2)[..]);

    let what = "a topic's partition is missing or belongs elsewhere";
    assert_eq!(
        Cluster::restore(harness.rows.iter()),
        Err(RestoreError::Contradiction { what })
    );
}

#[test]
fn a_missing_topic_is_noticed() {
    let mut harness = busy();
    harness.rows.rows.remove(&topic_key("logs")[..]);

    let what = "a partition has no topic";
    assert_eq!(
        Cluster::restore(harness.rows.iter()),
        Err(RestoreError::Contradiction { what })
    );
}

#[test]
fn an_old_head_is_noticed() {
    let mut harness = Harness::with_brokers(1);
    harness.persist();
    let head = harness.rows.rows[HEAD].clone();
    harness.add_topic("logs", 1, 1);
    harness.persist();
    harness.rows.rows.insert(Bytes::from_static(HEAD), head);

    let what = "a group number above the last one";
    assert_eq!(
        Cluster::restore(harness.rows.iter()),
        Err(RestoreError::Contradiction { what })
    );
}

#[test]
fn two_topics_of_one_name_are_noticed() {
    let mut harness = Harness::with_brokers(1);
    harness.add_topic("logs", 1, 1);
    harness.persist();
    let mut second = harness.rows.rows[&topic_key("logs")[..]].to_vec();
    second[1] ^= 1; // the first byte of the id
    harness
        .rows
        .rows
        .insert(Bytes::from_static(b"t-second"), second.into());

    let what = "two topics have one name";
    assert_eq!(
        Cluster::restore(harness.rows.iter()),
        Err(RestoreError::Contradiction { what })
    );
}

#[test]
fn a_row_of_an_unknown_family_is_refused() {
    let row = (Bytes::from_static(b"zz"), Bytes::new());
    assert_eq!(
        Cluster::restore([row].into_iter()),
        Err(RestoreError::UnknownRow {
            family: b'z',
            key_bytes: 2
        })
    );
}

#[test]
fn every_row_cut_anywhere_is_refused() {
    let harness = busy();
    for (key, value) in harness.rows.iter() {
        for length in 0..value.len() {
            let mut rows = harness.rows.clone();
            rows.rows.insert(key.clone(), value.slice(..length));
            assert!(
                Cluster::restore(rows.iter()).is_err(),
                "{key:?} cut after {length}"
            );
        }
    }
}

#[test]
fn a_checkpoint_cut_anywhere_is_refused() {
    let checkpoint = busy().cluster.checkpoint();
    for length in 0..checkpoint.len() {
        let cut = Cluster::restore_checkpoint(&checkpoint.slice(..length));
        assert!(
            cut.is_err(),
            "cut after {length} of {} bytes",
            checkpoint.len()
        );
    }
}

#[test]
fn a_checkpoint_with_bytes_left_over_is_refused() {
    let mut bytes = busy().cluster.checkpoint().to_vec();
    bytes.push(0);

    assert!(Cluster::restore_checkpoint(&bytes.into()).is_err());
}

#[test]
fn the_rows_have_the_bytes_that_were_agreed_on() {
    let mut harness = Harness::created();
    harness.accept(&Command::RegisterBroker(register(2, 3, "r")));
    harness.persist();

    let text = |text: &str| {
        [
            &[0, 0, 0, u8::try_from(text.len()).unwrap()][..],
            text.as_bytes(),
        ]
        .concat()
    };
    let broker = [
        &[1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 1][..], // version, id, epoch, fenced
        &[3; 16],
        &text("r"),
        &text("host2:9000"),
        &text("host2:9001"),
        &text("host2:9002"),
    ]
    .concat();
    let head = [
        &[1, 0, 0, 0, 0, 0, 0, 0, 2, 1][..], // version of the format and of the image
        &text("test-cluster"),
        &[0; 16], // last group, next producer id
    ]
    .concat();
    assert_eq!(harness.rows.rows[&broker_key(2)[..]][..], broker);
    assert_eq!(harness.rows.rows[HEAD][..], head);
}

/// A partition of group 1 on brokers 1 and 2 that is moved to 1 and 3, and was to go to 4 before.
fn moved_partition() -> Harness {
    let mut harness = Harness::with_brokers(4);
    let group = harness.add_partition_on("p", &[1, 2]);
    for target in [[1, 4], [1, 3]] {
        harness.accept(&Command::SetReplicas {
            group,
            target: brokers(&target),
        });
    }
    harness.persist();
    harness
}

fn ids(ids: &[u8]) -> Vec<u8> {
    let count = [0, 0, 0, u8::try_from(ids.len()).unwrap()];
    let each = ids.iter().flat_map(|id| [0, 0, 0, *id]);
    count.into_iter().chain(each).collect()
}

/// Everything of a partition's row but its version and what versions 2 and 3 have added.
fn partition_row_body() -> Vec<u8> {
    [
        &[0, 0, 0, 0, 0, 0, 0, 1][..],
        &topic_id("p").0,
        &[0, 0, 0, 0],
        &ids(&[1, 2]),
        &[1],
        &ids(&[1, 3]),
        &[0, 0, 0, 0, 0], // no leader
        &[0; 8],
        &ids(&[1, 2]),
        &[0, 0, 0, 0, 0, 0, 0, 3],
    ]
    .concat()
}

#[test]
fn the_row_of_a_moved_partition_has_the_bytes_that_were_agreed_on() {
    let harness = moved_partition();

    let row = &harness.rows.rows[&partition_key(1)[..]];

    let number = [0, 0, 0, 0, 0, 0, 0, 2];
    let expected = [
        &[3][..],
        &partition_row_body(),
        &ids(&[3]),
        &ids(&[2, 4]),
        &number,
        &[0; 17], // no completed move
    ]
    .concat();
    assert_eq!(row[..], expected);
}

#[test]
fn a_partitions_row_of_version_2_is_read() {
    let mut harness = moved_partition();
    let lists = [ids(&[3]), ids(&[2, 4])].concat();
    let number = [0, 0, 0, 0, 0, 0, 0, 2];
    let old = [&[2][..], &partition_row_body(), &lists, &number].concat();
    let partition = harness.partition(GroupNumber(1));
    harness
        .rows
        .rows
        .insert(partition_key(1).into(), old.into());

    let restored = Cluster::restore(harness.rows.iter()).unwrap();

    assert_eq!(
        restored
            .image()
            .partition(GroupNumber(1))
            .map(|info| (**info).clone()),
        Some(partition)
    );
}

#[test]
fn a_partitions_row_of_version_1_is_read() {
    let mut harness = moved_partition();
    let old = [&[1][..], &partition_row_body()].concat();
    harness
        .rows
        .rows
        .insert(partition_key(1).into(), old.into());

    let restored = Cluster::restore(harness.rows.iter()).unwrap();

    let partition = restored.image().partition(GroupNumber(1)).unwrap();
    assert_eq!(partition.target, Some(brokers(&[1, 3])));
    assert_eq!(partition.adding, brokers(&[3]));
    assert_eq!(partition.removing, brokers(&[2]), "it knew of one target");
    assert_eq!(partition.move_epoch, 1);
}

#[test]
fn a_row_whose_move_does_not_fit_is_noticed() {
    let mut harness = moved_partition();
    let forgets_two = [
        &[2][..],
        &partition_row_body(),
        &ids(&[3]),
        &ids(&[4]),
        &[0; 8],
    ]
    .concat();
    harness
        .rows
        .rows
        .insert(partition_key(1).into(), forgets_two.into());

    let what = "a partition's reassignment does not fit its replicas";
    assert_eq!(
        Cluster::restore(harness.rows.iter()),
        Err(RestoreError::Contradiction { what })
    );
}

#[test]
fn a_partitions_row_of_a_newer_version_is_refused() {
    let mut harness = moved_partition();
    let newer = [&[4][..], &partition_row_body()].concat();
    harness
        .rows
        .rows
        .insert(partition_key(1).into(), newer.into());

    assert!(Cluster::restore(harness.rows.iter()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_a_restore_panic(
        family in proptest::sample::select(vec![b'b', b'c', b'h', b'p', b't', b'x']),
        value in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = Cluster::restore([(Bytes::from(vec![family]), Bytes::from(value.clone()))].into_iter());
        let _ = Cluster::restore_checkpoint(&value.into());
    }

    #[test]
    fn a_flipped_byte_in_a_checkpoint_never_panics(
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let mut bytes = busy().cluster.checkpoint().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let _ = Cluster::restore_checkpoint(&bytes.into());
    }
}
