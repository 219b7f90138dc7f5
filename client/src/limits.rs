//! Bounds and defaults of the client, each with its unit.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Default: how long a record may take from `send` to its acknowledgement.
pub(crate) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);
/// Default: how long one request may take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Default: how long a connection may take to come about.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Default: how long `send` and `assign` wait for a topic that the cluster does not show.
pub(crate) const TOPIC_WAIT: Duration = Duration::from_secs(5);
/// Default: age at which metadata is fetched anew, so that added partitions are seen.
pub(crate) const METADATA_AGE_MAX: Duration = Duration::from_secs(300);
/// HTTP/2 ping of an idle connection, and how long its answer may take.
pub(crate) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// First and longest pause between retries, before jitter.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_millis(20);
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Longest pause, before jitter, while a partition's leader is looked for: elections take less than a
/// second, and what is asked meanwhile is one request for all partitions.
pub(crate) const LEADER_PAUSE_MAX: Duration = Duration::from_millis(100);
/// Shortest time between two answers with metadata that one producer asks for: while many partitions wait for a
/// leader, each of their pauses ends in the wish for news.
pub(crate) const METADATA_PAUSE_MIN: Duration = Duration::from_millis(20);
/// Failures that the pause after a refused metadata request counts as: about a third of a second.
pub(crate) const REFUSED_METADATA_FAILURES: u32 = 5;
/// NOT_LEADER answers in a row that are followed at once, before backing off.
pub(crate) const REDIRECTS_AT_ONCE_MAX: u32 = 2;

/// How long an answer may be late before the client looks whether the leader has moved.
pub(crate) const STALL: Duration = Duration::from_secs(1);
/// Longest sleep of a driver that waits for nothing in particular.
pub(crate) const IDLE_WAKE: Duration = Duration::from_secs(30);

/// HTTP/2 windows of a stream and of a connection, in bytes.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Largest answer that is accepted, in bytes.
pub(crate) const RESPONSE_BYTES_MAX: usize = 256 * MIB;
/// Events that wait for a producer's or consumer's driver.
pub(crate) const EVENTS_MAX: usize = 256;

/// Default: size at which a batch is sent without lingering, in bytes before compression.
pub(crate) const BATCH_SIZE_BYTES: usize = 128 * KIB;
/// Default: bytes of records that may wait for their acknowledgement.
pub(crate) const BUFFER_BYTES: usize = 64 * MIB;
/// Largest buffer that can be asked for (permits of a semaphore are 32 bits).
pub(crate) const BUFFER_BYTES_MAX: usize = 2 * 1024 * MIB;
/// Default: largest record, in bytes; below what a broker's gRPC listener takes (32 MiB).
pub(crate) const RECORD_BYTES_MAX: usize = 16 * MIB;
/// Default: how long a batch waits for more records.
pub(crate) const LINGER: Duration = Duration::from_millis(5);
/// Batches of one partition that may be under way: Kafka's brokers remember five.
pub(crate) const IN_FLIGHT_PER_PARTITION_MAX: usize = 5;
/// Requests to one leader that may be under way.
pub(crate) const REQUESTS_PER_LEADER_MAX: usize = 16;
/// Size up to which batches of several partitions share a request, in bytes.
pub(crate) const REQUEST_BYTES: usize = MIB;
/// Memory that a new batch reserves at first, in bytes.
pub(crate) const BATCH_CAPACITY_BYTES_MIN: usize = KIB;

/// Messages of one virtual host that may be published and not answered.
pub(crate) const PUBLISHES_COUNT_MAX: usize = 1_024;
/// The same in bytes of their bodies.
pub(crate) const PUBLISHES_BYTES_MAX: usize = 32 * MIB;
/// Largest message, in bytes of its body; below what a broker's gRPC listener takes (32 MiB).
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 * MIB;
/// Requests that wait for a channel's connection.
pub(crate) const CHANNEL_REQUESTS_MAX: usize = 64;
/// Settlements and questions that wait for a channel; then callers wait.
pub(crate) const URGENT_COUNT_MAX: usize = 1_024;
/// Default: messages that a consumer may hold unsettled.
pub(crate) const PREFETCH_DEFAULT: u32 = 256;
/// Deliveries that wait for a consumer's application, twice; then nothing is read for it.
pub(crate) const CONSUMER_BUFFER_COUNT: usize = 64;
/// Requests that a server of calls handles at the same time.
pub(crate) const RPC_REQUESTS_AT_ONCE: usize = 16;

/// Default: bytes that one fetch answer may have.
pub(crate) const FETCH_BYTES: u32 = 4 * 1024 * 1024;
/// Default: bytes of one partition in a fetch answer.
pub(crate) const PARTITION_FETCH_BYTES: u32 = 1024 * 1024;
/// Default: how long a broker waits for records.
pub(crate) const FETCH_WAIT: Duration = Duration::from_millis(500);
/// Default: bytes fetched ahead of the consumer.
pub(crate) const PREFETCH_BYTES: usize = 32 * MIB;
