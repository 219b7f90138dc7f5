//! Settings of a consumer, and their checks.

use std::sync::Arc;
use std::time::Duration;

use super::Consumer;
use crate::admin::OffsetAt;
use crate::client::Shared;
use crate::error::{Error, Result};
use crate::limits;

/// Where a partition is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The first record that is still there.
    Beginning,
    /// After the last record that is committed now.
    End,
    /// This offset.
    Offset(i64),
    /// The first record whose timestamp is this or later, in milliseconds since 1970; the end when
    /// there is none.
    Timestamp(i64),
}

impl Start {
    /// The lookup that finds the offset, or the offset itself.
    pub(crate) const fn resolve(self) -> std::result::Result<i64, OffsetAt> {
        match self {
            Self::Offset(offset) => Ok(offset),
            Self::Beginning => Err(OffsetAt::Beginning),
            Self::End => Err(OffsetAt::End),
            Self::Timestamp(timestamp_ms) => Err(OffsetAt::Timestamp(timestamp_ms)),
        }
    }
}

/// What to do when a position is outside the log: deleted meanwhile, or past the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutOfRange {
    /// Go on at the first record that is still there; records were missed.
    Earliest,
    /// Go on at the end; records were missed.
    Latest,
    /// Give `OFFSET_OUT_OF_RANGE` and stop the partition until a seek.
    #[default]
    Error,
}

/// Checked settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) out_of_range: OutOfRange,
    pub(crate) max_wait: Duration,
    pub(crate) min_bytes: u32,
    pub(crate) fetch_bytes: u32,
    pub(crate) partition_fetch_bytes: u32,
    pub(crate) prefetch_bytes: usize,
}

/// Settings of a [`Consumer`]; made by [`Client::consumer`](crate::Client::consumer).
#[derive(Debug, Clone)]
#[must_use]
pub struct ConsumerBuilder {
    client: Arc<Shared>,
    partitions: Vec<(Arc<str>, u32, Option<Start>)>,
    topics: Vec<String>,
    start: Start,
    settings: Settings,
}

impl ConsumerBuilder {
    pub(crate) const fn new(client: Arc<Shared>) -> Self {
        Self {
            client,
            partitions: Vec::new(),
            topics: Vec::new(),
            start: Start::Beginning,
            settings: Settings {
                out_of_range: OutOfRange::Error,
                max_wait: limits::FETCH_WAIT,
                min_bytes: 1,
                fetch_bytes: limits::FETCH_BYTES,
                partition_fetch_bytes: limits::PARTITION_FETCH_BYTES,
                prefetch_bytes: limits::PREFETCH_BYTES,
            },
        }
    }

    /// Adds partitions to read, from [`start`](ConsumerBuilder::start).
    pub fn assign<'a>(mut self, partitions: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        let partitions = partitions.into_iter();
        self.partitions
            .extend(partitions.map(|(topic, partition)| (Arc::from(topic), partition, None)));
        self
    }

    /// Adds a partition to read from a position of its own.
    pub fn assign_from(mut self, topic: &str, partition: u32, start: Start) -> Self {
        self.partitions
            .push((Arc::from(topic), partition, Some(start)));
        self
    }

    /// Adds every partition that the topic has when the consumer is built.
    pub fn assign_topic(mut self, topic: &str) -> Self {
        self.topics.push(topic.to_owned());
        self
    }

    /// Sets where reading begins (default [`Start::Beginning`]).
    pub const fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Sets what happens when a position is outside the log (default [`OutOfRange::Error`]).
    pub const fn out_of_range(mut self, policy: OutOfRange) -> Self {
        self.settings.out_of_range = policy;
        self
    }

    /// Sets how long a broker holds a fetch that finds too little (default 500 ms).
    pub const fn max_wait(mut self, wait: Duration) -> Self {
        self.settings.max_wait = wait;
        self
    }

    /// Sets how many bytes end that wait (default 1: any record).
    pub const fn min_bytes(mut self, bytes: u32) -> Self {
        self.settings.min_bytes = bytes;
        self
    }

    /// Bounds one fetch answer, in bytes (default 4 MiB). A larger batch still comes, alone.
    pub const fn fetch_bytes(mut self, bytes: u32) -> Self {
        self.settings.fetch_bytes = bytes;
        self
    }

    /// Bounds one partition's part of a fetch answer, in bytes (default 1 MiB).
    pub const fn partition_fetch_bytes(mut self, bytes: u32) -> Self {
        self.settings.partition_fetch_bytes = bytes;
        self
    }

    /// Bounds what is fetched ahead of the caller, in bytes (default 32 MiB).
    pub const fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.settings.prefetch_bytes = bytes;
        self
    }

    /// Builds the consumer and starts its task.
    ///
    /// Cancel safe: nothing is left behind.
    ///
    /// # Errors
    /// `InvalidConfig` when nothing is assigned, a partition is assigned twice or a size is 0;
    /// `UNKNOWN_TOPIC` when a topic does not appear within the client's topic wait,
    /// `UNKNOWN_PARTITION`; `TimedOut` when no broker answers.
    pub async fn build(self) -> Result<Consumer> {
        let settings = self.settings;
        if settings.fetch_bytes == 0 || settings.partition_fetch_bytes == 0 {
            return invalid("fetch_bytes and partition_fetch_bytes must be at least 1");
        }
        let mut assigned = Vec::new();
        for (topic, partition, start) in self.partitions {
            let count = self.client.partitions_count(&topic).await?;
            if partition >= count {
                let unknown = raftmq_proto::v1::Error::unknown_partition(&topic, partition);
                return Err(unknown.into());
            }
            assigned.push((topic, partition, start.unwrap_or(self.start)));
        }
        for topic in &self.topics {
            let count = self.client.partitions_count(topic).await?;
            let name: Arc<str> = Arc::from(topic.as_str());
            let all = (0..count).map(|partition| (Arc::clone(&name), partition, self.start));
            assigned.extend(all);
        }
        let mut names: Vec<_> = assigned.iter().map(|slot| (&slot.0, slot.1)).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return invalid("a partition is assigned twice");
        }
        if assigned.is_empty() {
            return invalid("a consumer needs at least one partition");
        }
        Ok(Consumer::start(self.client, settings, assigned))
    }
}

fn invalid<T>(reason: &str) -> Result<T> {
    Err(Error::InvalidConfig(reason.to_owned()))
}
