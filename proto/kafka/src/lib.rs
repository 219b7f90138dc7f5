//! Kafka's wire protocol: frames, headers and messages, for servers and clients.
//!
//! Every message is declared once, in `schema/` (see its README), and `build/` generates the
//! [`messages`], the table of APIs ([`supported`]) and the [`ErrorCode`]s from there. This crate
//! owns bytes in and bytes out: [`split_frame`], [`decode_request`], [`encode_response`]. It knows no
//! topic, no record (a record set is [`RecordSet`], bytes that `raftmq-records` reads), no socket, and
//! not what a broker advertises.
//!
//! Hostile bytes are normal here: a count is compared with the bytes that remain before anything is
//! allocated, the memory for arrays is bounded per message, nesting is bounded by the schema (no
//! struct contains itself), and nothing panics. Strings and records are slices of the frame: a copy
//! is for whoever keeps a name longer than the request.
//!
//! ```
//! use bytes::{Bytes, BytesMut};
//! use raftmq_kafka_protocol::messages::{HeartbeatRequest, RequestHeader};
//! use raftmq_kafka_protocol::{ApiKey, Request, decode_request, encode_request, split_frame};
//!
//! let header = RequestHeader {
//!     request_api_key: ApiKey::Heartbeat.into(),
//!     request_api_version: 4,
//!     correlation_id: 7,
//!     client_id: Some("example".into()),
//! };
//! let body = HeartbeatRequest { group_id: "orders".into(), ..Default::default() };
//! let mut sent = BytesMut::new();
//! encode_request(&header, &body.into(), &mut sent)?;
//!
//! let frame = split_frame(&mut sent, 1 << 20)?.expect("the frame is complete");
//! let request = decode_request(frame)?;
//! assert_eq!(request.header, header);
//! assert!(matches!(request.body, Request::Heartbeat(body) if body.group_id == "orders"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod api;
mod consumer_protocol;
mod error;
mod error_code;
mod frame;
pub mod limits;
pub mod messages;
mod reader;
mod record_set;
mod sink;
#[cfg(feature = "testing")]
pub mod testing;
mod uuid;
mod version;
mod wire;
mod writer;

pub use api::{ApiInfo, ApiKey, Request, Response, supported};
pub use consumer_protocol::Versioned;
pub use error::{DecodeError, EncodeError, Place};
pub use error_code::ErrorCode;
pub use frame::{
    FRAME_LENGTH_BYTES, FrameError, RequestFrame, decode_request, decode_request_from,
    decode_response, encode_request, encode_response, frame_len, split_frame,
};
pub use reader::Reader;
pub use record_set::RecordSet;
pub use sink::{SegmentedBuf, Sink, SizeCounter};
pub use uuid::Uuid;
pub use version::{Encoding, VersionRange};
pub use wire::{Message, Wire};
pub use writer::Writer;
