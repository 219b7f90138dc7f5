//! Three brokers: leaders are told, hints lead to them, and what was acknowledged survives one.

use std::collections::BTreeMap;

use raftmq_kafka_protocol::messages::{FetchRequest, MetadataResponse};
use raftmq_kafka_protocol::{ErrorCode, Response};

use super::wire::{PRODUCE, Wire, batch, fetch_request, produce_request, values};
use crate::support::{Dev, text, wait_until};

/// The Kafka addresses of all brokers, by id.
pub(super) fn addresses(dev: &Dev) -> BTreeMap<i32, String> {
    let brokers = dev.process.ready["brokers"].as_array().unwrap();
    let one = |broker: &serde_json::Value| {
        let id = i32::try_from(broker["id"].as_i64().unwrap()).unwrap();
        (id, text(broker, "kafka"))
    };
    brokers.iter().map(one).collect()
}

pub(super) fn leader(metadata: &MetadataResponse) -> i32 {
    metadata.topics[0].partitions[0].leader_id
}

#[test]
fn every_broker_tells_every_brokers_address_and_the_leader() {
    let dev = Dev::start(&[]);
    let addresses = addresses(&dev);
    let mut leaders = Vec::new();
    for address in addresses.values() {
        let mut wire = Wire::connect(address);
        let mut metadata = wire.metadata("t");
        // Each broker learns of the leader in its own time.
        wait_until(|| {
            metadata = wire.metadata("t");
            leader(&metadata) > 0
        });
        let told: BTreeMap<i32, String> = metadata
            .brokers
            .iter()
            .map(|broker| (broker.node_id, format!("{}:{}", broker.host, broker.port)))
            .collect();
        assert_eq!(told, addresses);
        assert_eq!(metadata.topics[0].partitions[0].replica_nodes.len(), 3);
        leaders.push(leader(&metadata));
    }
    assert!(
        leaders.iter().all(|id| *id == leaders[0] && *id > 0),
        "{leaders:?}"
    );
}

#[test]
fn a_follower_refuses_and_names_the_leader() {
    let dev = Dev::start(&[]);
    let addresses = addresses(&dev);
    let metadata = Wire::connect(&addresses[&1]).metadata("t");
    let leader = leader(&metadata);
    let follower = addresses.keys().find(|id| **id != leader).unwrap();
    let mut wire = Wire::connect(&addresses[follower]);
    // It may hear of the topic a moment later.
    wait_until(|| wire.metadata("t").topics[0].error_code == 0);
    let not_leader = i16::from(ErrorCode::NotLeaderOrFollower);

    let request = produce_request("t", -1, batch(&["v"]));
    let Response::Produce(response) = wire.call(PRODUCE, request) else {
        panic!("not an answer to Produce")
    };
    let refused = &response.responses[0].partition_responses[0];
    assert_eq!(
        (refused.error_code, refused.current_leader.leader_id),
        (not_leader, leader)
    );
    let node = &response.node_endpoints[0];
    assert_eq!(format!("{}:{}", node.host, node.port), addresses[&leader]);

    let refused = wire.fetch("t", 0);
    assert_eq!(
        (refused.error_code, refused.current_leader.leader_id),
        (not_leader, leader)
    );
    let offset = wire.offset("t", -1);
    assert_eq!(offset.error_code, not_leader);
}

#[test]
fn what_was_acknowledged_is_there_when_the_leader_is_killed() {
    let dev = Dev::start(&[]);
    let addresses = addresses(&dev);
    let mut wire = Wire::connect(&addresses[&1]);
    let old = leader(&wire.metadata("t"));
    let mut wire = Wire::connect(&addresses[&old]);
    for number in 0..20 {
        let written = wire.produce("t", batch(&[&number.to_string()]));
        assert_eq!((written.error_code, written.base_offset), (0, number));
    }

    dev.kill(u64::try_from(old).unwrap());

    let (_, survivor) = addresses.iter().find(|(id, _)| **id != old).unwrap();
    let mut wire = Wire::connect(survivor);
    let mut new = -1;
    wait_until(|| {
        new = leader(&wire.metadata("t"));
        new > 0 && new != old
    });
    let mut wire = Wire::connect(&addresses[&new]);
    wait_until(|| wire.fetch("t", 0).error_code == 0);
    let found = values(&wire.fetch("t", 0));
    let expected: Vec<_> = (0..20).map(|number| (number, number.to_string())).collect();
    assert_eq!(found, expected);
    // The log before the new epoch ends where it begins: nothing diverges.
    let mut behind = fetch_request("t", 20);
    behind.max_wait_ms = 0;
    let epoch = wire.metadata("t").topics[0].partitions[0].leader_epoch;
    behind.topics[0].partitions[0].last_fetched_epoch = epoch - 1;
    let Response::Fetch(response) = wire.call(12, behind) else {
        panic!("not an answer to Fetch")
    };
    let partition = &response.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0, "{partition:?}");
}

#[test]
fn a_replica_in_the_consumers_rack_answers() {
    let dev = Dev::start(&[]);
    let addresses = addresses(&dev);
    let leader = leader(&Wire::connect(&addresses[&1]).metadata("t"));
    let mut wire = Wire::connect(&addresses[&leader]);
    wire.produce("t", batch(&["v"]));
    let (_, follower) = addresses.iter().find(|(id, _)| **id != leader).unwrap();
    let mut wire = Wire::connect(follower);
    let with_rack = || FetchRequest {
        rack_id: "here".into(),
        max_wait_ms: 100,
        ..fetch_request("t", 0)
    };
    // A follower shows what is committed a moment after the leader.
    wait_until(|| {
        let Response::Fetch(response) = wire.call(12, with_rack()) else {
            panic!("not an answer to Fetch")
        };
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0, "{partition:?}");
        values(partition) == [(0, "v".to_owned())]
    });
}
