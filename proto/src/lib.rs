//! The gRPC messages and services of RaftMQ, generated from `raftmq/v1` and `raftmq/internal/v1`.
//!
//! Owns the wire form and the one place where an [`v1::Error`] is put into a `tonic::Status` and
//! taken out of it ([`error`]). It deliberately knows neither the broker nor the client: no
//! conversion to their types stands here, and no limit on sizes (each side sets its own).
//!
//! Maps are `BTreeMap`s, so that encoding and iterating are the same in every process.

pub mod error;
mod redacted;

pub use error::{from_status, into_status};

/// Package `raftmq.v1`: what clients speak. Modules `broker_client`, `broker_server`, `admin_client`,
/// `admin_server`, `amqp_admin_client`, `amqp_admin_server`, `queues_client` and `queues_server` hold the services.
#[expect(
    missing_docs,
    clippy::missing_errors_doc,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    clippy::too_many_lines,
    reason = "generated; the .proto files carry the documentation"
)]
pub mod v1 {
    tonic::include_proto!("raftmq.v1");
}

/// Package `raftmq.internal.v1`: what brokers speak to each other.
#[expect(
    missing_docs,
    clippy::missing_errors_doc,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated; the .proto files carry the documentation"
)]
pub mod internal_v1 {
    tonic::include_proto!("raftmq.internal.v1");
}
