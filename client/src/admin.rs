//! The control plane: topics, partitions, offsets, cluster; virtual hosts, users and queues.
//!
//! Knows the admin messages and how to repeat a call; any broker takes any call, except
//! `list_offsets`, which goes to the leaders.

mod brokers;
mod declaring;
mod offsets;
mod parts;
mod queues;
mod recovery;
mod settings;
mod users;
mod vhosts;

use std::sync::Arc;

use raftmq_proto::v1::{
    AlterReplicasRequest, AlterTopicRequest, CreateTopicRequest, CreateTopicResponse,
    DeleteRecordsRequest, DeleteTopicRequest, DescribeClusterRequest, DescribeClusterResponse,
    DescribeTopicRequest, DescribeTopicResponse, MetadataRequest, ReplicaAssignment, TopicInfo,
};

use crate::client::Shared;
use crate::connection::{admin_client, broker_client};
use crate::error::Result;

pub use declaring::{Argument, DeclareExchange, DeclareQueue};
pub(crate) use offsets::query_leader;
pub use offsets::{ListedOffset, OffsetAt};
pub use queues::{Counting, DeleteQueue};
pub use recovery::Recovery;
pub use settings::AlterClusterSettings;
pub use users::{Permissions, PutUser};
pub use vhosts::CreateVhost;

/// The control plane of a cluster; made by [`Client::admin`](crate::Client::admin), cheap to clone.
///
/// Every call is retried on retriable errors until the client's request timeout; a call whose
/// answer was lost may therefore have happened when its repetition is refused (`create_topic` then
/// gives `TOPIC_ALREADY_EXISTS`). Dropping a call's future stops waiting, not the broker.
#[derive(Debug, Clone)]
pub struct Admin {
    pub(crate) shared: Arc<Shared>,
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
