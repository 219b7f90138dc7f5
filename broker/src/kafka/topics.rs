//! Topics as requests name them, by name or by id (KIP-516), and their making.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use raftmq_core::cluster::{ClusterError, Command, CreateTopic, Image, Topic};
use raftmq_core::ids::TopicId;
use raftmq_kafka_protocol::{ErrorCode, Uuid};

use super::context::Context;
use super::limits::LEADERS_WAIT;
use crate::controller::ControlError;

/// How a request names a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TopicName {
    /// By its name.
    Name(Arc<str>),
    /// By its id.
    Id(Uuid),
}

impl TopicName {
    /// Versions that have ids have no names.
    pub(super) fn new(name: &str, id: Uuid, has_ids: bool) -> Self {
        if has_ids {
            Self::Id(id)
        } else {
            Self::Name(name.into())
        }
    }

    /// Finds the topic.
    pub(super) fn find(&self, image: &Image) -> Result<Arc<Topic>, ErrorCode> {
        let (found, error) = match self {
            Self::Name(name) => (image.topic(name), ErrorCode::UnknownTopicOrPartition),
            Self::Id(id) => {
                let found = image.topics.get(&TopicId((*id).into()));
                (found, ErrorCode::UnknownTopicId)
            }
        };
        found.cloned().ok_or(error)
    }
}

/// Makes a topic as the cluster's settings say; that it is there already is as good.
pub(super) async fn auto_create(
    context: &Context,
    name: &str,
    within: Duration,
) -> Result<(), ControlError> {
    let create = CreateTopic {
        name: name.to_owned(),
        topic_id: TopicId(context.parts().env().random_id()),
        partitions_count: 0,
        replication_factor: 0,
        assignments: Vec::new(),
        configs: BTreeMap::new(),
    };
    let made = context.propose(&Command::CreateTopic(create), within).await;
    match made {
        Ok(_) | Err(ControlError::Refused(ClusterError::TopicExists { .. })) => {
            wait_for_leaders(context, name, within).await;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Returns when every partition of a topic has a leader, or when that takes too long.
pub(super) async fn wait_for_leaders(context: &Context, name: &str, within: Duration) {
    let mut images = context.parts().controller.images();
    images
        .wait_for_leaders(name, within.min(LEADERS_WAIT))
        .await;
}
