//! Segment files on a real file system.
//!
//! Owns preallocation, the syncing of folders, and complete reads and writes. Knows nothing of what
//! is in them.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::files::{Files, SegmentFile};

/// Slices that one call to the operating system takes (`IOV_MAX` on Linux).
const SLICES_MAX: usize = 1024;

const EXTENSION: &str = "seg";

/// The unit in which the operating system counts the blocks of a file.
const STAT_BLOCK_BYTES: u64 = 512;

/// A preallocated file.
pub(super) struct DiskFile {
    file: File,
    len: u64,
}

impl SegmentFile for DiskFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn write_at(&self, position: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut rest = slices;
        let mut position = position;
        while !rest.is_empty() {
            let count = rest.len().min(SLICES_MAX);
            let written = match rustix::io::pwritev(&self.file, &rest[..count], position) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(written) => written,
                Err(Errno::INTR) => 0,
                Err(error) => return Err(error.into()),
            };
            position += written as u64;
            IoSlice::advance_slices(&mut rest, written);
        }
        Ok(())
    }

    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// The folder of segments.
pub(super) struct DiskFiles {
    folder: PathBuf,
    /// What the folder around it may hold at most.
    capacity_bytes: Option<u64>,
}

impl DiskFiles {
    pub(super) fn open(folder: PathBuf, capacity_bytes: Option<u64>) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        if let Some(parent) = folder.parent() {
            sync_folder(parent)?;
        }
        Ok(Self {
            folder,
            capacity_bytes,
        })
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.folder.join(format!("{segment:020}.{EXTENSION}"))
    }
}

impl Files for DiskFiles {
    type File = DiskFile;

    fn list(&self) -> io::Result<Vec<u64>> {
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let is_segment = path
                .extension()
                .is_some_and(|extension| extension == EXTENSION);
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            segments.extend(number.filter(|_| is_segment));
        }
        segments.sort_unstable();
        Ok(segments)
    }

    fn create(&self, segment: u64, len: u64, header: &[u8]) -> io::Result<Arc<DiskFile>> {
        let path = self.path(segment);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        // Preallocated, so that a later sync of data need not write a new length as well, and so that
        // a full disk is met here and not in the middle of a batch.
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP) => file.set_len(len)?,
            Err(error) => return Err(error.into()),
        }
        file.write_all_at(header, 0)?;
        file.sync_all()?;
        sync_folder(&self.folder)?;
        Ok(Arc::new(DiskFile { file, len }))
    }

    fn open(&self, segment: u64) -> io::Result<Arc<DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(segment))?;
        let len = file.metadata()?.len();
        Ok(Arc::new(DiskFile { file, len }))
    }

    fn remove(&self, segment: u64) -> io::Result<()> {
        std::fs::remove_file(self.path(segment))
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        let disk = rustix::fs::statvfs(&self.folder)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let Some(capacity) = self.capacity_bytes else {
            return Ok(Some(free));
        };
        let root = self.folder.parent().unwrap_or(&self.folder);
        Ok(Some(free.min(capacity.saturating_sub(used_bytes(root)?))))
    }
}

/// Bytes that the files of a folder and of those in it take on the disk.
fn used_bytes(folder: &Path) -> io::Result<u64> {
    let mut used = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let taken = match entry.metadata() {
            Ok(found) if found.is_dir() => used_bytes(&entry.path())?,
            Ok(found) => found.blocks().saturating_mul(STAT_BLOCK_BYTES),
            // Removed since the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        used += taken;
    }
    Ok(used)
}

/// Makes created, renamed and removed names of a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
