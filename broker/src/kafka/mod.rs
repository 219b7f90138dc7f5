//! The Kafka front end: unmodified Kafka clients produce, fetch and administer.
//!
//! A listener accepts connections; each reads frames, begins requests in the order in which they
//! came and answers in that order. One table (`apis`) says which APIs in which versions are served,
//! by which handler; ApiVersions and `docs/protocol-support.md` are made of it. Translates and holds
//! no data, but for fetch sessions (KIP-227); knows neither Raft nor storage.

mod apis;
mod connection;
mod context;
mod docs;
mod error;
mod handlers;
mod leaders;
mod limits;
mod listener;
mod metrics;
mod outcome;
mod quotas;
mod sessions;
#[cfg(test)]
mod tests;
mod topics;
mod wire;
mod working;

pub use docs::render_support;
pub use listener::FrontEnd;
