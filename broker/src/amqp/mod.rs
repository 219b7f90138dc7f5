//! The AMQP 0-9-1 front end: unmodified RabbitMQ clients publish and consume, on any broker.
//!
//! A task for each connection drives the machine of the crate `raftmq-amqp`, which knows the protocol,
//! and carries out what that wants: metadata commands through the controller, everything else through
//! the service of queues, wherever a queue's leader is. Owns users and permissions as they are checked, and
//! what is written on dead letters; how messages are stored and routed is `crate::messages`'. Holds no messages; knows neither Raft nor storage. Sources: AMQP 0-9-1,
//! RabbitMQ.

mod arguments;
mod channels;
mod clocks;
mod connection;
mod context;
mod dead_letters;
mod deaths;
mod error;
mod exchanges;
mod limits;
mod listener;
mod load;
mod login;
mod metrics;
mod outcomes;
mod patterns;
mod publish;
mod queues;
mod requests;
mod standing;
mod work;

pub use dead_letters::DeadLetterRoutes;
pub use listener::FrontEnd;
