//! The bytes of metadata commands: round trips, golden bytes, hostile input.

use bytes::Bytes;
use proptest::prelude::{any, prop, prop_assert_eq, proptest};
use raftmq_core::cluster::loss::AcceptLoss;
use raftmq_core::cluster::{
    AlterClientQuotas, AmqpCommand, Command, CreateTopic, LeaderReport, RegisterBroker,
};
use raftmq_core::codec::CodecError;
use raftmq_core::limits::{COMMAND_BYTES_MAX, REPORTS_COUNT_MAX};
use raftmq_core::quota::{EntityName, QuotaEntity, QuotaKind, QuotaValue};
use raftmq_core::{BrokerEpoch, BrokerId, DirectoryId, GroupNumber, LogIndex, Term, TopicId};

use crate::support::cluster::{brokers, configs, register, report_isr, report_leader, topic};

const TOPIC_ID: TopicId = TopicId([7; 16]);

fn alter_client_quotas() -> Command {
    Command::AlterClientQuotas(AlterClientQuotas {
        entity: QuotaEntity {
            user: Some(EntityName::Named("jane".into())),
            client_id: Some(EntityName::Default),
        },
        set: [(QuotaKind::ProduceBytes, QuotaValue::new(1_024.0))].into(),
        unset: [QuotaKind::FetchBytes, QuotaKind::RequestPercentage].into(),
    })
}

/// One of each, with every field filled.
fn one_of_each() -> Vec<Command> {
    let (id, epoch, group) = (BrokerId(3), BrokerEpoch(9), GroupNumber(5));
    vec![
        Command::CreateCluster {
            cluster_id: "cluster".to_owned(),
        },
        Command::RegisterBroker(register(3, 8, "rack")),
        Command::FenceBroker { id, epoch },
        Command::UnfenceBroker { id, epoch },
        Command::CreateTopic(CreateTopic {
            assignments: vec![brokers(&[1, 2]), brokers(&[2, 1])],
            configs: configs(&[("retention.ms", "1"), ("segment.bytes", "2")]),
            ..topic("logs", 2, 2)
        }),
        Command::DeleteTopic { topic_id: TOPIC_ID },
        Command::AddPartitions {
            topic_id: TOPIC_ID,
            partitions_count: 4,
            assignments: vec![brokers(&[1])],
        },
        Command::AlterTopicConfigs {
            topic_id: TOPIC_ID,
            set: configs(&[("retention.ms", "1")]),
            unset: vec!["segment.bytes".to_owned()],
        },
        Command::AlterClusterConfigs {
            set: configs(&[("retention.ms", "1")]),
            unset: vec!["segment.bytes".to_owned()],
        },
        report_leader(group, 3, 6),
        Command::ClearLeader {
            groups: vec![group, GroupNumber(6)],
        },
        Command::SetReplicas {
            group,
            target: brokers(&[1, 4]),
        },
        Command::CompleteReassignment {
            group,
            replicas: brokers(&[1, 4]),
            move_epoch: 7,
            membership: None,
        },
        Command::AllocateProducerIds {
            broker: id,
            count: 1_000,
        },
        Command::SetBrokerDraining {
            id,
            is_draining: true,
        },
        Command::CancelReassignment { group },
        Command::DecommissionBroker { id },
        Command::RemoveBroker { id },
        Command::AcceptLoss(AcceptLoss {
            group,
            partition_epoch: 4,
            kept: id,
            last_log: Some((Term(2), LogIndex(9))),
            accepted_by: "jane".to_owned(),
        }),
        alter_client_quotas(),
        // The others have tests of their own.
        Command::Amqp(AmqpCommand::DeleteVhost {
            vhost: "/".to_owned(),
        }),
    ]
}

/// Says that every variant is in the list: a new one stops the build here.
fn number_of(command: &Command) -> usize {
    match command {
        Command::CreateCluster { .. } => 0,
        Command::RegisterBroker(_) => 1,
        Command::FenceBroker { .. } => 2,
        Command::UnfenceBroker { .. } => 3,
        Command::CreateTopic(_) => 4,
        Command::DeleteTopic { .. } => 5,
        Command::AddPartitions { .. } => 6,
        Command::AlterTopicConfigs { .. } => 7,
        Command::AlterClusterConfigs { .. } => 8,
        Command::Report { .. } => 9,
        Command::ClearLeader { .. } => 10,
        Command::SetReplicas { .. } => 11,
        Command::CompleteReassignment { .. } => 12,
        Command::AllocateProducerIds { .. } => 13,
        Command::SetBrokerDraining { .. } => 14,
        Command::CancelReassignment { .. } => 15,
        Command::DecommissionBroker { .. } => 16,
        Command::RemoveBroker { .. } => 17,
        Command::AcceptLoss(_) => 18,
        Command::AlterClientQuotas(_) => 19,
        Command::Amqp(_) => 20,
    }
}

#[test]
fn the_list_holds_one_of_each() {
    let numbers: Vec<usize> = one_of_each().iter().map(number_of).collect();
    assert_eq!(numbers, (0..21).collect::<Vec<_>>());
}

#[test]
fn every_command_survives_its_bytes() {
    for command in one_of_each() {
        assert_eq!(Command::decode(&command.encode()), Ok(command));
    }
}

#[test]
fn tags_never_change() {
    let tags = (1..=9).chain([16, 12, 13, 22, 15, 20, 21, 35, 36, 40, 60, 66]);
    for (tag, command) in tags.zip(one_of_each()) {
        assert_eq!(command.encode()[..2], [1, tag], "{command:?}");
    }
}

#[test]
fn more_reports_than_the_limit_are_refused() {
    let report = LeaderReport::Leads {
        group: GroupNumber(5),
        leader: BrokerId(3),
        leader_epoch: Term(6),
    };
    let actual = REPORTS_COUNT_MAX + 1;
    let reports = vec![report; actual];

    let refused = Command::decode(&Command::Report { reports }.encode());

    let limit = REPORTS_COUNT_MAX;
    let what = "reports".to_owned();
    assert_eq!(
        refused,
        Err(CodecError::OverLimit {
            what,
            actual,
            limit
        })
    );
}

#[test]
fn a_report_by_itself_is_read_as_it_was_written_of_old() {
    let leads = [
        1, 10, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 6,
    ];
    let in_sync = [
        1, 11, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 1,
    ];
    let decoded = Command::decode(&Bytes::copy_from_slice(&leads));
    assert_eq!(decoded, Ok(report_leader(GroupNumber(5), 3, 6)));
    let decoded = Command::decode(&Bytes::copy_from_slice(&in_sync));
    assert_eq!(decoded, Ok(report_isr(GroupNumber(5), 6, &[1])));
}

/// As written before data folders had names, and since.
#[test]
fn a_registration_without_a_folder_has_the_bytes_of_old() {
    let old = register(3, 8, "rack");
    let directory_id = DirectoryId([5; 16]);
    let new = Command::RegisterBroker(RegisterBroker {
        directory_id,
        ..old.clone()
    });
    let old = Command::RegisterBroker(old);

    assert_eq!(old.encode()[..2], [1, 2]);
    assert_eq!(new.encode()[..2], [1, 37]);
    let expected = [&old.encode()[2..], &[5; 16]].concat();
    assert_eq!(new.encode()[2..], expected);
    assert_eq!(Command::decode(&new.encode()), Ok(new));
}

/// As written since brokers tell where Kafka clients reach them.
#[test]
fn a_registration_with_kafka_listeners_has_a_tag_of_its_own() {
    let mut register = register(3, 8, "rack");
    let old = Command::RegisterBroker(register.clone());
    register.endpoints.kafka = configs(&[("IN", "a:1"), ("OUT", "b:2")]);
    let new = Command::RegisterBroker(register);

    let bytes = new.encode();
    assert_eq!(bytes[..2], [1, 45]);
    let listeners = b"\0\0\0\x02\0\0\0\x02IN\0\0\0\x03a:1\0\0\0\x03OUT\0\0\0\x03b:2";
    let expected = [&old.encode()[2..], &[0; 16], listeners].concat();
    assert_eq!(bytes[2..], expected);
    assert_eq!(Command::decode(&bytes), Ok(new));
    for length in 0..bytes.len() {
        assert!(
            Command::decode(&bytes.slice(..length)).is_err(),
            "cut after {length}"
        );
    }
}

#[test]
fn every_command_cut_short_is_refused() {
    for command in one_of_each() {
        let bytes = command.encode();
        for length in 0..bytes.len() {
            let cut = Command::decode(&bytes.slice(..length));
            assert!(cut.is_err(), "{command:?} cut after {length}");
        }
    }
}

#[test]
fn bytes_that_are_left_over_are_refused() {
    for command in one_of_each() {
        let mut bytes = command.encode().to_vec();
        bytes.push(0);
        let refused = Command::decode(&bytes.into());
        assert_eq!(
            refused,
            Err(CodecError::LeftOver { remaining: 1 }),
            "{command:?}"
        );
    }
}

#[test]
fn the_bytes_are_those_that_were_agreed_on() {
    let golden: [(Command, &[u8]); 6] = [
        (
            Command::CreateCluster {
                cluster_id: "ab".to_owned(),
            },
            &[1, 1, 0, 0, 0, 2, b'a', b'b'],
        ),
        (
            Command::FenceBroker {
                id: BrokerId(3),
                epoch: BrokerEpoch(9),
            },
            &[1, 3, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9],
        ),
        (
            report_leader(GroupNumber(5), 3, 6),
            &[
                1, 16, 0, 0, 0, 1, 10, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 6,
            ],
        ),
        (
            report_isr(GroupNumber(5), 6, &[1]),
            &[
                1, 16, 0, 0, 0, 1, 11, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 1,
                0, 0, 0, 1,
            ],
        ),
        (
            Command::ClearLeader {
                groups: vec![GroupNumber(5)],
            },
            &[1, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5],
        ),
        (
            Command::AllocateProducerIds {
                broker: BrokerId(3),
                count: 7,
            },
            &[1, 15, 0, 0, 0, 3, 0, 0, 0, 7],
        ),
    ];
    for (command, bytes) in golden {
        assert_eq!(command.encode()[..], *bytes, "{command:?}");
    }
}

#[test]
fn the_bytes_of_a_new_topic_are_those_that_were_agreed_on() {
    let create = Command::CreateTopic(CreateTopic {
        name: "t".to_owned(),
        topic_id: TOPIC_ID,
        partitions_count: 1,
        replication_factor: 2,
        assignments: vec![brokers(&[8, 9])],
        configs: configs(&[("k", "v")]),
    });
    let expected = [
        &[1, 5, 0, 0, 0, 1, b't'][..],
        &[7; 16],
        &[0, 0, 0, 1, 0, 0, 0, 2],
        &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 9],
        &[0, 0, 0, 1, 0, 0, 0, 1, b'k', 0, 0, 0, 1, b'v'],
    ]
    .concat();
    assert_eq!(create.encode()[..], expected);
}

#[test]
fn an_unknown_version_or_tag_is_refused() {
    let what = "metadata command".to_owned();
    assert_eq!(
        Command::decode(&Bytes::from_static(&[9, 1])),
        Err(CodecError::UnknownVersion {
            what: what.clone(),
            version: 9
        })
    );
    for tag in [0, 17, 255] {
        assert_eq!(
            Command::decode(&Bytes::from(vec![1, tag])),
            Err(CodecError::UnknownTag {
                what: what.clone(),
                tag
            })
        );
    }
}

#[test]
fn a_command_over_the_limit_is_refused() {
    let bytes = Bytes::from(vec![1; COMMAND_BYTES_MAX + 1]);

    assert!(matches!(
        Command::decode(&bytes),
        Err(CodecError::OverLimit { .. })
    ));
}

#[test]
fn huge_counts_take_no_memory() {
    for command in one_of_each() {
        let bytes = command.encode().to_vec();
        for at in 2..bytes.len().saturating_sub(3) {
            let mut hostile = bytes.clone();
            hostile[at..at + 4].copy_from_slice(&[0xff; 4]);
            // Some of these are other, valid values: what counts is that none allocates or panics.
            let _ = Command::decode(&hostile.into());
        }
    }
}

#[test]
fn names_over_their_limits_are_refused() {
    let long = |count| "x".repeat(count);
    let refused = [
        Command::CreateCluster {
            cluster_id: long(256),
        },
        Command::CreateTopic(topic(&long(250), 1, 1)),
        Command::RegisterBroker(register(1, 1, &long(256))),
        Command::AlterClusterConfigs {
            set: configs(&[("k", &long(4_097))]),
            unset: vec![],
        },
        Command::AlterClusterConfigs {
            set: configs(&[]),
            unset: vec![long(256)],
        },
        Command::SetReplicas {
            group: GroupNumber(1),
            target: vec![BrokerId(1); 65],
        },
    ];
    for command in refused {
        let decoded = Command::decode(&command.encode());
        assert!(
            matches!(decoded, Err(CodecError::OverLimit { .. })),
            "{decoded:?}"
        );
    }
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let bytes = Bytes::from_static(&[1, 1, 0, 0, 0, 1, 0xff]);

    assert_eq!(Command::decode(&bytes), Err(CodecError::NotUtf8));
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        tag in any::<u8>(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = [vec![1, tag], body].concat();
        let _ = Command::decode(&bytes.into());
    }

    #[test]
    fn a_flipped_byte_is_an_error_or_another_command(
        choice in 0..15_usize,
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let mut bytes = one_of_each()[choice].encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let bytes = Bytes::from(bytes);
        if let Ok(command) = Command::decode(&bytes) {
            let again = Command::decode(&command.encode());
            prop_assert_eq!(again, Ok(command));
        }
    }

    #[test]
    fn numbers_of_any_size_survive(
        group in any::<u64>(),
        leader in any::<u32>(),
        leader_epoch in any::<u64>(),
        isr in proptest::collection::vec(any::<u32>(), 0..60),
    ) {
        let group = GroupNumber(group);
        let report = report_leader(group, leader, leader_epoch);
        prop_assert_eq!(Command::decode(&report.encode()), Ok(report));
        let report = report_isr(group, leader_epoch, &isr);
        prop_assert_eq!(Command::decode(&report.encode()), Ok(report));
    }
}

#[test]
fn the_commands_of_moves_have_the_bytes_that_were_agreed_on() {
    let group = GroupNumber(5);
    let complete = Command::CompleteReassignment {
        group,
        replicas: brokers(&[4]),
        move_epoch: 7,
        membership: None,
    };
    let head = |tag: u8| [1, tag, 0, 0, 0, 0, 0, 0, 0, 5];
    let replicas = [0, 0, 0, 1, 0, 0, 0, 4];
    let expected = [&head(22)[..], &replicas, &[0, 0, 0, 0, 0, 0, 0, 7]].concat();
    assert_eq!(complete.encode()[..], expected);
    let complete = Command::CompleteReassignment {
        group,
        replicas: brokers(&[4]),
        move_epoch: 7,
        membership: Some((Term(2), LogIndex(9))),
    };
    let membership = [
        [1, 0, 0, 0, 0, 0, 0, 0, 2].as_slice(),
        &[0, 0, 0, 0, 0, 0, 0, 9],
    ]
    .concat();
    let number = [0, 0, 0, 0, 0, 0, 0, 7];
    let expected = [&head(23)[..], &replicas, &number, &membership].concat();
    assert_eq!(complete.encode()[..], expected);
    assert_eq!(Command::decode(&complete.encode()), Ok(complete));
    let cancel = Command::CancelReassignment { group };
    assert_eq!(cancel.encode()[..], head(21));
}

#[test]
fn a_completion_from_before_moves_had_numbers_is_read() {
    let old = [1, 14, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 4];

    let decoded = Command::decode(&Bytes::copy_from_slice(&old));

    let expected = Command::CompleteReassignment {
        group: GroupNumber(5),
        replicas: brokers(&[4]),
        move_epoch: 0,
        membership: None,
    };
    assert_eq!(decoded, Ok(expected));
}
