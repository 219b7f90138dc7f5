//! Why a binding or a publish is refused. The front end has the protocol's codes.

use thiserror::Error;

use crate::exchange::ExchangeId;
use crate::exchange::limits::{ARGUMENTS_COUNT_MAX, BINDING_KEY_BYTES_MAX};

/// Why a binding is refused; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BindError {
    /// There is no such source.
    #[error("no exchange {source_id}")]
    UnknownSource {
        /// The id given.
        source_id: ExchangeId,
    },
    /// There is no such destination exchange.
    #[error("no exchange {destination_id}")]
    UnknownDestination {
        /// The id given.
        destination_id: ExchangeId,
    },
    /// The binding key is too long.
    #[error("binding key has {actual} bytes, more than {BINDING_KEY_BYTES_MAX}")]
    KeyTooLong {
        /// Its length, bytes.
        actual: usize,
    },
    /// There are too many arguments.
    #[error("binding has {actual} arguments, more than {ARGUMENTS_COUNT_MAX}")]
    TooManyArguments {
        /// How many.
        actual: usize,
    },
    /// `x-match` is text, but none of the four modes. The text is RabbitMQ's.
    #[error(
        "Invalid x-match field value \"{value}\"; expected all, any, all-with-x, or any-with-x"
    )]
    UnknownMatch {
        /// The value found.
        value: String,
    },
    /// `x-match` is no text.
    #[error("Invalid x-match field type; expected longstr")]
    MatchNotText,
}

/// Why a client may not publish to an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PublishError {
    /// There is none of this name.
    #[error("no exchange")]
    UnknownExchange,
    /// Only bindings may publish to it.
    #[error("exchange {id} is internal")]
    Internal {
        /// Its id.
        id: ExchangeId,
    },
}
