//! What an exchange matches by: one index for each kind, behind one face.
//!
//! Does not keep the bindings themselves; does not know other exchanges.

use crate::exchange::direct::Direct;
use crate::exchange::fanout::Fanout;
use crate::exchange::headers::HeadersTable;
use crate::exchange::route::Message;
use crate::exchange::topic::Topic;
use crate::exchange::{BindError, Binding, Destination, ExchangeKind};

/// The index of an exchange.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Index {
    /// By equal key.
    Direct(Direct),
    /// By nothing.
    Fanout(Fanout),
    /// By words.
    Topic(Topic),
    /// By headers.
    Headers(HeadersTable),
}

impl Index {
    pub(super) fn new(kind: ExchangeKind) -> Self {
        match kind {
            ExchangeKind::Direct => Self::Direct(Direct::default()),
            ExchangeKind::Fanout => Self::Fanout(Fanout::default()),
            ExchangeKind::Topic => Self::Topic(Topic::default()),
            ExchangeKind::Headers => Self::Headers(HeadersTable::default()),
        }
    }

    pub(super) const fn kind(&self) -> ExchangeKind {
        match self {
            Self::Direct(_) => ExchangeKind::Direct,
            Self::Fanout(_) => ExchangeKind::Fanout,
            Self::Topic(_) => ExchangeKind::Topic,
            Self::Headers(_) => ExchangeKind::Headers,
        }
    }

    /// Tells whether a binding may be added.
    pub(super) fn check(&self, binding: &Binding) -> Result<(), BindError> {
        match self {
            Self::Direct(_) | Self::Fanout(_) | Self::Topic(_) => Ok(()),
            Self::Headers(_) => HeadersTable::check(binding),
        }
    }

    /// Adds a binding that is not there yet.
    pub(super) fn add(&mut self, binding: &Binding) {
        match self {
            Self::Direct(index) => index.add(binding),
            Self::Fanout(index) => index.add(binding),
            Self::Topic(index) => index.add(binding),
            Self::Headers(index) => index.add(binding),
        }
    }

    /// Removes a binding that is there.
    pub(super) fn remove(&mut self, binding: &Binding) {
        match self {
            Self::Direct(index) => index.remove(binding),
            Self::Fanout(index) => index.remove(binding),
            Self::Topic(index) => index.remove(binding),
            Self::Headers(index) => index.remove(binding),
        }
    }

    /// Adds the destinations that a message matches; one may come more than once.
    pub(super) fn collect(&self, message: &Message<'_>, matched: &mut Vec<Destination>) {
        match self {
            Self::Fanout(index) => index.collect(matched),
            Self::Headers(index) => index.collect(message.headers, matched),
            Self::Direct(index) => {
                for key in message.keys() {
                    index.collect(key, matched);
                }
            }
            Self::Topic(index) => {
                for key in message.keys() {
                    index.collect(key, matched);
                }
            }
        }
    }
}
