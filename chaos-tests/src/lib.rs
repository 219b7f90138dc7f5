//! Deterministic simulation of whole RaftMQ clusters, with faults, histories and checkers.
//!
//! One seed expands into options ([`seed`]), a schedule of faults ([`nemesis`]) and a workload.
//! Clients, of which some speak Kafka's bytes or AMQP's, write a [`history`]; [`checkers`] name its anomalies
//! as Jepsen does; [`invariants`] hold after every tick; [`liveness`] demands that a healed cluster
//! converges.
//! Histories, checkers, invariants, seeds and schedules know no broker and no simulator.

pub mod checkers;
pub mod cluster;
pub mod faults;
pub mod history;
pub mod invariants;
pub mod liveness;
pub mod nemesis;
pub mod net;
pub mod planted;
pub mod run;
pub mod seed;
pub mod simulation;
pub mod sweep;
pub mod system;
#[cfg(test)]
mod toy;
pub mod trace;
pub mod verdict;
pub mod workload;
