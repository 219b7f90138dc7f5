//! A consumer of assigned partitions: asks every leader at once, in a fetch session where the version
//! has them (KIP-227), and says what it has read, so that a broker can tell if that is no part of its
//! log (KIP-320).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, join_all};
use raftmq_kafka_protocol::messages::fetch::request::{FetchPartition, FetchTopic, ForgottenTopic};
use raftmq_kafka_protocol::messages::fetch::response::PartitionData;
use raftmq_kafka_protocol::messages::{FetchRequest, FetchResponse};
use raftmq_kafka_protocol::{ApiKey, Request, Response};
use raftmq_records::{DecodeLimits, batches, records};

use super::{KafkaClient, named, unexpected};
use crate::system::{Consumer, Polled};

const FETCH_WAIT_MS: i32 = 200;
const FETCH_BYTES_MAX: i32 = 1 << 20;
const PARTITION_BYTES_MAX: i32 = 64 << 10;
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Where nothing is known.
const NO_EPOCH: i32 = -1;
/// First versions with leader epochs in the request, and with the epoch of what was read.
const WITH_LEADER_EPOCH: i16 = 9;
const WITH_LAST_EPOCH: i16 = 12;

/// How far a partition was read.
#[derive(Debug, Clone, Copy)]
struct Position {
    offset: i64,
    /// Leader epoch of the batch before.
    epoch: i32,
}

/// A fetch session with one broker.
#[derive(Debug, Default)]
struct Session {
    id: i32,
    /// Of the next request; 0 = it wants a new session.
    epoch: i32,
    /// What the broker knows that this consumer wants.
    known: BTreeMap<u32, FetchPartition>,
}

/// See the module.
pub(in crate::cluster) struct KafkaConsumer {
    client: KafkaClient,
    positions: BTreeMap<u32, Position>,
    /// By the broker's address.
    sessions: BTreeMap<String, Session>,
}

impl KafkaConsumer {
    pub(in crate::cluster) async fn start(
        client: KafkaClient,
        from: BTreeMap<u32, i64>,
    ) -> Result<Self, String> {
        client.check_versions().await?;
        client.refresh().await?;
        let position = |(partition, offset)| {
            let epoch = NO_EPOCH;
            (partition, Position { offset, epoch })
        };
        Ok(Self {
            client,
            positions: from.into_iter().map(position).collect(),
            sessions: BTreeMap::new(),
        })
    }

    /// What is wanted of each broker, by its address.
    fn wanted(&self) -> BTreeMap<String, BTreeMap<u32, FetchPartition>> {
        let version = self.client.fetch_version;
        let mut wanted: BTreeMap<String, BTreeMap<u32, FetchPartition>> = BTreeMap::new();
        for (partition, position) in &self.positions {
            let Some(leader) = self.client.leader(*partition) else {
                continue;
            };
            let mut one = FetchPartition {
                partition: i32::try_from(*partition).unwrap_or(i32::MAX),
                fetch_offset: position.offset,
                partition_max_bytes: PARTITION_BYTES_MAX,
                ..FetchPartition::default()
            };
            if version >= WITH_LEADER_EPOCH {
                one.current_leader_epoch = leader.epoch;
            }
            if version >= WITH_LAST_EPOCH {
                one.last_fetched_epoch = position.epoch;
            }
            let of_broker = wanted.entry(leader.endpoint).or_default();
            of_broker.insert(*partition, one);
        }
        wanted
    }

    fn request(&mut self, endpoint: &str, wanted: BTreeMap<u32, FetchPartition>) -> FetchRequest {
        let (name, topic_id) = self.client.topic_named(self.client.fetch_version);
        let session = self.sessions.entry(endpoint.to_owned()).or_default();
        if session.epoch == 0 {
            session.known.clear();
        }
        let known = &session.known;
        let news = wanted
            .iter()
            .filter(|(partition, one)| known.get(*partition) != Some(*one));
        let news: Vec<FetchPartition> = news.map(|(_, one)| one.clone()).collect();
        let forgotten = known.iter().filter(|(one, _)| !wanted.contains_key(*one));
        let forgotten: Vec<i32> = forgotten.map(|(_, one)| one.partition).collect();
        let topic = FetchTopic {
            topic: name.into(),
            topic_id,
            partitions: news,
        };
        let forgotten = ForgottenTopic {
            topic: name.into(),
            topic_id,
            partitions: forgotten,
        };
        session.known = wanted;
        FetchRequest {
            max_wait_ms: FETCH_WAIT_MS,
            min_bytes: 1,
            max_bytes: FETCH_BYTES_MAX,
            session_id: session.id,
            session_epoch: session.epoch,
            topics: Some(topic)
                .filter(|topic| !topic.partitions.is_empty())
                .into_iter()
                .collect(),
            forgotten_topics_data: Some(forgotten)
                .filter(|topic| !topic.partitions.is_empty())
                .into_iter()
                .collect(),
            ..FetchRequest::default()
        }
    }

    /// Takes one broker's answer in.
    fn take(&mut self, endpoint: &str, response: FetchResponse, polled: &mut Polled) {
        if response.error_code != 0 {
            tracing::debug!(endpoint, error = named(response.error_code), "no session");
            self.sessions.remove(endpoint);
            return;
        }
        if let Some(session) = self.sessions.get_mut(endpoint) {
            session.id = response.session_id;
            session.epoch = match session.id {
                0 => 0,
                _ => session.epoch.checked_add(1).unwrap_or(1),
            };
        }
        for data in response
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            self.take_partition(&data, polled);
        }
    }

    fn take_partition(&mut self, data: &PartitionData, polled: &mut Polled) {
        let partition = u32::try_from(data.partition_index).expect("as it was asked");
        let position = self.positions.get_mut(&partition);
        let position = position.expect("only what was asked for is answered");
        if data.error_code != 0 {
            let error = named(data.error_code);
            tracing::debug!(partition, error, "not fetched");
            self.client.forget(partition);
            return;
        }
        // Only committed records are shown, and those are part of every leader's log.
        assert_eq!(data.diverging_epoch.epoch, NO_EPOCH, "{data:?}");
        polled
            .high_watermarks
            .insert(partition, data.high_watermark);
        let bytes = data.records.clone().unwrap_or_default().into_bytes();
        let mut read: Vec<(i64, Bytes)> = Vec::new();
        for batch in batches(&bytes) {
            let (header, batch) = batch.expect("whole batches are fetched");
            let (next, asked) = (header.next_offset(), position.offset);
            assert!(
                next > asked,
                "partition {partition}: {next} is behind {asked}"
            );
            let records = records(&batch, DecodeLimits::default());
            for record in records.expect("a batch can be read") {
                let record = record.expect("a record can be read");
                // A batch may begin before what was asked for.
                if record.offset >= position.offset {
                    read.push((record.offset, record.value.unwrap_or_default()));
                }
            }
            position.offset = next;
            position.epoch = header.partition_leader_epoch;
        }
        if !read.is_empty() {
            polled.records.insert(partition, read);
        }
    }
}

impl Consumer for KafkaConsumer {
    fn poll(&mut self) -> LocalBoxFuture<'_, Result<Polled, String>> {
        Box::pin(async move {
            let mut polled = Polled::default();
            let is_led = |partition: &u32| self.client.leader(*partition).is_some();
            if !self.positions.keys().all(is_led)
                && let Err(error) = self.client.refresh().await
            {
                tracing::debug!(error, "no metadata");
            }
            let mut requests: Vec<(String, Request)> = Vec::new();
            for (endpoint, wanted) in self.wanted() {
                let request = self.request(&endpoint, wanted);
                requests.push((endpoint, request.into()));
            }
            let (client, version) = (&self.client, self.client.fetch_version);
            let calls = requests
                .iter()
                .map(|(endpoint, request)| client.call(endpoint, version, request));
            let answers = join_all(calls).await;
            let mut is_answered = false;
            for ((endpoint, _), answer) in requests.into_iter().zip(answers) {
                match answer {
                    Ok(Response::Fetch(response)) => {
                        is_answered = true;
                        self.take(&endpoint, response, &mut polled);
                    }
                    Ok(_) => return Err(unexpected(ApiKey::Fetch)),
                    Err(error) => {
                        tracing::debug!(endpoint, error, "no answer");
                        self.give_up(&endpoint);
                    }
                }
            }
            if !is_answered || polled.high_watermarks.is_empty() {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Ok(polled)
        })
    }
}

impl KafkaConsumer {
    /// Whoever led there may do so no more.
    fn give_up(&mut self, endpoint: &str) {
        self.sessions.remove(endpoint);
        for partition in self.positions.keys() {
            let leader = self.client.leader(*partition);
            if leader.is_some_and(|leader| leader.endpoint == endpoint) {
                self.client.forget(*partition);
            }
        }
    }
}
