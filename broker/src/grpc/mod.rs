//! The gRPC front end (`raftmq.v1`): translates requests to the services and their errors to
//! codes. Holds no data and knows neither Raft nor storage.

mod admin;
mod amqp_admin;
mod broker;
mod error;
mod fetch;
mod metadata;
mod placement;
mod produce;
mod queues;
mod recovery;
mod settings;

use raftmq_proto::v1::admin_server::AdminServer;
use raftmq_proto::v1::amqp_admin_server::AmqpAdminServer;
use raftmq_proto::v1::broker_server::BrokerServer;
use raftmq_proto::v1::queues_server::QueuesServer;

use crate::node::Parts;

pub use admin::AdminFrontEnd;
pub use amqp_admin::AmqpAdminFrontEnd;
pub use broker::BrokerFrontEnd;
pub use queues::QueuesFrontEnd;

/// The data plane over a broker's parts.
#[must_use]
pub fn broker_service(parts: Parts, message_bytes_max: usize) -> BrokerServer<BrokerFrontEnd> {
    BrokerServer::new(BrokerFrontEnd::new(parts))
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(usize::MAX)
}

/// The control plane over a broker's parts.
#[must_use]
pub fn admin_service(parts: Parts, message_bytes_max: usize) -> AdminServer<AdminFrontEnd> {
    AdminServer::new(AdminFrontEnd::new(parts)).max_decoding_message_size(message_bytes_max)
}

/// The control plane of AMQP's world over a broker's parts.
#[must_use]
pub fn amqp_admin_service(
    parts: Parts,
    message_bytes_max: usize,
) -> AmqpAdminServer<AmqpAdminFrontEnd> {
    AmqpAdminServer::new(AmqpAdminFrontEnd::new(parts)).max_decoding_message_size(message_bytes_max)
}

/// Queues and exchanges over a broker's parts.
#[must_use]
pub fn queues_service(parts: Parts, message_bytes_max: usize) -> QueuesServer<QueuesFrontEnd> {
    QueuesServer::new(QueuesFrontEnd::new(parts))
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(usize::MAX)
}
