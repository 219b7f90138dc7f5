//! How long a client is to wait. Remembers what clients with a limit used; those without cost nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::limits::{QUOTA_RATES_COUNT_MAX, QUOTA_RATES_EVICTED_COUNT};
use crate::planted::{self, Bug};
use crate::quota::rate::{Rate, WINDOW_MS_MIN};
use crate::quota::{ClientIdentity, QuotaEntity, QuotaKind, Quotas};

/// Nanoseconds of a thread's second that are one percent of it.
const NANOS_PER_PERCENT: f64 = 10_000_000.0;
/// Longest wait for using too much time: Kafka's, one sample.
const REQUEST_THROTTLE_MS_MAX: u64 = 1_000;
/// Longest wait for too many bytes: an hour. Kafka has no bound; clients take no more than 31 bits.
const BYTES_THROTTLE_MS_MAX: u64 = 3_600_000;

/// Whose use is added up against one limit: the parts that the limit names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sharing {
    /// The user; `None` = all users together.
    pub user: Option<Arc<str>>,
    /// The client id; `None` = all clients of the user together.
    pub client_id: Option<Arc<str>>,
}

/// What holds for a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// Bytes per second, or percent of a thread.
    pub value: f64,
    /// Whose use counts.
    pub sharing: Sharing,
}

/// Finds the limit of a client; `None` = as much as it likes. Each client of a default has the limit for
/// itself.
#[must_use]
pub fn limit_of(quotas: &Quotas, who: &ClientIdentity, kind: QuotaKind) -> Option<Limit> {
    if quotas.is_empty() {
        return None;
    }
    let value_of = |entity: &QuotaEntity| quotas.get(entity)?.get(&kind).copied();
    QuotaEntity::candidates(who).iter().find_map(|entity| {
        let value = value_of(entity)?.get();
        let sharing = Sharing {
            user: entity.user.as_ref().map(|_| Arc::clone(&who.user)),
            client_id: entity
                .client_id
                .as_ref()
                .map(|_| Arc::clone(&who.client_id)),
        };
        Some(Limit { value, sharing })
    })
}

#[derive(Debug, Clone, Default)]
struct Used {
    rate: Rate,
    at_ms: u64,
}

/// What was used on this broker, and the waits that follow from it. Bounded: the longest unused rates
/// are forgotten when there are too many.
#[derive(Debug, Clone, Default)]
pub struct Throttles {
    used: BTreeMap<(QuotaKind, Sharing), Used>,
}

impl Throttles {
    /// Adds what a request used (bytes, or nanoseconds of a thread for `RequestPercentage`), and
    /// tells how many milliseconds the client is to wait: 0 while it keeps its limit. The answer
    /// says so to the client (`throttle_time_ms`), and the broker reads nothing more from it
    /// meanwhile (KIP-219).
    pub fn record(
        &mut self,
        quotas: &Quotas,
        who: &ClientIdentity,
        kind: QuotaKind,
        amount: u64,
        now_ms: u64,
    ) -> u64 {
        let Some(limit) = limit_of(quotas, who, kind) else {
            return 0;
        };
        let key = (kind, limit.sharing);
        if !self.used.contains_key(&key) {
            self.make_room();
        }
        let used = self.used.entry(key).or_default();
        used.at_ms = now_ms;
        used.rate.record(amount, now_ms);
        let (total, window_ms) = used.rate.measure(now_ms);
        throttle_ms(kind, limit.value, total, window_ms)
    }

    /// Takes back what was recorded for an answer that is not sent: a Fetch that is throttled is
    /// answered without records, as in Kafka.
    pub fn take_back(
        &mut self,
        quotas: &Quotas,
        who: &ClientIdentity,
        kind: QuotaKind,
        amount: u64,
    ) {
        let limit = limit_of(quotas, who, kind);
        let used = limit.and_then(|limit| self.used.get_mut(&(kind, limit.sharing)));
        if let Some(used) = used {
            used.rate.take_back(amount);
        }
    }

    /// The most that one answer may hold: what the limit allows in a whole window. Without it, an
    /// answer larger than that would be throttled for ever (KAFKA-10014).
    #[must_use]
    pub fn amount_at_once_max(quotas: &Quotas, who: &ClientIdentity, kind: QuotaKind) -> u64 {
        let limit = limit_of(quotas, who, kind);
        limit.map_or(u64::MAX, |limit| {
            let seconds = WINDOW_MS_MIN as f64 / 1_000.0;
            whole(per_second(kind, limit.value) * seconds).max(1)
        })
    }

    /// Rates that are remembered.
    #[must_use]
    pub fn rates_count(&self) -> usize {
        self.used.len()
    }

    fn make_room(&mut self) {
        if self.used.len() < QUOTA_RATES_COUNT_MAX {
            return;
        }
        let mut ages: Vec<u64> = self.used.values().map(|used| used.at_ms).collect();
        ages.sort_unstable();
        let newest_evicted = ages.get(QUOTA_RATES_EVICTED_COUNT - 1).copied();
        let mut rest = QUOTA_RATES_EVICTED_COUNT;
        self.used.retain(|_, used| {
            let is_kept = rest == 0 || newest_evicted.is_some_and(|at_ms| used.at_ms > at_ms);
            rest -= usize::from(!is_kept);
            is_kept
        });
        assert!(self.used.len() < QUOTA_RATES_COUNT_MAX, "room was made");
    }
}

fn throttle_ms(kind: QuotaKind, limit: f64, total: u64, window_ms: u64) -> u64 {
    if planted::is_planted(Bug::QuotaNeverThrottles) {
        return 0;
    }
    let allowed = per_second(kind, limit) * window_ms as f64 / 1_000.0;
    let wait_ms = (total as f64 / allowed - 1.0) * window_ms as f64;
    let max = match kind {
        QuotaKind::ProduceBytes | QuotaKind::FetchBytes => BYTES_THROTTLE_MS_MAX,
        QuotaKind::RequestPercentage => REQUEST_THROTTLE_MS_MAX,
    };
    if wait_ms > 0.0 {
        tracing::trace!(target: "raftmq::mark", name = "client_throttled");
    }
    whole(wait_ms.round()).min(max)
}

/// A limit in what is recorded: bytes or nanoseconds, per second.
fn per_second(kind: QuotaKind, limit: f64) -> f64 {
    match kind {
        QuotaKind::ProduceBytes | QuotaKind::FetchBytes => limit,
        QuotaKind::RequestPercentage => limit * NANOS_PER_PERCENT,
    }
}

/// The whole part; below 0 is 0, too large the largest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` from a float saturates, which is what is wanted"
)]
const fn whole(value: f64) -> u64 {
    value as u64
}
