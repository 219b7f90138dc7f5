//! Queues over gRPC, by the Rust client against real broker processes, with AMQP clients beside it.

mod bad_input;
mod cluster;
mod patterns;
mod publishing;
mod settling;
mod support;
