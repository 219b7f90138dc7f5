//! Registered metric handles of the store.
//!
//! Owns names and descriptions. Does not know the exporter. Handles are taken once per store,
//! because a registered handle costs a tenth of a macro call.

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

/// Handles of one store.
#[derive(Clone)]
pub(crate) struct StoreMetrics {
    pub(crate) sync_seconds: Histogram,
    pub(crate) commit_batch_bytes: Histogram,
    pub(crate) commit_batch_entries: Histogram,
    pub(crate) written_bytes: Counter,
    pub(crate) tail_cache_bytes: Gauge,
    pub(crate) segments: Gauge,
    pub(crate) poisoned: Gauge,
    pub(crate) scrubbed_bytes: Counter,
    pub(crate) scrub_damage: Counter,
    pub(crate) scrub_passes: Counter,
}

impl std::fmt::Debug for StoreMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreMetrics")
    }
}

impl StoreMetrics {
    pub(crate) fn register() -> Self {
        Self {
            sync_seconds: histogram!("raftmq_store_sync_seconds"),
            commit_batch_bytes: histogram!("raftmq_store_commit_batch_bytes"),
            commit_batch_entries: histogram!("raftmq_store_commit_batch_entries"),
            written_bytes: counter!("raftmq_store_written_bytes_total"),
            tail_cache_bytes: gauge!("raftmq_store_tail_cache_bytes"),
            segments: gauge!("raftmq_store_segments"),
            poisoned: gauge!("raftmq_store_poisoned"),
            scrubbed_bytes: counter!("raftmq_store_scrub_bytes_total"),
            scrub_damage: counter!("raftmq_store_scrub_damage_total"),
            scrub_passes: counter!("raftmq_store_scrub_passes_total"),
        }
    }
}

/// Describes the store's metrics to the installed recorder. Repeating it is harmless.
pub fn describe_metrics() {
    describe_histogram!(
        "raftmq_store_sync_seconds",
        Unit::Seconds,
        "Time of one flush of the journal."
    );
    describe_histogram!(
        "raftmq_store_commit_batch_bytes",
        Unit::Bytes,
        "Journal bytes written by one commit batch."
    );
    describe_histogram!(
        "raftmq_store_commit_batch_entries",
        Unit::Count,
        "Changes written by one commit batch, over all groups."
    );
    describe_counter!(
        "raftmq_store_written_bytes_total",
        Unit::Bytes,
        "Journal bytes written."
    );
    describe_gauge!(
        "raftmq_store_tail_cache_bytes",
        Unit::Bytes,
        "Bytes of newest entries kept in memory."
    );
    describe_gauge!(
        "raftmq_store_segments",
        Unit::Count,
        "Journal segments on the disk."
    );
    describe_gauge!(
        "raftmq_store_poisoned",
        Unit::Count,
        "1 after a storage error, when the store refuses everything."
    );
    describe_counter!(
        "raftmq_store_scrub_bytes_total",
        Unit::Bytes,
        "Bytes that the background scrub read and verified."
    );
    describe_counter!(
        "raftmq_store_scrub_damage_total",
        Unit::Count,
        "Entries, checkpoints and votes that the background scrub found damaged."
    );
    describe_counter!(
        "raftmq_store_scrub_passes_total",
        Unit::Count,
        "Passes of the background scrub over everything that is kept."
    );
}
