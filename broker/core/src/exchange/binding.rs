//! Bindings and what tells them apart: destination, key and arguments (the source is the exchange
//! that keeps them).
//!
//! Owns the values that headers are matched by. Type octets of AMQP 0-9-1 are kept for identity
//! only: RabbitMQ matches numbers by value, whatever their width.

use std::sync::Arc;

use bytes::Bytes;

use crate::exchange::Destination;

/// A value of a header or argument, as far as it can be compared: owned, or borrowed from a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeaderValue<B = Bytes> {
    /// Nothing. As an argument: the header need only be there.
    Void,
    /// A truth value.
    Bool(bool),
    /// A whole number of any width.
    Integer(i64),
    /// The bits of a number with a point, widened to 64 bit.
    Float(u64),
    /// A decimal number: digits behind the point, all digits.
    Decimal(u8, u32),
    /// Seconds since 1970.
    // Deviation: RabbitMQ 4 turns a message's timestamps into milliseconds and leaves a binding's
    // alone, so they never match there; here equal ones do.
    Timestamp(u64),
    /// Text or bytes.
    Bytes(B),
    /// An array or table, as its bytes.
    Nested(B),
}

impl HeaderValue {
    /// Borrows the value.
    #[must_use]
    pub fn as_ref(&self) -> HeaderValue<&[u8]> {
        match self {
            Self::Void => HeaderValue::Void,
            Self::Bool(value) => HeaderValue::Bool(*value),
            Self::Integer(number) => HeaderValue::Integer(*number),
            Self::Float(bits) => HeaderValue::Float(*bits),
            Self::Decimal(scale, digits) => HeaderValue::Decimal(*scale, *digits),
            Self::Timestamp(seconds) => HeaderValue::Timestamp(*seconds),
            Self::Bytes(bytes) => HeaderValue::Bytes(bytes),
            Self::Nested(bytes) => HeaderValue::Nested(bytes),
        }
    }
}

/// One argument of a binding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Argument {
    /// Its name.
    pub name: Bytes,
    /// The octet of its type.
    pub tag: u8,
    /// Its value.
    pub value: HeaderValue,
}

/// The arguments of a binding, sorted: their order tells no bindings apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arguments(Option<Arc<[Argument]>>);

impl Arguments {
    /// No arguments.
    pub const NONE: Self = Self(None);

    /// Sorts arguments; their number is checked when they are bound.
    #[must_use]
    pub fn new(mut arguments: Vec<Argument>) -> Self {
        if arguments.is_empty() {
            return Self::NONE;
        }
        arguments.sort_unstable();
        Self(Some(arguments.into()))
    }

    /// Shows the arguments, sorted.
    #[must_use]
    pub fn as_slice(&self) -> &[Argument] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl Default for Arguments {
    fn default() -> Self {
        Self::NONE
    }
}

/// A binding of some exchange.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding {
    /// Where it leads. First, so that all bindings to a destination lie together.
    pub destination: Destination,
    /// The binding key.
    pub key: Arc<[u8]>,
    /// The arguments.
    pub arguments: Arguments,
}

impl Binding {
    /// Makes a binding without arguments.
    #[must_use]
    pub fn new(destination: Destination, key: &[u8]) -> Self {
        Self {
            destination,
            key: key.into(),
            arguments: Arguments::NONE,
        }
    }
}
