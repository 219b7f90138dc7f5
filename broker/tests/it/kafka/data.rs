//! The data plane on one broker: what is produced is fetched, found and deleted.

use bytes::BytesMut;
use raftmq_kafka_protocol::messages::delete_records::request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use raftmq_kafka_protocol::messages::describe_producers::request::TopicRequest;
use raftmq_kafka_protocol::messages::fetch::request::{FetchPartition, FetchTopic};
use raftmq_kafka_protocol::messages::offset_for_leader_epoch::request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use raftmq_kafka_protocol::messages::produce::request::{PartitionProduceData, TopicProduceData};
use raftmq_kafka_protocol::messages::{
    DeleteRecordsRequest, DescribeProducersRequest, FetchRequest, InitProducerIdRequest,
    OffsetForLeaderEpochRequest, ProduceRequest,
};
use raftmq_kafka_protocol::{ErrorCode, Response};
use raftmq_records::Compression;

use super::wire::{
    Wire, batch, batch_of, broker, fetch_request, list_offsets_request, produce_request, values,
};
use crate::support::run_with_input;
use crate::support::with_bootstrap;

#[test]
fn what_is_produced_in_every_version_is_fetched_in_every_version() {
    let (_broker, mut wire) = broker(&[]);
    let id = wire.topic("t");
    for version in 3..=13 {
        let mut request = produce_request("t", -1, batch(&["v"]));
        if version >= 13 {
            request.topic_data[0].name = "".into();
            request.topic_data[0].topic_id = id;
        }
        let Response::Produce(response) = wire.call(version, request) else {
            panic!("not an answer to Produce")
        };
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, 0, "version {version}: {partition:?}");
        assert_eq!(partition.base_offset, i64::from(version - 3));
    }
    for version in 4..=18 {
        let mut request = fetch_request("t", 0);
        if version >= 13 {
            request.topics[0].topic = "".into();
            request.topics[0].topic_id = id;
        }
        let Response::Fetch(response) = wire.call(version, request) else {
            panic!("not an answer to Fetch")
        };
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0, "version {version}: {partition:?}");
        assert_eq!(partition.high_watermark, 11);
        let offsets: Vec<i64> = values(partition)
            .iter()
            .map(|(offset, _)| *offset)
            .collect();
        assert_eq!(offsets, (0..11).collect::<Vec<_>>());
    }
}

#[test]
fn batches_come_back_as_they_were_compressed() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    for compression in Compression::ALL {
        let sent = batch_of(&["one", "two"], compression, None);
        let base_offset = wire.produce("t", sent.clone()).base_offset;

        let fetched = wire.fetch("t", base_offset).records.unwrap();
        let mut fetched = BytesMut::from(&fetched.into_bytes()[..]);
        // Base offset and leader epoch are the leader's to stamp.
        fetched[..8].copy_from_slice(&sent[..8]);
        fetched[12..16].copy_from_slice(&sent[12..16]);
        assert_eq!(fetched, sent, "{compression:?}");
    }
}

#[test]
fn a_repeated_batch_of_an_idempotent_producer_is_written_once() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    let request = InitProducerIdRequest {
        transactional_id: None,
        ..InitProducerIdRequest::default()
    };
    let Response::InitProducerId(producer) = wire.call(5, request) else {
        panic!("not an answer to InitProducerId")
    };
    assert_eq!((producer.error_code, producer.producer_epoch), (0, 0));
    let id = producer.producer_id;
    let first = batch_of(&["a", "b"], Compression::None, Some((id, 0)));
    assert_eq!(wire.produce("t", first.clone()).base_offset, 0);
    assert_eq!(wire.produce("t", first).base_offset, 0);

    let gap = batch_of(&["d"], Compression::None, Some((id, 3)));
    let refused = wire.produce("t", gap);
    assert_eq!(
        refused.error_code,
        i16::from(ErrorCode::OutOfOrderSequenceNumber)
    );
    assert_eq!(refused.base_offset, -1);
    assert_eq!(wire.offset("t", -1).offset, 2);

    let request = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: "t".into(),
            partition_indexes: vec![0],
        }],
    };
    let Response::DescribeProducers(known) = wire.call(0, request) else {
        panic!("not an answer to DescribeProducers")
    };
    let known = &known.topics[0].partitions[0].active_producers;
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].producer_id, known[0].last_sequence), (id, 1));
}

#[test]
fn without_acks_there_is_no_answer_and_an_error_closes_the_connection() {
    let (broker, mut wire) = broker(&[]);
    wire.topic("t");
    wire.send(9, produce_request("t", 0, batch(&["silent"])));
    assert_eq!(values(&wire.fetch("t", 0)), [(0, "silent".to_owned())]);

    wire.send(9, produce_request("unknown", 0, batch(&["lost"])));
    assert!(wire.is_closed());
    assert_eq!(Wire::connect(&broker.kafka()).offset("t", -1).offset, 1);
}

#[test]
fn acks_1_are_answered_and_other_acks_refused() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    for (acks, error) in [(1, ErrorCode::None), (2, ErrorCode::InvalidRequiredAcks)] {
        let Response::Produce(response) = wire.call(8, produce_request("t", acks, batch(&["v"])))
        else {
            panic!("not an answer to Produce")
        };
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, i16::from(error));
    }
    assert_eq!(wire.offset("t", -1).offset, 1);
}

#[test]
fn a_fetch_waits_for_the_next_record_and_does_not_block_what_follows_it() {
    let (broker, mut wire) = broker(&[]);
    wire.topic("t");
    let waiting = wire.send(12, fetch_request("t", 0));
    let behind = wire.send(12, produce_request("t", -1, batch(&["late"])));

    let (first, fetched) = wire.receive(FetchRequest::default(), 12);
    let Response::Fetch(fetched) = fetched else {
        panic!("not an answer to Fetch")
    };
    let (second, _) = wire.receive(ProduceRequest::default(), 12);

    assert_eq!((first, second), (waiting, behind), "answers come in order");
    assert_eq!(
        values(&fetched.responses[0].partitions[0]),
        [(0, "late".to_owned())]
    );
    drop(broker);
}

#[test]
fn many_requests_in_flight_are_answered_in_their_order() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    for number in 0..200 {
        wire.send(9, produce_request("t", -1, batch(&[&number.to_string()])));
    }
    for number in 0..200 {
        let (_, response) = wire.receive(ProduceRequest::default(), 9);
        let Response::Produce(response) = response else {
            panic!("not an answer to Produce")
        };
        assert_eq!(
            response.responses[0].partition_responses[0].base_offset,
            number
        );
    }
}

#[test]
fn several_batches_of_one_record_set_are_all_written() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    let together = [batch(&["a"]), batch(&["b", "c"])].concat();

    let written = wire.produce("t", together.into());

    assert_eq!((written.error_code, written.base_offset), (0, 0));
    assert_eq!(
        values(&wire.fetch("t", 1)),
        [(1, "b".to_owned()), (2, "c".to_owned())]
    );
}

#[test]
fn one_request_writes_and_reads_many_partitions() {
    let (_broker, mut wire) = broker(&["--set", "num.partitions=8"]);
    wire.topic("t");
    let partitions = 0..8;
    let data = partitions.clone().map(|index| PartitionProduceData {
        index,
        records: Some(batch(&[&index.to_string()]).into()),
    });
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            partition_data: data.collect(),
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    let Response::Produce(written) = wire.call(12, request) else {
        panic!("not an answer to Produce")
    };
    let written = &written.responses[0].partition_responses;
    assert!(
        written.iter().all(|partition| partition.error_code == 0),
        "{written:?}"
    );

    let asked = partitions.map(|partition| FetchPartition {
        partition,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    });
    let request = FetchRequest {
        topics: vec![FetchTopic {
            topic: "t".into(),
            partitions: asked.collect(),
            ..FetchTopic::default()
        }],
        ..fetch_request("t", 0)
    };
    let Response::Fetch(fetched) = wire.call(12, request) else {
        panic!("not an answer to Fetch")
    };
    for (index, partition) in fetched.responses[0].partitions.iter().enumerate() {
        assert_eq!(values(partition), [(0, index.to_string())]);
    }
}

#[test]
fn offsets_are_found_by_time_and_by_specials() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    let empty = wire.offset("t", -3);
    assert_eq!(
        (empty.error_code, empty.offset, empty.timestamp),
        (0, -1, -1)
    );
    // Stamped 1000, 1001, 1002, and again.
    wire.produce("t", batch(&["a", "b", "c"]));
    wire.produce("t", batch(&["d", "e"]));

    for (asked, offset, timestamp) in [
        (-1, 5, -1),
        (-2, 0, -1),
        (-3, 2, 1_002),
        (-4, 0, -1),
        (-5, -1, -1),
        (1_001, 1, 1_001),
        (0, 0, 1_000),
        (1_003, -1, -1),
    ] {
        let found = wire.offset("t", asked);
        let found = (found.error_code, found.offset, found.timestamp);
        assert_eq!(found, (0, offset, timestamp), "asked for {asked}");
    }
    assert!(wire.offset("t", -1).leader_epoch >= 0);
    let unknown = wire.offset("t", -9).error_code;
    assert_eq!(unknown, i16::from(ErrorCode::UnsupportedVersion));
}

#[test]
fn deleted_records_are_out_of_range() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    wire.produce("t", batch(&["a", "b", "c"]));
    let delete = |offset| DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "t".into(),
            partitions: vec![DeleteRecordsPartition {
                offset,
                ..DeleteRecordsPartition::default()
            }],
        }],
        timeout_ms: 30_000,
    };
    for (offset, low_watermark, error) in [
        (2, 2, ErrorCode::None),
        (9, -1, ErrorCode::OffsetOutOfRange),
        (-1, 3, ErrorCode::None),
    ] {
        let Response::DeleteRecords(deleted) = wire.call(2, delete(offset)) else {
            panic!("not an answer to DeleteRecords")
        };
        let deleted = &deleted.topics[0].partitions[0];
        assert_eq!(deleted.low_watermark, low_watermark, "before {offset}");
        assert_eq!(deleted.error_code, i16::from(error), "before {offset}");
    }
    let gone = wire.fetch("t", 1);
    assert_eq!(gone.error_code, i16::from(ErrorCode::OffsetOutOfRange));
    assert_eq!(wire.offset("t", -2).offset, 3);
}

#[test]
fn leader_epochs_of_clients_are_checked() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    wire.produce("t", batch(&["a", "b"]));
    let epoch = wire.metadata("t").topics[0].partitions[0].leader_epoch;
    let mut fetch = |change: &dyn Fn(&mut FetchPartition)| {
        let mut request = fetch_request("t", 2);
        request.max_wait_ms = 0;
        change(&mut request.topics[0].partitions[0]);
        let Response::Fetch(mut response) = wire.call(12, request) else {
            panic!("not an answer to Fetch")
        };
        response.responses.remove(0).partitions.remove(0)
    };
    let stale = fetch(&|partition| partition.current_leader_epoch = epoch - 1);
    assert_eq!(stale.error_code, i16::from(ErrorCode::FencedLeaderEpoch));
    assert_eq!(
        (
            stale.current_leader.leader_id,
            stale.current_leader.leader_epoch
        ),
        (1, epoch)
    );
    let future = fetch(&|partition| partition.current_leader_epoch = epoch + 1);
    assert_eq!(future.error_code, i16::from(ErrorCode::UnknownLeaderEpoch));

    let same = fetch(&|partition| partition.last_fetched_epoch = epoch);
    assert_eq!((same.error_code, same.diverging_epoch.epoch), (0, -1));
    let other = fetch(&|partition| partition.last_fetched_epoch = epoch + 5);
    let diverging = (
        other.diverging_epoch.epoch,
        other.diverging_epoch.end_offset,
    );
    assert_eq!((other.error_code, diverging), (0, (epoch, 2)));

    for (asked, error) in [
        (epoch - 1, ErrorCode::FencedLeaderEpoch),
        (epoch, ErrorCode::None),
        (epoch + 1, ErrorCode::UnknownLeaderEpoch),
    ] {
        let mut request = list_offsets_request("t", -1);
        request.topics[0].partitions[0].current_leader_epoch = asked;
        let Response::ListOffsets(listed) = wire.call(10, request) else {
            panic!("not an answer to ListOffsets")
        };
        let listed = &listed.topics[0].partitions[0];
        assert_eq!(listed.error_code, i16::from(error), "{listed:?}");
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: "t".into(),
                partitions: vec![OffsetForLeaderPartition {
                    current_leader_epoch: asked,
                    leader_epoch: epoch,
                    ..OffsetForLeaderPartition::default()
                }],
            }],
        };
        let Response::OffsetForLeaderEpoch(found) = wire.call(4, request) else {
            panic!("not an answer to OffsetForLeaderEpoch")
        };
        let found = &found.topics[0].partitions[0];
        assert_eq!(found.error_code, i16::from(error), "{found:?}");
    }
}

#[test]
fn the_end_of_a_leader_epoch_is_found_and_that_of_one_to_come_is_not() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    wire.produce("t", batch(&["a", "b"]));
    let epoch = wire.metadata("t").topics[0].partitions[0].leader_epoch;
    for (asked, expected) in [(epoch, (epoch, 2)), (epoch + 1, (-1, -1))] {
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: "t".into(),
                partitions: vec![OffsetForLeaderPartition {
                    leader_epoch: asked,
                    ..OffsetForLeaderPartition::default()
                }],
            }],
        };
        let Response::OffsetForLeaderEpoch(found) = wire.call(4, request) else {
            panic!("not an answer to OffsetForLeaderEpoch")
        };
        let found = &found.topics[0].partitions[0];
        assert_eq!((found.leader_epoch, found.end_offset), expected);
    }
}

#[test]
fn records_of_kafka_clients_and_of_ours_are_the_same() {
    let (broker, mut wire) = broker(&[]);
    wire.topic("t");
    let grpc = broker.grpc();
    run_with_input(&with_bootstrap(&["produce", "t"], &grpc), b"ours\n");
    wire.produce("t", batch(&["kafka"]));

    let fetched = values(&wire.fetch("t", 0));
    assert_eq!(fetched, [(0, "ours".to_owned()), (1, "kafka".to_owned())]);
    let consumed = broker.ok(&["consume", "t", "--from", "beginning", "--count", "2"]);
    assert!(
        consumed.contains("ours") && consumed.contains("kafka"),
        "{consumed}"
    );
}
