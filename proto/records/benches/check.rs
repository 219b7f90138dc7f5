//! What a broker pays for looking at a batch of 1 MiB: `cargo bench -p raftmq-records`.
//!
//! Its checksum must run at the speed of memory: `copied` is what a copy of the same bytes takes. With one batch
//! they are in the processor's cache, with 256 of them, one after the other, they are not.

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use raftmq_records::{BatchBuilder, BatchHeader, Compression, check_crc, stamp, validate_batch};

const MIB: usize = 1 << 20;
/// How many batches are looked at in turn.
const COUNTS: [usize; 2] = [1, 256];

fn main() {
    divan::main();
}

/// A batch of about 1 MiB of records with values of this size.
fn batch(value_bytes: usize) -> Bytes {
    let value = vec![7; value_bytes];
    let mut builder = BatchBuilder::new(Compression::None, MIB);
    while builder.size_bytes() + BatchBuilder::record_size_bytes_max(None, Some(&value), &[]) <= MIB
    {
        let appended = builder.append(1_700_000_000_000, None, Some(&value), &[]);
        appended.expect("it is far from 2 GiB");
    }
    builder.finish().expect("it has records")
}

/// Copies of a batch, each in memory of its own, visited one after the other for ever.
fn in_turn(count: usize, value_bytes: usize) -> impl Iterator<Item = Bytes> {
    let batch = batch(value_bytes);
    let copies: Vec<Bytes> = (0..count).map(|_| Bytes::from(batch.to_vec())).collect();
    copies.into_iter().cycle()
}

fn measure<R>(
    bencher: Bencher<'_, '_>,
    count: usize,
    value_bytes: usize,
    look: impl Fn(&Bytes) -> R,
) {
    let mut batches = in_turn(count, value_bytes);
    bencher
        .counter(BytesCount::new(MIB))
        .bench_local(|| batches.next().map(|batch| look(black_box(&batch))));
}

/// The checksum alone.
#[divan::bench(args = COUNTS)]
fn crc_1_mib(bencher: Bencher<'_, '_>, count: usize) {
    measure(bencher, count, 1_024, |batch| check_crc(batch));
}

/// For comparison.
#[divan::bench(args = COUNTS)]
fn copied_1_mib(bencher: Bencher<'_, '_>, count: usize) {
    let mut batches = in_turn(count, 1_024);
    let mut target = vec![0; MIB];
    bencher.counter(BytesCount::new(MIB)).bench_local(|| {
        if let Some(batch) = batches.next() {
            target[..batch.len()].copy_from_slice(black_box(&batch));
        }
        black_box(target.first().copied())
    });
}

/// All that a producer's batch is checked for, every record's lengths among it: records of 1 KiB, and of 100 bytes.
#[divan::bench(args = [1_024, 100])]
fn validate_1_mib(bencher: Bencher<'_, '_>, value_bytes: usize) {
    measure(bencher, 1, value_bytes, |batch| validate_batch(batch, MIB));
}

/// The header, and what a leader writes into it.
#[divan::bench]
fn parse_and_stamp(bencher: Bencher<'_, '_>) {
    let mut batch = batch(1_024).to_vec();
    bencher.bench_local(|| {
        stamp(black_box(&mut batch), 42, 7);
        BatchHeader::parse(&batch)
    });
}
