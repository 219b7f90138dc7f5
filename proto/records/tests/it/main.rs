//! Tests of the record batch through its public API: golden bytes, round trips, hostile bytes.

mod clients;
mod dialects;
mod golden;
mod hostile;
mod retaining;
mod round_trip;
mod stamping;

use bytes::Bytes;
use raftmq_records::{BatchBuilder, Compression};

/// A valid batch of `records_count` records of an idempotent producer.
fn batch_of(compression: Compression, records_count: i64) -> Bytes {
    let mut builder = BatchBuilder::new(compression, 1024);
    for index in 0..records_count {
        let value = format!("value {index} ").repeat(5);
        builder
            .append(1_000 + index, Some(b"key"), Some(value.as_bytes()), &[])
            .expect("a small record fits");
    }
    builder.set_producer(7, 3, 42);
    builder.finish().expect("it has records")
}
