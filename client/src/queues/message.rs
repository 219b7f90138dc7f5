//! A message as an application sees it: body, AMQP's properties, headers; and how it may be repeated.
//!
//! Owns the way to the wire and back. Does not know streams.

use std::time::Duration;

use bytes::Bytes;
use raftmq_proto::v1::header_value::Value as Told;
use raftmq_proto::v1::{
    self, HeaderArray, HeaderDecimal, HeaderTable, MessageHeader, QueueMessage,
};

/// The header by which queues recognise a repeated message; without it they take the message id.
const DEDUPLICATION_HEADER: &str = "x-deduplication-header";

/// A message: a body with AMQP's properties. Those that are `None` or empty are not sent.
///
/// ```
/// use raftmq_client::Message;
///
/// let message = Message::new("{\"number\": 17}")
///     .content_type("application/json")
///     .header("region", "eu")
///     .header("attempt", 1)
///     .priority(4);
/// assert_eq!(message.headers.len(), 2);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// What it says.
    pub body: Bytes,
    /// MIME type of the body.
    pub content_type: Option<String>,
    /// MIME encoding of the body.
    pub content_encoding: Option<String>,
    /// Headers, in their order.
    pub headers: Vec<(String, HeaderValue)>,
    /// 1 = transient, 2 = persistent: only told to consumers, everything is replicated and flushed.
    pub delivery_mode: Option<u8>,
    /// Higher ones overtake lower ones in a queue with `x-max-priority`.
    pub priority: Option<u8>,
    /// Which request this answers.
    pub correlation_id: Option<Bytes>,
    /// Where an answer goes: the name of a queue.
    pub reply_to: Option<String>,
    /// How long it may wait in a queue; whole milliseconds count.
    pub expiration: Option<Duration>,
    /// The message's id, chosen by the sender.
    pub message_id: Option<Bytes>,
    /// Seconds since 1970.
    pub timestamp_s: Option<u64>,
    /// What kind of message it is, for the application (AMQP's `type`).
    pub kind: Option<String>,
    /// The AMQP user who published it, if it said so; not sent.
    pub user_id: Option<String>,
    /// The application that published it.
    pub app_id: Option<String>,
    pub(super) repeat: Repeat,
    pub(super) is_mandatory: bool,
}

/// Whether a publish may be sent again when nobody knows what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Repeat {
    /// No: the publisher is told that the outcome is unknown.
    #[default]
    Never,
    /// Yes, under an id that the client makes up.
    ByOwnId,
    /// Yes.
    Always,
}

impl Message {
    /// Makes a message without properties.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// Sets the MIME type of the body.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the priority.
    #[must_use]
    pub const fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Sets how long it may wait in a queue.
    #[must_use]
    pub const fn expiration(mut self, expiration: Duration) -> Self {
        self.expiration = Some(expiration);
        self
    }

    /// Sets which request this answers.
    #[must_use]
    pub fn correlation_id(mut self, id: impl Into<Bytes>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// Sets where an answer goes.
    #[must_use]
    pub fn reply_to(mut self, queue: impl Into<String>) -> Self {
        self.reply_to = Some(queue.into());
        self
    }

    /// Sets the message's id.
    #[must_use]
    pub fn message_id(mut self, id: impl Into<Bytes>) -> Self {
        self.message_id = Some(id.into());
        self
    }

    /// Has queues that deduplicate (declared with `x-message-deduplication`) take it once under this id, however
    /// often it is published, also by a program that was started anew; and lets the client repeat it when a
    /// connection is lost before the answer. A queue that does not deduplicate may then have it twice.
    #[must_use]
    pub fn deduplicated_by(mut self, id: impl Into<String>) -> Self {
        self.repeat = Repeat::Always;
        self.header(DEDUPLICATION_HEADER, id.into())
    }

    /// As [`deduplicated_by`](Self::deduplicated_by) an id that the client makes up: it covers the client's own
    /// repetitions, and not a program that publishes the same again.
    #[must_use]
    pub const fn deduplicated(mut self) -> Self {
        self.repeat = Repeat::ByOwnId;
        self
    }

    /// Lets the client repeat it when a connection is lost before the answer, although queues may then have it
    /// twice. Otherwise the publisher is told [`OutcomeUnknown`](crate::Error::OutcomeUnknown).
    #[must_use]
    pub const fn at_least_once(mut self) -> Self {
        self.repeat = Repeat::Always;
        self
    }

    /// Has a message that reaches no queue reported as [`Unroutable`](crate::Error::Unroutable) instead of
    /// confirmed. Of a message that is published to a queue that is always so.
    #[must_use]
    pub const fn mandatory(mut self) -> Self {
        self.is_mandatory = true;
        self
    }

    /// Finds a header; the first one when there are several of that name.
    #[must_use]
    pub fn find_header(&self, name: &str) -> Option<&HeaderValue> {
        let mut headers = self.headers.iter();
        headers.find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Makes up the id of a message that is to be recognised by one. `id` is random.
    pub(super) fn identified(self, id: impl FnOnce() -> String) -> Self {
        match self.repeat {
            Repeat::ByOwnId => self.deduplicated_by(id()),
            Repeat::Never | Repeat::Always => self,
        }
    }

    pub(super) fn into_wire(self) -> QueueMessage {
        let milliseconds = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        QueueMessage {
            body: self.body,
            content_type: self.content_type.unwrap_or_default(),
            content_encoding: self.content_encoding.unwrap_or_default(),
            headers: entries(self.headers),
            delivery_mode: self.delivery_mode.map(u32::from),
            priority: self.priority.map(u32::from),
            correlation_id: self.correlation_id.unwrap_or_default(),
            reply_to: self.reply_to.unwrap_or_default(),
            expiration_ms: self.expiration.map(milliseconds),
            message_id: self.message_id.unwrap_or_default(),
            timestamp_s: self.timestamp_s,
            kind: self.kind.unwrap_or_default(),
            user_id: String::new(),
            app_id: self.app_id.unwrap_or_default(),
        }
    }

    pub(super) fn from_wire(told: QueueMessage) -> Self {
        let octet = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        let text = |text: String| (!text.is_empty()).then_some(text);
        let bytes = |bytes: Bytes| (!bytes.is_empty()).then_some(bytes);
        Self {
            body: told.body,
            content_type: text(told.content_type),
            content_encoding: text(told.content_encoding),
            headers: told.headers.into_iter().map(header).collect(),
            delivery_mode: told.delivery_mode.map(octet),
            priority: told.priority.map(octet),
            correlation_id: bytes(told.correlation_id),
            reply_to: text(told.reply_to),
            expiration: told.expiration_ms.map(Duration::from_millis),
            message_id: bytes(told.message_id),
            timestamp_s: told.timestamp_s,
            kind: text(told.kind),
            user_id: text(told.user_id),
            app_id: text(told.app_id),
            repeat: Repeat::Never,
            is_mandatory: false,
        }
    }
}

impl<T: Into<Bytes>> From<T> for Message {
    fn from(body: T) -> Self {
        Self::new(body)
    }
}

/// The value of a header, by AMQP's types. Whole numbers have 64 bits.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum HeaderValue {
    /// Nothing.
    Void,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a point.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes that are no text.
    Binary(Bytes),
    /// Seconds since 1970.
    Timestamp(u64),
    /// A decimal number: all digits, and how many of them stand behind the point.
    Decimal(u32, u8),
    /// Values.
    Array(Vec<HeaderValue>),
    /// Names with values.
    Table(Vec<(String, HeaderValue)>),
}

impl HeaderValue {
    /// Returns the text, if it is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Void
            | Self::Bool(_)
            | Self::Integer(_)
            | Self::Real(_)
            | Self::Binary(_)
            | Self::Timestamp(_)
            | Self::Decimal(..)
            | Self::Array(_)
            | Self::Table(_) => None,
        }
    }

    fn into_wire(self) -> v1::HeaderValue {
        let value = match self {
            Self::Void => None,
            Self::Bool(flag) => Some(Told::Flag(flag)),
            Self::Integer(number) => Some(Told::Integer(number)),
            Self::Real(number) => Some(Told::Real(number)),
            Self::Text(text) => Some(Told::Text(text)),
            Self::Binary(bytes) => Some(Told::Binary(bytes)),
            Self::Timestamp(seconds) => Some(Told::TimestampS(seconds)),
            Self::Decimal(digits, scale) => Some(Told::Decimal(HeaderDecimal {
                digits,
                scale: scale.into(),
            })),
            Self::Array(values) => Some(Told::Array(HeaderArray {
                values: values.into_iter().map(Self::into_wire).collect(),
            })),
            Self::Table(all) => Some(Told::Table(HeaderTable {
                entries: entries(all),
            })),
        };
        v1::HeaderValue { value }
    }

    fn from_wire(told: Option<v1::HeaderValue>) -> Self {
        match told.and_then(|told| told.value) {
            None => Self::Void,
            Some(Told::Flag(flag)) => Self::Bool(flag),
            Some(Told::Integer(number)) => Self::Integer(number),
            Some(Told::Real(number)) => Self::Real(number),
            Some(Told::Text(text)) => Self::Text(text),
            Some(Told::Binary(bytes)) => Self::Binary(bytes),
            Some(Told::TimestampS(seconds)) => Self::Timestamp(seconds),
            Some(Told::Decimal(HeaderDecimal { digits, scale })) => {
                Self::Decimal(digits, u8::try_from(scale).unwrap_or(u8::MAX))
            }
            Some(Told::Array(array)) => {
                let values = array.values.into_iter();
                Self::Array(values.map(|value| Self::from_wire(Some(value))).collect())
            }
            Some(Told::Table(table)) => {
                Self::Table(table.entries.into_iter().map(header).collect())
            }
        }
    }
}

impl From<&str> for HeaderValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for HeaderValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for HeaderValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<i32> for HeaderValue {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<f64> for HeaderValue {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<bool> for HeaderValue {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

fn entries(headers: Vec<(String, HeaderValue)>) -> Vec<MessageHeader> {
    let entry = |(name, value): (String, HeaderValue)| MessageHeader {
        name,
        value: Some(value.into_wire()),
    };
    headers.into_iter().map(entry).collect()
}

fn header(told: MessageHeader) -> (String, HeaderValue) {
    (told.name, HeaderValue::from_wire(told.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let table = HeaderValue::Table(vec![("deep".to_owned(), HeaderValue::Real(0.5))]);
        let mut message = Message::new("body")
            .content_type("text/plain")
            .header("void", HeaderValue::Void)
            .header("flag", true)
            .header("number", -7)
            .header("text", "t")
            .header("decimal", HeaderValue::Decimal(314, 2))
            .header("array", HeaderValue::Array(vec![table.clone()]))
            .header("table", table)
            .priority(3)
            .correlation_id("c")
            .reply_to("answers")
            .message_id("m")
            .expiration(Duration::from_secs(60));
        message.app_id = Some("shop".to_owned());
        message.timestamp_s = Some(9);

        let read = Message::from_wire(message.clone().into_wire());

        assert_eq!(read, message);
        assert_eq!(
            read.find_header("text").and_then(HeaderValue::as_text),
            Some("t")
        );
        assert_eq!(
            Message::from_wire(QueueMessage::default()),
            Message::default()
        );
    }

    #[test]
    fn an_id_is_made_up_only_where_one_is_wanted() {
        let made_up = |message: Message| message.identified(|| "random".to_owned());
        let id = |message: &Message| message.find_header(DEDUPLICATION_HEADER).cloned();
        let message = made_up(Message::new("b").deduplicated());
        assert_eq!(id(&message), Some("random".into()));
        assert_eq!(message.repeat, Repeat::Always);
        let message = made_up(Message::new("b").deduplicated_by("mine"));
        assert_eq!(id(&message), Some("mine".into()));
        for (message, repeat) in [
            (Message::new("b"), Repeat::Never),
            (Message::new("b").at_least_once(), Repeat::Always),
        ] {
            let message = made_up(message);
            assert_eq!((id(&message), message.repeat), (None, repeat));
        }
    }
}
