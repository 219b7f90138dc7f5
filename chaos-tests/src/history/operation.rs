//! One operation of a client, as it was invoked and as it ended.
//!
//! Owns the vocabulary of a history (send, poll, outcome). It does not know how operations are
//! run, nor what makes them wrong: that is for `checkers`.
//!
//! Source: `jepsen.tests.kafka` (`send`, `poll`; completions `ok`, `fail`, `info`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A value that a producer sends exactly once; unique in a history.
pub type Value = u64;

/// How an operation ended, as far as its client can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It certainly happened.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// Nobody knows: a time-out, a lost connection, the end of the run, `acks=0`.
    Info,
}

/// What a send waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acks {
    /// `acks=0`: no answer.
    None,
    /// `acks=1`: on the leader's disk.
    Leader,
    /// `acks=-1`: committed, and on the disk of every in-sync replica.
    All,
}

/// One record that a producer handed to its client library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// Partition that was named.
    pub partition: u32,
    /// What was sent.
    pub value: Value,
    /// The producer instance; a restarted producer is a new one.
    pub session: u64,
    /// What the send waits for.
    pub acks: Acks,
    /// Whether the producer deduplicates (producer id, epoch, sequence).
    pub idempotent: bool,
    /// Whether the client library may send it again by itself.
    pub retries: bool,
    /// Offset from the acknowledgement.
    pub offset: Option<i64>,
}

/// One record that a consumer was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// Where it stands.
    pub offset: i64,
    /// What it holds.
    pub value: Value,
}

/// What a consumer does with its position around a poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PollMode {
    /// Reads on; its position lives and dies with the session.
    Follow,
    /// Saves its position before it processes what it read: at most once. `ok` means that the
    /// records were processed, `info` that the consumer died in between. Sessions of one
    /// `consumer` continue each other.
    CommitFirst {
        /// The name under which the position is saved.
        consumer: u32,
    },
    /// Part of the final drain, from the log start to the end.
    Drain,
    /// Asks a leader for its high watermark and reads nothing; nothing was fetched in advance.
    Probe,
}

/// Records that one poll returned, by partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// The consumer instance since its last assign or seek.
    pub session: u64,
    /// Around its position.
    pub mode: PollMode,
    /// In the order in which they were given.
    pub reads: BTreeMap<u32, Vec<Read>>,
    /// High watermark of each partition as its leader reported it with the records.
    pub high_watermarks: BTreeMap<u32, i64>,
}

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A record was handed to a producer.
    Send(Send),
    /// A consumer asked for records.
    Poll(Poll),
}

/// One operation; times are simulated microseconds since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// In the order of invocation, from 0.
    pub id: u64,
    /// The client that ran it. Operations of one process may overlap only as sends do.
    pub process: u32,
    /// When it began.
    pub invoked_at_us: u64,
    /// When it ended; `None` = it never did, which counts as `info`.
    pub completed_at_us: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it was.
    pub action: Action,
}

impl Operation {
    /// The send, if it is one.
    #[must_use]
    pub const fn as_send(&self) -> Option<&Send> {
        match &self.action {
            Action::Send(send) => Some(send),
            Action::Poll(_) => None,
        }
    }

    /// The poll, if it is one.
    #[must_use]
    pub const fn as_poll(&self) -> Option<&Poll> {
        match &self.action {
            Action::Send(_) => None,
            Action::Poll(poll) => Some(poll),
        }
    }

    /// Whether it ended before `other` began: real time orders the two.
    #[must_use]
    pub fn precedes(&self, other: &Self) -> bool {
        self.completed_at_us
            .is_some_and(|end| end < other.invoked_at_us)
    }
}
