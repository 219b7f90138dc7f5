//! How much a Fetch gives, and how long it waits.

use std::time::Duration;

use raftmq_kafka_protocol::Response;
use raftmq_kafka_protocol::messages::fetch::request::{FetchPartition, FetchTopic};
use raftmq_kafka_protocol::messages::fetch::response::PartitionData;
use raftmq_kafka_protocol::messages::produce::request::{PartitionProduceData, TopicProduceData};
use raftmq_kafka_protocol::messages::{FetchRequest, ProduceRequest};
use tokio::time::Instant;

use super::wire::{FETCH, PRODUCE, Wire, batch, broker, fetch_request, values};

const PARTITIONS: i32 = 3;
const BATCHES: usize = 3;
/// As much as anybody wants.
const PLENTY: i32 = 1 << 20;
/// Long enough for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(300);

fn partition(wire: &mut Wire, request: FetchRequest) -> PartitionData {
    let Response::Fetch(mut response) = wire.call(FETCH, request) else {
        panic!("not an answer to Fetch")
    };
    response.responses.remove(0).partitions.remove(0)
}

#[test]
fn a_fetch_waits_until_its_least_bytes_are_there() {
    let (broker, mut wire) = broker(&[]);
    wire.topic("t");
    let first = batch(&["first"]);
    let request = FetchRequest {
        min_bytes: i32::try_from(first.len()).unwrap() + 1,
        ..fetch_request("t", 0)
    };
    wire.produce("t", first);

    wire.send(FETCH, request);
    assert!(wire.is_silent_for(SILENCE), "one batch is not enough");
    Wire::connect(&broker.kafka()).produce("t", batch(&["second"]));

    let (_, response) = wire.receive(FetchRequest::default(), FETCH);
    let Response::Fetch(response) = response else {
        panic!("not an answer to Fetch")
    };
    let both = [(0, "first".to_owned()), (1, "second".to_owned())];
    assert_eq!(values(&response.responses[0].partitions[0]), both);
}

#[test]
fn a_fetch_gives_what_there_is_when_its_time_is_over() {
    const WAIT: Duration = Duration::from_millis(400);
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    wire.produce("t", batch(&["only"]));
    for (offset, min_bytes, expected) in [
        (0, PLENTY, vec![(0, "only".to_owned())]),
        (1, 1, Vec::new()),
    ] {
        let request = FetchRequest {
            min_bytes,
            max_wait_ms: i32::try_from(WAIT.as_millis()).unwrap(),
            ..fetch_request("t", offset)
        };
        let asked_at = Instant::now();

        let fetched = partition(&mut wire, request);

        assert!(asked_at.elapsed() >= WAIT, "{:?}", asked_at.elapsed());
        assert_eq!((fetched.error_code, fetched.high_watermark), (0, 1));
        assert_eq!(values(&fetched), expected);
    }
}

/// Writes a batch of the same size to each partition of `t`, again and again; gives the size.
fn fill(wire: &mut Wire) -> usize {
    wire.topic("t");
    let one = batch(&["v".repeat(1_000).as_str()]);
    for _ in 0..BATCHES {
        let data = (0..PARTITIONS).map(|index| PartitionProduceData {
            index,
            records: Some(one.clone().into()),
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
        let Response::Produce(written) = wire.call(PRODUCE, request) else {
            panic!("not an answer to Produce")
        };
        let mut written = written.responses[0].partition_responses.iter();
        assert!(written.all(|partition| partition.error_code == 0));
    }
    one.len()
}

/// Bytes that each partition gives.
fn fetch_all(wire: &mut Wire, max_bytes: i32, partition_max_bytes: i32) -> Vec<usize> {
    let partitions = (0..PARTITIONS).map(|partition| FetchPartition {
        partition,
        partition_max_bytes,
        ..FetchPartition::default()
    });
    let request = FetchRequest {
        max_bytes,
        topics: vec![FetchTopic {
            topic: "t".into(),
            partitions: partitions.collect(),
            ..FetchTopic::default()
        }],
        ..fetch_request("t", 0)
    };
    let Response::Fetch(response) = wire.call(FETCH, request) else {
        panic!("not an answer to Fetch")
    };
    let partitions = response.responses[0].partitions.iter();
    let records = partitions.map(|one| one.records.clone().unwrap_or_default());
    records.map(|records| records.into_bytes().len()).collect()
}

#[test]
fn the_bytes_of_a_fetch_and_of_each_partition_are_bounded_but_for_the_first_batch() {
    let (_broker, mut wire) = broker(&["--set", "num.partitions=3"]);
    let size = fill(&mut wire);
    let batches = |count: usize| i32::try_from(count * size).unwrap();
    for (max_bytes, partition_max_bytes, expected) in [
        (PLENTY, PLENTY, [3, 3, 3]),
        (batches(5), PLENTY, [3, 2, 0]),
        (batches(4), batches(2), [2, 2, 0]),
        (batches(2) - 1, PLENTY, [1, 1, 0]),
        (batches(1), PLENTY, [1, 0, 0]),
        (1, PLENTY, [1, 0, 0]),
        (0, 0, [1, 0, 0]),
        (PLENTY, batches(3) - 1, [2, 2, 2]),
        (PLENTY, 1, [1, 1, 1]),
    ] {
        let found = fetch_all(&mut wire, max_bytes, partition_max_bytes);
        assert_eq!(
            found,
            expected.map(|count| count * size),
            "at most {max_bytes}, of each partition {partition_max_bytes}"
        );
    }
}
