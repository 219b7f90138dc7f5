//! A line of messages, first in, first out: numbered without gaps, packed in chunks of 256.
//!
//! Only the chunk at the head and the one at the end are unpacked, so ten million messages take
//! some thirty megabytes. Each chunk is one row; what leaves at the head costs no row. Does not know
//! what the line is for.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::codec::{Reader, RestoreError, Writer};
use crate::queue::item::{Item, pack, unpack};

const VERSION: u8 = 1;
/// Messages of one chunk, as a shift. Part of the format of rows: never change it.
const CHUNK_SHIFT: u32 = 8;
const CHUNK_ITEMS_COUNT: usize = 1 << CHUNK_SHIFT;

#[derive(Debug, Clone)]
enum Items {
    Open(Vec<Item>),
    Packed(Box<[u8]>),
}

#[derive(Debug, Clone)]
struct Chunk {
    /// Number of its first item.
    base: u64,
    items: Items,
}

impl Chunk {
    fn open(base: u64) -> Self {
        Self {
            base,
            items: Items::Open(Vec::new()),
        }
    }

    fn unpacked(&self) -> Vec<Item> {
        match &self.items {
            Items::Open(items) => items.clone(),
            Items::Packed(bytes) => {
                let mut items = Vec::with_capacity(CHUNK_ITEMS_COUNT);
                unpack(bytes, &mut items).expect("this chunk was packed here");
                items
            }
        }
    }

    fn unpack(&mut self) {
        if let Items::Packed(_) = &self.items {
            self.items = Items::Open(self.unpacked());
        }
    }

    fn pack(&mut self) {
        if let Items::Open(items) = &self.items {
            self.items = Items::Packed(pack(items.iter().copied()).into_boxed_slice());
        }
    }
}

/// See the module. The chunk at the head is always unpacked.
#[derive(Debug, Clone, Default)]
pub(super) struct Fifo {
    first: u64,
    next: u64,
    chunks: VecDeque<Chunk>,
    /// Chunks from this number on may have a row.
    saved_chunk: u64,
    /// Items from this number on are in no row.
    saved_next: u64,
}

impl Fifo {
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    pub(super) const fn len(&self) -> u64 {
        self.next - self.first
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.next == self.first
    }

    /// Adds an item at the end; gives its number.
    pub(super) fn push(&mut self, item: Item) -> u64 {
        let number = self.next;
        let is_new_chunk = match self.chunks.back() {
            Some(chunk) => chunk.base >> CHUNK_SHIFT != number >> CHUNK_SHIFT,
            None => true,
        };
        if is_new_chunk {
            // The head stays unpacked.
            if self.chunks.len() > 1
                && let Some(full) = self.chunks.back_mut()
            {
                full.pack();
            }
            self.chunks.push_back(Chunk::open(number));
        }
        let chunk = self.chunks.back_mut().expect("a chunk was just there");
        chunk.unpack();
        if let Items::Open(items) = &mut chunk.items {
            items.push(item);
        }
        self.next += 1;
        number
    }

    /// Shows the item at the head.
    pub(super) fn front(&self) -> Option<&Item> {
        let chunk = self.chunks.front()?;
        let Items::Open(items) = &chunk.items else {
            return None;
        };
        items.get(usize::try_from(self.first - chunk.base).ok()?)
    }

    /// Takes the item at the head, with its number.
    pub(super) fn pop(&mut self) -> Option<(u64, Item)> {
        let number = self.first;
        let item = *self.front()?;
        self.first += 1;
        if self.is_empty() {
            self.clear();
        } else if self.first >> CHUNK_SHIFT != number >> CHUNK_SHIFT {
            self.chunks.pop_front();
            if let Some(chunk) = self.chunks.front_mut() {
                chunk.unpack();
            }
        }
        Some((number, item))
    }

    /// Drops everything. Numbers go on.
    pub(super) fn clear(&mut self) {
        self.first = self.next;
        self.chunks.truncate(1);
        // Keeps the memory of one chunk: most queues are short, and empty most of the time.
        if let Some(chunk) = self.chunks.front_mut() {
            chunk.base = self.next;
            match &mut chunk.items {
                Items::Open(items) => items.clear(),
                Items::Packed(_) => self.chunks.clear(),
            }
        }
    }

    /// Shows some items from a number on, in order.
    pub(super) fn from(&self, number: u64, count: usize) -> Vec<(u64, Item)> {
        let number = number.max(self.first);
        let skipped = self
            .chunks
            .partition_point(|chunk| chunk.base >> CHUNK_SHIFT < number >> CHUNK_SHIFT);
        let chunks = self.chunks.iter().skip(skipped);
        let items = chunks.flat_map(|chunk| (chunk.base..).zip(chunk.unpacked()));
        items.filter(|(at, _)| *at >= number).take(count).collect()
    }

    /// Shows every item, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Item)> + '_ {
        let first = self.first;
        self.chunks
            .iter()
            .flat_map(|chunk| (chunk.base..).zip(chunk.unpacked()))
            .filter(move |(number, _)| *number >= first)
    }

    /// Counts the bytes of memory that the packed chunks take, and the open ones.
    pub(super) fn memory_bytes(&self) -> usize {
        let held = |chunk: &Chunk| match &chunk.items {
            Items::Open(items) => items.capacity() * size_of::<Item>(),
            Items::Packed(bytes) => bytes.len(),
        };
        self.chunks.capacity() * size_of::<Chunk>() + self.chunks.iter().map(held).sum::<usize>()
    }

    /// Takes the chunks that changed since the last call, and the numbers of those that went.
    pub(super) fn take_dirty(&mut self) -> (Vec<(u64, Bytes)>, Vec<u64>) {
        let end = self.next.div_ceil(1 << CHUNK_SHIFT);
        let head = (self.first >> CHUNK_SHIFT).min(end);
        let saved_end = self.saved_next.div_ceil(1 << CHUNK_SHIFT);
        let gone = (self.saved_chunk..head.min(saved_end)).collect();
        let changed_from = self.saved_next.max(self.first) >> CHUNK_SHIFT;
        let puts = if self.saved_next < self.next {
            self.rows_from(changed_from)
        } else {
            Vec::new()
        };
        self.saved_chunk = head;
        self.saved_next = self.next;
        (puts, gone)
    }

    /// Counts everything as changed.
    pub(super) fn mark_all_dirty(&mut self) {
        self.saved_next = self.first;
        self.saved_chunk = self.first >> CHUNK_SHIFT;
    }

    /// Writes the chunks from a number on as rows, without the items that have left.
    pub(super) fn rows_from(&self, chunk_number: u64) -> Vec<(u64, Bytes)> {
        let first = self.first;
        let chunks = self.chunks.iter().filter_map(|chunk| {
            let number = chunk.base >> CHUNK_SHIFT;
            if number < chunk_number {
                return None;
            }
            let items = (chunk.base..).zip(chunk.unpacked());
            let live: Vec<Item> = items
                .filter(|(at, _)| *at >= first)
                .map(|(_, item)| item)
                .collect();
            if live.is_empty() {
                return None;
            }
            let mut writer = Writer::new();
            writer.u8(VERSION).u64(chunk.base.max(first));
            writer.raw(&pack(live.into_iter()));
            Some((number, writer.finish()))
        });
        chunks.collect()
    }

    /// Starts the restoring: rows follow in ascending order.
    pub(super) fn restore(first: u64, next: u64, rows: &[Bytes]) -> Result<Self, RestoreError> {
        let mut fifo = Self {
            first,
            next,
            chunks: VecDeque::new(),
            saved_chunk: first >> CHUNK_SHIFT,
            saved_next: next,
        };
        let mut reached = first;
        for row in rows {
            reached = fifo.restore_row(row, reached)?;
        }
        if reached != next || first > next {
            return Err(RestoreError::Contradiction {
                what: "a line of messages and its head do not match",
            });
        }
        if let Some(chunk) = fifo.chunks.front_mut() {
            chunk.unpack();
        }
        Ok(fifo)
    }

    fn restore_row(&mut self, row: &Bytes, reached: u64) -> Result<u64, RestoreError> {
        let mut reader = Reader::new(row.clone());
        reader.version("chunk of messages", VERSION)?;
        let base = reader.u64()?;
        let packed = reader.rest();
        let mut items = Vec::new();
        unpack(&packed, &mut items)?;
        let Some(end) = base.checked_add(items.len() as u64) else {
            return Err(RestoreError::Contradiction {
                what: "a chunk of messages ends nowhere",
            });
        };
        if end <= self.first {
            return Ok(reached);
        }
        let is_one_chunk = base >> CHUNK_SHIFT == (end - 1) >> CHUNK_SHIFT;
        if base > reached || end <= reached || end > self.next || !is_one_chunk {
            return Err(RestoreError::Contradiction {
                what: "chunks of messages leave a gap",
            });
        }
        self.chunks.push_back(Chunk {
            base,
            items: Items::Packed(packed.to_vec().into_boxed_slice()),
        });
        Ok(end)
    }
}
