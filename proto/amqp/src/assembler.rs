//! Puts the frames of one channel together: a method, and for some a content header and bodies.
//!
//! Owns which frame may follow which (AMQP 0-9-1, 4.2.6). Does not know whether the channel is
//! open, nor what a method does. Nothing is kept of a body beyond what has come in, and nothing
//! comes in beyond what the header announced and the broker allows.

use bytes::Bytes;

use crate::body::{Body, BodyBuilder};
use crate::error::{Got, WireError};
use crate::frame::{Frame, FrameKind};
use crate::limits::BODY_BYTES_MAX;
use crate::method::{Method, MethodId};
use crate::properties::Properties;
use crate::reader::Reader;

/// The message that a method carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Its properties.
    pub properties: Properties,
    /// Its body.
    pub body: Body,
}

/// A complete method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The method.
    pub method: Method,
    /// Its content, exactly for methods that carry one.
    pub content: Option<Content>,
}

/// What a channel waits for.
#[derive(Debug)]
enum State {
    Method,
    Header {
        method: Method,
    },
    Body {
        method: Method,
        properties: Properties,
        body: BodyBuilder,
        remaining_bytes: u64,
    },
}

/// The frames of one channel, put together.
///
/// After an error the assembler waits for a method again; its channel or connection is to be closed.
#[derive(Debug)]
pub struct Assembler {
    state: State,
    message_bytes_max: u64,
}

impl Assembler {
    /// Starts a channel that takes messages up to a size, bytes, inclusive.
    #[must_use]
    pub const fn new(message_bytes_max: u64) -> Self {
        Self {
            state: State::Method,
            message_bytes_max,
        }
    }

    /// Tells whether a content has begun and has not ended.
    #[must_use]
    pub const fn is_in_content(&self) -> bool {
        !matches!(self.state, State::Method)
    }

    /// Takes a frame of the channel; gives a method once it is complete.
    ///
    /// # Errors
    /// `MethodExpected`, `HeaderExpected`, `BodyExpected`, `BodyOverrun`, `BodyTooLarge`,
    /// `MessageTooLarge` (of these alone the channel is closed, not the connection), or what
    /// [`Method::decode`] and [`Properties::validate`] give.
    pub fn push(&mut self, frame: Frame) -> Result<Option<Command>, WireError> {
        match std::mem::replace(&mut self.state, State::Method) {
            State::Method => self.take_method(frame),
            State::Header { method } => self.take_header(method, frame),
            State::Body {
                method,
                properties,
                body,
                remaining_bytes,
            } => self.take_body(method, properties, body, remaining_bytes, frame),
        }
    }

    fn take_method(&mut self, frame: Frame) -> Result<Option<Command>, WireError> {
        if frame.kind != FrameKind::Method {
            return Err(WireError::MethodExpected);
        }
        let method = Method::decode(frame.payload)?;
        if method.has_content() {
            self.state = State::Header { method };
            return Ok(None);
        }
        Ok(Some(Command {
            method,
            content: None,
        }))
    }

    fn take_header(&mut self, method: Method, frame: Frame) -> Result<Option<Command>, WireError> {
        let id = method.id();
        if frame.kind != FrameKind::Header {
            let got = Got::NoHeader;
            return Err(WireError::HeaderExpected { method: id, got });
        }
        let (body_bytes, properties) = decode_header(id, frame.payload)?;
        self.check_size(id, body_bytes)?;
        if body_bytes == 0 {
            let content = Content {
                properties,
                body: Body::default(),
            };
            return Ok(Some(Command {
                method,
                content: Some(content),
            }));
        }
        self.state = State::Body {
            method,
            properties,
            body: BodyBuilder::default(),
            remaining_bytes: body_bytes,
        };
        Ok(None)
    }

    fn take_body(
        &mut self,
        method: Method,
        properties: Properties,
        mut body: BodyBuilder,
        remaining_bytes: u64,
        frame: Frame,
    ) -> Result<Option<Command>, WireError> {
        let id = method.id();
        if frame.kind != FrameKind::Body {
            return Err(WireError::BodyExpected { method: id });
        }
        let fragment_bytes = u64::try_from(frame.payload.len()).unwrap_or(u64::MAX);
        let Some(remaining_bytes) = remaining_bytes.checked_sub(fragment_bytes) else {
            return Err(WireError::BodyOverrun { method: id });
        };
        if remaining_bytes == 0 {
            let content = Content {
                properties,
                body: body.finish(frame.payload),
            };
            return Ok(Some(Command {
                method,
                content: Some(content),
            }));
        }
        body.push(frame.payload);
        self.state = State::Body {
            method,
            properties,
            body,
            remaining_bytes,
        };
        Ok(None)
    }

    /// Checks an announced size before a byte of the body is kept.
    const fn check_size(&self, method: MethodId, body_bytes: u64) -> Result<(), WireError> {
        if body_bytes > BODY_BYTES_MAX {
            return Err(WireError::BodyTooLarge {
                method,
                body_bytes,
                limit: BODY_BYTES_MAX,
            });
        }
        if body_bytes > self.message_bytes_max {
            return Err(WireError::MessageTooLarge {
                method,
                body_bytes,
                limit: self.message_bytes_max,
            });
        }
        Ok(())
    }
}

/// Reads a content header: class, weight (always 0), size of the body, properties.
fn decode_header(method: MethodId, payload: Bytes) -> Result<(u64, Properties), WireError> {
    let mut reader = Reader::new(payload);
    let field = |field, cause| WireError::Field {
        method,
        field,
        cause,
    };
    let class_id = reader.u16().map_err(|cause| field("class_id", cause))?;
    let weight = reader.u16().map_err(|cause| field("weight", cause))?;
    let body_bytes = reader.u64().map_err(|cause| field("body_size", cause))?;
    let got = match (weight, class_id == method.class_id) {
        (0, true) => None,
        (0, false) => Some(Got::HeaderOfClass(class_id)),
        (_, _) => Some(Got::NoHeader),
    };
    if let Some(got) = got {
        return Err(WireError::HeaderExpected { method, got });
    }
    let properties =
        Properties::validate(reader.rest()).map_err(|(name, cause)| field(name, cause))?;
    Ok((body_bytes, properties))
}
