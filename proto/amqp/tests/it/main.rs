//! Tests of the codec through its public API: bytes that clients made, round trips, hostile bytes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "helpers of tests fail a test in the same way as the test itself"
)]

mod allocation;
mod assembler;
mod frame_buffer;
mod frames;
mod hostile;
mod random;
mod replies;
mod round_trip;
mod tables;
mod vectors;

use bytes::{BufMut, Bytes, BytesMut};
use raftmq_amqp_protocol::{
    BasicProperties, FRAME_END, Frame, FrameKind, Method, ShortString, basic,
};

/// The bytes of a frame.
fn frame_bytes(kind: u8, channel: u16, payload: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u8(kind);
    bytes.put_u16(channel);
    bytes.put_u32(payload.len() as u32);
    bytes.put_slice(payload);
    bytes.put_u8(FRAME_END);
    bytes
}

/// A frame on channel 1.
fn frame(kind: FrameKind, payload: impl Into<Bytes>) -> Frame {
    Frame {
        kind,
        channel: 1,
        payload: payload.into(),
    }
}

/// The frame of a method on channel 1.
fn method_frame(method: &Method) -> Frame {
    let mut payload = BytesMut::new();
    method.encode(&mut payload);
    frame(FrameKind::Method, payload)
}

/// The frame of a content header of class `basic` on channel 1.
fn header_frame(body_bytes: u64, properties: &BasicProperties<'_>) -> Frame {
    header_frame_of(basic::CLASS_ID, 0, body_bytes, properties)
}

fn header_frame_of(
    class_id: u16,
    weight: u16,
    body_bytes: u64,
    properties: &BasicProperties<'_>,
) -> Frame {
    let mut payload = BytesMut::new();
    payload.put_u16(class_id);
    payload.put_u16(weight);
    payload.put_u64(body_bytes);
    payload.put_slice(properties.encode().unwrap().raw());
    frame(FrameKind::Header, payload)
}

/// A publish to an exchange.
fn publish() -> Method {
    basic::Publish {
        exchange: ShortString::from_static("logs"),
        routing_key: ShortString::from_static("audit.login"),
        ..Default::default()
    }
    .into()
}
