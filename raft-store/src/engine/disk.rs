//! The engine on a real disk: a data folder with the journal and the index in it.
//!
//! Owns the folder's lock and format version. Knows nothing of what is stored.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::disk_files::{DiskFiles, sync_folder};
use super::journal::JournalEngine;
use super::rocks::RocksIndex;
use super::{
    EntryMeta, EntryRecord, LogBounds, Maintenance, RecoveryReport, RowFamily, Usage, WriteBatch,
    WriteReceipt, delegate_engine,
};
use crate::config::DiskConfig;
use crate::error::{Site, StoreError};
use crate::types::GroupId;

/// Version of the folder's layout.
const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "FORMAT";
const FORMAT_NAME: &str = "raftmq-store";
const LOCK_FILE: &str = "LOCK";
const JOURNAL_FOLDER: &str = "journal";
const INDEX_FOLDER: &str = "index";

/// The engine on a real disk.
pub struct DiskEngine(JournalEngine<DiskFiles, RocksIndex>, FolderLock);

impl std::fmt::Debug for DiskEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DiskEngine").field(&self.1).finish()
    }
}

/// The lock on a folder, held until it is dropped.
#[derive(Debug)]
struct FolderLock {
    _file: File,
}

impl DiskEngine {
    /// Opens a data folder, creating it when it is missing or empty, and replays the journal.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it open, [`StoreError::NewerFormat`] when a
    /// newer version wrote it, [`StoreError::NotAStore`] when it holds something else,
    /// [`StoreError::Damaged`] when synced bytes do not verify, and others when the disk fails.
    pub fn open(path: impl AsRef<Path>, config: DiskConfig) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let failed = |error: std::io::Error| StoreError::io(Site::Open, &error);
        std::fs::create_dir_all(path).map_err(failed)?;
        let lock = lock_folder(path)?;
        check_format(path)?;
        let files = DiskFiles::open(path.join(JOURNAL_FOLDER), config.capacity_bytes);
        let files = files.map_err(failed)?;
        let index = RocksIndex::open(&path.join(INDEX_FOLDER), config.index_cache_bytes)?;
        Ok(Self(
            JournalEngine::open(files, index, config.journal)?,
            lock,
        ))
    }
}

delegate_engine!(DiskEngine, reads_block: true, sync_delay: |_| Duration::ZERO);

fn lock_folder(path: &Path) -> Result<FolderLock, StoreError> {
    let failed = |error: std::io::Error| StoreError::io(Site::Open, &error);
    let mut options = OpenOptions::new();
    let file = options
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join(LOCK_FILE));
    let file = file.map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(FolderLock { _file: file }),
        Err(Errno::WOULDBLOCK) => Err(StoreError::InUse {
            path: path.to_owned(),
        }),
        Err(error) => Err(failed(error.into())),
    }
}

/// Reads the format file, or writes it into a folder that holds nothing but the lock.
fn check_format(path: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError::io(Site::Open, &error);
    let not_a_store = |text: String| StoreError::NotAStore {
        path: path.to_owned(),
        text,
    };
    let file = path.join(FORMAT_FILE);
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let found = text.trim().strip_prefix(FORMAT_NAME).map(str::trim);
            let found = found.and_then(|version| version.parse::<u32>().ok());
            match found {
                Some(FORMAT) => Ok(()),
                Some(found) => Err(StoreError::NewerFormat {
                    found,
                    supported: FORMAT,
                }),
                None => Err(not_a_store(format!(
                    "{FORMAT_FILE} does not name {FORMAT_NAME}"
                ))),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            for entry in std::fs::read_dir(path).map_err(failed)? {
                let name = entry.map_err(failed)?.file_name();
                if name != LOCK_FILE && !name.to_string_lossy().starts_with(FORMAT_FILE) {
                    let name = name.to_string_lossy();
                    return Err(not_a_store(format!("it holds {name} and no {FORMAT_FILE}")));
                }
            }
            write_format(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

fn write_format(path: &Path) -> std::io::Result<()> {
    let draft = path.join("FORMAT.new");
    let mut file = File::create(&draft)?;
    writeln!(file, "{FORMAT_NAME} {FORMAT}")?;
    file.sync_all()?;
    std::fs::rename(&draft, path.join(FORMAT_FILE))?;
    sync_folder(path)
}
