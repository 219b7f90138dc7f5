//! AMQP 0-9-1 over real sockets to real broker processes: lapin, an unmodified client of RabbitMQ's, and
//! bytes that no client sends.

mod administration;
pub(crate) mod client;
mod cluster;
mod declarations;
mod deliveries;
mod errors;
mod failover;
mod full_disk;
mod java;
mod limits;
mod messages;
mod methods;
mod patterns;
mod permissions;
mod pika;
mod publishing;
mod raw_bytes;
mod restart;
