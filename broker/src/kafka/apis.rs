//! The one table of what is served: API, versions, handler.
//!
//! ApiVersions, the check of every request, the metrics and `docs/protocol-support.md` are made of
//! it, so nothing is advertised that has no handler.

use std::ops::RangeInclusive;

use futures_util::future::{BoxFuture, FutureExt};
use raftmq_kafka_protocol::messages::ApiVersionsResponse;
use raftmq_kafka_protocol::messages::api_versions::response::ApiVersion;
use raftmq_kafka_protocol::{ApiKey, ErrorCode, Request, Response};
use tokio::sync::OwnedSemaphorePermit;

use super::context::Context;
use super::handlers;
use super::outcome::Outcome;

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// An answer.
    Response {
        /// What is answered.
        response: Box<Response>,
        /// It carries an error, anywhere in it.
        has_error: bool,
        /// Given back once it is on its way: how much such answers take is bounded by that.
        turn: Option<OwnedSemaphorePermit>,
        /// How long the handler wants the client to wait, ms: it was given less, or too much.
        throttle_ms: u64,
    },
    /// None, by the protocol (`acks=0`).
    None,
    /// The connection is closed: the only way to tell a client that wants no answer.
    Close,
}

impl Answer {
    /// The answer that is this response.
    pub(super) fn of<T: Outcome + Into<Response>>(response: T) -> Self {
        Self::Response {
            has_error: response.has_error(),
            response: Box::new(response.into()),
            turn: None,
            throttle_ms: 0,
        }
    }
}

/// A request that is being worked on.
pub(super) enum Begun {
    /// It may overtake others, and be overtaken.
    Now(BoxFuture<'static, Answer>),
    /// It takes its place first; the next request of the connection begins only then.
    InOrder(BoxFuture<'static, BoxFuture<'static, Answer>>),
}

/// One API that is served.
pub(super) struct Row {
    /// The API.
    pub(super) key: ApiKey,
    /// Its newest version, where the schema has newer ones.
    newest: Option<i16>,
    /// Begins the work on a request.
    pub(super) begin: fn(Context, i16, Request) -> Begun,
}

macro_rules! served {
    ($api:ident, $handler:ident) => {
        served!($api, $handler, None)
    };
    ($api:ident, $handler:ident, $newest:expr) => {
        Row {
            key: ApiKey::$api,
            newest: $newest,
            begin: |context, version, request| {
                let answer = async move {
                    let Request::$api(body) = request else {
                        return Answer::Close;
                    };
                    Answer::of(handlers::$handler::serve(context, version, body).await)
                };
                Begun::Now(answer.boxed())
            },
        }
    };
}

/// One fetch of a connection is worked on at a time, until it is on its way: answers hold records.
const FETCH: Row = Row {
    key: ApiKey::Fetch,
    newest: None,
    begin: |context, version, request| {
        let answer = async move {
            let Request::Fetch(body) = request else {
                return Answer::Close;
            };
            let turn = context.fetch_turn().await;
            let response = handlers::fetch::serve(context, version, body).await;
            Answer::Response {
                has_error: response.has_error(),
                throttle_ms: u64::try_from(response.throttle_time_ms).unwrap_or(0),
                response: Box::new(response.into()),
                turn,
            }
        };
        Begun::Now(answer.boxed())
    },
};

/// Everything that is served, by ascending key.
static TABLE: [Row; 20] = [
    Row {
        key: ApiKey::Produce,
        newest: None,
        begin: |context, version, request| {
            Begun::InOrder(handlers::produce::begin(context, version, request).boxed())
        },
    },
    FETCH,
    served!(ListOffsets, list_offsets),
    served!(Metadata, metadata),
    served!(FindCoordinator, find_coordinator),
    // Version 5 (KIP-1242) lets a broker refuse clients of another cluster: not yet.
    served!(ApiVersions, api_versions, Some(4)),
    served!(CreateTopics, create_topics),
    served!(DeleteTopics, delete_topics),
    served!(DeleteRecords, delete_records),
    served!(InitProducerId, init_producer_id),
    served!(OffsetForLeaderEpoch, offset_for_leader_epoch),
    served!(DescribeConfigs, describe_configs),
    served!(AlterConfigs, alter_configs),
    served!(CreatePartitions, create_partitions),
    served!(IncrementalAlterConfigs, incremental_alter_configs),
    served!(DescribeClientQuotas, describe_client_quotas),
    served!(AlterClientQuotas, alter_client_quotas),
    served!(DescribeCluster, describe_cluster),
    served!(DescribeProducers, describe_producers),
    served!(DescribeTopicPartitions, describe_topic_partitions),
];

/// Oldest version of Produce that is advertised. From 3 on it is served; but librdkafka stops to
/// compress when it sees that 0 is not there (KAFKA-18659).
const PRODUCE_ADVERTISED_FROM: i16 = 0;

impl Row {
    /// The versions that are served.
    pub(super) fn versions(&self) -> RangeInclusive<i16> {
        let schema = self.key.versions();
        schema.min..=self.newest.unwrap_or(schema.max)
    }

    /// The versions that clients are told.
    pub(super) fn advertised(&self) -> RangeInclusive<i16> {
        let served = self.versions();
        if self.key == ApiKey::Produce {
            return PRODUCE_ADVERTISED_FROM..=*served.end();
        }
        served
    }
}

/// Every API that is served, by ascending key.
pub(super) fn served() -> impl Iterator<Item = &'static Row> {
    TABLE.iter()
}

/// Who serves an API in a version; `None` if nobody does.
pub(super) fn find(key: impl Into<Option<ApiKey>>, version: i16) -> Option<&'static Row> {
    let key = key.into()?;
    let row = TABLE.iter().find(|row| row.key == key)?;
    row.versions().contains(&version).then_some(row)
}

/// What ApiVersions tells.
pub(super) fn api_versions() -> ApiVersionsResponse {
    ApiVersionsResponse {
        api_keys: TABLE.iter().map(advertise).collect(),
        ..ApiVersionsResponse::default()
    }
}

/// The answer to a version of ApiVersions that is not served: which ones are (KIP-511).
pub(super) fn unsupported_api_versions() -> Answer {
    let own = TABLE.iter().filter(|row| row.key == ApiKey::ApiVersions);
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.into(),
        api_keys: own.map(advertise).collect(),
        ..ApiVersionsResponse::default()
    };
    Answer::of(response)
}

fn advertise(row: &Row) -> ApiVersion {
    let versions = row.advertised();
    ApiVersion {
        api_key: row.key.into(),
        min_version: *versions.start(),
        max_version: *versions.end(),
    }
}
