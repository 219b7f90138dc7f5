//! What driver and consumer share: fetched bytes on their way out, seeks on their way in.
//!
//! Owns the queue and its count of bytes. It does not look into batches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::builder::Start;
use crate::error::Error;

/// Fetched batches of one partition.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) slot: usize,
    /// Records below belong to a batch that begins earlier and are skipped.
    pub(crate) from_offset: i64,
    /// The position once all of it was read.
    pub(crate) next_offset: i64,
    pub(crate) bytes: Bytes,
}

/// What the consumer is handed.
#[derive(Debug)]
pub(crate) enum Item {
    /// Batches.
    Records(Chunk),
    /// The partition stopped, until a seek.
    Failed(Error),
}

/// What the consumer wants of a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wish {
    /// Read from there.
    Seek(Start),
    /// Fetch no more.
    Stop,
}

#[derive(Debug)]
struct Slot {
    /// Grows with each wish: what was fetched under an earlier one is dropped.
    generation: u64,
    wish: Option<Wish>,
    high_watermark: Option<i64>,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<(usize, u64, Item)>,
    buffered_bytes: usize,
    waker: Option<Waker>,
    slots: Vec<Slot>,
}

/// The shared state; never held across an await.
#[derive(Debug)]
pub(crate) struct Buffer {
    state: Mutex<State>,
    /// Wakes the driver: room in the buffer, or a wish.
    pub(crate) news: Arc<Notify>,
}

impl Buffer {
    pub(crate) fn new(slots_count: usize) -> Self {
        let slots = (0..slots_count).map(|_| Slot {
            generation: 0,
            wish: None,
            high_watermark: None,
        });
        Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                buffered_bytes: 0,
                waker: None,
                slots: slots.collect(),
            }),
            news: Arc::new(Notify::new()),
        }
    }

    /// Hands an item to the consumer, unless its generation is over.
    pub(crate) fn push(&self, slot: usize, generation: u64, item: Item) {
        let mut state = self.state.lock();
        if state.generation(slot) != Some(generation) {
            return;
        }
        state.buffered_bytes += size_bytes(&item);
        state.queue.push_back((slot, generation, item));
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Takes the next item whose generation is not over.
    pub(crate) fn poll_pop(&self, cx: &Context<'_>) -> Poll<Item> {
        let mut state = self.state.lock();
        while let Some((slot, generation, item)) = state.queue.pop_front() {
            if state.generation(slot) == Some(generation) {
                return Poll::Ready(item);
            }
            state.buffered_bytes -= size_bytes(&item);
            self.news.notify_one();
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Gives back the bytes of a chunk that was read.
    pub(crate) fn release(&self, bytes: usize) {
        self.state.lock().buffered_bytes -= bytes;
        self.news.notify_one();
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        self.state.lock().buffered_bytes
    }

    /// Sets what the driver is to do with a partition; everything fetched before is dropped.
    pub(crate) fn wish(&self, slot: usize, wish: Wish) {
        let mut state = self.state.lock();
        if let Some(slot) = state.slots.get_mut(slot) {
            slot.generation += 1;
            slot.wish = Some(wish);
        }
        self.news.notify_one();
    }

    /// Takes all wishes, with the generations that they began.
    pub(crate) fn take_wishes(&self) -> Vec<(usize, u64, Wish)> {
        let mut state = self.state.lock();
        let slots = state.slots.iter_mut().enumerate();
        slots
            .filter_map(|(index, slot)| {
                let wish = slot.wish.take()?;
                Some((index, slot.generation, wish))
            })
            .collect()
    }

    pub(crate) fn set_high_watermark(&self, slot: usize, high_watermark: i64) {
        if let Some(slot) = self.state.lock().slots.get_mut(slot) {
            slot.high_watermark = Some(high_watermark);
        }
    }

    pub(crate) fn high_watermark(&self, slot: usize) -> Option<i64> {
        let state = self.state.lock();
        state.slots.get(slot)?.high_watermark
    }
}

impl State {
    fn generation(&self, slot: usize) -> Option<u64> {
        self.slots.get(slot).map(|slot| slot.generation)
    }
}

fn size_bytes(item: &Item) -> usize {
    match item {
        Item::Records(chunk) => chunk.bytes.len(),
        Item::Failed(_) => 0,
    }
}
