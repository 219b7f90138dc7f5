//! The control plane: topics, partitions, offsets, cluster.
//!
//! Knows the admin messages and how to repeat a call; any broker takes any call, except
//! `list_offsets`, which goes to the leaders.

mod brokers;
mod recovery;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

use raftmq_proto::v1::offset_query::At;
use raftmq_proto::v1::{
    AlterReplicasRequest, AlterTopicRequest, CreateTopicRequest, CreateTopicResponse,
    DeleteRecordsRequest, DeleteTopicRequest, DescribeClusterRequest, DescribeClusterResponse,
    DescribeTopicRequest, DescribeTopicResponse, ListOffsetsRequest, MetadataRequest, OffsetQuery,
    OffsetSpecial, ReplicaAssignment, TopicInfo,
};
use tokio::time::Instant;

use crate::client::Shared;
use crate::connection::{admin_client, broker_client};
use crate::error::{Error, Result};
use crate::limits::REDIRECTS_AT_ONCE_MAX;
use crate::metadata::follows_hint;

pub use recovery::Recovery;
pub use settings::AlterClusterSettings;

/// The control plane of a cluster; made by [`Client::admin`](crate::Client::admin), cheap to clone.
///
/// Every call is retried on retriable errors until the client's request timeout; a call whose
/// answer was lost may therefore have happened when its repetition is refused (`create_topic` then
/// gives `TOPIC_ALREADY_EXISTS`). Dropping a call's future stops waiting, not the broker.
#[derive(Debug, Clone)]
pub struct Admin {
    pub(crate) shared: Arc<Shared>,
}

/// Which offset [`Admin::list_offsets`] looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetAt {
    /// The first offset that is still there.
    Beginning,
    /// The offset after the last committed record.
    End,
    /// The first record whose timestamp is this or later, in milliseconds since 1970.
    Timestamp(i64),
    /// The record with the largest timestamp.
    MaxTimestamp,
}

impl OffsetAt {
    pub(crate) const fn to_wire(self) -> At {
        match self {
            Self::Beginning => At::Special(OffsetSpecial::Earliest as i32),
            Self::End => At::Special(OffsetSpecial::Latest as i32),
            Self::Timestamp(timestamp_ms) => At::TimestampMs(timestamp_ms),
            Self::MaxTimestamp => At::Special(OffsetSpecial::MaxTimestamp as i32),
        }
    }
}

/// An offset that [`Admin::list_offsets`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset; `None` when no record matches.
    pub offset: Option<i64>,
    /// The record's timestamp in milliseconds since 1970; `None` when the query was not by time.
    pub timestamp_ms: Option<i64>,
    /// The leader epoch of the partition.
    pub leader_epoch: i64,
}

impl Admin {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Starts to create a topic; counts and replicas are the cluster's defaults unless set.
    ///
    /// ```no_run
    /// # async fn example(client: raftmq_client::Client) -> raftmq_client::Result<()> {
    /// client
    ///     .admin()
    ///     .create_topic("orders")
    ///     .partitions(12)
    ///     .replication_factor(3)
    ///     .config("retention.ms", "86400000")
    ///     .send()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_topic(&self, name: impl Into<String>) -> CreateTopic {
        CreateTopic {
            admin: self.clone(),
            request: CreateTopicRequest {
                name: name.into(),
                ..CreateTopicRequest::default()
            },
        }
    }

    /// Deletes a topic with all its records.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC`, and those of every call.
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        let request = DeleteTopicRequest {
            name: name.to_owned(),
        };
        self.shared
            .call("delete topic", |channel| {
                let request = request.clone();
                async move { admin_client(channel).delete_topic(request).await }
            })
            .await
            .map(drop)
    }

    /// Starts to change a topic: configs, number of partitions, replication factor. All changes of one call happen
    /// together or not at all.
    pub fn alter_topic(&self, name: impl Into<String>) -> AlterTopic {
        AlterTopic {
            admin: self.clone(),
            request: AlterTopicRequest {
                name: name.into(),
                ..AlterTopicRequest::default()
            },
        }
    }

    /// Describes a topic: partitions, and every config with its source.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC`, and those of every call.
    pub async fn describe_topic(&self, name: &str) -> Result<DescribeTopicResponse> {
        let request = DescribeTopicRequest {
            name: name.to_owned(),
        };
        self.shared
            .call("describe topic", |channel| {
                let request = request.clone();
                async move { admin_client(channel).describe_topic(request).await }
            })
            .await
    }

    /// Lists all topics, by name.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn list_topics(&self) -> Result<Vec<TopicInfo>> {
        let response = self
            .shared
            .call("list topics", |channel| async move {
                broker_client(channel)
                    .metadata(MetadataRequest::default())
                    .await
            })
            .await?;
        let mut topics = response.topics;
        topics.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(topics)
    }

    /// Describes the cluster: brokers, controller, counts of partitions in trouble.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn describe_cluster(&self) -> Result<DescribeClusterResponse> {
        self.shared
            .call("describe cluster", |channel| async move {
                admin_client(channel)
                    .describe_cluster(DescribeClusterRequest {})
                    .await
            })
            .await
    }

    /// Deletes the records of a partition below `before_offset`; -1 means all that are committed.
    /// Returns the new log start. Repeating it changes nothing.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE` when the offset is past the high watermark, and those of every call.
    pub async fn delete_records(
        &self,
        topic: &str,
        partition: u32,
        before_offset: i64,
    ) -> Result<i64> {
        let request = DeleteRecordsRequest {
            topic: topic.to_owned(),
            partition,
            before_offset,
        };
        let response = self
            .shared
            .call("delete records", |channel| {
                let request = request.clone();
                async move { admin_client(channel).delete_records(request).await }
            })
            .await?;
        Ok(response.log_start_offset)
    }

    /// Sets the replicas of a partition, the preferred leader first; returns when the move is
    /// under way. A move that runs already is sent there instead; repetition changes nothing.
    ///
    /// # Errors
    /// `UNKNOWN_BROKER`, `INVALID_REQUEST`, and those of every call.
    pub async fn alter_replicas(
        &self,
        topic: &str,
        partition: u32,
        replicas: &[u32],
    ) -> Result<()> {
        let request = AlterReplicasRequest {
            topic: topic.to_owned(),
            partition,
            replicas: replicas.to_vec(),
        };
        self.shared
            .call("alter replicas", |channel| {
                let request = request.clone();
                async move { admin_client(channel).alter_replicas(request).await }
            })
            .await
            .map(drop)
    }

    /// Looks up one offset in each of several partitions, asking their leaders.
    ///
    /// Answers stand in the order of the queries.
    ///
    /// # Errors
    /// The first error that is not retriable, or `TimedOut` after the request timeout.
    pub async fn list_offsets(
        &self,
        queries: &[(&str, u32, OffsetAt)],
    ) -> Result<Vec<ListedOffset>> {
        let deadline = Instant::now() + self.shared.timeouts.request;
        let mut found: Vec<Option<ListedOffset>> = vec![None; queries.len()];
        let mut failures = 0;
        loop {
            let last_error = match self.list_missing(queries, &mut found, deadline).await? {
                None => return Ok(found.into_iter().flatten().collect()),
                Some(error) => error,
            };
            failures += 1;
            // A leader that was named is in the cache by now; older metadata must not undo it.
            let is_hinted = last_error.leader_endpoint().is_some() && follows_hint(failures);
            if is_hinted && failures <= REDIRECTS_AT_ONCE_MAX {
                continue;
            }
            let pause = self.shared.random.backoff(failures);
            if Instant::now() + pause >= deadline {
                return Err(Error::TimedOut {
                    operation: "list offsets",
                    timeout: self.shared.timeouts.request,
                    last_error: Some(Box::new(last_error)),
                });
            }
            tokio::time::sleep(pause).await;
            if !is_hinted {
                // What failed may have moved; an unreachable cluster shows in the next round.
                let _ = self.shared.refresh_metadata().await;
            }
        }
    }

    /// One round over the leaders of what is still missing; `Some` is a retriable error.
    async fn list_missing(
        &self,
        queries: &[(&str, u32, OffsetAt)],
        found: &mut [Option<ListedOffset>],
        deadline: Instant,
    ) -> Result<Option<Error>> {
        let mut by_leader: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
        let mut retriable = None;
        for (index, (topic, partition, _)) in queries.iter().enumerate() {
            if found.get(index).is_some_and(Option::is_some) {
                continue;
            }
            let count = self.shared.partitions_count(topic).await?;
            if *partition >= count {
                return Err(raftmq_proto::v1::Error::unknown_partition(topic, *partition).into());
            }
            match self.shared.metadata.leader(topic, *partition) {
                Some(leader) => by_leader.entry(leader.endpoint).or_default().push(index),
                None => retriable = Some(leaderless(topic, *partition)),
            }
        }
        for (endpoint, indexes) in by_leader {
            let asked: Vec<_> = indexes
                .iter()
                .filter_map(|index| queries.get(*index))
                .map(|(topic, partition, at)| (*topic, *partition, *at))
                .collect();
            match query_leader(&self.shared, &endpoint, &asked, deadline).await {
                Ok(answers) => {
                    for (index, answer) in indexes.into_iter().zip(answers) {
                        match answer {
                            Ok(listed) => found[index] = Some(listed),
                            Err(error) if error.is_retriable() => retriable = Some(error),
                            Err(error) => return Err(error),
                        }
                    }
                }
                Err(error) if error.is_retriable() => retriable = Some(error),
                Err(error) => return Err(error),
            }
        }
        Ok(retriable)
    }
}

/// Asks one leader; answers stand in the order of the queries.
pub(crate) async fn query_leader(
    shared: &Shared,
    endpoint: &str,
    queries: &[(&str, u32, OffsetAt)],
    deadline: Instant,
) -> Result<Vec<Result<ListedOffset>>> {
    let request = ListOffsetsRequest {
        queries: queries
            .iter()
            .map(|(topic, partition, at)| OffsetQuery {
                topic: (*topic).to_owned(),
                partition: *partition,
                at: Some(at.to_wire()),
            })
            .collect(),
    };
    let call = |channel| {
        let request = request.clone();
        async move { broker_client(channel).list_offsets(request).await }
    };
    let response = shared.call_once(endpoint, deadline, &call).await?;
    if response.results.len() != queries.len() {
        return Err(Error::Protocol {
            endpoint: endpoint.to_owned(),
            reason: format!(
                "{} offsets for {} queries",
                response.results.len(),
                queries.len()
            ),
        });
    }
    let answers = response
        .results
        .into_iter()
        .map(|result| match result.error {
            Some(error) => {
                if let Some(leader) = error.leader_endpoint() {
                    shared
                        .metadata
                        .hint(&result.topic, result.partition, leader);
                }
                Err(error.into())
            }
            None => Ok(ListedOffset {
                topic: result.topic,
                partition: result.partition,
                offset: (result.offset >= 0).then_some(result.offset),
                timestamp_ms: (result.timestamp_ms >= 0).then_some(result.timestamp_ms),
                leader_epoch: result.leader_epoch,
            }),
        });
    Ok(answers.collect())
}

/// What a partition without a known leader answers.
pub(crate) fn leaderless(topic: &str, partition: u32) -> Error {
    raftmq_proto::v1::Error::unavailable(format!("partition {topic}/{partition} has no leader"))
        .into()
}

/// A topic about to be created; [`send`](CreateTopic::send) does it.
#[derive(Debug, Clone)]
#[must_use]
pub struct CreateTopic {
    admin: Admin,
    request: CreateTopicRequest,
}

impl CreateTopic {
    /// Sets the number of partitions.
    pub const fn partitions(mut self, count: u32) -> Self {
        self.request.partitions_count = count;
        self
    }

    /// Sets the number of replicas of each partition.
    pub const fn replication_factor(mut self, factor: u32) -> Self {
        self.request.replication_factor = factor;
        self
    }

    /// Sets a config of the topic, under Kafka's name.
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.configs.insert(name.into(), value.into());
        self
    }

    /// Places one partition, the preferred leader first; instead of counts.
    pub fn assign(mut self, partition: u32, replicas: &[u32]) -> Self {
        self.request.assignments.push(ReplicaAssignment {
            partition,
            replicas: replicas.to_vec(),
        });
        self
    }

    /// Checks everything and changes nothing.
    pub const fn validate_only(mut self) -> Self {
        self.request.validate_only = true;
        self
    }

    /// Creates the topic; the answer carries warnings for people.
    ///
    /// # Errors
    /// `TOPIC_ALREADY_EXISTS`, `INVALID_TOPIC_NAME`, `INVALID_PARTITIONS_COUNT`,
    /// `INVALID_REPLICATION_FACTOR`, `INVALID_CONFIG`, and those of every call.
    pub async fn send(self) -> Result<CreateTopicResponse> {
        let request = self.request;
        self.admin
            .shared
            .call("create topic", |channel| {
                let request = request.clone();
                async move { admin_client(channel).create_topic(request).await }
            })
            .await
    }
}

/// Changes of a topic; [`send`](AlterTopic::send) makes them.
#[derive(Debug, Clone)]
#[must_use]
pub struct AlterTopic {
    admin: Admin,
    request: AlterTopicRequest,
}

impl AlterTopic {
    /// Sets a config, under Kafka's name.
    pub fn set_config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.set_configs.insert(name.into(), value.into());
        self
    }

    /// Takes a config back to its default.
    pub fn delete_config(mut self, name: impl Into<String>) -> Self {
        self.request.delete_configs.push(name.into());
        self
    }

    /// Raises the number of partitions; keys may then go to other partitions than before.
    pub const fn partitions(mut self, count: u32) -> Self {
        self.request.partitions_count = count;
        self
    }

    /// Sets the number of replicas of each partition; their moves are under way when the call returns.
    pub const fn replication_factor(mut self, factor: u32) -> Self {
        self.request.replication_factor = factor;
        self
    }

    /// Checks everything and changes nothing.
    pub const fn validate_only(mut self) -> Self {
        self.request.validate_only = true;
        self
    }

    /// Makes the changes and returns the topic as it is then.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC`, `INVALID_CONFIG`, `INVALID_PARTITIONS_COUNT`, `INVALID_REPLICATION_FACTOR`, and
    /// those of every call.
    pub async fn send(self) -> Result<TopicInfo> {
        let request = self.request;
        let response = self
            .admin
            .shared
            .call("alter topic", |channel| {
                let request = request.clone();
                async move { admin_client(channel).alter_topic(request).await }
            })
            .await?;
        Ok(response.topic.unwrap_or_default())
    }
}
