//! Fetch: long poll, sessions (KIP-227), leader hints (KIP-951).
//!
//! `partition` reads one partition; this file bounds the whole, waits, and builds the response.

mod partition;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use raftmq_kafka_protocol::messages::fetch::request::{FetchTopic, ForgottenTopic};
use raftmq_kafka_protocol::messages::fetch::response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use raftmq_kafka_protocol::messages::{FetchRequest, FetchResponse};
use raftmq_kafka_protocol::{RecordSet, Uuid};
use tokio::time::{Instant, timeout_at};

use self::partition::{Found, read};
use crate::kafka::context::{Context, NodeAddress};
use crate::kafka::leaders::Hints;
use crate::kafka::limits::{FETCH_BYTES_MAX, FETCH_WAIT_MAX};
use crate::kafka::quotas;
use crate::kafka::sessions::{Asked, Key, Plan, Told, Wanted};
use crate::kafka::topics::TopicName;

/// First version whose answer may name leaders of partitions.
const WITH_LEADERS: i16 = 12;
/// First version that names topics by their ids (KIP-516).
const WITH_TOPIC_IDS: i16 = 13;
/// First version whose answer may name nodes.
const WITH_NODES: i16 = 16;
/// `IsolationLevel` of a consumer that wants no records of aborted transactions.
const READ_COMMITTED: i8 = 1;

pub(in crate::kafka) async fn serve(
    context: Context,
    version: i16,
    request: FetchRequest,
) -> FetchResponse {
    let at_once_max = quotas::fetch_bytes_at_once_max(&context);
    let limits = Limits::of(&request, at_once_max);
    let isolation_level = request.isolation_level;
    let rack = request.rack_id.clone();
    let now = Instant::now();
    let random = context.parts().env().random_u64();
    let asked = asked(version, request);
    let plan = context.shared().sessions.lock().begin(asked, now, random);
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => {
            return FetchResponse {
                error_code: error.into(),
                ..FetchResponse::default()
            };
        }
    };
    let found = fetch(&context, &plan.wanted, &rack, limits).await;
    let bytes = found.iter().map(Found::bytes).sum();
    let throttled = quotas::charge_fetch(&context, bytes, at_once_max);
    if throttled.is_postponed {
        context.shared().sessions.lock().abandon(&plan);
        return FetchResponse {
            throttle_time_ms: throttled.wait_ms,
            session_id: plan.session_id_if_incremental(),
            ..FetchResponse::default()
        };
    }
    let told: Vec<Told> = found.iter().map(Found::told).collect();
    let tell = context.shared().sessions.lock().finish(&plan, &told);
    FetchResponse {
        throttle_time_ms: throttled.wait_ms,
        ..Building::new(context, version, isolation_level).build(plan, found, tell)
    }
}

/// How much, and how long, a request may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    deadline: Instant,
    bytes_min: usize,
    bytes_max: usize,
}

impl Limits {
    fn of(request: &FetchRequest, at_once_max: usize) -> Self {
        let wait = u64::try_from(request.max_wait_ms).unwrap_or(0);
        let wait = Duration::from_millis(wait).min(FETCH_WAIT_MAX);
        // Even who wants nothing gets a batch, as from Kafka: consumers may be set to 0, and would stand still.
        let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0).max(1);
        let bytes_max = bytes_max.min(FETCH_BYTES_MAX).min(at_once_max);
        let bytes_min = usize::try_from(request.min_bytes).unwrap_or(0);
        Self {
            deadline: Instant::now() + wait,
            bytes_min: bytes_min.min(bytes_max),
            bytes_max,
        }
    }
}

fn asked(version: i16, request: FetchRequest) -> Asked {
    let has_ids = version >= WITH_TOPIC_IDS;
    let wanted = |topic: FetchTopic| {
        let name = TopicName::new(&topic.topic, topic.topic_id, has_ids);
        topic.partitions.into_iter().map(move |one| Wanted {
            key: Key {
                topic: name.clone(),
                partition: one.partition,
            },
            offset: one.fetch_offset,
            bytes_max: one.partition_max_bytes,
            current_leader_epoch: one.current_leader_epoch,
            last_fetched_epoch: one.last_fetched_epoch,
        })
    };
    let forgotten = |topic: ForgottenTopic| {
        let name = TopicName::new(&topic.topic, topic.topic_id, has_ids);
        topic.partitions.into_iter().map(move |partition| Key {
            topic: name.clone(),
            partition,
        })
    };
    Asked {
        session_id: request.session_id,
        epoch: request.session_epoch,
        has_ids,
        partitions: request.topics.into_iter().flat_map(wanted).collect(),
        forgotten: request
            .forgotten_topics_data
            .into_iter()
            .flat_map(forgotten)
            .collect(),
    }
}

/// Reads, and waits until there is enough, something to be said at once, or no time left.
async fn fetch(context: &Context, wanted: &[Wanted], rack: &str, limits: Limits) -> Vec<Found> {
    loop {
        let image = context.image();
        let mut left = limits.bytes_max;
        let mut found = Vec::with_capacity(wanted.len());
        for one in wanted {
            let partition = read(context, &image, one, rack, left).await;
            left = left.saturating_sub(partition.bytes());
            found.push(partition);
        }
        let is_enough = limits.bytes_max - left >= limits.bytes_min
            || found.iter().any(Found::is_urgent)
            || found.is_empty();
        if is_enough || Instant::now() >= limits.deadline {
            return found;
        }
        let mut images = context.parts().controller.images();
        let news = async {
            tokio::select! {
                biased;
                () = any_beyond(&found) => {}
                // Another leader, say.
                _image = images.newer_than(image.version) => {}
            }
        };
        let _ = timeout_at(limits.deadline, news).await;
    }
}

/// Waits until some partition has more than was found.
async fn any_beyond(found: &[Found]) {
    let waits = found.iter().filter_map(Found::beyond);
    let mut waits: FuturesUnordered<_> = waits.collect();
    if waits.next().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// A response in the making.
struct Building {
    context: Context,
    version: i16,
    isolation_level: i8,
    hints: Hints,
    topics: Vec<FetchableTopicResponse>,
    positions: BTreeMap<TopicName, usize>,
}

impl Building {
    fn new(context: Context, version: i16, isolation_level: i8) -> Self {
        Self {
            context,
            version,
            isolation_level,
            hints: Hints::new(),
            topics: Vec::new(),
            positions: BTreeMap::new(),
        }
    }

    fn build(mut self, plan: Plan, found: Vec<Found>, tell: Vec<bool>) -> FetchResponse {
        let results = plan.wanted.into_iter().zip(found).zip(tell);
        for ((wanted, found), is_told) in results {
            if is_told {
                let data = self.partition(&wanted, found);
                self.topic(wanted.key.topic).partitions.push(data);
            }
        }
        let nodes = self.hints.into_nodes().map(node);
        FetchResponse {
            session_id: plan.session_id,
            responses: self.topics,
            node_endpoints: nodes.filter(|_| self.version >= WITH_NODES).collect(),
            ..FetchResponse::default()
        }
    }

    fn topic(&mut self, name: TopicName) -> &mut FetchableTopicResponse {
        let topics = &mut self.topics;
        let at = *self.positions.entry(name.clone()).or_insert_with(|| {
            let (topic, topic_id) = match name {
                TopicName::Name(name) => (name.as_ref().into(), Uuid::ZERO),
                TopicName::Id(id) => (bytestring::ByteString::new(), id),
            };
            topics.push(FetchableTopicResponse {
                topic,
                topic_id,
                ..FetchableTopicResponse::default()
            });
            topics.len() - 1
        });
        &mut topics[at]
    }

    fn partition(&mut self, wanted: &Wanted, found: Found) -> PartitionData {
        let mut data = PartitionData {
            partition_index: wanted.key.partition,
            error_code: found.error.into(),
            high_watermark: found.high_watermark,
            // There are no transactions yet: everything committed is stable.
            last_stable_offset: found.high_watermark,
            log_start_offset: found.log_start,
            aborted_transactions: (self.isolation_level == READ_COMMITTED).then(Vec::new),
            preferred_read_replica: found.preferred_replica,
            records: Some(RecordSet::from(found.batches)),
            ..PartitionData::default()
        };
        if let Some((epoch, end_offset)) = found.diverging {
            data.diverging_epoch = EpochEndOffset { epoch, end_offset };
        }
        if self.version >= WITH_LEADERS
            && let Some(name) = &found.topic
            && let Some(leader) =
                self.hints
                    .leader(&self.context, found.error, name, wanted.key.partition)
        {
            data.current_leader = LeaderIdAndEpoch {
                leader_id: leader.id,
                leader_epoch: leader.epoch,
            };
        }
        data
    }
}

fn node(address: NodeAddress) -> NodeEndpoint {
    NodeEndpoint {
        node_id: address.id,
        host: address.host,
        port: address.port,
        rack: address.rack,
    }
}
