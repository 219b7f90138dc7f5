//! One append: what a client gives, and what it is told.

use bytes::Bytes;
use raftmq_records::BatchHeader;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::error::ReplicaError;

/// When an append is answered (Kafka's `acks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// 0: never; the answer is sent when the append is taken.
    None,
    /// 1: when it is on the leader's disk.
    Leader,
    /// -1: when it is committed and on the disk of every in-sync replica.
    All,
}

/// A successful append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record; -1 when it is not known (`acks=0`).
    pub base_offset: i64,
    /// Under `LogAppendTime`, the stamp.
    pub log_append_time_ms: Option<i64>,
    /// It was there already: the answer to a retry.
    pub is_duplicate: bool,
}

/// One validated batch on its way into the log.
#[derive(Debug)]
pub(super) struct Append {
    /// The batch.
    pub batch: Bytes,
    /// Its header.
    pub header: BatchHeader,
    /// When the partition was asked.
    pub came_at: Instant,
    /// When to answer.
    pub acks: Acks,
    /// Where to answer.
    pub reply: oneshot::Sender<Result<Appended, ReplicaError>>,
    /// Its share of the broker's produce budget, given back with the answer.
    pub permit: OwnedSemaphorePermit,
}
