//! The index in RocksDB, without its write-ahead log: the journal is the only one.
//!
//! Everything stands in one column family, so that what a flush makes durable is always a prefix of
//! what was applied. Flushes start only when the journal says so: the memtable never becomes full by
//! itself, and closing does not flush. Knows no keys.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, FlushOptions, Options, ReadOptions,
    WriteBatch, WriteOptions,
};

use super::index::{Index, IndexOp, Row, Visitor};
use crate::error::{Site, StoreError};

/// The memtable's own limit: far above where the engine flushes it.
const MEMTABLE_BYTES: usize = 2 * 1024 * 1024 * 1024;

/// Memory is taken for the memtable in steps of this.
const ARENA_BLOCK_BYTES: usize = 256 * 1024;

/// Memtables of which one is written and the others are being flushed.
const MEMTABLES: i32 = 4;

/// Files that are kept open.
const OPEN_FILES: i32 = 256;

/// RocksDB as an index.
pub(super) struct RocksIndex {
    db: DB,
    write: WriteOptions,
}

impl RocksIndex {
    pub(super) fn open(folder: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let mut options = Options::default();
        // Has no setter of its own. Closing must not flush what the journal has not synced.
        let mut options = options
            .get_options_from_string("avoid_flush_during_shutdown=true")
            .map_err(failed)?;
        options.create_if_missing(true);
        options.set_write_buffer_size(MEMTABLE_BYTES);
        options.set_arena_block_size(ARENA_BLOCK_BYTES);
        options.set_max_write_buffer_number(MEMTABLES);
        options.set_max_background_jobs(2);
        options.set_max_open_files(OPEN_FILES);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_paranoid_checks(true);
        options.set_keep_log_file_num(2);
        options.set_log_level(rocksdb::LogLevel::Warn);
        options.set_stats_dump_period_sec(0);
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(cache_bytes));
        table.set_bloom_filter(10.0, false);
        options.set_block_based_table_factory(&table);
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        Ok(Self {
            db: DB::open(&options, folder).map_err(failed)?,
            write,
        })
    }

    fn number(&self, property: &str) -> Result<u64, StoreError> {
        Ok(self
            .db
            .property_int_value(property)
            .map_err(failed)?
            .unwrap_or(0))
    }
}

/// Read options for a range; every block's checksum is verified.
fn bounded(end: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options.set_iterate_upper_bound(end.to_vec());
    options
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function for map_err"
)]
fn failed(error: rocksdb::Error) -> StoreError {
    let text = error.to_string();
    if error.kind() == rocksdb::ErrorKind::Corruption {
        return StoreError::Damaged {
            what: "index",
            text,
        };
    }
    if text.contains("No space left") {
        return StoreError::Full { text };
    }
    StoreError::Io {
        site: Site::Index,
        os_code: None,
        text,
    }
}

impl Index for RocksIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get(key).map_err(failed)
    }

    fn apply(&self, ops: Vec<IndexOp>) -> Result<(), StoreError> {
        if ops.is_empty() {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        for op in ops {
            match op {
                IndexOp::Put(key, value) => batch.put(key, value),
                IndexOp::Delete(key) => batch.delete(key),
                IndexOp::DeleteRange(start, end) => batch.delete_range(start, end),
            }
        }
        self.db.write_opt(batch, &self.write).map_err(failed)
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: Visitor<'_>) -> Result<(), StoreError> {
        let mut rows = self.db.raw_iterator_opt(bounded(end));
        rows.seek(start);
        while let Some((key, value)) = rows.item() {
            if !visit(key, value) {
                return Ok(());
            }
            rows.next();
        }
        rows.status().map_err(failed)
    }

    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Row>, StoreError> {
        let mut rows = self.db.raw_iterator_opt(bounded(end));
        rows.seek_for_prev(end);
        let row = rows.item().filter(|(key, _)| *key >= start);
        let row = row.map(|(key, value)| (key.to_vec(), value.to_vec()));
        rows.status().map_err(failed)?;
        Ok(row)
    }

    fn start_flush(&self) -> Result<(), StoreError> {
        let mut options = FlushOptions::default();
        options.set_wait(false);
        self.db.flush_opt(&options).map_err(failed)
    }

    fn is_flushed(&self) -> Result<bool, StoreError> {
        if self.number("rocksdb.background-errors")? > 0 {
            let text = "a background flush or compaction failed".to_owned();
            return Err(StoreError::Io {
                site: Site::Index,
                os_code: None,
                text,
            });
        }
        Ok(self.number("rocksdb.num-immutable-mem-table")? == 0)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(failed)
    }
}
