//! What can be wrong with bytes from a peer, and which reply code that is.
//!
//! Owns the reasons with their numbers and RabbitMQ's texts, which clients parse. Does not know
//! errors that need more than the bytes (permissions, names, arguments): the front end has those.

use bytes::Bytes;
use thiserror::Error;

use crate::limits::REPLY_TEXT_BYTES_MAX;
use crate::method::MethodId;
use crate::reply::ReplyCode;
use crate::snippet::{Snippet, truncate};
use crate::strings::Text;

/// Why a field does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SyntaxCause {
    /// Fewer bytes than the field takes.
    #[error("{needed} bytes needed, {remaining} remain")]
    Truncated {
        /// Bytes that the field takes.
        needed: usize,
        /// Bytes that there are.
        remaining: usize,
    },
    /// A short string that must be text is not UTF-8.
    #[error("Malformed UTF-8 in shortstr")]
    NotUtf8,
    /// A table value of a type that RabbitMQ does not know.
    #[error("unknown table value type {tag}")]
    UnknownValueType {
        /// The type octet.
        tag: u8,
    },
    /// Tables and arrays too deep inside each other.
    #[error("tables nested deeper than {max}")]
    TooDeep {
        /// The deepest that is read, inclusive.
        max: usize,
    },
    /// Property flags that announce a second word of flags, which no property needs.
    #[error("property flags continue")]
    FlagsContinue,
    /// Bytes after the last field.
    #[error("{remaining} bytes left over")]
    LeftOver {
        /// How many.
        remaining: usize,
    },
}

/// Which kind of frame came instead of the one that was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Got {
    /// A content header, but of this class.
    HeaderOfClass(u16),
    /// No content header, or one with a weight.
    NoHeader,
    /// No content body.
    NoBody,
}

/// Bytes that a peer must not send.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// A frame larger than was negotiated: nothing behind it can be read.
    #[error("type {kind}, all octets = <<>>: {{frame_too_large,{payload_bytes},{limit}}}")]
    FrameTooLarge {
        /// The frame's type octet.
        kind: u8,
        /// Its payload, bytes.
        payload_bytes: usize,
        /// The largest payload, bytes, inclusive.
        limit: usize,
    },
    /// Another octet where the frame must end: nothing behind it can be read.
    #[error(
        "type {kind}, {}: {{invalid_frame_end_marker,{end}}}",
        Snippet(payload)
    )]
    BadFrameEnd {
        /// The frame's type octet.
        kind: u8,
        /// What lies between its size and its end.
        payload: Bytes,
        /// The octet found.
        end: u8,
    },
    /// A type that does not exist, or a payload too short for its type.
    #[error("type {kind}, {}: unknown_frame", Snippet(payload))]
    UnknownFrame {
        /// The frame's type octet.
        kind: u8,
        /// Its payload.
        payload: Bytes,
    },
    /// A frame that its channel cannot take at all.
    #[error("type {kind}, {}", Snippet(payload))]
    UnexpectedFrame {
        /// The frame's type octet.
        kind: u8,
        /// Its payload.
        payload: Bytes,
    },
    /// A header or body without a method before it.
    #[error("expected method frame, got non method frame instead")]
    MethodExpected,
    /// Something else where a content header is due.
    #[error("expected content header for class {}, {}", method.class_id, got_text(*got))]
    HeaderExpected {
        /// The method whose content is due.
        method: MethodId,
        /// What came.
        got: Got,
    },
    /// Something else where a body is due.
    #[error("expected content body, got non content body frame instead")]
    BodyExpected {
        /// The method whose content is due.
        method: MethodId,
    },
    /// More body than the header announced.
    #[error("content body frame exceeds remaining content size")]
    BodyOverrun {
        /// The method whose content it is.
        method: MethodId,
    },
    /// A body that no broker takes, announced in a header.
    #[error("content body size {body_bytes} exceeds maximum allowed size {limit}")]
    BodyTooLarge {
        /// The method whose content it is.
        method: MethodId,
        /// The size that was announced, bytes.
        body_bytes: u64,
        /// The largest, bytes, inclusive.
        limit: u64,
    },
    /// A body larger than this broker was configured for. The channel is closed; the frames of the
    /// body that follow belong to the closing channel.
    #[error("message size {body_bytes} is larger than configured max size {limit}")]
    MessageTooLarge {
        /// The method whose content it is.
        method: MethodId,
        /// The size that was announced, bytes.
        body_bytes: u64,
        /// The largest, bytes, inclusive.
        limit: u64,
    },
    /// A class or method that does not exist.
    #[error("unknown method {method}")]
    UnknownMethod {
        /// What the frame names.
        method: MethodId,
    },
    /// A method that only a server sends came from a client.
    #[error("unimplemented method")]
    WrongDirection {
        /// The method.
        method: MethodId,
    },
    /// A field of a method or of its properties does not decode.
    #[error("{field}: {cause}")]
    Field {
        /// The method.
        method: MethodId,
        /// The field's or property's name.
        field: &'static str,
        /// Why.
        cause: SyntaxCause,
    },
    /// `connection.tune-ok` went outside what was offered.
    #[error("negotiated {field} = {asked}{} is {} value ({limit})",
        if *asked == 0 { " (no limit)" } else { "" },
        if *is_below { "lower than the minimum allowed" } else { "higher than the maximum allowed" })]
    Tuning {
        /// `frame_max` or `channel_max`.
        field: &'static str,
        /// What the client asked for.
        asked: u32,
        /// The bound that it broke, inclusive.
        limit: u32,
        /// Whether the bound is the lower one.
        is_below: bool,
    },
}

const fn got_text(got: Got) -> GotText {
    GotText(got)
}

/// Writes the second half of `HeaderExpected`.
struct GotText(Got);

impl std::fmt::Display for GotText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Got::HeaderOfClass(class_id) => write!(f, "got one for class {class_id} instead"),
            Got::NoHeader | Got::NoBody => f.write_str("got non content header frame instead"),
        }
    }
}

impl WireError {
    /// Returns the code of the close that answers the error.
    #[must_use]
    pub const fn reply_code(&self) -> ReplyCode {
        match self {
            Self::FrameTooLarge { .. }
            | Self::BadFrameEnd { .. }
            | Self::UnknownFrame { .. }
            | Self::BodyOverrun { .. }
            | Self::BodyTooLarge { .. }
            | Self::Field {
                cause: SyntaxCause::NotUtf8,
                ..
            } => ReplyCode::FrameError,
            Self::UnexpectedFrame { .. }
            | Self::MethodExpected
            | Self::HeaderExpected { .. }
            | Self::BodyExpected { .. } => ReplyCode::UnexpectedFrame,
            Self::MessageTooLarge { .. } => ReplyCode::PreconditionFailed,
            Self::UnknownMethod { .. } | Self::WrongDirection { .. } => ReplyCode::CommandInvalid,
            Self::Field { .. } => ReplyCode::SyntaxError,
            Self::Tuning { .. } => ReplyCode::NotAllowed,
        }
    }

    /// Returns the method that the close names; class and method 0 when there is none.
    #[must_use]
    pub const fn method(&self) -> MethodId {
        match self {
            Self::FrameTooLarge { .. }
            | Self::BadFrameEnd { .. }
            | Self::UnknownFrame { .. }
            | Self::UnexpectedFrame { .. }
            | Self::MethodExpected => MethodId::NONE,
            Self::HeaderExpected { method, .. }
            | Self::BodyExpected { method }
            | Self::BodyOverrun { method }
            | Self::BodyTooLarge { method, .. }
            | Self::MessageTooLarge { method, .. }
            | Self::UnknownMethod { method }
            | Self::WrongDirection { method }
            | Self::Field { method, .. } => *method,
            Self::Tuning { .. } => crate::method::connection::Tune::ID,
        }
    }

    /// Tells whether the stream has lost its place: no frame after this one can be found.
    #[must_use]
    pub const fn loses_sync(&self) -> bool {
        matches!(self, Self::FrameTooLarge { .. } | Self::BadFrameEnd { .. })
    }

    /// Returns the reply text, `NAME - explanation`, cut to what a short string holds.
    #[must_use]
    pub fn reply_text(&self) -> Text {
        let mut text = format!("{} - {self}", self.reply_code());
        truncate(&mut text, REPLY_TEXT_BYTES_MAX);
        Text::try_from(text).unwrap_or_default()
    }
}
