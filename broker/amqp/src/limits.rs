//! Every bound of a connection, with its unit. Knows no behaviour.

/// Channels that a client may open when nothing else was configured, inclusive (RabbitMQ).
pub const CHANNEL_MAX_DEFAULT: u16 = 2_047;
/// Interval of heartbeats that is offered when nothing else was configured, seconds (RabbitMQ).
pub const HEARTBEAT_S_DEFAULT: u16 = 60;
/// From the first byte to `connection.open-ok`, milliseconds (RabbitMQ: `handshake_timeout`).
pub const HANDSHAKE_MS_MAX: u64 = 10_000;
/// From our `connection.close` to the client's `close-ok`, milliseconds (RabbitMQ:
/// `CLOSING_TIMEOUT`).
pub const CLOSE_MS_MAX: u64 = 30_000;

/// Frames that wait for channels which wait for the host, over all channels, bytes, exclusive:
/// beyond it nothing more is read. One frame may exceed it.
pub const BACKLOG_BYTES_MAX: usize = 1024 * 1024;
/// Cost of a waiting frame beside its payload, bytes: many empty frames are bounded, too.
pub(crate) const BACKLOG_FRAME_BYTES: usize = 128;
/// Questions about channels that are closed already which the host has not answered, inclusive:
/// beyond it nothing more is read. Each open channel may wait for one more.
pub const ASKS_OF_CLOSED_COUNT_MAX: usize = 256;
/// Bodies of publishes that the host has not answered, over all channels, bytes, exclusive: beyond
/// it nothing more is read. One message may exceed it.
pub const IN_FLIGHT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Publishes of one channel that the host has not answered, inclusive: at it the channel waits.
pub const IN_FLIGHT_COUNT_MAX: usize = 65_536;
/// Bodies that are still coming in, over all channels, bytes, inclusive, unless one message may be
/// larger. Beyond it the connection is closed (506 RESOURCE_ERROR).
pub const ASSEMBLY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Deliveries of one channel that are not settled, inclusive: at it no consumer gets credit, and
/// `basic.get` is refused. Prefetch may exceed it.
pub const UNSETTLED_COUNT_MAX: usize = 262_144;
/// Consumers of one channel, inclusive; more are refused (530 NOT_ALLOWED).
pub const CONSUMERS_COUNT_MAX: usize = 4_096;
/// Deliveries that a consumer is granted ahead of what the client has taken off the socket.
pub const GRANT_COUNT: u64 = 1_024;
/// Frames on their way out, bytes, exclusive: beyond it nothing more is read and no credit given.
pub const OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest time to live of a message, milliseconds, inclusive: RabbitMQ's ten years.
pub const EXPIRATION_MS_MAX: u64 = 315_360_000_000;
/// Further routing keys of a message (headers `CC` and `BCC`), inclusive.
pub const MORE_KEYS_COUNT_MAX: usize = 256;
