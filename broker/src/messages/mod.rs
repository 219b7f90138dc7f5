//! Messages as the front ends of queues share them, so that each reads what another's clients wrote: how a
//! message is stored, which queues it reaches, and the way of replies that are no queue's.
//!
//! A message is AMQP's: envelope, properties, body. Does not know who may publish, nor connections and streams.

pub(crate) mod form;
mod headers;
mod limits;
pub(crate) mod publish;
pub(crate) mod replies;
#[cfg(test)]
pub(crate) mod world;

pub(crate) use headers::header_value;
