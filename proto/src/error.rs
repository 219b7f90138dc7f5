//! [`v1::Error`](crate::v1::Error) as a value and as a gRPC status.
//!
//! Owns the table from error code to gRPC code and the metadata key that carries the encoded error
//! of a unary call. It does not know which error an operation may give; that table stands in the
//! broker's gRPC front end.

use prost::Message as _;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::v1::{Error, ErrorCode};

/// Metadata key under which a status carries the encoded [`Error`].
pub const ERROR_METADATA_KEY: &str = "raftmq-error-bin";

/// Longest error text, in bytes, that is put into a status: HTTP/2 header lists are bounded.
pub const STATUS_MESSAGE_BYTES_MAX: usize = 1024;

impl Error {
    /// Creates an error whose `retriable` follows from its code (see [`is_code_retriable`]).
    ///
    /// The text names cause and object: lowercase, no full stop.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            retriable: is_code_retriable(code),
            leader_broker_id: 0,
            leader_endpoint: String::new(),
        }
    }

    /// Creates a `NOT_LEADER` error. `leader` is the leader's broker id and gRPC endpoint
    /// (`host:port`) as far as this broker knows them.
    #[must_use]
    pub fn not_leader(message: impl Into<String>, leader: Option<(u32, String)>) -> Self {
        let (leader_broker_id, leader_endpoint) = leader.unwrap_or_default();
        Self {
            leader_broker_id,
            leader_endpoint,
            ..Self::new(ErrorCode::NotLeader, message)
        }
    }

    /// Creates an `INTERNAL` error: a defect or a stopped group; not retriable.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// Creates an `UNAVAILABLE` error: no leader yet, starting or stopping; retriable.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unavailable, message)
    }

    /// Creates a `TIMED_OUT` error: the outcome is unknown; retriable (an idempotent producer
    /// repeats without a duplicate).
    #[must_use]
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::TimedOut, message)
    }

    /// Creates an `INVALID_REQUEST` error: the same request can never succeed.
    #[must_use]
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// Creates an `UNKNOWN_TOPIC` error that names the topic.
    ///
    /// Retriable, as in Kafka: a topic that was just created may not have reached this broker yet.
    #[must_use]
    pub fn unknown_topic(topic: &str) -> Self {
        Self::new(
            ErrorCode::UnknownTopic,
            format!("topic {topic:?} does not exist"),
        )
    }

    /// Creates an `UNKNOWN_PARTITION` error that names topic and partition; retriable like
    /// [`Error::unknown_topic`].
    #[must_use]
    pub fn unknown_partition(topic: &str, partition: u32) -> Self {
        Self::new(
            ErrorCode::UnknownPartition,
            format!("topic {topic:?} has no partition {partition}"),
        )
    }

    /// Returns whether the same request may succeed later, perhaps at another broker.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        self.retriable
    }

    /// Returns the leader's endpoint (`host:port`) when the error names one.
    #[must_use]
    pub fn leader_endpoint(&self) -> Option<&str> {
        (!self.leader_endpoint.is_empty()).then_some(self.leader_endpoint.as_str())
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.message.is_empty() {
            f.write_str(self.code().as_str_name())
        } else {
            f.write_str(&self.message)
        }
    }
}

impl std::error::Error for Error {}

/// Returns whether an error of this code is retriable unless its sender says otherwise.
#[must_use]
pub const fn is_code_retriable(code: ErrorCode) -> bool {
    match code {
        ErrorCode::Unavailable
        | ErrorCode::TimedOut
        | ErrorCode::NotLeader
        | ErrorCode::UnknownTopic
        | ErrorCode::UnknownPartition
        | ErrorCode::UnknownVhost
        | ErrorCode::UnknownUser
        | ErrorCode::UnknownQueue
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::OffsetNotAvailable
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::UnknownLeaderEpoch
        | ErrorCode::Throttled
        | ErrorCode::StorageFull
        | ErrorCode::NoController => true,
        ErrorCode::Unspecified
        | ErrorCode::Internal
        | ErrorCode::InvalidRequest
        | ErrorCode::TopicAlreadyExists
        | ErrorCode::InvalidTopicName
        | ErrorCode::InvalidPartitionsCount
        | ErrorCode::InvalidReplicationFactor
        | ErrorCode::InvalidConfig
        | ErrorCode::RecordTooLarge
        | ErrorCode::CorruptRecord
        | ErrorCode::OutOfOrderSequence
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::UnknownProducerId
        | ErrorCode::DuplicateSequence
        | ErrorCode::OffsetOutOfRange
        | ErrorCode::UnknownBroker
        | ErrorCode::InvalidTimestamp
        | ErrorCode::InvalidRecord
        | ErrorCode::PreconditionFailed
        | ErrorCode::Unsupported => false,
    }
}

/// Returns the gRPC code that stands for an error code in a status.
#[must_use]
pub const fn grpc_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::Unspecified => Code::Unknown,
        ErrorCode::Internal => Code::Internal,
        ErrorCode::Unavailable
        | ErrorCode::NotLeader
        | ErrorCode::NoController
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::OffsetNotAvailable => Code::Unavailable,
        ErrorCode::TimedOut => Code::DeadlineExceeded,
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidTopicName
        | ErrorCode::InvalidPartitionsCount
        | ErrorCode::InvalidReplicationFactor
        | ErrorCode::InvalidConfig
        | ErrorCode::RecordTooLarge
        | ErrorCode::CorruptRecord
        | ErrorCode::InvalidRecord
        | ErrorCode::InvalidTimestamp => Code::InvalidArgument,
        ErrorCode::UnknownTopic
        | ErrorCode::UnknownPartition
        | ErrorCode::UnknownBroker
        | ErrorCode::UnknownVhost
        | ErrorCode::UnknownUser
        | ErrorCode::UnknownQueue => Code::NotFound,
        ErrorCode::TopicAlreadyExists => Code::AlreadyExists,
        ErrorCode::OutOfOrderSequence
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::UnknownProducerId
        | ErrorCode::DuplicateSequence
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::UnknownLeaderEpoch
        | ErrorCode::PreconditionFailed => Code::FailedPrecondition,
        ErrorCode::OffsetOutOfRange => Code::OutOfRange,
        ErrorCode::Throttled | ErrorCode::StorageFull => Code::ResourceExhausted,
        ErrorCode::Unsupported => Code::Unimplemented,
    }
}

/// Puts an error into a status: gRPC code, text, and the encoded error as metadata.
///
/// A text longer than [`STATUS_MESSAGE_BYTES_MAX`] is cut.
#[must_use]
pub fn into_status(mut error: Error) -> Status {
    if error.message.len() > STATUS_MESSAGE_BYTES_MAX {
        let mut end = STATUS_MESSAGE_BYTES_MAX;
        while !error.message.is_char_boundary(end) {
            end -= 1;
        }
        error.message.truncate(end);
    }
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(
        ERROR_METADATA_KEY,
        MetadataValue::from_bytes(&error.encode_to_vec()),
    );
    Status::with_metadata(grpc_code(error.code()), error.to_string(), metadata)
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        into_status(error)
    }
}

/// Takes the error out of a status; `None` when the status does not carry one (it then comes from
/// the transport, or from something that is not RaftMQ).
#[must_use]
pub fn from_status(status: &Status) -> Option<Error> {
    let value = status.metadata().get_bin(ERROR_METADATA_KEY)?;
    let bytes = value.to_bytes().ok()?;
    Error::decode(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_through_a_status() {
        let error = Error::not_leader(
            "partition t/3 is led elsewhere",
            Some((2, "b:9".to_owned())),
        );

        let status = into_status(error.clone());

        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), "partition t/3 is led elsewhere");
        assert_eq!(from_status(&status), Some(error));
    }

    #[test]
    fn a_foreign_status_carries_no_error() {
        assert_eq!(from_status(&Status::unavailable("connection reset")), None);
    }

    #[test]
    fn damaged_metadata_is_no_error_of_ours() {
        let mut metadata = MetadataMap::new();
        metadata.insert_bin(ERROR_METADATA_KEY, MetadataValue::from_bytes(&[0xff; 7]));
        let status = Status::with_metadata(Code::Internal, "x", metadata);

        assert_eq!(from_status(&status), None);
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let error = Error::internal("ä".repeat(STATUS_MESSAGE_BYTES_MAX));

        let back = from_status(&into_status(error)).expect("it carries an error");

        assert_eq!(back.message.len(), STATUS_MESSAGE_BYTES_MAX);
    }

    #[test]
    fn the_outcome_decides_whether_to_retry() {
        assert!(Error::timed_out("x").is_retriable());
        assert!(Error::unknown_topic("t").is_retriable());
        assert!(!Error::invalid_request("x").is_retriable());
        assert!(!Error::new(ErrorCode::OutOfOrderSequence, "x").is_retriable());
        assert_eq!(Error::not_leader("x", None).leader_endpoint(), None);
    }
}
