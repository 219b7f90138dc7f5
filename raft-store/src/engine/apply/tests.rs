//! How removals reach the index: key by key while they are few.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::engine::index::{Row, Visitor};
use crate::engine::memory::MemoryDisk;
use crate::engine::memory_index::MemoryIndex;

const GROUP: GroupId = GroupId(7);

/// An index that remembers what was asked of it.
struct Recording {
    index: MemoryIndex,
    ops: Arc<Mutex<Vec<IndexOp>>>,
}

impl Index for Recording {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.index.get(key)
    }

    fn apply(&self, ops: Vec<IndexOp>) -> Result<(), StoreError> {
        self.ops.lock().extend(ops.iter().cloned());
        self.index.apply(ops)
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: Visitor<'_>) -> Result<(), StoreError> {
        self.index.scan(start, end, visit)
    }

    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Row>, StoreError> {
        self.index.last(start, end)
    }

    fn start_flush(&self) -> Result<(), StoreError> {
        self.index.start_flush()
    }

    fn is_flushed(&self) -> Result<bool, StoreError> {
        self.index.is_flushed()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.index.flush()
    }
}

fn put(number: usize) -> FrameOp {
    FrameOp::Other(Op::Put {
        group: GROUP,
        family: RowFamily::State,
        key: Bytes::from(number.to_be_bytes().to_vec()),
        value: Bytes::from_static(b"row"),
    })
}

/// Applies rows and then the removal, all in one frame; says how many ranges were removed, and how many
/// rows are left.
fn remove(rows_count: usize, removal: Op) -> (usize, usize) {
    let ops = Arc::new(Mutex::new(Vec::new()));
    let index = Recording {
        index: MemoryIndex(MemoryDisk::new().handle()),
        ops: Arc::clone(&ops),
    };
    let body = Location {
        segment: 0,
        position: 0,
    };
    let mark = JournalMark {
        place: body,
        next_sequence: 1,
    };
    let mut applier = Applier::new(&index);
    for op in (0..rows_count).map(put).chain([FrameOp::Other(removal)]) {
        applier.push(op, body).unwrap();
    }
    applier.finish(mark, &mut Segments::<()>::new()).unwrap();
    let (start, end) = index::family_bounds(GROUP, RowFamily::State);
    let mut left = 0;
    index
        .scan(&start, &end, &mut |_, _| {
            left += 1;
            true
        })
        .unwrap();
    let is_range = |op: &&IndexOp| matches!(op, IndexOp::DeleteRange(..));
    let ranges_count = ops.lock().iter().filter(is_range).count();
    (ranges_count, left)
}

#[test]
fn a_small_group_is_removed_without_a_range() {
    let removed = remove(3, Op::RemoveGroup { group: GROUP });

    assert_eq!(removed, (0, 0));
}

#[test]
fn rows_of_the_same_frame_are_removed_with_their_family() {
    let family = RowFamily::State;

    let few = remove(
        POINT_DELETES_MAX,
        Op::DeleteFamily {
            group: GROUP,
            family,
        },
    );
    let many = remove(
        POINT_DELETES_MAX + 1,
        Op::DeleteFamily {
            group: GROUP,
            family,
        },
    );

    assert_eq!(few, (0, 0));
    assert_eq!(many, (1, 0));
}
