//! Raw Kafka bytes over real sockets to real broker processes: what no well-behaved client sends, and
//! what every one does.

mod admin;
mod bad_bytes;
mod bad_requests;
mod bad_sizes;
mod cluster;
mod data;
mod fetching;
mod in_sync;
mod listeners;
mod quotas;
mod racks;
mod sessions;
mod settings;
mod wire;
