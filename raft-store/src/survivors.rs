//! Survivors of a group: what is left of its log below the purge point, in rows of their own.
//!
//! Owns their keys, generations and the list of them in memory. A generation is a whole set: one is
//! in force, another may be staged while a snapshot comes in, and takes its place at once. Does not
//! know what a row holds, nor when one is written; `note`s are the host's, kept with each row and with
//! the set, so that rows are found without being read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::codec;
use crate::commit::{Flush, OP_OVERHEAD_BYTES};
use crate::engine::{Op, RowFamily};
use crate::error::StoreError;
use crate::group::GroupStore;
use crate::key;

/// Rows removed with one write.
const DELETES_AT_ONCE: usize = 4_096;
/// Sets that came in whole and wait for their snapshot to be installed; more are forgotten.
const COMPLETE_MAX: usize = 4;
const FAMILIES: [RowFamily; 2] = [RowFamily::SurvivorHead, RowFamily::Survivor];

/// The survivors in force, without their bodies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SurvivorIndex {
    /// Which set it is; 0 where there never was one.
    pub generation: u64,
    /// The host's note on the set.
    pub note: Bytes,
    /// The host's note on each row, by its key.
    pub heads: BTreeMap<u64, Bytes>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurvivorRow {
    /// Its key; rows are read in the order of keys.
    pub key: u64,
    /// What is known of it without reading it.
    pub note: Bytes,
    /// What it holds.
    pub body: Bytes,
}

/// Rows that come and go together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SurvivorChange {
    /// Rows to write.
    pub puts: Vec<SurvivorRow>,
    /// Keys to remove; one that is written as well stays.
    pub deletes: Vec<u64>,
}

/// A set that is coming in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Staging {
    generation: u64,
    rows_count: u64,
}

/// What a group knows of its survivors in memory.
#[derive(Debug, Default)]
pub(crate) struct SurvivorCache {
    known: Mutex<Known>,
    /// Held for reading while the set is sent, for writing while it is cleaned.
    gate: Arc<RwLock<()>>,
    /// Another set is about to take the place of the one in force: who cleans must stop.
    is_replaced: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    index: Option<Arc<SurvivorIndex>>,
    staging: Option<Staging>,
    /// Sets that came in whole, the newest last.
    complete: VecDeque<u64>,
}

impl Known {
    fn unused_generation(&self, in_force: u64) -> u64 {
        let staged = self.staging.map(|staging| staging.generation);
        let last = staged.max(self.complete.back().copied());
        last.max(Some(in_force)).unwrap_or(0) + 1
    }
}

impl GroupStore {
    /// The survivors in force. Reads the disk the first time only.
    ///
    /// # Errors
    /// When the store has failed, or a head is damaged.
    pub async fn survivors(&self) -> Result<Arc<SurvivorIndex>, StoreError> {
        if let Some(index) = &self.shared.survivors.known.lock().index {
            return Ok(Arc::clone(index));
        }
        let group = self.id();
        let (set, heads) = self
            .read_engine(move |engine| {
                let set = engine.get_row(group, RowFamily::Meta, &key::meta(key::SURVIVORS))?;
                let heads = match set {
                    Some(_) => engine.scan_rows(group, RowFamily::SurvivorHead)?,
                    None => Vec::new(),
                };
                Ok((set, heads))
            })
            .await?;
        let mut index = SurvivorIndex::default();
        if let Some(set) = set {
            (index.generation, index.note) = codec::decode_survivors(group, &set)?;
        }
        for (row, head) in heads {
            if let Some((generation, key)) = key_of(&row)
                && generation == index.generation
            {
                let note = codec::decode_survivor("survivor head", group, &head)?;
                index.heads.insert(key, note);
            }
        }
        let mut known = self.shared.survivors.known.lock();
        // Somebody else may have read and changed it meanwhile.
        Ok(Arc::clone(
            known.index.get_or_insert_with(|| Arc::new(index)),
        ))
    }

    /// Reads one row; `None` when it is not there, or not any more.
    ///
    /// # Errors
    /// When the store has failed, or the row is damaged: it is never handed out then.
    pub async fn read_survivor(
        &self,
        generation: u64,
        key: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        let group = self.id();
        let row = self
            .read_engine(move |engine| {
                engine.get_row(group, RowFamily::Survivor, &row_key(generation, key))
            })
            .await?;
        row.map(|body| codec::decode_survivor("survivor", group, &body))
            .transpose()
    }

    /// Changes rows of the set `generation`, atomically, behind everything submitted before. A set
    /// that is not in force any more is left alone.
    ///
    /// # Errors
    /// When the store has failed, the group was removed, or a row is too large.
    pub async fn change_survivors(
        &self,
        generation: u64,
        change: SurvivorChange,
    ) -> Result<(), StoreError> {
        let mut index = SurvivorIndex::clone(&*self.survivors().await?);
        if index.generation != generation {
            return Ok(());
        }
        for key in &change.deletes {
            index.heads.remove(key);
        }
        for row in &change.puts {
            index.heads.insert(row.key, row.note.clone());
        }
        let is_written = |key: &u64| change.puts.iter().any(|row| row.key == *key);
        let mut ops: Vec<Op> = change
            .deletes
            .iter()
            .filter(|key| !is_written(key))
            .flat_map(|key| self.row_deletes(&row_key(generation, *key)))
            .collect();
        ops.extend(self.row_puts(generation, &change.puts));
        self.submit_ordered(ops).await?;
        self.remember(index);
        Ok(())
    }

    /// Changes the note on the set `generation`. A set that is not in force any more is left alone.
    ///
    /// # Errors
    /// When the store has failed or the group was removed.
    pub async fn note_survivors(&self, generation: u64, note: Bytes) -> Result<(), StoreError> {
        let mut index = SurvivorIndex::clone(&*self.survivors().await?);
        index.note = note;
        let set = codec::encode_survivors(self.id(), generation, &index.note);
        let room = self
            .store
            .queue
            .room_for(set.len() + OP_OVERHEAD_BYTES)
            .await?;
        let waiter = {
            let known = self.shared.survivors.known.lock();
            let in_force = known.index.as_ref().map(|index| index.generation);
            if in_force != Some(generation) {
                return Ok(());
            }
            drop(self.lock()?);
            let ops = vec![self.meta_put(key::SURVIVORS, set)];
            self.push(room, ops, Flush::Required)
        };
        waiter.await?;
        self.remember(index);
        Ok(())
    }

    /// Begins to take in another set, and forgets one that was begun before. Returns its generation.
    ///
    /// # Errors
    /// When the store has failed or the group was removed.
    pub async fn begin_survivors(&self) -> Result<u64, StoreError> {
        let in_force = self.survivors().await?.generation;
        let complete = self.shared.survivors.known.lock().complete.clone();
        let is_kept = |generation| generation == in_force || complete.contains(&generation);
        self.drop_generations(|generation| !is_kept(generation))
            .await?;
        let mut known = self.shared.survivors.known.lock();
        let generation = known.unused_generation(in_force);
        known.staging = Some(Staging {
            generation,
            rows_count: 0,
        });
        Ok(generation)
    }

    /// Takes in rows of the set that was begun last. False: it is not this one.
    ///
    /// # Errors
    /// When the store has failed, the group was removed, or a row is too large.
    pub async fn stage_survivors(
        &self,
        generation: u64,
        rows: Vec<SurvivorRow>,
    ) -> Result<bool, StoreError> {
        let count = rows.len() as u64;
        let is_staging = |staging: Staging| staging.generation == generation;
        if !self
            .shared
            .survivors
            .known
            .lock()
            .staging
            .is_some_and(is_staging)
        {
            return Ok(false);
        }
        self.submit_ordered(self.row_puts(generation, &rows))
            .await?;
        let mut known = self.shared.survivors.known.lock();
        let staging = known
            .staging
            .as_mut()
            .filter(|staging| staging.generation == generation);
        let Some(staging) = staging else {
            return Ok(false);
        };
        staging.rows_count += count;
        Ok(true)
    }

    /// Keeps the set that was begun last until it is adopted. False: it is not this one, or has
    /// another number of rows.
    #[must_use]
    pub fn complete_survivors(&self, generation: u64, rows_count: u64) -> bool {
        let mut known = self.shared.survivors.known.lock();
        let whole = Staging {
            generation,
            rows_count,
        };
        if known.staging != Some(whole) {
            return false;
        }
        known.staging = None;
        known.complete.push_back(generation);
        while known.complete.len() > COMPLETE_MAX {
            known.complete.pop_front();
        }
        true
    }

    /// Puts a complete set, or none, in the place of the one in force.
    ///
    /// # Errors
    /// When the store has failed, the group was removed, or the set is not complete.
    pub async fn adopt_survivors(&self, staged: Option<(u64, Bytes)>) -> Result<(), StoreError> {
        let before = self.survivors().await?;
        if staged.is_none() && before.generation == 0 && before.heads.is_empty() {
            return Ok(());
        }
        let cache = &self.shared.survivors;
        cache.is_replaced.store(true, Ordering::Relaxed);
        let _alone = cache.gate.write().await;
        cache.is_replaced.store(false, Ordering::Relaxed);
        let unused = cache.known.lock().unused_generation(before.generation);
        let generation = staged
            .as_ref()
            .map_or(unused, |(generation, _)| *generation);
        let is_complete = || {
            self.shared
                .survivors
                .known
                .lock()
                .complete
                .contains(&generation)
        };
        if staged.is_some() && !is_complete() {
            let text = format!("survivors {generation} of group {} are missing", self.id());
            return Err(StoreError::Damaged {
                what: "snapshot",
                text,
            });
        }
        let note = staged.map_or_else(Bytes::new, |(_, note)| note);
        let set = codec::encode_survivors(self.id(), generation, &note);
        self.submit_ordered(vec![self.meta_put(key::SURVIVORS, set)])
            .await?;
        {
            let mut known = self.shared.survivors.known.lock();
            known.index = None;
            known.complete.retain(|other| *other != generation);
        }
        self.survivors().await?;
        self.drop_generations(|other| other == before.generation)
            .await
    }

    /// Keeps the survivors as they are while they are sent; `None` while they are being cleaned.
    #[must_use]
    pub fn hold_survivors(&self) -> Option<OwnedRwLockReadGuard<()>> {
        Arc::clone(&self.shared.survivors.gate)
            .try_read_owned()
            .ok()
    }

    /// The right to clean; `None` while the survivors are being sent, or cleaned by somebody else.
    #[must_use]
    pub fn clean_survivors(&self) -> Option<OwnedRwLockWriteGuard<()>> {
        Arc::clone(&self.shared.survivors.gate)
            .try_write_owned()
            .ok()
    }

    /// Whether who cleans should stop at once, because what it cleans is about to be replaced.
    #[must_use]
    pub fn is_replacing_survivors(&self) -> bool {
        self.shared.survivors.is_replaced.load(Ordering::Relaxed)
    }

    fn remember(&self, index: SurvivorIndex) {
        let mut known = self.shared.survivors.known.lock();
        let is_in_force = |known: &Arc<SurvivorIndex>| known.generation == index.generation;
        if known.index.as_ref().is_some_and(is_in_force) {
            known.index = Some(Arc::new(index));
        }
    }

    /// Removes the rows of other sets: what is left of one that never came in whole, or is replaced.
    async fn drop_generations(&self, goes: impl Fn(u64) -> bool) -> Result<(), StoreError> {
        let group = self.id();
        let heads = self
            .read_engine(move |engine| engine.scan_rows(group, RowFamily::SurvivorHead))
            .await?;
        let obsolete = |row: &Bytes| key_of(row).is_none_or(|(generation, _)| goes(generation));
        let obsolete: Vec<Bytes> = heads
            .into_iter()
            .map(|(row, _)| row)
            .filter(obsolete)
            .collect();
        for rows in obsolete.chunks(DELETES_AT_ONCE) {
            let ops = rows.iter().flat_map(|row| self.row_deletes(row)).collect();
            self.submit_ordered(ops).await?;
        }
        Ok(())
    }

    fn row_deletes(&self, row: &Bytes) -> [Op; 2] {
        let group = self.id();
        FAMILIES.map(|family| Op::Delete {
            group,
            family,
            key: row.clone(),
        })
    }

    fn row_puts(&self, generation: u64, rows: &[SurvivorRow]) -> Vec<Op> {
        let group = self.id();
        let put = |row: &SurvivorRow| {
            let key = row_key(generation, row.key);
            [
                (RowFamily::SurvivorHead, &row.note),
                (RowFamily::Survivor, &row.body),
            ]
            .map(|(family, value)| Op::Put {
                group,
                family,
                key: key.clone(),
                value: codec::encode_survivor(group, value),
            })
        };
        rows.iter().flat_map(put).collect()
    }
}

fn row_key(generation: u64, key: u64) -> Bytes {
    let mut row = Vec::with_capacity(16);
    row.extend_from_slice(&generation.to_be_bytes());
    row.extend_from_slice(&key.to_be_bytes());
    row.into()
}

fn key_of(row: &[u8]) -> Option<(u64, u64)> {
    let (generation, key) = row.split_first_chunk::<8>()?;
    let key = key.try_into().ok()?;
    Some((u64::from_be_bytes(*generation), u64::from_be_bytes(key)))
}
