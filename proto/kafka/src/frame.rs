//! Frames: a signed 32-bit length, then that many bytes. And what stands in a frame: a header and a
//! body.
//!
//! Does no I/O and holds no state; who reads the socket decides how much memory a peer may have.

use bytes::{Bytes, BytesMut};

use crate::api::{ApiKey, Request, Response};
use crate::error::{DecodeError, EncodeError};
use crate::messages::{RequestHeader, ResponseHeader};
use crate::reader::Reader;
use crate::sink::{Sink, SizeCounter};
use crate::wire::Message;
use crate::writer::LENGTH_MAX;

/// Bytes of the length before each frame.
pub const FRAME_LENGTH_BYTES: usize = 4;

/// A frame whose length cannot be accepted; nothing that follows on the connection can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is below zero.
    #[error("expected a frame length, got {length}")]
    Negative {
        /// What came.
        length: i32,
    },
    /// The length is above the caller's limit.
    #[error("expected a frame of at most {max} bytes, got {length}")]
    TooLarge {
        /// What came.
        length: usize,
        /// The caller's limit.
        max: usize,
    },
}

/// Length of the frame at the start of `buffer`, without its length field; `None` if even that is
/// incomplete. Tells how many bytes to read for.
///
/// # Errors
/// [`FrameError::Negative`], or [`FrameError::TooLarge`] above `frame_bytes_max`.
pub fn frame_len(buffer: &[u8], frame_bytes_max: usize) -> Result<Option<usize>, FrameError> {
    let Some(length) = buffer.first_chunk::<FRAME_LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*length);
    match usize::try_from(length) {
        Ok(length) if length > frame_bytes_max => Err(FrameError::TooLarge {
            length,
            max: frame_bytes_max,
        }),
        Ok(length) => Ok(Some(length)),
        Err(_) => Err(FrameError::Negative { length }),
    }
}

/// Takes the first frame out of `buffer`, without its length field and without a copy; `None`, and
/// nothing changed, while it is incomplete.
///
/// # Errors
/// Those of [`frame_len`]; nothing is changed.
pub fn split_frame(
    buffer: &mut BytesMut,
    frame_bytes_max: usize,
) -> Result<Option<Bytes>, FrameError> {
    let Some(length) = frame_len(buffer, frame_bytes_max)? else {
        return Ok(None);
    };
    let end = length.saturating_add(FRAME_LENGTH_BYTES);
    if buffer.len() < end {
        return Ok(None);
    }
    let frame = buffer.split_to(end).freeze();
    Ok(Some(frame.slice(FRAME_LENGTH_BYTES..)))
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestFrame {
    /// Correlation id and client id; its version field is known to be supported.
    pub header: RequestHeader,
    /// The body.
    pub body: Request,
    /// Bytes after the body. Kafka refuses such a request; the caller decides.
    pub trailing_bytes: usize,
}

/// Reads a request from a frame (without its length field).
///
/// # Errors
/// [`DecodeError::ApiKey`] and [`DecodeError::RequestVersion`] with the correlation id, if key or
/// version are not in the schema; else what is wrong with the bytes.
pub fn decode_request(frame: Bytes) -> Result<RequestFrame, DecodeError> {
    decode_request_from(&mut Reader::new(frame))
}

/// As [`decode_request`], with a reader that has its own memory bound.
///
/// # Errors
/// Those of [`decode_request`].
pub fn decode_request_from(reader: &mut Reader) -> Result<RequestFrame, DecodeError> {
    // The header starts alike in all its versions, and its first fields say which one it is.
    let mut ahead = reader.clone();
    ahead.enter("RequestHeader", 0, crate::Encoding::Classic);
    let api_key: i16 = ahead.get("RequestHeader.RequestApiKey")?;
    let version: i16 = ahead.get("RequestHeader.RequestApiVersion")?;
    let correlation_id: i32 = ahead.get("RequestHeader.CorrelationId")?;
    let Some(api) = ApiKey::from_i16(api_key) else {
        return Err(DecodeError::ApiKey {
            api_key,
            version,
            correlation_id,
        });
    };
    if !api.versions().contains(version) {
        return Err(DecodeError::RequestVersion {
            api,
            version,
            correlation_id,
        });
    }
    let header = RequestHeader::decode(reader, api.request_header_version(version))?;
    let body = Request::decode(api, version, reader)?;
    Ok(RequestFrame {
        header,
        body,
        trailing_bytes: reader.remaining(),
    })
}

/// Appends a whole request frame to `sink`, length first. API key and version stand in `header`.
///
/// # Errors
/// A body that the version cannot carry; `sink` is then unchanged.
pub fn encode_request(
    header: &RequestHeader,
    body: &Request,
    sink: &mut impl Sink,
) -> Result<(), EncodeError> {
    let version = header.request_api_version;
    let header_version = body.api().request_header_version(version);
    let head_size = header.encoded_len(header_version)?;
    let mut counter = SizeCounter { size: head_size };
    body.encode(version, &mut counter)?;
    put_length("RequestFrame", version, counter.size, sink)?;
    header.encode(header_version, sink)?;
    body.encode(version, sink)
}

/// Appends a whole response frame to `sink`, length first. With a [`SegmentedBuf`] as the sink,
/// record sets in it are not copied.
///
/// [`SegmentedBuf`]: crate::SegmentedBuf
///
/// # Errors
/// A body that the version cannot carry; `sink` is then unchanged.
pub fn encode_response(
    version: i16,
    correlation_id: i32,
    body: &Response,
    sink: &mut impl Sink,
) -> Result<(), EncodeError> {
    let header = ResponseHeader { correlation_id };
    let header_version = body.api().response_header_version(version);
    let mut counter = SizeCounter {
        size: header.encoded_len(header_version)?,
    };
    body.encode(version, &mut counter)?;
    put_length("ResponseFrame", version, counter.size, sink)?;
    header.encode(header_version, sink)?;
    body.encode(version, sink)
}

fn put_length(
    message: &'static str,
    version: i16,
    length: usize,
    sink: &mut impl Sink,
) -> Result<(), EncodeError> {
    match i32::try_from(length) {
        Ok(short) => {
            // Shared segments need no room, but how many they are is known only to the body.
            if !sink.shares() {
                sink.reserve(length.saturating_add(FRAME_LENGTH_BYTES));
            }
            sink.put(&short.to_be_bytes());
            Ok(())
        }
        Err(_) => Err(EncodeError::Length {
            message,
            version,
            field: "length",
            length,
            max: LENGTH_MAX,
        }),
    }
}

/// Reads a response from a frame (without its length field), as a client does. Returns the
/// correlation id, the body and how many bytes trail it.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode_response(
    api: ApiKey,
    version: i16,
    frame: Bytes,
) -> Result<(i32, Response, usize), DecodeError> {
    let mut reader = Reader::new(frame);
    let header = ResponseHeader::decode(&mut reader, api.response_header_version(version))?;
    let body = Response::decode(api, version, &mut reader)?;
    Ok((header.correlation_id, body, reader.remaining()))
}
