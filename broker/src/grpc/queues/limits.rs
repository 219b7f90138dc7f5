//! Every bound of a stream of `raftmq.v1.Queues`, with its unit. At a bound of what waits, requests are not
//! read.

use std::time::Duration;

/// Time for a client to say what it opens.
pub(super) const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// How long a request waits for metadata that its client has seen at another broker.
pub(super) const METADATA_WITHIN: Duration = Duration::from_secs(5);
/// Events of consumers whose queues have not answered that are kept for them; then none are taken.
pub(super) const EARLY_COUNT_MAX: usize = 1_024;
/// Publishes of one stream that are not answered, inclusive.
pub(super) const PUBLISHES_COUNT_MAX: usize = 4_096;
/// Everything of one stream that waits for a queue, inclusive: publishes, settlements, questions.
pub(super) const WORKS_COUNT_MAX: usize = 8_192;
/// Stored forms of publishes of all streams that are not answered, bytes, once for each queue's way. With
/// AMQP's 64 MiB below what the service of queues lets wait by default.
pub(super) const PUBLISHED_BYTES_MAX: usize = 32 << 20;
/// What a publish counts beside its body, bytes.
pub(super) const PUBLISH_OVERHEAD_BYTES: usize = 256;
/// Consumers of one stream, inclusive; more are refused.
pub(super) const CONSUMERS_COUNT_MAX: usize = 256;
/// Unsettled deliveries that one consumer may hold, inclusive; more cannot be asked for.
pub(super) const PREFETCH_MAX: u32 = 16_384;
/// Unsettled deliveries of one stream at which nothing more can be got, inclusive.
pub(super) const UNSETTLED_COUNT_MAX: usize = 262_144;
/// Deliveries that a consumer is granted ahead of what was written to the client.
pub(super) const GRANT_COUNT: u64 = 1_024;
/// Events, and outcomes, that are taken in a row before anything is written or read.
pub(super) const ROUND_COUNT_MAX: usize = 256;
/// Responses of one stream that wait to be handed on: at it nothing is read, and no delivery taken.
pub(super) const OUTBOX_COUNT_MAX: usize = 1_024;
/// Their bodies, bytes, unless it is one body.
pub(super) const OUTBOX_BYTES_MAX: usize = 1 << 20;
/// Responses of one stream that wait for the client's connection.
pub(super) const RESPONSES_COUNT_MAX: usize = 256;
/// Their bodies, bytes, unless it is one body.
pub(super) const RESPONSES_BYTES_MAX: usize = 4 << 20;
/// What a response counts beside its body, bytes.
pub(super) const RESPONSE_OVERHEAD_BYTES: usize = 256;
/// Tables and arrays in headers that are shown to a client, one in the other: what lies deeper comes as AMQP's
/// bytes, because readers of messages bound how deep these go.
pub(super) const HEADERS_DEPTH_MAX: usize = 16;
/// Pause before a queue is told again for which too much waited.
pub(super) const OVERLOADED_PAUSE: Duration = Duration::from_millis(20);
