//! The simulated disk: deterministic, with power loss and injected faults.
//!
//! Owns what a disk may do to what was not synced, and to what was. The journal's own code runs on
//! it unchanged, so what the simulation tests is what runs in production; only files and index are
//! replaced. Knows no time: a slow disk names its delay and the commit loop sleeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::files::{Files, SegmentFile};
use super::index::row_key;
use super::journal::JournalEngine;
use super::memory_index::{MemoryIndex, SimIndex};
use super::{
    EntryMeta, EntryRecord, LogBounds, Maintenance, RecoveryReport, RowFamily, Usage, WriteBatch,
    WriteReceipt, delegate_engine,
};
use crate::config::JournalConfig;
use crate::error::{Site, StoreError};
use crate::key;
use crate::types::GroupId;

/// A disk writes blocks of this size whole or not at all.
const BLOCK_BYTES: u64 = 512;

/// Settings under which a simulation meets segment changes and flushes often.
const SIMULATED_SEGMENT_BYTES: u64 = 1024 * 1024;
const SIMULATED_REPLAY_BYTES: u64 = 4 * 1024 * 1024;

/// How much of what was not synced survives a power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Torn {
    /// Nothing.
    No,
    /// A prefix of the unsynced bytes, cut anywhere.
    Prefix,
    /// Any set of 512-byte blocks.
    SubBlock,
}

/// A write that was not synced.
#[derive(Debug, Clone)]
struct Unsynced {
    segment: u64,
    position: u64,
    len: u64,
}

#[derive(Debug, Clone)]
pub(super) struct SimFile {
    pub(super) len: u64,
    /// Bytes from the start; what follows reads as zero.
    pub(super) data: Vec<u8>,
}

/// Everything on the disk and everything wrong with it.
#[derive(Debug, Clone, Default)]
pub(super) struct DiskState {
    pub(super) files: BTreeMap<u64, Arc<Mutex<SimFile>>>,
    unsynced: Vec<Unsynced>,
    pub(super) index: SimIndex,
    /// Engines opened before the last power loss, crash or open hold an older number.
    generation: u64,
    faults: Vec<Site>,
    pub(super) damaged_votes: BTreeSet<GroupId>,
    capacity_bytes: Option<u64>,
    sync_latency: Duration,
}

impl DiskState {
    /// Fails if this site is to fail next.
    pub(super) fn take_fault(&mut self, site: Site) -> Result<(), StoreError> {
        self.take_io_fault(site)
            .map_err(|error| StoreError::io(site, &error))
    }

    fn take_io_fault(&mut self, site: Site) -> io::Result<()> {
        let Some(place) = self.faults.iter().position(|fault| *fault == site) else {
            return Ok(());
        };
        self.faults.remove(place);
        Err(io::Error::from_raw_os_error(
            rustix::io::Errno::IO.raw_os_error(),
        ))
    }

    fn used_bytes(&self) -> u64 {
        let files = self
            .files
            .values()
            .map(|file| file.lock().data.len() as u64)
            .sum::<u64>();
        files + self.index.size_bytes()
    }

    fn check_capacity(&self, more_bytes: u64) -> io::Result<()> {
        match self.capacity_bytes {
            Some(capacity) if self.used_bytes() + more_bytes > capacity => Err(
                io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()),
            ),
            Some(_) | None => Ok(()),
        }
    }

    fn zero(&self, segment: u64, range: Range<u64>) {
        let Some(file) = self.files.get(&segment) else {
            return;
        };
        let mut file = file.lock();
        let end = usize::try_from(range.end)
            .unwrap_or(usize::MAX)
            .min(file.data.len());
        let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(end);
        file.data[start..end].fill(0);
    }
}

/// A simulated disk: it outlives the engines opened on it. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<DiskState>>);

impl MemoryDisk {
    /// A fresh, empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The disk as the engine opened last sees it.
    #[cfg(test)]
    pub(super) fn handle(&self) -> DiskHandle {
        DiskHandle {
            generation: self.0.lock().generation,
            disk: self.clone(),
        }
    }

    /// An independent copy of the disk as it is now, with nothing running on it.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut state = self.0.lock().clone();
        for file in state.files.values_mut() {
            let copy = file.lock().clone();
            *file = Arc::new(Mutex::new(copy));
        }
        Self(Arc::new(Mutex::new(state)))
    }

    /// The process dies: what was written stays, engines opened before are cut off.
    pub fn crash(&self) {
        self.0.lock().generation += 1;
    }

    /// The power fails: of what was not synced, only what `torn` allows survives. The same seed
    /// gives the same result. Engines opened before are cut off.
    pub fn power_loss(&self, rng_seed: u64, torn: Torn) {
        let mut random = SplitMix(rng_seed);
        match torn {
            Torn::No => self.power_loss_keeping(0),
            Torn::Prefix => {
                let kept = random.below(self.unsynced_bytes() + 1);
                self.power_loss_keeping(kept);
            }
            Torn::SubBlock => {
                let mut disk = self.0.lock();
                disk.generation += 1;
                for write in std::mem::take(&mut disk.unsynced) {
                    let end = write.position + write.len;
                    let mut position = write.position;
                    while position < end {
                        let next = (position / BLOCK_BYTES + 1) * BLOCK_BYTES;
                        if random.below(2) == 0 {
                            disk.zero(write.segment, position..next.min(end));
                        }
                        position = next;
                    }
                }
            }
        }
    }

    /// The power fails and exactly the first `kept` unsynced bytes survive.
    pub fn power_loss_keeping(&self, kept: u64) {
        let mut disk = self.0.lock();
        disk.generation += 1;
        let mut kept = kept;
        for write in std::mem::take(&mut disk.unsynced) {
            let survives = kept.min(write.len);
            kept -= survives;
            disk.zero(
                write.segment,
                write.position + survives..write.position + write.len,
            );
        }
    }

    /// Bytes written since the last sync.
    #[must_use]
    pub fn unsynced_bytes(&self) -> u64 {
        self.0.lock().unsynced.iter().map(|write| write.len).sum()
    }

    /// Bytes on the disk.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.0.lock().used_bytes()
    }

    /// Every sync takes this long from now on (slept by the commit loop).
    pub fn slow(&self, sync_latency: Duration) {
        self.0.lock().sync_latency = sync_latency;
    }

    /// The next operation at `site` fails with EIO. Repeating it fails one more.
    pub fn fail_next(&self, site: Site) {
        self.0.lock().faults.push(site);
    }

    /// The next write fails with EIO.
    pub fn fail_next_write(&self) {
        self.fail_next(Site::Write);
    }

    /// The next sync fails with EIO.
    pub fn fail_next_sync(&self) {
        self.fail_next(Site::Sync);
    }

    /// The next read of entries from the journal fails with EIO.
    pub fn fail_next_read(&self) {
        self.fail_next(Site::Read);
    }

    /// Bytes that the disk holds at most; writes beyond fail with ENOSPC. `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity_bytes = bytes;
    }

    /// Everything on the disk, for what damages it.
    pub(super) fn state(&self) -> MutexGuard<'_, DiskState> {
        self.0.lock()
    }
}

/// A disk as one engine sees it, until the next power loss, crash or open.
#[derive(Debug, Clone)]
pub(super) struct DiskHandle {
    disk: MemoryDisk,
    generation: u64,
}

impl DiskHandle {
    pub(super) fn with<T>(
        &self,
        site: Site,
        act: impl FnOnce(&mut DiskState) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut disk = self.disk.0.lock();
        self.check(&disk)
            .map_err(|error| StoreError::io(site, &error))?;
        act(&mut disk)
    }

    fn with_io<T>(&self, act: impl FnOnce(&mut DiskState) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.0.lock();
        self.check(&disk)?;
        act(&mut disk)
    }

    fn check(&self, disk: &DiskState) -> io::Result<()> {
        if disk.generation == self.generation {
            return Ok(());
        }
        Err(io::Error::other("the disk was cut off from this engine"))
    }
}

/// The folder of a simulated disk.
pub(super) struct MemoryFiles(DiskHandle);

/// A file of a simulated disk.
pub(super) struct MemoryFile {
    disk: DiskHandle,
    segment: u64,
    file: Arc<Mutex<SimFile>>,
}

impl SegmentFile for MemoryFile {
    fn len(&self) -> u64 {
        self.file.lock().len
    }

    fn data_end(&self) -> u64 {
        self.file.lock().data.len() as u64
    }

    fn write_at(&self, position: u64, slices: &mut [io::IoSlice<'_>]) -> io::Result<()> {
        let len = slices.iter().map(|slice| slice.len() as u64).sum::<u64>();
        self.disk.with_io(|disk| {
            disk.take_io_fault(Site::Write)?;
            disk.check_capacity(len)?;
            let mut file = self.file.lock();
            let start = usize::try_from(position).unwrap_or(usize::MAX);
            let end = start + usize::try_from(len).unwrap_or(usize::MAX);
            if file.data.len() < end {
                file.data.resize(end, 0);
            }
            let mut at = start;
            for slice in slices.iter() {
                file.data[at..at + slice.len()].copy_from_slice(slice);
                at += slice.len();
            }
            disk.unsynced.push(Unsynced {
                segment: self.segment,
                position,
                len,
            });
            Ok(())
        })
    }

    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.disk.with_io(|disk| disk.take_io_fault(Site::Read))?;
        let file = self.file.lock();
        if position + bytes.len() as u64 > file.len {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let start = usize::try_from(position)
            .unwrap_or(usize::MAX)
            .min(file.data.len());
        let known = bytes.len().min(file.data.len() - start);
        bytes[..known].copy_from_slice(&file.data[start..start + known]);
        bytes[known..].fill(0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.with_io(|disk| {
            disk.take_io_fault(Site::Sync)?;
            disk.unsynced.retain(|write| write.segment != self.segment);
            Ok(())
        })
    }
}

impl MemoryFiles {
    fn handle(&self, segment: u64, file: &Arc<Mutex<SimFile>>) -> Arc<MemoryFile> {
        let disk = self.0.clone();
        Arc::new(MemoryFile {
            disk,
            segment,
            file: Arc::clone(file),
        })
    }
}

impl Files for MemoryFiles {
    type File = MemoryFile;

    fn list(&self) -> io::Result<Vec<u64>> {
        self.0
            .with_io(|disk| Ok(disk.files.keys().copied().collect()))
    }

    fn create(&self, segment: u64, len: u64, header: &[u8]) -> io::Result<Arc<MemoryFile>> {
        self.0.with_io(|disk| {
            disk.take_io_fault(Site::Segment)?;
            disk.check_capacity(header.len() as u64)?;
            let file = Arc::new(Mutex::new(SimFile {
                len,
                data: header.to_vec(),
            }));
            let handle = self.handle(segment, &file);
            disk.files.insert(segment, file);
            Ok(handle)
        })
    }

    fn open(&self, segment: u64) -> io::Result<Arc<MemoryFile>> {
        self.0.with_io(|disk| {
            let file = disk.files.get(&segment);
            let file = file.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            Ok(self.handle(segment, file))
        })
    }

    fn remove(&self, segment: u64) -> io::Result<()> {
        self.0.with_io(|disk| {
            disk.files.remove(&segment);
            Ok(())
        })
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        self.0.with_io(|disk| {
            let free = |capacity: u64| capacity.saturating_sub(disk.used_bytes());
            Ok(disk.capacity_bytes.map(free))
        })
    }
}

/// The engine on a simulated disk.
pub struct MemoryEngine(JournalEngine<MemoryFiles, MemoryIndex>);

impl std::fmt::Debug for MemoryEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryEngine")
    }
}

impl MemoryEngine {
    /// Opens a disk with settings fit for simulation: small segments, everything verified. Engines
    /// opened on it before are cut off.
    ///
    /// # Errors
    /// When the journal is damaged, or a fault was injected.
    pub fn open(disk: &MemoryDisk) -> Result<Self, StoreError> {
        Self::open_with(
            disk,
            JournalConfig {
                segment_bytes: SIMULATED_SEGMENT_BYTES,
                replay_bytes_max: SIMULATED_REPLAY_BYTES,
                verify_on_open: crate::config::VerifyOnOpen::Everything,
                ..JournalConfig::default()
            },
        )
    }

    /// Opens a disk with settings of the caller's.
    ///
    /// # Errors
    /// As [`MemoryEngine::open`].
    pub fn open_with(disk: &MemoryDisk, config: JournalConfig) -> Result<Self, StoreError> {
        let generation = {
            let mut state = disk.0.lock();
            state.generation += 1;
            state.index.revert();
            state.take_fault(Site::Open)?;
            state.generation
        };
        let handle = DiskHandle {
            disk: disk.clone(),
            generation,
        };
        let opened = JournalEngine::open(MemoryFiles(handle.clone()), MemoryIndex(handle), config)?;
        let mut state = disk.0.lock();
        for group in std::mem::take(&mut state.damaged_votes) {
            let key = row_key(group, RowFamily::Meta, &key::meta(key::VOTE));
            state.index.flip_bit(&key, 1);
        }
        Ok(Self(opened))
    }
}

delegate_engine!(MemoryEngine, reads_block: false, sync_delay: |engine| {
    engine.0.files.0.disk.0.lock().sync_latency
});

/// The SplitMix64 generator: small, and the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}
