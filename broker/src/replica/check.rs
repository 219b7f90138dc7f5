//! What a leader checks of a batch before it takes it: that it is one, and what its topic asks of it.
//!
//! Sequences are the session's matter. Does not know whether the broker's clock is right.

use bytes::Bytes;
use raftmq_core::partition::compaction::check_keys;
use raftmq_records::{BatchError, BatchHeader, DecodeLimits, records};

use super::error::ReplicaError;
use super::local::Replica;
use super::view::PartitionView;

/// Timestamp of a record that has none.
const NO_TIMESTAMP: i64 = -1;
/// `message.timestamp.before.max.ms` where any time will do.
const ANY_TIME_MS: i64 = i64::MAX;

pub(super) fn check_batch(replica: &Replica, batch: &Bytes) -> Result<BatchHeader, ReplicaError> {
    let view = replica.view();
    let bytes_max = view.settings.message_bytes_max;
    if batch.len() > bytes_max {
        return Err(ReplicaError::TooLarge {
            bytes: batch.len(),
            bytes_max,
        });
    }
    let invalid = |error| invalid(&view, error);
    let header = raftmq_records::validate_batch(batch, bytes_max).map_err(invalid)?;
    if header.is_control() || header.is_transactional() {
        return Err(ReplicaError::ReservedBatch {
            topic: view.topic.clone(),
            partition: view.partition,
        });
    }
    if view.settings.compaction.is_some() {
        let keyless = check_keys(batch).map_err(invalid)?;
        if let Some(record) = keyless {
            return Err(ReplicaError::KeyMissing {
                topic: view.topic.clone(),
                partition: view.partition,
                record,
            });
        }
    }
    Ok(header)
}

/// Compares the producer's timestamps with this broker's clock, as far as the topic bounds them
/// (KIP-937). Records are looked at one by one only where the past is bounded, since the header tells
/// the newest alone.
///
/// # Errors
///
/// A record is too old or too new; the records cannot be read.
pub(super) fn check_times(
    replica: &Replica,
    batch: &Bytes,
    header: &BatchHeader,
) -> Result<(), ReplicaError> {
    let view = replica.view();
    let settings = view.settings;
    if settings.is_log_append_time {
        return Ok(());
    }
    let now_ms = replica.now_ms();
    let newest_ms = now_ms.saturating_add(settings.timestamp_after_max_ms);
    let oldest_ms = now_ms.saturating_sub(settings.timestamp_before_max_ms);
    let refused = |timestamp_ms| ReplicaError::TimestampOutOfBounds {
        timestamp_ms,
        oldest_ms,
        newest_ms,
    };
    if header.max_timestamp > newest_ms {
        return Err(refused(header.max_timestamp));
    }
    if settings.timestamp_before_max_ms == ANY_TIME_MS {
        return Ok(());
    }
    let invalid = |error| invalid(&view, error);
    for record in records(batch, DecodeLimits::default()).map_err(invalid)? {
        let timestamp_ms = record.map_err(invalid)?.timestamp_ms;
        let is_near = (oldest_ms..=newest_ms).contains(&timestamp_ms);
        if !is_near && timestamp_ms != NO_TIMESTAMP {
            return Err(refused(timestamp_ms));
        }
    }
    Ok(())
}

fn invalid(view: &PartitionView, error: BatchError) -> ReplicaError {
    ReplicaError::InvalidBatch {
        topic: view.topic.clone(),
        partition: view.partition,
        error,
    }
}
