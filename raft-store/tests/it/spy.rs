//! An engine around another one that tells a test what it is asked, so that a test can act just then.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use raftmq_store::{
    Engine, EntryMeta, EntryRecord, GroupId, LogBounds, Maintenance, RecoveryReport, RowFamily,
    StoreError, Usage, WriteBatch, WriteReceipt,
};

/// What an engine was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// One row; told before it is read.
    Row(GroupId, RowFamily, Bytes),
    /// All rows of a family; told before they are read.
    Rows(GroupId, RowFamily),
    /// Bounds of a log; told after they were read.
    Bounds(GroupId),
}

type Listener = Box<dyn FnMut(&Asked) + Send>;

pub(crate) struct Spy {
    engine: Arc<dyn Engine>,
    listener: Mutex<Option<Listener>>,
}

impl Spy {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Arc<Self> {
        Arc::new(Self {
            engine,
            listener: Mutex::new(None),
        })
    }

    pub(crate) fn listen(&self, listener: impl FnMut(&Asked) + Send + 'static) {
        *self.listener.lock().unwrap() = Some(Box::new(listener));
    }

    /// Calls the listener, which may ask the engine itself and is not told of that.
    fn tell(&self, asked: &Asked) {
        let listener = self.listener.lock().unwrap().take();
        if let Some(mut listener) = listener {
            listener(asked);
            *self.listener.lock().unwrap() = Some(listener);
        }
    }
}

impl Engine for Spy {
    fn write(&self, batch: WriteBatch) -> Result<WriteReceipt, StoreError> {
        self.engine.write(batch)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.engine.sync()
    }

    fn maintain(&self) -> Result<Maintenance, StoreError> {
        self.engine.maintain()
    }

    fn sync_delay(&self) -> Duration {
        self.engine.sync_delay()
    }

    fn reads_block(&self) -> bool {
        self.engine.reads_block()
    }

    fn group_ids(&self) -> Result<Vec<GroupId>, StoreError> {
        self.engine.group_ids()
    }

    fn log_bounds(&self, group: GroupId, from: u64) -> Result<Option<LogBounds>, StoreError> {
        let bounds = self.engine.log_bounds(group, from);
        self.tell(&Asked::Bounds(group));
        bounds
    }

    fn entry_meta(&self, group: GroupId, index: u64) -> Result<Option<EntryMeta>, StoreError> {
        self.engine.entry_meta(group, index)
    }

    fn read_entries(
        &self,
        group: GroupId,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<EntryRecord>, StoreError> {
        self.engine.read_entries(group, range, bytes_max)
    }

    fn get_row(
        &self,
        group: GroupId,
        family: RowFamily,
        key: &[u8],
    ) -> Result<Option<Bytes>, StoreError> {
        self.tell(&Asked::Row(group, family, Bytes::copy_from_slice(key)));
        self.engine.get_row(group, family, key)
    }

    fn scan_rows(
        &self,
        group: GroupId,
        family: RowFamily,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.tell(&Asked::Rows(group, family));
        self.engine.scan_rows(group, family)
    }

    fn usage(&self) -> Usage {
        self.engine.usage()
    }

    fn recovery(&self) -> &RecoveryReport {
        self.engine.recovery()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.engine.close()
    }
}
