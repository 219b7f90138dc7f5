//! A broker with two named listeners: each tells its own clients the addresses by which they came.

use raftmq_kafka_protocol::messages::{
    DescribeClusterRequest, FindCoordinatorRequest, FindCoordinatorResponse,
};
use raftmq_kafka_protocol::{ErrorCode, Response};

use super::wire::{Wire, batch, values};
use crate::support::{Broker, free_endpoint, text};

const ADVERTISED: &str = "broker.example:19092";

/// A broker, where clients of `IN` reach it and are told to, and where those of `OUT` reach it, who are
/// told [`ADVERTISED`].
fn with_two_listeners() -> (Broker, String, String) {
    // What is advertised hides what is bound, so the port must be known before.
    let outside = free_endpoint();
    let listeners = format!("listeners.kafka=IN://127.0.0.1:0,OUT://{outside}");
    let advertised = format!("advertised.kafka=OUT://{ADVERTISED}");
    let broker = Broker::start(&["--set", &listeners, "--set", &advertised]);
    let told = text(&broker.process.ready, "kafka");
    let (inside, told_outside) = told.split_once(',').unwrap();
    assert_eq!(told_outside, ADVERTISED);
    let inside = inside.to_owned();
    (broker, inside, outside)
}

fn described(wire: &mut Wire) -> Vec<String> {
    let Response::DescribeCluster(cluster) = wire.call(2, DescribeClusterRequest::default()) else {
        panic!("not an answer to DescribeCluster")
    };
    let brokers = cluster.brokers.iter();
    brokers
        .map(|one| format!("{}:{}", one.host, one.port))
        .collect()
}

fn coordinator(wire: &mut Wire) -> FindCoordinatorResponse {
    let request = FindCoordinatorRequest {
        coordinator_keys: vec!["group".into()],
        ..FindCoordinatorRequest::default()
    };
    let Response::FindCoordinator(found) = wire.call(4, request) else {
        panic!("not an answer to FindCoordinator")
    };
    found
}

#[test]
fn each_listener_tells_its_own_address() {
    let (_broker, inside, outside) = with_two_listeners();
    for (connected_to, told) in [(&inside, inside.as_str()), (&outside, ADVERTISED)] {
        let mut wire = Wire::connect(connected_to);
        let metadata = wire.metadata("t");
        let brokers = metadata.brokers.iter();
        let brokers: Vec<_> = brokers
            .map(|one| format!("{}:{}", one.host, one.port))
            .collect();
        assert_eq!(brokers, [told]);
        assert_eq!(metadata.topics[0].partitions[0].leader_id, 1);
        assert_eq!(described(&mut wire), [told]);
        // There are no coordinators yet, so no listener names an address of one.
        let coordinator = &coordinator(&mut wire).coordinators[0];
        assert_eq!(
            coordinator.error_code,
            i16::from(ErrorCode::CoordinatorNotAvailable)
        );
        assert_eq!((&*coordinator.host, coordinator.node_id), ("", -1));
    }
}

#[test]
fn clients_of_different_listeners_read_each_others_records() {
    let (_broker, inside, outside) = with_two_listeners();
    let mut inside = Wire::connect(&inside);
    let mut outside = Wire::connect(&outside);
    inside.topic("t");

    assert_eq!(inside.produce("t", batch(&["in"])).base_offset, 0);
    assert_eq!(outside.produce("t", batch(&["out"])).base_offset, 1);

    let both = [(0, "in".to_owned()), (1, "out".to_owned())];
    assert_eq!(values(&inside.fetch("t", 0)), both);
    assert_eq!(values(&outside.fetch("t", 0)), both);
}
