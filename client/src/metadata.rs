//! What the client knows of the cluster: brokers, topics, and who leads each partition.
//!
//! Owns the cache and applies answers and leader hints to it. It does no I/O: `client.rs` fetches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::RwLock;
use raftmq_proto::v1::{ErrorCode, MetadataResponse, TopicInfo};
use tokio::time::Instant;

use crate::limits::REDIRECTS_AT_ONCE_MAX;

/// Where a partition is led, as far as the client knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    /// `host:port`.
    pub(crate) endpoint: Arc<str>,
    /// -1 when it comes from a hint, which names no epoch.
    pub(crate) epoch: i64,
}

/// Whether the leader that a NOT_LEADER answer names is tried next, after that many failures in a
/// row; else fresh metadata is.
///
/// Either may be wrong: metadata lags behind an election, and a broker's hint may be older still.
/// So the first hints are followed, and then both take turns.
pub(crate) const fn follows_hint(failures: u32) -> bool {
    failures <= REDIRECTS_AT_ONCE_MAX || failures % 2 == 1
}

/// Leader epoch that asks for no check.
pub(crate) const NO_EPOCH: i64 = -1;

#[derive(Debug, Default)]
struct Topic {
    leaders: Vec<Option<Leader>>,
}

#[derive(Debug, Default)]
struct State {
    cluster_id: String,
    version: u64,
    endpoints: BTreeMap<u32, Arc<str>>,
    /// Brokers that the cluster does not count as dead.
    alive: Vec<Arc<str>>,
    topics: BTreeMap<String, Topic>,
    /// Topics that someone uses: refreshes ask for these.
    wanted: BTreeSet<String>,
    /// Counts answers, so that waiters see whether a refresh happened meanwhile.
    refreshes: u64,
    refreshed_at: Option<Instant>,
}

/// The cache; cheap to ask, shared by everything that one client made.
#[derive(Debug, Default)]
pub(crate) struct Metadata(RwLock<State>);

impl Metadata {
    pub(crate) fn want(&self, topic: &str) {
        let is_wanted = self.0.read().wanted.contains(topic);
        if !is_wanted {
            self.0.write().wanted.insert(topic.to_owned());
        }
    }

    pub(crate) fn wanted(&self) -> Vec<String> {
        self.0.read().wanted.iter().cloned().collect()
    }

    pub(crate) fn refreshes(&self) -> u64 {
        self.0.read().refreshes
    }

    pub(crate) fn refreshed_at(&self) -> Option<Instant> {
        self.0.read().refreshed_at
    }

    /// Returns the gRPC endpoints of the brokers that are alive, by broker id.
    pub(crate) fn alive(&self) -> Vec<Arc<str>> {
        self.0.read().alive.clone()
    }

    /// Returns the number of partitions, or `None` when the topic is not known.
    pub(crate) fn partitions_count(&self, topic: &str) -> Option<u32> {
        let state = self.0.read();
        let count = state.topics.get(topic)?.leaders.len();
        u32::try_from(count).ok().filter(|count| *count > 0)
    }

    pub(crate) fn leader(&self, topic: &str, partition: u32) -> Option<Leader> {
        let state = self.0.read();
        let leaders = &state.topics.get(topic)?.leaders;
        leaders.get(usize::try_from(partition).ok()?)?.clone()
    }

    /// Takes a leader that a broker named in a NOT_LEADER answer; used until the next refresh.
    pub(crate) fn hint(&self, topic: &str, partition: u32, endpoint: &str) {
        let mut state = self.0.write();
        let slot = state
            .topics
            .get_mut(topic)
            .zip(usize::try_from(partition).ok())
            .and_then(|(topic, index)| topic.leaders.get_mut(index));
        if let Some(leader) = slot {
            *leader = Some(Leader {
                endpoint: Arc::from(endpoint),
                epoch: NO_EPOCH,
            });
        }
    }

    /// Takes an answer in. One that is older than what is known is counted and otherwise ignored:
    /// a broker that lags behind must not undo a newer leader.
    pub(crate) fn apply(&self, response: MetadataResponse, now: Instant) {
        let mut state = self.0.write();
        state.refreshes += 1;
        state.refreshed_at = Some(now);
        // A broker that has just started may not know its cluster yet.
        let is_unsure = response.cluster_id.is_empty() && !state.cluster_id.is_empty();
        let is_same_cluster = state.cluster_id == response.cluster_id;
        if is_unsure || (is_same_cluster && response.version < state.version) {
            return;
        }
        state.cluster_id = response.cluster_id;
        state.version = response.version;
        let brokers = response.brokers.iter();
        state.alive = brokers
            .filter(|broker| !broker.fenced && !broker.grpc_endpoint.is_empty())
            .map(|broker| Arc::from(&*broker.grpc_endpoint))
            .collect();
        state.endpoints = response
            .brokers
            .iter()
            .filter(|broker| !broker.grpc_endpoint.is_empty())
            .map(|broker| (broker.broker_id, Arc::from(&*broker.grpc_endpoint)))
            .collect();
        for topic in response.topics {
            apply_topic(&mut state, topic);
        }
    }
}

fn apply_topic(state: &mut State, topic: TopicInfo) {
    if let Some(error) = &topic.error {
        if error.code() == ErrorCode::UnknownTopic {
            state.topics.remove(&topic.name);
        }
        return;
    }
    // A partition without an id below the count cannot be addressed; the count bounds the memory.
    let mut leaders = vec![None; topic.partitions.len()];
    for partition in &topic.partitions {
        let leader = state
            .endpoints
            .get(&partition.leader_broker_id)
            .map(|endpoint| Leader {
                endpoint: Arc::clone(endpoint),
                epoch: partition.leader_epoch,
            });
        let index = usize::try_from(partition.partition).unwrap_or(usize::MAX);
        if let Some(slot) = leaders.get_mut(index) {
            *slot = leader;
        }
    }
    state.topics.insert(topic.name, Topic { leaders });
}

#[cfg(test)]
mod tests {
    use raftmq_proto::v1::{self, BrokerInfo, PartitionInfo};

    use super::*;

    fn answer(version: u64, leader_broker_id: u32) -> MetadataResponse {
        MetadataResponse {
            cluster_id: "c".to_owned(),
            version,
            brokers: vec![
                BrokerInfo {
                    broker_id: 1,
                    grpc_endpoint: "one:1".to_owned(),
                    ..BrokerInfo::default()
                },
                BrokerInfo {
                    broker_id: 2,
                    grpc_endpoint: "two:2".to_owned(),
                    ..BrokerInfo::default()
                },
            ],
            topics: vec![TopicInfo {
                name: "t".to_owned(),
                partitions: vec![PartitionInfo {
                    partition: 0,
                    leader_broker_id,
                    leader_epoch: 4,
                    ..PartitionInfo::default()
                }],
                ..TopicInfo::default()
            }],
            ..MetadataResponse::default()
        }
    }

    fn endpoint(metadata: &Metadata) -> Option<String> {
        let leader = metadata.leader("t", 0)?;
        Some(leader.endpoint.as_ref().to_owned())
    }

    #[tokio::test]
    async fn an_older_answer_does_not_undo_a_newer_leader() {
        let metadata = Metadata::default();
        metadata.apply(answer(9, 2), Instant::now());

        metadata.apply(answer(8, 1), Instant::now());

        assert_eq!(endpoint(&metadata).as_deref(), Some("two:2"));
        assert_eq!(metadata.refreshes(), 2);
    }

    #[tokio::test]
    async fn a_broker_that_does_not_know_its_cluster_yet_changes_nothing() {
        let metadata = Metadata::default();
        metadata.apply(answer(9, 2), Instant::now());

        metadata.apply(MetadataResponse::default(), Instant::now());

        assert_eq!(endpoint(&metadata).as_deref(), Some("two:2"));
        assert_eq!(metadata.alive().len(), 2);
    }

    #[tokio::test]
    async fn a_fenced_broker_is_not_asked() {
        let metadata = Metadata::default();
        let mut fenced = answer(1, 2);
        fenced.brokers[0].fenced = true;

        metadata.apply(fenced, Instant::now());

        assert_eq!(metadata.alive(), [Arc::from("two:2")]);
    }

    #[tokio::test]
    async fn a_hint_holds_until_the_next_refresh() {
        let metadata = Metadata::default();
        metadata.apply(answer(1, 1), Instant::now());

        metadata.hint("t", 0, "three:3");
        metadata.hint("t", 7, "nobody:0");

        assert_eq!(endpoint(&metadata).as_deref(), Some("three:3"));
        metadata.apply(answer(1, 2), Instant::now());
        assert_eq!(endpoint(&metadata).as_deref(), Some("two:2"));
    }

    #[tokio::test]
    async fn a_topic_that_is_gone_is_forgotten() {
        let metadata = Metadata::default();
        metadata.apply(answer(1, 1), Instant::now());
        let mut gone = answer(2, 1);
        gone.topics[0].error = Some(v1::Error::unknown_topic("t"));

        metadata.apply(gone, Instant::now());

        assert_eq!(metadata.partitions_count("t"), None);
        assert_eq!(metadata.leader("t", 0), None);
    }

    #[tokio::test]
    async fn a_partition_without_a_leader_has_none() {
        let metadata = Metadata::default();

        metadata.apply(answer(1, 0), Instant::now());

        assert_eq!(metadata.partitions_count("t"), Some(1));
        assert_eq!(metadata.leader("t", 0), None);
    }
}
