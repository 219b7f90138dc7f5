//! Frames (AMQP 0-9-1, 4.2.3): type, channel, size, payload, end octet.
//!
//! Owns the cut from a byte stream and the checks that need no state. Does not know which channel
//! is open, nor what a payload says.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::WireError;
use crate::limits::{
    FRAME_END, FRAME_MAX_UNLIMITED, FRAME_OVERHEAD_BYTES, FRAME_PREFIX_BYTES, FRAME_SLACK_BYTES,
};
use crate::method::Method;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A method.
    Method,
    /// The header of a content.
    Header,
    /// A piece of a content's body.
    Body,
    /// A sign of life; only on channel 0.
    Heartbeat,
}

impl FrameKind {
    /// Returns the type octet.
    #[must_use]
    pub const fn octet(self) -> u8 {
        match self {
            Self::Method => 1,
            Self::Header => 2,
            Self::Body => 3,
            Self::Heartbeat => 8,
        }
    }

    /// Finds the kind of a payload; `None` if the octet names none, or the payload is too short, or
    /// a heartbeat has one.
    fn of(octet: u8, payload: &[u8]) -> Option<Self> {
        match (octet, payload.len()) {
            (1, 4..) => Some(Self::Method),
            (2, 12..) => Some(Self::Header),
            (3, _) => Some(Self::Body),
            (8, 0) => Some(Self::Heartbeat),
            _ => None,
        }
    }
}

/// A whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its kind.
    pub kind: FrameKind,
    /// Its channel; 0 is the connection.
    pub channel: u16,
    /// Its payload, shared with the read buffer.
    pub payload: Bytes,
}

/// Takes the next frame from the front of a buffer; `None` until it is complete.
///
/// `frame_max` is what was negotiated, in bytes with the eight around a payload; 0 stands for no
/// limit and is bounded all the same. Like RabbitMQ, a payload may be eight bytes larger: many
/// clients count wrongly. For an incomplete frame, the buffer is grown to what is still missing,
/// never beyond the limit.
///
/// # Errors
/// `FrameTooLarge` and `BadFrameEnd`: the stream cannot be read on. `UnknownFrame`, and
/// `UnexpectedFrame` for a heartbeat off channel 0: the frame is taken off.
pub fn decode_frame(buffer: &mut BytesMut, frame_max: u32) -> Result<Option<Frame>, WireError> {
    let Some([octet, c1, c2, s1, s2, s3, s4]) = buffer.first_chunk::<FRAME_PREFIX_BYTES>() else {
        return Ok(None);
    };
    let (octet, channel) = (*octet, u16::from_be_bytes([*c1, *c2]));
    let size = u32::from_be_bytes([*s1, *s2, *s3, *s4]);
    let payload_bytes = usize::try_from(size).unwrap_or(usize::MAX);
    check_size(octet, payload_bytes, frame_max)?;
    let frame_bytes = payload_bytes.saturating_add(FRAME_OVERHEAD_BYTES);
    if buffer.len() < frame_bytes {
        buffer.reserve(frame_bytes.saturating_sub(buffer.len()));
        return Ok(None);
    }
    let mut payload = buffer.split_to(frame_bytes).freeze();
    payload.advance(FRAME_PREFIX_BYTES);
    let end = payload.last().copied().unwrap_or(0);
    payload.truncate(payload_bytes);
    if end != FRAME_END {
        return Err(WireError::BadFrameEnd {
            kind: octet,
            payload,
            end,
        });
    }
    match FrameKind::of(octet, &payload) {
        None => Err(WireError::UnknownFrame {
            kind: octet,
            payload,
        }),
        Some(FrameKind::Heartbeat) if channel != 0 => Err(WireError::UnexpectedFrame {
            kind: octet,
            payload,
        }),
        Some(kind) => Ok(Some(Frame {
            kind,
            channel,
            payload,
        })),
    }
}

fn check_size(kind: u8, payload_bytes: usize, frame_max: u32) -> Result<(), WireError> {
    let frame_max = match frame_max {
        0 => FRAME_MAX_UNLIMITED,
        _ => frame_max,
    };
    let frame_max = usize::try_from(frame_max).unwrap_or(usize::MAX);
    let limit = frame_max.saturating_sub(FRAME_OVERHEAD_BYTES);
    if payload_bytes > limit.saturating_add(FRAME_SLACK_BYTES) {
        return Err(WireError::FrameTooLarge {
            kind,
            payload_bytes,
            limit,
        });
    }
    Ok(())
}

/// Reads a frame of channel 0, which carries methods without content; `None` for a heartbeat.
///
/// # Errors
/// `UnexpectedFrame` for a header or body, or what [`Method::decode`] gives.
pub fn connection_method(frame: Frame) -> Result<Option<Method>, WireError> {
    match frame.kind {
        FrameKind::Heartbeat => Ok(None),
        FrameKind::Method => Method::decode(frame.payload).map(Some),
        FrameKind::Header | FrameKind::Body => Err(WireError::UnexpectedFrame {
            kind: frame.kind.octet(),
            payload: frame.payload,
        }),
    }
}
