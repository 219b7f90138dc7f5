//! The service of queues on whole brokers, in the test's own process: below the front end, over real
//! sockets between brokers.

mod failover;
mod lone;
mod remote;
mod stalled;
mod support;
