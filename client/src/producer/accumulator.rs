//! Where records gather into batches until the driver takes them.
//!
//! Owns open and closed batches per partition; encodes each record straight into its batch. It
//! knows no leader, sequence or connection. Callers hold it under a lock and never await.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use raftmq_records::{BatchBuilder, Compression};
use tokio::time::Instant;

use super::delivery::{BatchState, DeliveryFuture};
use super::record::Record;
use crate::error::{Error, Result};
use crate::limits::BATCH_CAPACITY_BYTES_MIN;

/// A batch that still has to be sent for the first time.
#[derive(Debug)]
pub(crate) struct GatheredBatch {
    pub(crate) builder: BatchBuilder,
    pub(crate) state: Arc<BatchState>,
    pub(crate) created_at: Instant,
    /// Bytes of the producer's buffer that its records took.
    pub(crate) reserved_bytes: usize,
}

#[derive(Debug)]
struct Slot {
    topic: Arc<str>,
    partition: u32,
    open: Option<GatheredBatch>,
    closed: VecDeque<GatheredBatch>,
    /// Size of the last batch, which the next one reserves at once.
    capacity_bytes: usize,
}

/// What a slot has for the driver.
#[derive(Debug)]
pub(crate) enum Take {
    /// A batch that is due.
    Batch(Box<GatheredBatch>),
    /// A batch that is due then, unless it fills up before.
    NotBefore(Instant),
    /// Nothing.
    Empty,
}

/// How batches are cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchSettings {
    pub(crate) compression: Compression,
    pub(crate) batch_size_bytes: usize,
    pub(crate) linger: Duration,
}

/// All batches that wait for the driver.
#[derive(Debug)]
pub(crate) struct Accumulator {
    settings: BatchSettings,
    slots: Vec<Slot>,
    by_topic: BTreeMap<Arc<str>, Vec<Option<usize>>>,
    /// Slots that hold something.
    waiting: BTreeSet<usize>,
    next_batch_id: u64,
    /// Takes no more records.
    is_closed: bool,
}

impl Accumulator {
    pub(crate) const fn new(settings: BatchSettings) -> Self {
        Self {
            settings,
            slots: Vec::new(),
            by_topic: BTreeMap::new(),
            waiting: BTreeSet::new(),
            next_batch_id: 0,
            is_closed: false,
        }
    }

    /// Adds a record of at most `size_bytes` encoded bytes; returns its future and whether the
    /// driver has something new to plan.
    pub(crate) fn append(
        &mut self,
        record: &Record,
        partition: u32,
        (timestamp_ms, size_bytes): (i64, usize),
    ) -> Result<(DeliveryFuture, bool)> {
        if self.is_closed {
            return Err(Error::Closed);
        }
        let index = self.slot_index(&record.topic, partition);
        let settings = self.settings;
        let slot = &mut self.slots[index];
        let mut is_news = slot.close_if_full(settings.batch_size_bytes, size_bytes);
        let open = match &mut slot.open {
            Some(open) => open,
            empty @ None => {
                is_news = true;
                let id = self.next_batch_id;
                self.next_batch_id += 1;
                empty.insert(GatheredBatch {
                    builder: BatchBuilder::new(settings.compression, slot.capacity_bytes),
                    state: Arc::new(BatchState::new(id, slot.partition)),
                    created_at: Instant::now(),
                    reserved_bytes: 0,
                })
            }
        };
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let appended = open
            .builder
            .append(timestamp_ms, key, value, &record.headers);
        let record_index = match appended {
            Ok(delta) => u32::try_from(delta).unwrap_or(u32::MAX),
            Err(error) => {
                slot.open = slot.open.take().filter(|open| !open.builder.is_empty());
                return Err(Error::Encode(error));
            }
        };
        open.reserved_bytes += size_bytes;
        let state = Arc::clone(&open.state);
        is_news |= slot.close_if_full(settings.batch_size_bytes, 1);
        self.waiting.insert(index);
        Ok((
            DeliveryFuture::new(state, record_index, timestamp_ms),
            is_news,
        ))
    }

    /// Takes the next batch of a slot that is full, has lingered long enough, or `is_forced`.
    pub(crate) fn take(&mut self, index: usize, now: Instant, is_forced: bool) -> Take {
        let linger = self.settings.linger;
        let Some(slot) = self.slots.get_mut(index) else {
            return Take::Empty;
        };
        let batch = match (slot.closed.pop_front(), &slot.open) {
            (Some(closed), _) => closed,
            (None, None) => return Take::Empty,
            (None, Some(open)) => {
                let due = open.created_at + linger;
                if !is_forced && due > now {
                    return Take::NotBefore(due);
                }
                match slot.take_open() {
                    Some(open) => open,
                    None => return Take::Empty,
                }
            }
        };
        if slot.is_empty() {
            self.waiting.remove(&index);
        }
        Take::Batch(Box::new(batch))
    }

    /// Takes the oldest batch of a slot when it is older than `created_before`.
    pub(crate) fn take_expired(
        &mut self,
        index: usize,
        created_before: Instant,
    ) -> Option<GatheredBatch> {
        let slot = self.slots.get_mut(index)?;
        let oldest = slot.closed.front().or(slot.open.as_ref())?;
        if oldest.created_at > created_before {
            return None;
        }
        let batch = slot.closed.pop_front().or_else(|| slot.take_open())?;
        if slot.is_empty() {
            self.waiting.remove(&index);
        }
        Some(batch)
    }

    /// When the oldest batch of a slot was begun.
    pub(crate) fn oldest(&self, index: usize) -> Option<Instant> {
        let slot = self.slots.get(index)?;
        let oldest = slot.closed.front().or(slot.open.as_ref())?;
        Some(oldest.created_at)
    }

    /// Closes every open batch, so that it is due; returns the states of all waiting batches.
    pub(crate) fn close_all(&mut self) -> Vec<Arc<BatchState>> {
        let mut states = Vec::new();
        for index in &self.waiting {
            let Some(slot) = self.slots.get_mut(*index) else {
                continue;
            };
            if let Some(open) = slot.take_open() {
                slot.closed.push_back(open);
            }
            states.extend(slot.closed.iter().map(|batch| Arc::clone(&batch.state)));
        }
        states
    }

    /// Takes no more records from now on.
    pub(crate) const fn close(&mut self) {
        self.is_closed = true;
    }

    /// Takes everything, for a producer that is shut down; no more records are taken.
    pub(crate) fn drain(&mut self) -> Vec<GatheredBatch> {
        self.close();
        self.close_all();
        self.waiting.clear();
        self.slots
            .iter_mut()
            .flat_map(|slot| slot.closed.drain(..))
            .collect()
    }

    /// Slots that hold something, in order.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = usize> + '_ {
        self.waiting.iter().copied()
    }

    /// Topic and partition of every slot from `from` on; slots are only ever added.
    pub(crate) fn slots_from(&self, from: usize) -> impl Iterator<Item = (Arc<str>, u32)> + '_ {
        self.slots
            .iter()
            .skip(from)
            .map(|slot| (Arc::clone(&slot.topic), slot.partition))
    }

    fn slot_index(&mut self, topic: &Arc<str>, partition: u32) -> usize {
        let position = usize::try_from(partition).unwrap_or(usize::MAX);
        let known = self
            .by_topic
            .get(topic)
            .and_then(|slots| slots.get(position).copied().flatten());
        if let Some(index) = known {
            return index;
        }
        let index = self.slots.len();
        self.slots.push(Slot {
            topic: Arc::clone(topic),
            partition,
            open: None,
            closed: VecDeque::new(),
            capacity_bytes: BATCH_CAPACITY_BYTES_MIN,
        });
        // The partition was checked against the topic's count before, so this stays small.
        let slots = self.by_topic.entry(Arc::clone(topic)).or_default();
        if slots.len() <= position {
            slots.resize(position + 1, None);
        }
        slots[position] = Some(index);
        index
    }
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.open.is_none() && self.closed.is_empty()
    }

    /// Closes the open batch when `more_bytes` do not fit any more.
    fn close_if_full(&mut self, batch_size_bytes: usize, more_bytes: usize) -> bool {
        let is_full = self.open.as_ref().is_some_and(|open| {
            open.builder.size_bytes().saturating_add(more_bytes) > batch_size_bytes
        });
        if !is_full {
            return false;
        }
        let full = self.take_open();
        self.closed.extend(full);
        true
    }

    fn take_open(&mut self) -> Option<GatheredBatch> {
        let open = self.open.take()?;
        self.capacity_bytes = open.builder.size_bytes().max(BATCH_CAPACITY_BYTES_MIN);
        Some(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BatchSettings = BatchSettings {
        compression: Compression::None,
        batch_size_bytes: 350,
        linger: Duration::from_millis(5),
    };

    fn append(accumulator: &mut Accumulator, partition: u32, value: &'static [u8]) -> bool {
        let record = Record::to("t").value(value);
        let (_, is_news) = accumulator
            .append(&record, partition, (0, value.len() + 40))
            .expect("it fits");
        is_news
    }

    fn taken(take: Take) -> Option<i32> {
        match take {
            Take::Batch(batch) => Some(batch.builder.records_count()),
            Take::NotBefore(_) | Take::Empty => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_for_its_linger_time_unless_it_is_forced() {
        let mut accumulator = Accumulator::new(SETTINGS);
        let began = Instant::now();
        assert!(append(&mut accumulator, 0, b"one"));
        assert!(!append(&mut accumulator, 0, b"two"));

        let early = accumulator.take(0, began, false);

        assert!(matches!(early, Take::NotBefore(due) if due == began + SETTINGS.linger));
        assert_eq!(
            taken(accumulator.take(0, began + SETTINGS.linger, false)),
            Some(2)
        );
        assert!(matches!(accumulator.take(0, began, true), Take::Empty));
        assert_eq!(accumulator.waiting().count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_is_due_at_once_and_the_next_one_begins() {
        let mut accumulator = Accumulator::new(SETTINGS);
        let now = Instant::now();
        for _ in 0..3 {
            append(&mut accumulator, 1, &[b'x'; 100]);
        }

        assert_eq!(taken(accumulator.take(0, now, false)), Some(2));
        assert_eq!(taken(accumulator.take(0, now, false)), None);
        assert_eq!(taken(accumulator.take(0, now, true)), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_larger_than_a_batch_gets_one_of_its_own() {
        let mut accumulator = Accumulator::new(SETTINGS);
        append(&mut accumulator, 0, b"small");
        append(&mut accumulator, 0, &[b'x'; 1_000]);
        append(&mut accumulator, 0, b"small");

        let counts: Vec<_> = accumulator
            .drain()
            .iter()
            .map(|batch| batch.builder.records_count())
            .collect();

        assert_eq!(counts, [1, 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn partitions_gather_apart_and_closing_makes_all_of_them_due() {
        let mut accumulator = Accumulator::new(SETTINGS);
        append(&mut accumulator, 4, b"a");
        append(&mut accumulator, 2, b"b");

        let states = accumulator.close_all();

        let partitions: Vec<_> = states.iter().map(|state| state.partition).collect();
        assert_eq!(partitions, [4, 2]);
        let now = Instant::now();
        assert_eq!(taken(accumulator.take(0, now, false)), Some(1));
        assert_eq!(taken(accumulator.take(1, now, false)), Some(1));
        let slots: Vec<_> = accumulator.slots_from(1).collect();
        assert_eq!(slots, [(Arc::from("t"), 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_old_batches_expire() {
        let mut accumulator = Accumulator::new(SETTINGS);
        append(&mut accumulator, 0, b"old");
        let began = Instant::now();

        assert!(
            accumulator
                .take_expired(0, began - Duration::from_millis(1))
                .is_none()
        );
        assert!(accumulator.take_expired(0, began).is_some());
        assert_eq!(accumulator.oldest(0), None);
    }
}
