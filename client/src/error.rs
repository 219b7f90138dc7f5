//! What can go wrong for a user of this crate.
//!
//! Owns the error type and how it sorts into kinds. The table from wire codes to meaning stands
//! here and nowhere else in the client.

use std::time::Duration;

use raftmq_proto::v1::{self, ErrorCode};
use raftmq_records::BatchError;
use tonic::Status;

/// An error of the client, or one that a broker answered.
///
/// A program decides by [`kind`](Error::kind), [`is_retriable`](Error::is_retriable) and
/// [`is_fatal`](Error::is_fatal), never by the text. Errors are cheap to clone enough: one failed
/// batch gives the same error to every record in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A broker refused, and said why.
    #[error("{message}")]
    Broker {
        /// The code on the wire.
        code: ErrorCode,
        /// The broker's text: names the cause and the object.
        message: String,
        /// Whether the same request may succeed later.
        is_retriable: bool,
        /// With `NOT_LEADER`: where the leader is, when the broker knows it.
        leader_endpoint: Option<String>,
    },
    /// No connection to a broker came about.
    #[error("cannot connect to {endpoint}: {reason}")]
    Connect {
        /// `host:port`.
        endpoint: String,
        /// What the network said.
        reason: String,
    },
    /// A connection or stream broke; the outcome of what was under way is unknown.
    #[error("connection to {endpoint} was lost: {reason}")]
    ConnectionLost {
        /// `host:port`.
        endpoint: String,
        /// What the transport said.
        reason: String,
    },
    /// A deadline passed. The outcome may be unknown.
    #[error("{operation} did not finish within {timeout:?}{}", because(.last_error.as_deref()))]
    TimedOut {
        /// What was waited for.
        operation: &'static str,
        /// The limit.
        timeout: Duration,
        /// The last error that was retried, if any.
        last_error: Option<Box<Error>>,
    },
    /// A batch was refused at a repetition, of which an earlier attempt may be written; or it stood
    /// behind one that failed. Who sends it again may write it twice.
    #[error("outcome unknown, perhaps written: {cause}")]
    OutcomeUnknown {
        /// What the broker answered last.
        cause: Box<Error>,
    },
    /// A record is larger than the producer takes; it was not sent.
    #[error("record takes {size_bytes} bytes, more than the limit of {max_bytes}")]
    RecordTooLarge {
        /// Upper bound of the record's encoded size.
        size_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// A record cannot be encoded.
    #[error("record cannot be encoded: {0}")]
    Encode(BatchError),
    /// Bytes from a broker are not the record batches that they should be.
    #[error("partition {topic}/{partition} sent a damaged batch at offset {offset}: {reason}")]
    Corrupt {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The consumer's position; a seek past it goes on.
        offset: i64,
        /// What is wrong with the bytes.
        reason: BatchError,
    },
    /// A setting is out of range, or two contradict each other.
    #[error("invalid setting: {0}")]
    InvalidConfig(String),
    /// A broker's answer does not fit the request.
    #[error("broker {endpoint} answered against the protocol: {reason}")]
    Protocol {
        /// `host:port`.
        endpoint: String,
        /// What does not fit.
        reason: String,
    },
    /// The partition is not assigned to this consumer.
    #[error("partition {topic}/{partition} is not assigned to this consumer")]
    NotAssigned {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// A mandatory message, or one for a queue, reached no queue; nobody has it.
    #[error("no queue takes messages to exchange '{exchange}' with routing key '{routing_key}'")]
    Unroutable {
        /// The exchange; empty = the default one, whose routing key names a queue.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// A queue refused the message: it is full (`x-overflow`).
    #[error("a queue refused a message to exchange '{exchange}' with routing key '{routing_key}'")]
    MessageRefused {
        /// The exchange; empty = the default one, whose routing key names a queue.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// The stream of a delivery was lost before it was settled: the message comes again, here or elsewhere.
    #[error("the delivery's stream was lost, the message comes again")]
    DeliveryLost,
    /// The producer was closed or dropped; the outcome of batches under way is unknown.
    #[error("producer is closed")]
    Closed,
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What an error is about, for a program to act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No broker, leader or quorum right now, or the connection broke.
    Unavailable,
    /// A deadline passed.
    TimedOut,
    /// Refused, and perhaps written by an attempt before.
    OutcomeUnknown,
    /// The topic, partition, broker, virtual host, user or queue does not exist (or is not known yet).
    NotFound,
    /// The topic exists already.
    AlreadyExists,
    /// The request or a setting is wrong and stays wrong.
    Invalid,
    /// What the call makes its condition does not hold now.
    Precondition,
    /// A record or batch is over a limit.
    TooLarge,
    /// Bytes are damaged.
    Corrupt,
    /// The idempotent producer's sequence was refused.
    Sequence,
    /// The consumer's position is outside the log.
    OffsetOutOfRange,
    /// A limit of the broker, or of a queue, is reached.
    Exhausted,
    /// A delivery can be settled no more.
    DeliveryLost,
    /// The broker does not do this.
    Unsupported,
    /// The producer is closed.
    Closed,
    /// A defect on the broker's side.
    Internal,
}

impl Error {
    /// Returns what the error is about.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Broker { code, .. } => kind_of(*code),
            Self::Connect { .. } | Self::ConnectionLost { .. } => ErrorKind::Unavailable,
            Self::TimedOut { .. } => ErrorKind::TimedOut,
            Self::OutcomeUnknown { .. } => ErrorKind::OutcomeUnknown,
            Self::RecordTooLarge { .. } => ErrorKind::TooLarge,
            Self::Encode(_) | Self::InvalidConfig(_) | Self::NotAssigned { .. } => {
                ErrorKind::Invalid
            }
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Protocol { .. } => ErrorKind::Internal,
            Self::Unroutable { .. } => ErrorKind::NotFound,
            Self::MessageRefused { .. } => ErrorKind::Exhausted,
            Self::DeliveryLost => ErrorKind::DeliveryLost,
            Self::Closed => ErrorKind::Closed,
        }
    }

    /// Returns whether the same call may succeed later. The client has retried such errors itself
    /// until its deadline; a caller that tries again starts a new deadline. A send that is tried again
    /// after [`Error::TimedOut`] or a lost connection may be written twice.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        match self {
            Self::Broker { is_retriable, .. } => *is_retriable,
            Self::Connect { .. } | Self::ConnectionLost { .. } | Self::TimedOut { .. } => true,
            Self::OutcomeUnknown { .. }
            | Self::RecordTooLarge { .. }
            | Self::Encode(_)
            | Self::Corrupt { .. }
            | Self::InvalidConfig(_)
            | Self::Protocol { .. }
            | Self::NotAssigned { .. }
            | Self::Unroutable { .. }
            | Self::MessageRefused { .. }
            | Self::DeliveryLost
            | Self::Closed => false,
        }
    }

    /// Returns whether the object that gave the error can do nothing more and must be built anew.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Closed | Self::InvalidConfig(_))
    }

    /// Returns the code that a broker answered, if the error is a broker's.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            Self::Connect { .. }
            | Self::ConnectionLost { .. }
            | Self::TimedOut { .. }
            | Self::OutcomeUnknown { .. }
            | Self::RecordTooLarge { .. }
            | Self::Encode(_)
            | Self::Corrupt { .. }
            | Self::InvalidConfig(_)
            | Self::Protocol { .. }
            | Self::NotAssigned { .. }
            | Self::Unroutable { .. }
            | Self::MessageRefused { .. }
            | Self::DeliveryLost
            | Self::Closed => None,
        }
    }

    pub(crate) fn leader_endpoint(&self) -> Option<&str> {
        match self {
            Self::Broker {
                leader_endpoint, ..
            } => leader_endpoint.as_deref(),
            Self::Connect { .. }
            | Self::ConnectionLost { .. }
            | Self::TimedOut { .. }
            | Self::OutcomeUnknown { .. }
            | Self::RecordTooLarge { .. }
            | Self::Encode(_)
            | Self::Corrupt { .. }
            | Self::InvalidConfig(_)
            | Self::Protocol { .. }
            | Self::NotAssigned { .. }
            | Self::Unroutable { .. }
            | Self::MessageRefused { .. }
            | Self::DeliveryLost
            | Self::Closed => None,
        }
    }

    /// Returns whether fresh metadata may cure the error.
    pub(crate) const fn wants_metadata(&self) -> bool {
        if self.wants_leader() || matches!(self, Self::TimedOut { .. }) {
            return true;
        }
        matches!(
            self.code(),
            Some(
                ErrorCode::UnknownTopic
                    | ErrorCode::UnknownPartition
                    | ErrorCode::Unavailable
                    | ErrorCode::TimedOut
            )
        )
    }

    /// Returns whether the partition only has to be asked of another broker, or waits for an election.
    pub(crate) const fn wants_leader(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::ConnectionLost { .. })
            || matches!(
                self.code(),
                Some(
                    ErrorCode::NotLeader
                        | ErrorCode::FencedLeaderEpoch
                        | ErrorCode::UnknownLeaderEpoch
                )
            )
    }

    /// Turns the status of a call to `endpoint` into an error.
    pub(crate) fn from_status(endpoint: &str, status: &Status) -> Self {
        match raftmq_proto::from_status(status) {
            Some(error) => error.into(),
            None => Self::ConnectionLost {
                endpoint: endpoint.to_owned(),
                reason: format!("{}: {}", status.code(), status.message()),
            },
        }
    }
}

impl From<v1::Error> for Error {
    fn from(error: v1::Error) -> Self {
        Self::Broker {
            code: error.code(),
            message: error.to_string(),
            is_retriable: error.retriable,
            leader_endpoint: error.leader_endpoint().map(str::to_owned),
        }
    }
}

const fn kind_of(code: ErrorCode) -> ErrorKind {
    match code {
        ErrorCode::Unspecified | ErrorCode::Internal => ErrorKind::Internal,
        ErrorCode::Unavailable
        | ErrorCode::NotLeader
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::OffsetNotAvailable
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::UnknownLeaderEpoch
        | ErrorCode::NoController => ErrorKind::Unavailable,
        ErrorCode::TimedOut => ErrorKind::TimedOut,
        ErrorCode::UnknownTopic
        | ErrorCode::UnknownPartition
        | ErrorCode::UnknownBroker
        | ErrorCode::UnknownVhost
        | ErrorCode::UnknownUser
        | ErrorCode::UnknownQueue => ErrorKind::NotFound,
        ErrorCode::TopicAlreadyExists => ErrorKind::AlreadyExists,
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidTopicName
        | ErrorCode::InvalidPartitionsCount
        | ErrorCode::InvalidReplicationFactor
        | ErrorCode::InvalidConfig
        | ErrorCode::InvalidRecord
        | ErrorCode::InvalidTimestamp => ErrorKind::Invalid,
        ErrorCode::PreconditionFailed => ErrorKind::Precondition,
        ErrorCode::RecordTooLarge => ErrorKind::TooLarge,
        ErrorCode::CorruptRecord => ErrorKind::Corrupt,
        ErrorCode::OutOfOrderSequence
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::UnknownProducerId
        | ErrorCode::DuplicateSequence => ErrorKind::Sequence,
        ErrorCode::OffsetOutOfRange => ErrorKind::OffsetOutOfRange,
        ErrorCode::Throttled | ErrorCode::StorageFull => ErrorKind::Exhausted,
        ErrorCode::Unsupported => ErrorKind::Unsupported,
    }
}

fn because(last_error: Option<&Error>) -> String {
    last_error.map_or_else(String::new, |error| format!(", last error: {error}"))
}
