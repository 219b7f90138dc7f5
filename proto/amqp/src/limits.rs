//! Every bound of the wire, with its unit. Knows no behaviour.

/// The octet that ends each frame (AMQP 0-9-1, 4.2.3).
pub const FRAME_END: u8 = 0xCE;
/// Bytes of a frame around its payload: type, channel, size, end octet.
pub const FRAME_OVERHEAD_BYTES: usize = 8;
/// Bytes of a frame before its payload: type, channel, size.
pub(crate) const FRAME_PREFIX_BYTES: usize = 7;
/// Smallest frame-max that a client may ask for, bytes, inclusive.
// Deviation: RabbitMQ raised its own minimum to 8192 in 4.1 and refuses clients fixed at 4096, the
// standard's minimum; nothing here needs more, so they are served.
pub const FRAME_MAX_MIN: u32 = 4_096;
/// Frame-max before `connection.tune-ok`, bytes, inclusive (RabbitMQ since 4.1).
pub const FRAME_MAX_INITIAL: u32 = 8_192;
/// Frame-max that a server offers when nothing else was configured, bytes, inclusive.
pub const FRAME_MAX_DEFAULT: u32 = 131_072;
/// How far a payload may exceed what frame-max allows, bytes: many clients forget the eight bytes
/// around it, and RabbitMQ lets them (`FRAME_SIZE_FUDGE`).
pub(crate) const FRAME_SLACK_BYTES: usize = 8;
/// Frame-max of a peer that negotiated none, bytes, inclusive: 0 stands for "no limit".
pub(crate) const FRAME_MAX_UNLIMITED: u32 = 128 * 1024 * 1024;

/// Largest body that a content header may announce at all, bytes, inclusive (RabbitMQ's
/// `MAX_MSG_SIZE`): beyond it the connection is closed, not the channel.
pub const BODY_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Largest message when nothing else was configured, bytes, inclusive (RabbitMQ since 4.0).
pub const MESSAGE_BYTES_MAX_DEFAULT: u64 = 16 * 1024 * 1024;

/// Length of a short string, bytes, inclusive.
pub const SHORT_STRING_BYTES_MAX: usize = 255;
/// Length of a reply text with its prefix, bytes, inclusive: it travels as a short string.
pub const REPLY_TEXT_BYTES_MAX: usize = SHORT_STRING_BYTES_MAX;
/// Tables and arrays inside each other, inclusive: the outermost table is the first.
pub const TABLE_DEPTH_MAX: usize = 64;

/// Octets of a payload that an error quotes (RabbitMQ's `payload_snippet`).
pub(crate) const SNIPPET_BYTES_MAX: usize = 16;
/// A body fragment below this is copied when it comes in, bytes, exclusive: a hostile client sends
/// a body byte by byte, and a shared slice costs far more than the byte it points at.
pub(crate) const FRAGMENT_COPY_BYTES: usize = 1_024;
/// A body slice up to this is copied when it goes out, bytes, inclusive: below it one copy is
/// cheaper than one more slice in a vectored write.
pub(crate) const SLICE_COPY_BYTES: usize = 4_096;
/// Memory that a frame buffer asks for at once, bytes.
pub(crate) const OUTPUT_CHUNK_BYTES: usize = 32 * 1024;
