//! Three brokers in three racks: the leader sends a consumer to the replica in its rack (KIP-392).

use std::collections::BTreeMap;

use raftmq_kafka_protocol::messages::FetchRequest;
use raftmq_kafka_protocol::messages::fetch::response::PartitionData;
use raftmq_kafka_protocol::{ErrorCode, Response};
use tempfile::TempDir;

use super::wire::{FETCH, Wire, batch, fetch_request, values};
use crate::support::{Process, serve, text, wait_until};

const RACKS: [&str; 3] = ["east", "north", "west"];
/// No replica is elsewhere.
const NO_OTHER: i32 = -1;

/// Brokers of one cluster, by their ids.
struct Racks {
    _folder: TempDir,
    brokers: BTreeMap<i32, Rack>,
}

struct Rack {
    name: &'static str,
    process: Process,
}

impl Rack {
    fn connect(&self) -> Wire {
        Wire::connect(&text(&self.process.ready, "kafka"))
    }
}

impl Racks {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut brokers = BTreeMap::new();
        let mut seed = Vec::new();
        for name in RACKS {
            let rack = format!("broker.rack={name}");
            let joining: Vec<&str> = seed.iter().map(String::as_str).collect();
            let args = [&joining[..], &["--set", rack.as_str()]].concat();
            let process = serve(&folder.path().join(name), &args);
            if seed.is_empty() {
                seed = vec!["--join".to_owned(), text(&process.ready, "peer")];
            }
            let id = i32::try_from(process.ready["id"].as_i64().unwrap()).unwrap();
            brokers.insert(id, Rack { name, process });
        }
        Self {
            _folder: folder,
            brokers,
        }
    }

    fn of(&self, id: i32) -> &Rack {
        &self.brokers[&id]
    }

    /// Makes a topic with a replica in each rack, all in sync; gives its leader.
    fn topic(&self) -> i32 {
        let mut wire = self.brokers.values().next().unwrap().connect();
        wait_until(|| {
            let brokers = wire.metadata("probe").brokers;
            brokers.len() == RACKS.len()
        });
        let mut leader = NO_OTHER;
        wait_until(|| {
            let metadata = wire.metadata("t");
            let partition = metadata.topics[0].partitions.first();
            leader = partition.map_or(NO_OTHER, |partition| partition.leader_id);
            let in_sync = partition.map_or(0, |partition| partition.isr_nodes.len());
            leader > 0 && in_sync == RACKS.len()
        });
        leader
    }
}

fn fetch(wire: &mut Wire, rack: &str) -> PartitionData {
    let request = FetchRequest {
        rack_id: rack.into(),
        max_wait_ms: 100,
        ..fetch_request("t", 0)
    };
    let Response::Fetch(mut response) = wire.call(FETCH, request) else {
        panic!("not an answer to Fetch")
    };
    response.responses.remove(0).partitions.remove(0)
}

/// Fetches until the answer names this replica: the leader hears of changes in its own time.
fn sent_on(wire: &mut Wire, rack: &str, to: i32) -> PartitionData {
    let mut found = PartitionData::default();
    wait_until(|| {
        found = fetch(wire, rack);
        found.preferred_read_replica == to
    });
    found
}

#[test]
fn the_leader_names_the_replica_in_the_consumers_rack_which_then_answers() {
    let racks = Racks::start();
    let leader = racks.topic();
    let mut to_leader = racks.of(leader).connect();
    let told = to_leader.metadata("t").brokers;
    for broker in told {
        let rack = racks.of(broker.node_id).name;
        assert_eq!(broker.rack.as_deref(), Some(rack));
    }
    assert_eq!(to_leader.produce("t", batch(&["v"])).error_code, 0);
    let written = [(0, "v".to_owned())];

    let followers = racks.brokers.iter().filter(|(id, _)| **id != leader);
    for (follower, rack) in followers {
        let sent_on = sent_on(&mut to_leader, rack.name, *follower);
        assert_eq!(sent_on.error_code, 0);
        assert!(values(&sent_on).is_empty());
        let mut to_follower = rack.connect();
        // A follower shows what is committed a moment after the leader.
        wait_until(|| {
            let found = fetch(&mut to_follower, rack.name);
            assert_eq!(found.preferred_read_replica, NO_OTHER);
            found.error_code == 0 && values(&found) == written
        });
        let refused = fetch(&mut to_follower, "");
        let not_leader = i16::from(ErrorCode::NotLeaderOrFollower);
        assert_eq!(refused.error_code, not_leader);
    }
    for rack in ["", racks.of(leader).name, "south"] {
        let found = fetch(&mut to_leader, rack);
        let answer = (found.error_code, found.preferred_read_replica);
        assert_eq!(answer, (0, NO_OTHER), "{rack:?}");
        assert_eq!(values(&found), written, "{rack:?}");
    }
}

#[test]
fn the_leader_answers_itself_once_the_replica_in_the_consumers_rack_is_gone() {
    let mut racks = Racks::start();
    let leader = racks.topic();
    let mut to_leader = racks.of(leader).connect();
    assert_eq!(to_leader.produce("t", batch(&["v"])).error_code, 0);
    let ids = racks.brokers.keys().copied();
    let follower = ids.rev().find(|id| *id != leader).unwrap();
    let rack = racks.of(follower).name;
    sent_on(&mut to_leader, rack, follower);

    racks.brokers.remove(&follower).unwrap().process.kill();

    let found = sent_on(&mut to_leader, rack, NO_OTHER);
    assert_eq!(values(&found), [(0, "v".to_owned())]);
}
