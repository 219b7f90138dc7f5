//! Client quotas at the front end (KIP-13, KIP-124): what a request used is charged to whose it is, and
//! the client is told how long it must wait.
//!
//! Limits, rates and waits are those of `raftmq_core::quota`; that the client does wait is the
//! connection's business (KIP-219). Does not know what a request means.

use std::time::Duration;

use parking_lot::Mutex;
use raftmq_core::quota::{QuotaKind, Throttles};
use raftmq_kafka_protocol::ApiKey;
use tokio::time::Instant;

use super::apis::Answer;
use super::context::Context;

/// What the clients of this broker used lately.
#[derive(Debug)]
pub(super) struct ClientQuotas {
    throttles: Mutex<Throttles>,
    /// Rates count milliseconds from here.
    began: Instant,
}

impl ClientQuotas {
    /// Nothing was used yet.
    pub(super) fn new() -> Self {
        Self {
            throttles: Mutex::default(),
            began: Instant::now(),
        }
    }
}

/// What one request used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    /// Of which API it was.
    pub(super) key: ApiKey,
    /// Its size.
    pub(super) request_bytes: usize,
    /// How long a thread worked on it.
    pub(super) worked: Duration,
}

/// Charges a request that is answered, tells the client in the answer for how long it is throttled,
/// and gives that time.
pub(super) fn charge(context: &Context, used: Used, answer: &mut Answer) -> Duration {
    let mut wait_ms = 0;
    if used.key == ApiKey::Produce {
        let bytes = whole(used.request_bytes);
        wait_ms = record(context, QuotaKind::ProduceBytes, bytes);
    }
    match answer {
        Answer::Response {
            response,
            throttle_ms,
            ..
        } => {
            let nanos = whole(used.worked.as_nanos());
            let for_work = record(context, QuotaKind::RequestPercentage, nanos);
            wait_ms = wait_ms.max(for_work).max(*throttle_ms);
            if wait_ms > 0 {
                response.set_throttle_time_ms(wire_ms(wait_ms));
            }
        }
        // As in Kafka, what wants no answer pays for its bytes only.
        Answer::None | Answer::Close => {}
    }
    Duration::from_millis(wait_ms)
}

/// The most that one answer to Fetch may hold, bytes: what the client may read in a whole window.
pub(super) fn fetch_bytes_at_once_max(context: &Context) -> usize {
    let quotas = &context.image().client_quotas;
    let max = Throttles::amount_at_once_max(quotas, context.client(), QuotaKind::FetchBytes);
    usize::try_from(max).unwrap_or(usize::MAX)
}

/// What becomes of an answer to Fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FetchCharge {
    /// How long the client is to wait, ms; 0 = not at all.
    pub(super) wait_ms: i32,
    /// The records are not sent now: the client asks again after the wait.
    pub(super) is_postponed: bool,
}

/// Charges the records that were found for a Fetch. Too many are not sent, and then not counted
/// either; but for a single batch that alone is more than `at_once_max`, which could never be sent.
pub(super) fn charge_fetch(context: &Context, bytes: usize, at_once_max: usize) -> FetchCharge {
    let wait_ms = record(context, QuotaKind::FetchBytes, whole(bytes));
    let is_postponed = wait_ms > 0 && bytes <= at_once_max;
    if is_postponed {
        let (kind, who) = (QuotaKind::FetchBytes, context.client());
        let quotas = &context.image().client_quotas;
        let mut throttles = context.shared().quotas.throttles.lock();
        throttles.take_back(quotas, who, kind, whole(bytes));
    }
    FetchCharge {
        wait_ms: wire_ms(wait_ms),
        is_postponed,
    }
}

fn record(context: &Context, kind: QuotaKind, amount: u64) -> u64 {
    let image = context.image();
    if image.client_quotas.is_empty() {
        return 0;
    }
    let shared = context.shared();
    let now_ms = whole(shared.quotas.began.elapsed().as_millis());
    let wait_ms = shared.quotas.throttles.lock().record(
        &image.client_quotas,
        context.client(),
        kind,
        amount,
        now_ms,
    );
    if wait_ms > 0 {
        let wait = Duration::from_millis(wait_ms);
        shared.metrics.throttled(kind, wait);
    }
    wait_ms
}

fn whole(amount: impl TryInto<u64>) -> u64 {
    amount.try_into().unwrap_or(u64::MAX)
}

fn wire_ms(wait_ms: u64) -> i32 {
    i32::try_from(wait_ms).unwrap_or(i32::MAX)
}
