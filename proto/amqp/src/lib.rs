//! AMQP 0-9-1 as RabbitMQ speaks it: frames, methods, content, properties, field tables.
//!
//! Owns the byte layout, in both directions, and the errors that follow from bytes alone, with
//! RabbitMQ's reply codes and texts. It deliberately knows no socket, no connection or channel
//! state beyond [`Assembler`], no permission, no queue and no clock; hostile bytes are its normal
//! input: every length is checked against what remains before memory is taken for it, nesting is
//! bounded, and what was sliced out of a read buffer shares it instead of copying.
//!
//! Reading: [`ProtocolHeader::parse`], then [`decode_frame`] until it gives `None`; frames of
//! channel 0 go through [`connection_method`], the others through their channel's [`Assembler`].
//! Writing: a [`FrameBuffer`]. Sources: the AMQP 0-9-1 specification, its errata, and
//! rabbitmq-server where they differ.

#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod assembler;
mod body;
mod error;
mod field;
mod frame;
mod frame_buffer;
mod limits;
mod method;
mod properties;
mod protocol_header;
mod reader;
mod reply;
mod slice;
mod snippet;
mod strings;
mod table;
mod tune;
mod writer;

pub use assembler::{Assembler, Command, Content};
pub use body::Body;
pub use error::{Got, SyntaxCause, WireError};
pub use frame::{Frame, FrameKind, connection_method, decode_frame};
pub use frame_buffer::{Destination, FrameBuffer};
pub use limits::{
    BODY_BYTES_MAX, FRAME_END, FRAME_MAX_DEFAULT, FRAME_MAX_INITIAL, FRAME_MAX_MIN,
    FRAME_OVERHEAD_BYTES, MESSAGE_BYTES_MAX_DEFAULT, REPLY_TEXT_BYTES_MAX, SHORT_STRING_BYTES_MAX,
    TABLE_DEPTH_MAX,
};
pub use method::{
    Method, MethodId, MethodInfo, Sender, access, basic, channel, confirm, connection, exchange,
    queue, tx,
};
pub use properties::{BasicProperties, Properties};
pub use protocol_header::{HeaderRefusal, PROTOCOL_HEADER, ProtocolHeader};
pub use reply::ReplyCode;
pub use strings::{LongString, ShortString, Text, TooLong};
pub use table::{ArrayBuilder, ArrayRef, Table, TableBuilder, TableRef, Value};
pub use tune::{Tuning, negotiate};
