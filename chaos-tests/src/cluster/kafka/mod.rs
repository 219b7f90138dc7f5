//! Clients that speak Kafka's bytes through the simulated network: small ones of our own, made of
//! the protocol's codec and nothing of the client crate.
//!
//! Owns what producers and consumers share: connections, and which broker leads which partition.
//! Each client draws the versions in which it speaks, so that old and new ones meet.

mod connection;
mod consumer;
mod producer;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use raftmq_kafka_protocol::messages::metadata::request::MetadataRequestTopic;
use raftmq_kafka_protocol::messages::metadata::response::MetadataResponse;
use raftmq_kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest};
use raftmq_kafka_protocol::{ApiKey, ErrorCode, Request, Response, Uuid};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::timeout;

use self::connection::Connection;
pub(super) use self::consumer::KafkaConsumer;
pub(super) use self::producer::KafkaProducer;
use crate::nemesis::Host;
use crate::net::{KAFKA_PORT, SimNet};

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
const API_VERSIONS: i16 = 4;
const METADATA: i16 = 12;
/// Versions that a client may speak: with and without leader epochs, sessions, flexible lengths,
/// leader hints, topic ids.
const PRODUCE_VERSIONS: [i16; 4] = [7, 9, 12, 13];
const FETCH_VERSIONS: [i16; 5] = [4, 11, 12, 13, 18];
/// First versions of Produce and Fetch that name topics by their ids.
const WITH_TOPIC_IDS: i16 = 13;

/// Who leads a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Leader {
    endpoint: String,
    epoch: i32,
}

#[derive(Debug, Default)]
struct Routes {
    topic_id: Uuid,
    leaders: BTreeMap<u32, Leader>,
}

/// What one producer or consumer talks through.
pub(super) struct KafkaClient {
    net: SimNet,
    topic: &'static str,
    brokers_count: u32,
    produce_version: i16,
    fetch_version: i16,
    rng: RefCell<StdRng>,
    routes: RefCell<Routes>,
    connections: RefCell<BTreeMap<String, Rc<Connection>>>,
}

impl KafkaClient {
    pub(super) fn new(net: SimNet, topic: &'static str, brokers_count: u32, rng_seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(rng_seed);
        let produce_version = PRODUCE_VERSIONS[rng.random_range(0..PRODUCE_VERSIONS.len())];
        let fetch_version = FETCH_VERSIONS[rng.random_range(0..FETCH_VERSIONS.len())];
        Self {
            net,
            topic,
            brokers_count,
            produce_version,
            fetch_version,
            rng: RefCell::new(rng),
            routes: RefCell::default(),
            connections: RefCell::default(),
        }
    }

    /// The topic as a version names it: by its name, or by its id.
    fn topic_named(&self, version: i16) -> (&'static str, Uuid) {
        match version >= WITH_TOPIC_IDS {
            true => ("", self.routes.borrow().topic_id),
            false => (self.topic, Uuid::ZERO),
        }
    }

    /// The leader as far as known.
    fn leader(&self, partition: u32) -> Option<Leader> {
        self.routes.borrow().leaders.get(&partition).cloned()
    }

    /// The leader that is known is none.
    fn forget(&self, partition: u32) {
        self.routes.borrow_mut().leaders.remove(&partition);
    }

    /// Takes a broker's word for who leads (KIP-951). Nobody, where it names nobody.
    fn note_leader(&self, partition: u32, endpoint: Option<String>, epoch: i32) {
        match endpoint {
            Some(endpoint) => {
                let leader = Leader { endpoint, epoch };
                self.routes.borrow_mut().leaders.insert(partition, leader);
            }
            None => self.forget(partition),
        }
    }

    /// Some broker, whichever.
    fn any_broker(&self) -> String {
        let broker = self.rng.borrow_mut().random_range(1..=self.brokers_count);
        format!("{}:{KAFKA_PORT}", Host::Broker(broker))
    }

    /// Asks some broker who leads.
    async fn refresh(&self) -> Result<(), String> {
        let endpoint = self.any_broker();
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(self.topic.into()),
                ..MetadataRequestTopic::default()
            }]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let response = self.call(&endpoint, METADATA, &request.into()).await?;
        let Response::Metadata(response) = response else {
            return Err(unexpected(ApiKey::Metadata));
        };
        self.note(&response)
    }

    fn note(&self, response: &MetadataResponse) -> Result<(), String> {
        let topic = response.topics.first().ok_or("no topic")?;
        if topic.error_code != 0 {
            return Err(named(topic.error_code));
        }
        let endpoint = |id: i32| {
            let broker = response.brokers.iter().find(|broker| broker.node_id == id);
            broker.map(|broker| format!("{}:{}", broker.host, broker.port))
        };
        self.routes.borrow_mut().topic_id = topic.topic_id;
        for partition in &topic.partitions {
            let index = u32::try_from(partition.partition_index).map_err(|_| "below zero")?;
            let endpoint = endpoint(partition.leader_id);
            self.note_leader(index, endpoint, partition.leader_epoch);
        }
        Ok(())
    }

    async fn connection(&self, endpoint: &str) -> Result<Rc<Connection>, String> {
        let known = self.connections.borrow().get(endpoint).cloned();
        if let Some(open) = known.filter(|connection| !connection.is_closed()) {
            return Ok(open);
        }
        let connected = timeout(CONNECT_TIMEOUT, self.net.connect(endpoint)).await;
        let stream = connected.map_err(|_elapsed| "no connection in time")?;
        let stream = stream.map_err(|error| error.to_string())?;
        let connection = Rc::new(Connection::new(stream));
        let opened = Rc::clone(&connection);
        self.connections
            .borrow_mut()
            .insert(endpoint.to_owned(), opened);
        Ok(connection)
    }

    /// Asks a broker; what takes too long closes the connection, because nobody knows what of it
    /// was written.
    async fn call(
        &self,
        endpoint: &str,
        version: i16,
        request: &Request,
    ) -> Result<Response, String> {
        let connection = self.connection(endpoint).await?;
        let answered = timeout(REQUEST_TIMEOUT, connection.call(version, request)).await;
        answered.unwrap_or_else(|_elapsed| {
            connection.close();
            Err("no answer in time".to_owned())
        })
    }

    /// Sends a request that is not answered.
    async fn tell(&self, endpoint: &str, version: i16, request: &Request) -> Result<(), String> {
        let connection = self.connection(endpoint).await?;
        let told = timeout(REQUEST_TIMEOUT, connection.tell(version, request)).await;
        told.unwrap_or_else(|_elapsed| {
            connection.close();
            Err("not written in time".to_owned())
        })
    }

    /// Asks some broker which versions it serves; the client's own must be among them.
    async fn check_versions(&self) -> Result<(), String> {
        let request = ApiVersionsRequest {
            client_software_name: "chaos".into(),
            client_software_version: "1".into(),
            ..ApiVersionsRequest::default()
        };
        let asked = self
            .call(&self.any_broker(), API_VERSIONS, &request.into())
            .await;
        let response = asked?;
        let Response::ApiVersions(response) = response else {
            return Err(unexpected(ApiKey::ApiVersions));
        };
        let serves = |api: ApiKey, version: i16| {
            let mut served = response.api_keys.iter();
            served.any(|served| {
                let versions = served.min_version..=served.max_version;
                served.api_key == i16::from(api) && versions.contains(&version)
            })
        };
        assert!(
            serves(ApiKey::Produce, self.produce_version)
                && serves(ApiKey::Fetch, self.fetch_version)
                && serves(ApiKey::Metadata, METADATA),
            "every version that clients speak is served"
        );
        Ok(())
    }
}

/// An error of a broker in Kafka's words.
fn named(code: i16) -> String {
    ErrorCode::from_i16(code).map_or_else(|| code.to_string(), |code| code.name().to_owned())
}

fn unexpected(asked: ApiKey) -> String {
    format!("no answer to {} came, but another one", asked.name())
}
