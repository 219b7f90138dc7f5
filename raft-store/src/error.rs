//! Every way in which the store refuses or fails.
//!
//! Owns the split between errors that poison the store (the disk, our own bytes) and refusals that
//! leave it as it was. Does not know exit codes or protocols: the host maps them.

use std::path::PathBuf;

use crate::types::GroupId;

/// Where in the store an input or output error happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// Opening the data folder, its lock or its format file.
    Open,
    /// Creating, preallocating or removing a journal segment.
    Segment,
    /// Writing a frame to the journal.
    Write,
    /// Making the journal durable.
    Sync,
    /// Reading entries back.
    Read,
    /// The index beside the journal.
    Index,
    /// Asking how much space is left.
    Space,
}

/// Why the store refused or failed.
///
/// Cloneable, because one failure is told to every waiter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The operating system or the index failed; the store is poisoned.
    #[error("storage {site:?} failed: {text}")]
    Io {
        /// What was being done.
        site: Site,
        /// The operating system's error number, when there is one.
        os_code: Option<i32>,
        /// The error's own text.
        text: String,
    },
    /// No space is left; the store is poisoned like by any other failed write.
    #[error("storage full: {text}")]
    Full {
        /// The error's own text.
        text: String,
    },
    /// Bytes on the disk are not what was written.
    #[error("damaged {what}: {text}")]
    Damaged {
        /// Which kind of data.
        what: &'static str,
        /// Where, and what was expected.
        text: String,
    },
    /// An entry's checksum does not match its bytes.
    #[error("damaged entry: group {group}, log index {index}")]
    DamagedEntry {
        /// The group.
        group: GroupId,
        /// The entry.
        index: u64,
    },
    /// Another process uses the folder.
    #[error("data folder {} is in use by another process", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder was written by a newer version.
    #[error("data folder has format {found}, this version reads up to {supported}")]
    NewerFormat {
        /// Version found in the folder.
        found: u32,
        /// Newest version that this build reads.
        supported: u32,
    },
    /// The folder holds something else.
    #[error("data folder {} is not a raftmq store: {text}", path.display())]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// What was found.
        text: String,
    },
    /// The group was removed from this store.
    #[error("group {group} was removed")]
    GroupRemoved {
        /// The group.
        group: GroupId,
    },
    /// Entries were handed in that do not follow the log's last one.
    #[error("group {group}: expected log index {expected}, got {actual}")]
    NotContiguous {
        /// The group.
        group: GroupId,
        /// Index that would follow the log.
        expected: u64,
        /// Index that came.
        actual: u64,
    },
    /// One operation is larger than the store takes.
    #[error("{bytes} bytes in one operation, at most {bytes_max} allowed")]
    TooLarge {
        /// Size of the operation.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Stored bytes carry a version that this build does not know.
    #[error("{what} has version {found}, this version reads {supported}")]
    UnknownVersion {
        /// Which kind of data.
        what: &'static str,
        /// Version found.
        found: u8,
        /// Version this build reads.
        supported: u8,
    },
    /// The store was shut down, or its folder was opened anew.
    #[error("store is closed")]
    Closed,
}

impl StoreError {
    /// Wraps an operating-system error.
    #[must_use]
    pub fn io(site: Site, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull {
            return Self::Full {
                text: error.to_string(),
            };
        }
        Self::Io {
            site,
            os_code: error.raw_os_error(),
            text: error.to_string(),
        }
    }

    /// Whether the store must stop: the disk failed or its bytes are wrong.
    ///
    /// Refusals (a removed group, an operation too large, a closed store) are not fatal.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Io { .. }
            | Self::Full { .. }
            | Self::Damaged { .. }
            | Self::DamagedEntry { .. }
            | Self::UnknownVersion { .. }
            | Self::NotContiguous { .. } => true,
            Self::InUse { .. }
            | Self::NewerFormat { .. }
            | Self::NotAStore { .. }
            | Self::GroupRemoved { .. }
            | Self::TooLarge { .. }
            | Self::Closed => false,
        }
    }
}

impl From<StoreError> for std::io::Error {
    fn from(error: StoreError) -> Self {
        Self::other(error)
    }
}
