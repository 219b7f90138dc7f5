//! The metrics of this front end, registered once; by API, never by client or topic.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use raftmq_core::quota::QuotaKind;
use raftmq_kafka_protocol::ApiKey;

use super::apis;

/// Handles of all metrics.
pub(super) struct Metrics {
    of_api: BTreeMap<ApiKey, OfApi>,
    of_quota: BTreeMap<QuotaKind, Histogram>,
    connections: Gauge,
    refused: Counter,
    malformed: Counter,
}

/// Handles of one API.
pub(super) struct OfApi {
    /// Requests answered, or carried out without an answer.
    pub(super) requests: Counter,
    /// From the request's decoding to its answer.
    pub(super) seconds: Histogram,
    /// Answers that carry an error, anywhere in them.
    pub(super) errors: Counter,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let of_api = apis::served().map(|row| (row.key, OfApi::new(row.key)));
        Self {
            of_api: of_api.collect(),
            of_quota: QuotaKind::ALL.map(|kind| (kind, throttles(kind))).into(),
            connections: gauge!("raftmq_kafka_connections"),
            refused: counter!("raftmq_kafka_refused_connections_total"),
            malformed: counter!("raftmq_kafka_malformed_requests_total"),
        }
    }

    pub(super) fn of(&self, key: ApiKey) -> Option<&OfApi> {
        self.of_api.get(&key)
    }

    pub(super) fn connection_opened(&self) {
        self.connections.increment(1.0);
    }

    pub(super) fn connection_closed(&self) {
        self.connections.decrement(1.0);
    }

    /// A client is to wait for using too much of this.
    pub(super) fn throttled(&self, kind: QuotaKind, wait: Duration) {
        if let Some(waits) = self.of_quota.get(&kind) {
            waits.record(wait.as_secs_f64());
        }
    }

    /// One more than may be.
    pub(super) fn connection_refused(&self) {
        self.refused.increment(1);
    }

    /// A request that closed its connection.
    pub(super) fn malformed_request(&self) {
        self.malformed.increment(1);
    }
}

impl OfApi {
    fn new(key: ApiKey) -> Self {
        let api = snake_case(key.name());
        Self {
            requests: counter!("raftmq_kafka_requests_total", "api" => api.clone()),
            seconds: histogram!("raftmq_kafka_request_seconds", "api" => api.clone()),
            errors: counter!("raftmq_kafka_request_errors_total", "api" => api),
        }
    }
}

fn throttles(kind: QuotaKind) -> Histogram {
    histogram!("raftmq_kafka_throttle_seconds", "quota" => kind.name())
}

/// `ListOffsets` as a label: `list_offsets`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
