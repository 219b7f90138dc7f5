//! The bytes of a partition's state: rows for incremental persistence, and checkpoints.
//!
//! Rows: `h` the head; `e` all leader epochs; `p` + producer id, one producer; `i` + chunk
//! number, 512 blocks of the index. A checkpoint is head, epochs and producers in one value:
//! the blocks at or below its own log index are useless once the log is purged up to it.
//! Keys and formats are append-only (STYLE rule 23). Knows no storage.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::codec::{CodecError, Reader, RestoreError, Writer};
use crate::ids::{LogIndex, Offset, ProducerId, Term};
use crate::limits::{INDEX_CHUNK_ENTRIES_COUNT, PRODUCER_BATCHES_COUNT, STATE_BYTES_MAX};
use crate::machine::RowUpdates;
use crate::partition::index::{Block, BlockIndex};
use crate::partition::producer::{Producer, ProducerBatch};
use crate::partition::{Boundary, Dirty, Partition};

const VERSION: u8 = 1;
/// Version 2 adds when the open segment began.
const HEAD_VERSION: u8 = 2;
const FAMILY_EPOCHS: u8 = b'e';
const FAMILY_HEAD: u8 = b'h';
const FAMILY_INDEX: u8 = b'i';
const FAMILY_PRODUCER: u8 = b'p';

const BLOCK_BYTES: usize = 32;
const BOUNDARY_BYTES: usize = 16;
const EPOCH_BYTES: usize = 16;
const PRODUCER_BYTES_MIN: usize = 30;
const PRODUCER_BATCH_BYTES: usize = 25;

/// What the head row says about the index, whose blocks stand in other rows.
struct IndexHead {
    next_number: u64,
    must_begin: bool,
}

pub(super) fn take_dirty(partition: &mut Partition) -> RowUpdates {
    let dirty = std::mem::take(&mut partition.dirty);
    let (dirty_chunks, deleted_chunks) = partition.index.take_dirty();
    let mut updates = RowUpdates::default();
    if dirty.epochs {
        let mut writer = Writer::new();
        write_epochs(&mut writer, partition);
        updates
            .puts
            .push((Bytes::from_static(&[FAMILY_EPOCHS]), writer.finish()));
    }
    if dirty.head {
        let mut writer = Writer::new();
        write_head(&mut writer, partition);
        updates
            .puts
            .push((Bytes::from_static(&[FAMILY_HEAD]), writer.finish()));
    }
    for chunk in dirty_chunks {
        updates
            .puts
            .push((index_key(chunk), write_chunk(partition, chunk)));
    }
    updates
        .deletes
        .extend(deleted_chunks.into_iter().map(index_key));
    for producer_id in dirty.producers {
        match partition.producers.get(&producer_id) {
            Some(producer) => {
                let mut writer = Writer::new();
                writer.u8(VERSION);
                write_producer(&mut writer, producer);
                updates
                    .puts
                    .push((producer_key(producer_id), writer.finish()));
            }
            None => updates.deletes.push(producer_key(producer_id)),
        }
    }
    updates
}

pub(super) fn restore(
    rows: impl Iterator<Item = (Bytes, Bytes)>,
) -> Result<Partition, RestoreError> {
    let mut partition = Partition::default();
    let mut head = None;
    let mut blocks = VecDeque::new();
    let mut first_number = None;
    let mut rows_count = 0;
    for (key, value) in rows {
        rows_count += 1;
        let mut reader = Reader::new(value);
        match key.first().copied().unwrap_or(0) {
            FAMILY_EPOCHS => partition.epochs = read_epochs(&mut reader)?,
            FAMILY_HEAD => head = Some(read_head(&mut reader, &mut partition)?),
            FAMILY_INDEX => {
                let first = read_chunk(&mut reader, &mut blocks, first_number)?;
                first_number = first_number.or(Some(first));
            }
            FAMILY_PRODUCER => {
                let producer_id = producer_id_of(&key)?;
                reader.version("producer row", VERSION)?;
                partition
                    .producers
                    .insert(producer_id, read_producer(&mut reader)?);
            }
            family => {
                return Err(RestoreError::UnknownRow {
                    family,
                    key_bytes: key.len(),
                });
            }
        }
        reader.finish()?;
    }
    match head {
        Some(head) => {
            partition.index = restored_index(first_number, blocks, &head)?;
            check(&partition)?;
            Ok(partition)
        }
        None if rows_count == 0 => Ok(partition),
        None => Err(RestoreError::HeadMissing { rows_count }),
    }
}

pub(super) fn checkpoint(partition: &Partition) -> Bytes {
    let mut writer = Writer::new();
    writer.u8(VERSION);
    write_head(&mut writer, partition);
    write_epochs(&mut writer, partition);
    writer.count(partition.producers.len());
    for (producer_id, producer) in &partition.producers {
        writer.i64(producer_id.0);
        write_producer(&mut writer, producer);
    }
    writer.finish()
}

pub(super) fn restore_checkpoint(bytes: &Bytes) -> Result<Partition, RestoreError> {
    let mut partition = Partition::default();
    let mut reader = Reader::new(bytes.clone());
    reader.version("partition checkpoint", VERSION)?;
    let head = read_head(&mut reader, &mut partition)?;
    partition.epochs = read_epochs(&mut reader)?;
    let count = reader.count("producers", 8 + PRODUCER_BYTES_MIN, STATE_BYTES_MAX)?;
    for _ in 0..count {
        let producer_id = ProducerId(reader.i64()?);
        partition
            .producers
            .insert(producer_id, read_producer(&mut reader)?);
    }
    reader.finish()?;
    partition.index = BlockIndex::empty_from(head.next_number);
    check(&partition)?;
    tracing::trace!(target: "raftmq::mark", name = "partition_restored_from_checkpoint");
    let producers: BTreeSet<ProducerId> = partition.producers.keys().copied().collect();
    partition.dirty = Dirty {
        head: true,
        epochs: true,
        producers,
    };
    Ok(partition)
}

fn check(partition: &Partition) -> Result<(), RestoreError> {
    let (log_start, log_end) = (partition.log_start.0, partition.log_end.0);
    if log_start > log_end || log_start < 0 {
        return Err(RestoreError::LogBounds { log_start, log_end });
    }
    if partition.bytes_since_boundary > partition.bytes_total {
        return Err(RestoreError::Contradiction {
            what: "more bytes since a boundary than ever",
        });
    }
    Ok(())
}

fn write_head(writer: &mut Writer, partition: &Partition) {
    writer.u8(HEAD_VERSION).u64(partition.applied.0);
    writer.i64(partition.log_start.0).i64(partition.log_end.0);
    writer
        .u64(partition.bytes_total)
        .u64(partition.bytes_since_boundary);
    writer.flag(partition.max_timestamp_ms.is_some());
    writer
        .i64(partition.max_timestamp_ms.unwrap_or(0))
        .i64(partition.now_ms);
    writer
        .u64(partition.index.next_number())
        .flag(partition.index.must_begin());
    writer.count(partition.boundaries.len());
    for boundary in &partition.boundaries {
        writer.u64(boundary.log_index.0).i64(boundary.log_end.0);
    }
    writer.flag(partition.segment_began_ms.is_some());
    writer.i64(partition.segment_began_ms.unwrap_or(0));
}

fn read_head(reader: &mut Reader, partition: &mut Partition) -> Result<IndexHead, CodecError> {
    let version = reader.version_up_to("partition head", HEAD_VERSION)?;
    partition.applied = LogIndex(reader.u64()?);
    partition.log_start = Offset(reader.i64()?);
    partition.log_end = Offset(reader.i64()?);
    partition.bytes_total = reader.u64()?;
    partition.bytes_since_boundary = reader.u64()?;
    let has_timestamp = reader.flag("max timestamp")?;
    let max_timestamp_ms = reader.i64()?;
    partition.max_timestamp_ms = has_timestamp.then_some(max_timestamp_ms);
    partition.now_ms = reader.i64()?;
    let head = IndexHead {
        next_number: reader.u64()?,
        must_begin: reader.flag("must begin")?,
    };
    let count = reader.count("boundaries", BOUNDARY_BYTES, STATE_BYTES_MAX)?;
    for _ in 0..count {
        let log_index = LogIndex(reader.u64()?);
        partition.boundaries.push(Boundary {
            log_index,
            log_end: Offset(reader.i64()?),
        });
    }
    partition.segment_began_ms = if version == 1 {
        (partition.bytes_since_boundary > 0).then_some(partition.now_ms)
    } else {
        let has_begun = reader.flag("segment began")?;
        let began_ms = reader.i64()?;
        has_begun.then_some(began_ms)
    };
    Ok(head)
}

fn write_epochs(writer: &mut Writer, partition: &Partition) {
    writer.u8(VERSION).count(partition.epochs.len());
    for (term, start) in &partition.epochs {
        writer.u64(term.0).i64(start.0);
    }
}

fn read_epochs(reader: &mut Reader) -> Result<BTreeMap<Term, Offset>, CodecError> {
    reader.version("leader epochs", VERSION)?;
    let count = reader.count("leader epochs", EPOCH_BYTES, STATE_BYTES_MAX)?;
    (0..count)
        .map(|_| Ok((Term(reader.u64()?), Offset(reader.i64()?))))
        .collect()
}

fn write_producer(writer: &mut Writer, producer: &Producer) {
    writer.i16(producer.producer_epoch);
    writer
        .u64(producer.contiguous_records)
        .i64(producer.last_appended_at_ms);
    writer.count(producer.batches.len());
    for batch in &producer.batches {
        writer
            .i32(batch.first_sequence)
            .i32(batch.last_sequence)
            .i64(batch.base_offset.0);
        writer.flag(batch.log_append_time_ms.is_some());
        writer.i64(batch.log_append_time_ms.unwrap_or(0));
    }
}

fn read_producer(reader: &mut Reader) -> Result<Producer, CodecError> {
    let producer_epoch = reader.i16()?;
    let contiguous_records = reader.u64()?;
    let last_appended_at_ms = reader.i64()?;
    let count = reader.count("batches", PRODUCER_BATCH_BYTES, PRODUCER_BATCHES_COUNT)?;
    let mut batches = VecDeque::with_capacity(count);
    for _ in 0..count {
        let (first_sequence, last_sequence) = (reader.i32()?, reader.i32()?);
        let base_offset = Offset(reader.i64()?);
        let has_append_time = reader.flag("append time")?;
        let append_time_ms = reader.i64()?;
        batches.push_back(ProducerBatch {
            first_sequence,
            last_sequence,
            base_offset,
            log_append_time_ms: has_append_time.then_some(append_time_ms),
        });
    }
    Ok(Producer {
        producer_epoch,
        batches,
        contiguous_records,
        last_appended_at_ms,
    })
}

fn write_chunk(partition: &Partition, chunk: u64) -> Bytes {
    let (first, blocks) = partition.index.chunk(chunk);
    let blocks: Vec<&Block> = blocks.collect();
    let mut writer = Writer::with_capacity(13 + blocks.len() * BLOCK_BYTES);
    writer.u8(VERSION).u64(first).count(blocks.len());
    for block in blocks {
        writer.u64(block.log_index.0).i64(block.base_offset.0);
        writer.u64(block.bytes_before).i64(block.max_timestamp_ms);
    }
    writer.finish()
}

/// Reads one chunk behind the blocks before it; gives the number of its first block.
fn read_chunk(
    reader: &mut Reader,
    blocks: &mut VecDeque<Block>,
    first_number: Option<u64>,
) -> Result<u64, RestoreError> {
    reader.version("index chunk", VERSION)?;
    let first = reader.u64()?;
    let expected = first_number.map_or(first, |number| number + blocks.len() as u64);
    if first != expected {
        return Err(RestoreError::Contradiction {
            what: "index chunks leave a gap",
        });
    }
    let count = reader.count("index chunk", BLOCK_BYTES, INDEX_CHUNK_ENTRIES_COUNT)?;
    for _ in 0..count {
        blocks.push_back(Block {
            log_index: LogIndex(reader.u64()?),
            base_offset: Offset(reader.i64()?),
            bytes_before: reader.u64()?,
            max_timestamp_ms: reader.i64()?,
        });
    }
    Ok(first)
}

fn restored_index(
    first_number: Option<u64>,
    blocks: VecDeque<Block>,
    head: &IndexHead,
) -> Result<BlockIndex, RestoreError> {
    let Some(first_number) = first_number else {
        return Ok(BlockIndex::restored(
            head.next_number,
            blocks,
            head.must_begin,
        ));
    };
    if first_number.checked_add(blocks.len() as u64) != Some(head.next_number) {
        return Err(RestoreError::Contradiction {
            what: "index and head do not match",
        });
    }
    Ok(BlockIndex::restored(first_number, blocks, head.must_begin))
}

fn producer_key(producer_id: ProducerId) -> Bytes {
    let mut writer = Writer::with_capacity(9);
    writer.u8(FAMILY_PRODUCER).i64(producer_id.0);
    writer.finish()
}

fn producer_id_of(key: &Bytes) -> Result<ProducerId, RestoreError> {
    let mut reader = Reader::new(key.slice(1..));
    let producer_id = ProducerId(reader.i64()?);
    reader.finish()?;
    Ok(producer_id)
}

fn index_key(chunk: u64) -> Bytes {
    let mut writer = Writer::with_capacity(9);
    writer.u8(FAMILY_INDEX).u64(chunk);
    writer.finish()
}
