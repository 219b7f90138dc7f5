//! The metrics of this front end, registered once; never by client, virtual host, exchange or queue.

use metrics::{Counter, Gauge, counter, gauge};

/// Handles of all metrics.
pub(super) struct Metrics {
    pub(super) connections: Gauge,
    pub(super) channels: Gauge,
    pub(super) refused_connections: Counter,
    pub(super) refused_logins: Counter,
    /// Connections and channels that were closed for what the client did.
    pub(super) errors: Counter,
    pub(super) published: Counter,
    pub(super) unroutable: Counter,
    pub(super) failed: Counter,
    pub(super) delivered: Counter,
    pub(super) got: Counter,
    pub(super) settled: Counter,
    pub(super) unreadable: Counter,
    /// Without ack, for a consumer that was cancelled meanwhile.
    pub(super) dropped: Counter,
}

impl Metrics {
    pub(super) fn new() -> Self {
        Self {
            connections: gauge!("raftmq_amqp_connections"),
            channels: gauge!("raftmq_amqp_channels"),
            refused_connections: counter!("raftmq_amqp_refused_connections_total"),
            refused_logins: counter!("raftmq_amqp_refused_logins_total"),
            errors: counter!("raftmq_amqp_errors_total"),
            published: counter!("raftmq_amqp_published_messages_total"),
            unroutable: counter!("raftmq_amqp_unroutable_messages_total"),
            failed: counter!("raftmq_amqp_failed_messages_total"),
            delivered: counter!("raftmq_amqp_delivered_messages_total"),
            got: counter!("raftmq_amqp_got_messages_total"),
            settled: counter!("raftmq_amqp_settled_requests_total"),
            unreadable: counter!("raftmq_amqp_unreadable_messages_total"),
            dropped: counter!("raftmq_amqp_dropped_deliveries_total"),
        }
    }
}
