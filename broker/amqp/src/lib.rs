//! The machine of one AMQP 0-9-1 connection, the server's side: negotiation, channels, publishes and
//! confirms, consumers and settlement, errors.
//!
//! Bytes go in, frames and [`Request`]s come out; the host's [`Answer`]s, outcomes, deliveries and
//! events go in again. It deliberately knows no socket, no clock, no randomness, no task, no
//! exchange and no queue: what a name means, who may use it, and whether it is there, the host says.
//! Everything is bounded (`limits.rs`); the same calls give the same frames.
//!
//! # The host's part
//! ```text
//! read into input() while wants_input()
//! while let Some(request) = next_request():   carry it out, in order for each channel
//!     Ask      → answer(channel, id, …)       once; the channel waits for it
//!     Publish  → published(channel, number, …) once, when it is committed or cannot be
//!     Settle, Credit                          no answer
//! deliver(…) and tell(…)                      whenever there is something, while wants_deliveries()
//! write flush() to the socket, then next_request() again
//! keep timing() with its own clock; phase() Closed: write what is left, close the socket
//! ```
//! A consumer's first delivery comes behind the answer to its `Consume`, its last one before the
//! answer to its `Cancel`. Whatever a channel had in flight is answered before its `CloseChannel` is.
//!
//! Sources: AMQP 0-9-1, and rabbitmq-server where it differs or says more; texts of errors are
//! RabbitMQ's, because clients parse them.

#![forbid(unsafe_code)]

mod answer;
mod channel;
mod connection;
mod exception;
mod limits;
mod message;
pub mod planted;
mod refusal;
mod reply_to;
mod request;
mod session;
mod settings;

pub use answer::{Answer, Delivery, Event, Got, Identity, PublishOutcome, QueueDeclared, Taken};
pub use connection::{CloseReason, Connection, Phase, Timing};
pub use exception::Exception;
pub use limits::{
    ASKS_OF_CLOSED_COUNT_MAX, ASSEMBLY_BYTES_MAX, BACKLOG_BYTES_MAX, CHANNEL_MAX_DEFAULT,
    CLOSE_MS_MAX, CONSUMERS_COUNT_MAX, EXPIRATION_MS_MAX, GRANT_COUNT, HANDSHAKE_MS_MAX,
    HEARTBEAT_S_DEFAULT, IN_FLIGHT_BYTES_MAX, IN_FLIGHT_COUNT_MAX, MORE_KEYS_COUNT_MAX,
    OUTPUT_BYTES_MAX, UNSETTLED_COUNT_MAX,
};
pub use message::{more_keys, properties_for_consumer, ttl_ms, with_reply_to, without_bcc};
pub use refusal::{Kind, Permission, Refusal};
pub use reply_to::{CONNECTION_ID_BYTES_MAX, PSEUDO_QUEUE, ReplyAddress};
pub use request::{
    Ask, AskId, BindTo, BindingOf, ChannelKey, Consume, ConsumerKey, DeclareExchange, DeclareQueue,
    Login, Message, Publish, PublishNumber, PublishTo, Request,
};
pub use settings::Settings;
