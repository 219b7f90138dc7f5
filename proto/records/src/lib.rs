//! Kafka's record batch, version 2 (magic 2, KIP-98): the record format of RaftMQ's log, its gRPC
//! API and its Kafka API alike; and the key hash of Kafka's clients.
//!
//! Owns the byte layout: parsing and checking ([`validate_batch`]), walking ([`batches`],
//! [`records`]), building ([`BatchBuilder`]), the two changes a leader makes ([`stamp`],
//! [`set_log_append_time`]) and that of log compaction ([`retain`]). It deliberately knows no topic, partition, producer state or clock,
//! does no I/O, and takes hostile bytes for normal: every length and count is checked against the
//! bytes that remain before memory is taken for it.
//!
//! The first 21 bytes (base offset, length, leader epoch, magic, CRC) lie outside the CRC, so a
//! leader stamps them without touching what the producer signed.

#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod builder;
mod compression;
mod error;
mod header;
mod limits;
mod murmur2;
mod record;
mod retain;
mod validate;
mod varint;

pub use builder::BatchBuilder;
pub use compression::{Compression, UnknownCompressionName};
pub use error::BatchError;
pub use header::{
    BatchHeader, HEADER_SIZE_BYTES, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, TimestampType,
    set_log_append_time, set_producer, stamp,
};
pub use limits::DecodeLimits;
pub use murmur2::{murmur2, partition_for_key};
pub use record::{Header, Record, Records, records};
pub use retain::{Retained, retain};
pub use validate::{Batches, batches, check_crc, validate_batch};
