//! The index of a simulated disk: a map that forgets what was not flushed.
//!
//! Owns the undo log by which a crash takes back unflushed changes. Knows nothing of faults beyond
//! asking its disk.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use super::index::{Index, IndexOp, Row, Visitor};
use super::memory::DiskHandle;
use crate::error::{Site, StoreError};

/// Rows and what their unflushed changes replaced.
#[derive(Debug, Clone, Default)]
pub(super) struct SimIndex {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What each unflushed change replaced, oldest first.
    undo: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// How many of them the started flush covers.
    flushing: usize,
}

impl SimIndex {
    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let old = match value {
            Some(value) => self.rows.insert(key.clone(), value),
            None => self.rows.remove(&key),
        };
        self.undo.push((key, old));
    }

    fn apply(&mut self, op: IndexOp) {
        match op {
            IndexOp::Put(key, value) => self.put(key, Some(value)),
            IndexOp::Delete(key) => self.put(key, None),
            IndexOp::DeleteRange(start, end) => {
                let keys: Vec<_> = self
                    .rows
                    .range(start..end)
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in keys {
                    self.put(key, None);
                }
            }
        }
    }

    fn finish_flush(&mut self) {
        self.undo.drain(..self.flushing);
        self.flushing = 0;
    }

    /// Takes back what was not flushed, as the end of the process does.
    pub(super) fn revert(&mut self) {
        self.flushing = 0;
        while let Some((key, old)) = self.undo.pop() {
            match old {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Vec<u8>> {
        self.rows.get(key)
    }

    /// Keys in a range, in order.
    pub(super) fn keys(&self, range: Range<Vec<u8>>) -> impl Iterator<Item = &Vec<u8>> {
        self.rows.range(range).map(|(key, _)| key)
    }

    /// Flips a bit of a row, behind the back of the undo log.
    pub(super) fn flip_bit(&mut self, key: &[u8], byte: usize) -> bool {
        let found = self.rows.get_mut(key).and_then(|value| value.get_mut(byte));
        found.map(|byte| *byte ^= 1).is_some()
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.rows
            .iter()
            .map(|(key, value)| (key.len() + value.len()) as u64)
            .sum()
    }
}

/// The index as an engine sees it.
pub(super) struct MemoryIndex(pub(super) DiskHandle);

impl Index for MemoryIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0
            .with(Site::Read, |disk| Ok(disk.index.rows.get(key).cloned()))
    }

    fn apply(&self, ops: Vec<IndexOp>) -> Result<(), StoreError> {
        self.0.with(Site::Index, |disk| {
            disk.take_fault(Site::Index)?;
            for op in ops {
                disk.index.apply(op);
            }
            Ok(())
        })
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: Visitor<'_>) -> Result<(), StoreError> {
        let mut from = Bound::Included(start.to_vec());
        loop {
            // One row at a time, because the visitor may come back to the disk.
            let row = self.0.with(Site::Read, |disk| {
                let mut rows = disk
                    .index
                    .rows
                    .range((from.clone(), Bound::Excluded(end.to_vec())));
                Ok(rows.next().map(|(key, value)| (key.clone(), value.clone())))
            })?;
            match row {
                Some((key, value)) if visit(&key, &value) => from = Bound::Excluded(key),
                Some(_) | None => return Ok(()),
            }
        }
    }

    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Row>, StoreError> {
        self.0.with(Site::Read, |disk| {
            let row = disk
                .index
                .rows
                .range(start.to_vec()..end.to_vec())
                .next_back();
            Ok(row.map(|(key, value)| (key.clone(), value.clone())))
        })
    }

    fn start_flush(&self) -> Result<(), StoreError> {
        self.0.with(Site::Index, |disk| {
            disk.index.flushing = disk.index.undo.len();
            Ok(())
        })
    }

    fn is_flushed(&self) -> Result<bool, StoreError> {
        self.0.with(Site::Index, |disk| {
            disk.index.finish_flush();
            Ok(true)
        })
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.start_flush()?;
        self.is_flushed().map(drop)
    }
}
