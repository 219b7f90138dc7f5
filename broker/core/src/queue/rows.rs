//! The bytes of a queue's state: rows for incremental persistence, and checkpoints made of them.
//!
//! Rows: `a` dead letters published ahead; `b` + slot, a returned message; `c` + id, a consumer;
//! `d` + number, a remembered id; `h` the head; `o` + chunk, dead letters; `r` + rank + chunk, ready
//! messages; `t` + due time + message, a delayed one; `u` + id, an unsettled delivery. Keys and
//! formats are append-only (STYLE rule 23). How each value looks stands in `row_values`.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::codec::{CodecError, Reader, RestoreError, Writer};
use crate::ids::{ConsumerId, DeliveryId, LogIndex};
use crate::limits::STATE_BYTES_MAX;
use crate::machine::RowUpdates;
use crate::planted::{self, Bug};
use crate::queue::Queue;
use crate::queue::dedup::{Seen, Window};
use crate::queue::delayed::Due;
use crate::queue::fifo::Fifo;
use crate::queue::message::MessageRef;
use crate::queue::ready::Slot;
use crate::queue::row_values as values;
use crate::queue::row_values::Head;

const VERSION: u8 = 1;
const FAMILY_AHEAD: u8 = b'a';
const FAMILY_CONSUMER: u8 = b'c';
const FAMILY_DEAD_LETTERS: u8 = b'o';
const FAMILY_DELAYED: u8 = b't';
const FAMILY_HEAD: u8 = b'h';
const FAMILY_READY: u8 = b'r';
const FAMILY_RETURNED: u8 = b'b';
const FAMILY_SEEN: u8 = b'd';
const FAMILY_UNSETTLED: u8 = b'u';

const ROW_BYTES_MIN: usize = 10;

pub(super) fn take_dirty(queue: &mut Queue) -> RowUpdates {
    let mut updates = RowUpdates::default();
    if std::mem::take(&mut queue.is_head_dirty) {
        updates.puts.push((head_key(), values::write_head(queue)));
    }
    if std::mem::take(&mut queue.dead_letters.is_ahead_dirty) {
        let ahead = &queue.dead_letters.ahead;
        updates.puts.push((ahead_key(), values::write_ahead(ahead)));
    }
    take_dirty_lines(queue, &mut updates);
    for slot in std::mem::take(&mut queue.ready.dirty) {
        let value = queue.ready.returned.get(&slot).map(values::write_item);
        update(&mut updates, returned_key(slot), value);
    }
    for id in std::mem::take(&mut queue.consumers.dirty) {
        let value = queue.consumers.get(id).map(values::write_consumer);
        update(&mut updates, numbered_key(FAMILY_CONSUMER, id.0), value);
    }
    for due in std::mem::take(&mut queue.delayed.dirty) {
        let value = queue.delayed.map.get(&due).map(values::write_postponed);
        update(&mut updates, delayed_key(due), value);
    }
    let (seen, forgotten) = queue.window.take_dirty();
    for (number, seen) in seen {
        let value = values::write_seen(&seen);
        update(&mut updates, numbered_key(FAMILY_SEEN, number), Some(value));
    }
    for number in forgotten {
        update(&mut updates, numbered_key(FAMILY_SEEN, number), None);
    }
    take_dirty_deliveries(queue, &mut updates);
    updates.puts.sort_unstable();
    updates.deletes.sort_unstable();
    updates
}

fn take_dirty_lines(queue: &mut Queue, updates: &mut RowUpdates) {
    for (rank, line) in &mut queue.ready.lines {
        let (chunks, gone) = line.take_dirty();
        for (number, chunk) in chunks {
            update(updates, ready_key(*rank, number), Some(chunk));
        }
        for number in gone {
            update(updates, ready_key(*rank, number), None);
        }
    }
    let (chunks, gone) = queue.dead_letters.line.take_dirty();
    for (number, chunk) in chunks {
        let key = numbered_key(FAMILY_DEAD_LETTERS, number);
        update(updates, key, Some(chunk));
    }
    for number in gone {
        update(updates, numbered_key(FAMILY_DEAD_LETTERS, number), None);
    }
}

fn take_dirty_deliveries(queue: &mut Queue, updates: &mut RowUpdates) {
    let (added, gone) = queue.channels.take_dirty();
    for (channel, id) in added {
        let held = queue.channels.of(channel);
        let value = held
            .and_then(|held| held.unsettled.get(&id))
            .map(|unsettled| values::write_unsettled(channel, unsettled));
        update(updates, numbered_key(FAMILY_UNSETTLED, id.0), value);
    }
    for id in gone {
        update(updates, numbered_key(FAMILY_UNSETTLED, id.0), None);
    }
}

fn update(updates: &mut RowUpdates, key: Bytes, value: Option<Bytes>) {
    match value {
        Some(value) => updates.puts.push((key, value)),
        None => updates.deletes.push(key),
    }
}

/// Every row of the state, in ascending order of keys.
fn all_rows(queue: &Queue) -> Vec<(Bytes, Bytes)> {
    let mut rows = vec![
        (head_key(), values::write_head(queue)),
        (ahead_key(), values::write_ahead(&queue.dead_letters.ahead)),
    ];
    for (rank, line) in &queue.ready.lines {
        let chunks = line.rows_from(0).into_iter();
        rows.extend(chunks.map(|(number, chunk)| (ready_key(*rank, number), chunk)));
    }
    let letters = queue.dead_letters.line.rows_from(0).into_iter();
    rows.extend(letters.map(|(number, chunk)| (numbered_key(FAMILY_DEAD_LETTERS, number), chunk)));
    let returned = queue.ready.returned.iter();
    rows.extend(returned.map(|(slot, item)| (returned_key(*slot), values::write_item(item))));
    rows.extend(queue.consumers.iter().map(|(id, consumer)| {
        let key = numbered_key(FAMILY_CONSUMER, id.0);
        (key, values::write_consumer(consumer))
    }));
    let delayed = queue.delayed.map.iter();
    rows.extend(delayed.map(|(due, one)| (delayed_key(*due), values::write_postponed(one))));
    rows.extend(queue.window.iter().map(|(number, seen)| {
        let key = numbered_key(FAMILY_SEEN, number);
        (key, values::write_seen(seen))
    }));
    rows.extend(queue.channels.iter().map(|(channel, id, unsettled)| {
        let key = numbered_key(FAMILY_UNSETTLED, id.0);
        (key, values::write_unsettled(channel, unsettled))
    }));
    rows.sort_unstable();
    rows
}

pub(super) fn checkpoint(queue: &Queue) -> Bytes {
    let rows = all_rows(queue);
    let mut writer = Writer::new();
    writer.u8(VERSION).count(rows.len());
    for (key, value) in rows {
        writer.count(key.len()).raw(&key);
        writer.count(value.len()).raw(&value);
    }
    writer.finish()
}

pub(super) fn restore_checkpoint(bytes: &Bytes) -> Result<Queue, RestoreError> {
    let mut reader = Reader::new(bytes.clone());
    reader.version("queue checkpoint", VERSION)?;
    let count = reader.count("rows", ROW_BYTES_MIN, STATE_BYTES_MAX)?;
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        let key = read_counted(&mut reader)?;
        let value = read_counted(&mut reader)?;
        if !(planted::is_planted(Bug::QueueDedupForgotten) && key.first() == Some(&FAMILY_SEEN)) {
            rows.push((key, value));
        }
    }
    reader.finish()?;
    let mut queue = restore(rows.into_iter())?;
    tracing::trace!(target: "raftmq::mark", name = "queue_restored_from_checkpoint");
    mark_all_dirty(&mut queue);
    Ok(queue)
}

fn read_counted(reader: &mut Reader) -> Result<Bytes, CodecError> {
    let length = reader.count("row of a queue", 1, STATE_BYTES_MAX)?;
    reader.take(length)
}

fn mark_all_dirty(queue: &mut Queue) {
    queue.is_head_dirty = true;
    queue.dead_letters.is_ahead_dirty = true;
    queue.dead_letters.line.mark_all_dirty();
    for line in queue.ready.lines.values_mut() {
        line.mark_all_dirty();
    }
    queue.ready.dirty = queue.ready.returned.keys().copied().collect();
    queue.consumers.dirty = queue.consumers.iter().map(|(id, _)| id).collect();
    queue.delayed.dirty = queue.delayed.map.keys().copied().collect();
    queue.window.mark_all_dirty();
    queue.channels.mark_saved(false);
}

/// What is read before the head says how it fits together.
#[derive(Default)]
struct Restoring {
    queue: Queue,
    head: Option<Head>,
    lines: BTreeMap<u8, Vec<Bytes>>,
    dead_letters: Vec<Bytes>,
    seen: VecDeque<Seen>,
    first_seen: Option<u64>,
}

pub(super) fn restore(rows: impl Iterator<Item = (Bytes, Bytes)>) -> Result<Queue, RestoreError> {
    let mut restoring = Restoring::default();
    let mut rows_count = 0;
    for (key, value) in rows {
        rows_count += 1;
        restore_row(&mut restoring, &key, value)?;
    }
    let Some(head) = restoring.head.take() else {
        if rows_count == 0 {
            return Ok(Queue::default());
        }
        return Err(RestoreError::HeadMissing { rows_count });
    };
    put_together(restoring, head)
}

fn restore_row(restoring: &mut Restoring, key: &Bytes, value: Bytes) -> Result<(), RestoreError> {
    let mut name = Reader::new(key.clone());
    let family = if key.is_empty() { 0 } else { name.u8()? };
    let queue = &mut restoring.queue;
    match family {
        FAMILY_AHEAD => queue.dead_letters.ahead = values::read_ahead(value)?,
        FAMILY_RETURNED => {
            let slot = read_slot(&mut name)?;
            queue.ready.returned.insert(slot, values::read_item(value)?);
        }
        FAMILY_CONSUMER => {
            let (id, consumer) = (ConsumerId(name.u64()?), values::read_consumer(value)?);
            queue.channels.add_consumer(consumer.attach.channel, id);
            queue.consumers.restore(id, consumer);
        }
        FAMILY_SEEN => {
            let number = name.u64()?;
            let first = *restoring.first_seen.get_or_insert(number);
            if Some(number) != first.checked_add(restoring.seen.len() as u64) {
                return Err(contradiction("remembered ids leave a gap"));
            }
            restoring.seen.push_back(values::read_seen(value)?);
        }
        FAMILY_HEAD => restoring.head = Some(values::read_head(value)?),
        FAMILY_DEAD_LETTERS => {
            name.u64()?;
            restoring.dead_letters.push(value);
        }
        FAMILY_READY => {
            let rank = name.u8()?;
            name.u64()?;
            restoring.lines.entry(rank).or_default().push(value);
        }
        FAMILY_DELAYED => {
            let due = read_due(&mut name)?;
            queue
                .delayed
                .map
                .insert(due, values::read_postponed(value)?);
        }
        FAMILY_UNSETTLED => {
            let id = DeliveryId(name.u64()?);
            let (channel, unsettled) = values::read_unsettled(value)?;
            queue.channels.insert(channel, id, unsettled);
        }
        family => {
            return Err(RestoreError::UnknownRow {
                family,
                key_bytes: key.len(),
            });
        }
    }
    name.finish()?;
    Ok(())
}

fn put_together(restoring: Restoring, head: Head) -> Result<Queue, RestoreError> {
    let Restoring {
        mut queue,
        head: _,
        mut lines,
        dead_letters,
        seen,
        first_seen,
    } = restoring;
    head.copy_to(&mut queue);
    for (rank, first, next) in head.lines {
        let rows = lines.remove(&rank).unwrap_or_default();
        let line = Fifo::restore(first, next, &rows)?;
        queue.ready.lines.insert(rank, line);
    }
    if !lines.is_empty() {
        return Err(contradiction("ready messages of an unknown priority"));
    }
    let (first, next) = head.dead_letters;
    queue.dead_letters.line = Fifo::restore(first, next, &dead_letters)?;
    if first_seen.is_some_and(|first| first != head.first_seen) {
        return Err(contradiction("remembered ids and the head do not match"));
    }
    queue.window = Window::restore(head.first_seen, seen);
    queue.ready.recount();
    queue.channels.mark_saved(true);
    check(&queue)?;
    Ok(queue)
}

fn check(queue: &Queue) -> Result<(), RestoreError> {
    for slot in queue.ready.returned.keys() {
        let line = queue.ready.lines.get(&slot.rank);
        if line.is_none_or(|line| slot.number >= line.first()) {
            return Err(contradiction("a returned message was never delivered"));
        }
    }
    if queue
        .channels
        .newest()
        .is_some_and(|id| id.0 > queue.channels.next_delivery)
    {
        return Err(contradiction("a delivery is newer than the newest"));
    }
    let line = &queue.dead_letters.line;
    let is_ahead = |number: &u64| *number > line.first() && *number < line.next();
    if !queue.dead_letters.ahead.iter().all(is_ahead) {
        return Err(contradiction("an unknown dead letter was published"));
    }
    Ok(())
}

const fn contradiction(what: &'static str) -> RestoreError {
    RestoreError::Contradiction { what }
}

const fn head_key() -> Bytes {
    Bytes::from_static(&[FAMILY_HEAD])
}

const fn ahead_key() -> Bytes {
    Bytes::from_static(&[FAMILY_AHEAD])
}

fn numbered_key(family: u8, number: u64) -> Bytes {
    let mut writer = Writer::with_capacity(9);
    writer.u8(family).u64(number);
    writer.finish()
}

fn ready_key(rank: u8, chunk: u64) -> Bytes {
    let mut writer = Writer::with_capacity(10);
    writer.u8(FAMILY_READY).u8(rank).u64(chunk);
    writer.finish()
}

fn returned_key(slot: Slot) -> Bytes {
    let mut writer = Writer::with_capacity(10);
    writer.u8(FAMILY_RETURNED).u8(slot.rank).u64(slot.number);
    writer.finish()
}

fn read_slot(reader: &mut Reader) -> Result<Slot, CodecError> {
    Ok(Slot {
        rank: reader.u8()?,
        number: reader.u64()?,
    })
}

fn delayed_key(due: Due) -> Bytes {
    let mut writer = Writer::with_capacity(21);
    writer.u8(FAMILY_DELAYED).i64(due.at_ms);
    writer
        .u64(due.message.log_index.0)
        .u32(due.message.position);
    writer.finish()
}

fn read_due(reader: &mut Reader) -> Result<Due, CodecError> {
    Ok(Due {
        at_ms: reader.i64()?,
        message: MessageRef {
            log_index: LogIndex(reader.u64()?),
            position: reader.u32()?,
        },
    })
}
