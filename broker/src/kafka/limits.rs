//! Every bound of this front end that is not a setting, with its unit.

use std::time::Duration;

/// Requests of one connection that are begun and not answered; further ones wait unread.
pub(super) const REQUESTS_IN_FLIGHT_MAX: usize = 64;
/// Encoded answers that wait for a slow client, bytes; beyond it no further answer is encoded.
pub(super) const ANSWERS_BYTES_MAX: usize = 1 << 20;
/// Memory taken ahead for a frame of which only the length is known, bytes.
pub(super) const FRAME_BYTES_AHEAD: usize = 1 << 20;
/// Memory taken for reading when nothing is known, bytes.
pub(super) const READ_BYTES: usize = 16 << 10;
/// Bytes of requests are counted in units of this many, so that the count fits a semaphore.
pub(super) const REQUEST_BYTES_UNIT: usize = 1 << 10;
/// Memory that the arrays of one decoded request may take, bytes.
pub(super) const DECODED_BYTES_MAX: usize = 32 << 20;

/// Records in one fetch response, unless a single batch is larger, bytes (Kafka: `fetch.max.bytes`).
pub(super) const FETCH_BYTES_MAX: usize = 55 << 20;
/// Longest wait of a fetch.
pub(super) const FETCH_WAIT_MAX: Duration = Duration::from_secs(60);
/// Partitions that one fetch session may have; a larger one is not kept.
pub(super) const SESSION_PARTITIONS_MAX: usize = 100_000;
/// Disuse after which a fetch session may make room for another one (Kafka:
/// `min.incremental.fetch.session.eviction.ms`).
pub(super) const SESSION_IDLE_MIN: Duration = Duration::from_secs(120);

/// Longest wait of a produce request for its acknowledgements.
pub(super) const PRODUCE_WAIT_MAX: Duration = Duration::from_secs(300);
/// Time for a metadata command to find a controller and a majority, whatever the client says.
pub(super) const COMMAND_WAIT_MAX: Duration = Duration::from_secs(60);
/// The same for commands of clients that name no time: auto-creation and producer ids.
pub(super) const COMMAND_WAIT: Duration = Duration::from_secs(10);
/// Time that a new topic's partitions are given to elect leaders before the answer goes out anyway.
pub(super) const LEADERS_WAIT: Duration = Duration::from_secs(5);
/// Partitions in one answer to DescribeTopicPartitions (Kafka: `max.request.partition.size.limit`).
pub(super) const DESCRIBED_PARTITIONS_MAX: usize = 2_000;
/// Topics that one Metadata request creates; the others stay unknown until the client asks again.
pub(super) const AUTO_CREATED_TOPICS_MAX: usize = 100;
