//! The RaftMQ broker: a library that hosts the state machines, and the binary raftmq.
//!
//! Layers, top down: front ends (`kafka`, `amqp`, `grpc`, `http`, `cli`), services (`controller`, `replica`, `queues`), the
//! host of Raft groups (`raft`), and below them the crates `raftmq-core` and `raftmq-store`.
//! `node` wires them; `env` is the only way to the outside.

mod accept;
pub mod amqp;
pub mod cli;
pub mod config;
pub mod controller;
pub mod env;
pub mod grpc;
pub mod hosting;
pub mod http;
pub mod kafka;
mod messages;
pub mod node;
pub mod planted;
pub mod queues;
pub mod raft;
pub mod replica;
mod security;
