//! Offsets by position or time, asked of the leaders of many partitions at once.
//!
//! Knows how leaders are found and asked again; what an offset means is the broker's.

use std::collections::BTreeMap;
use std::sync::Arc;

use raftmq_proto::v1::offset_query::At;
use raftmq_proto::v1::{ListOffsetsRequest, OffsetQuery, OffsetSpecial};
use tokio::time::Instant;

use super::Admin;
use crate::client::Shared;
use crate::connection::broker_client;
use crate::error::{Error, Result};
use crate::limits::REDIRECTS_AT_ONCE_MAX;
use crate::metadata::follows_hint;

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
fn leaderless(topic: &str, partition: u32) -> Error {
    raftmq_proto::v1::Error::unavailable(format!("partition {topic}/{partition} has no leader"))
        .into()
}
