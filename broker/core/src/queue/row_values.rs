//! What stands in each row of a queue. Formats are append-only (STYLE rule 23); keys are `rows`'.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::codec::{CodecError, Reader, Writer};
use crate::ids::{ConsumerId, LogIndex};
use crate::limits::STATE_BYTES_MAX;
use crate::queue::channels::Unsettled;
use crate::queue::command_codec::{read_attach, write_attach};
use crate::queue::consumers::Consumer;
use crate::queue::dedup::Seen;
use crate::queue::delayed::Postponed;
use crate::queue::event::EndReason;
use crate::queue::item::{Item, pack, unpack};
use crate::queue::message::ChannelId;
use crate::queue::ready::Slot;
use crate::queue::settings::Settings;
use crate::queue::{Boundary, Queue};

const VERSION: u8 = 1;
const BOUNDARY_BYTES: usize = 16;
const LINE_BYTES: usize = 17;

/// The head row: what is no list of its own.
#[derive(Debug)]
pub(super) struct Head {
    applied: LogIndex,
    now_ms: i64,
    settings: Settings,
    ended: Option<EndReason>,
    last_used_ms: i64,
    published_total: u64,
    bytes_total: u64,
    bytes_since_boundary: u64,
    boundaries: Vec<Boundary>,
    next_turn: u64,
    last_consumer: u64,
    next_delivery: u64,
    /// Rank, first and next number of each line.
    pub(super) lines: Vec<(u8, u64, u64)>,
    /// First and next number.
    pub(super) dead_letters: (u64, u64),
    pub(super) first_seen: u64,
}

impl Head {
    pub(super) fn copy_to(&self, queue: &mut Queue) {
        queue.applied = self.applied;
        queue.now_ms = self.now_ms;
        queue.settings = self.settings.clone();
        queue.ended = self.ended;
        queue.last_used_ms = self.last_used_ms;
        queue.published_total = self.published_total;
        queue.bytes_total = self.bytes_total;
        queue.bytes_since_boundary = self.bytes_since_boundary;
        queue.boundaries.clone_from(&self.boundaries);
        queue.consumers.next_turn = self.next_turn;
        queue.consumers.last_id = self.last_consumer;
        queue.channels.next_delivery = self.next_delivery;
    }
}

pub(super) fn write_head(queue: &Queue) -> Bytes {
    let mut writer = Writer::new();
    writer.u8(VERSION).u64(queue.applied.0).i64(queue.now_ms);
    queue.settings.write(&mut writer);
    writer.u8(match queue.ended {
        None => 0,
        Some(EndReason::Deleted) => 1,
        Some(EndReason::Expired) => 2,
        Some(EndReason::Unused) => 3,
    });
    writer.i64(queue.last_used_ms).u64(queue.published_total);
    writer
        .u64(queue.bytes_total)
        .u64(queue.bytes_since_boundary);
    writer.count(queue.boundaries.len());
    for boundary in &queue.boundaries {
        writer.u64(boundary.log_index.0).u64(boundary.bytes_total);
    }
    writer.u64(queue.consumers.next_turn);
    writer.u64(queue.consumers.last_id);
    writer.u64(queue.channels.next_delivery);
    writer.count(queue.ready.lines.len());
    for (rank, line) in &queue.ready.lines {
        writer.u8(*rank).u64(line.first()).u64(line.next());
    }
    let letters = &queue.dead_letters.line;
    writer.u64(letters.first()).u64(letters.next());
    writer.u64(queue.window.first());
    writer.finish()
}

pub(super) fn read_head(value: Bytes) -> Result<Head, CodecError> {
    let mut reader = Reader::new(value);
    reader.version("queue head", VERSION)?;
    let (applied, now_ms) = (LogIndex(reader.u64()?), reader.i64()?);
    let settings = Settings::read(&mut reader)?;
    let ended = read_ended(&mut reader)?;
    let last_used_ms = reader.i64()?;
    let published_total = reader.u64()?;
    let (bytes_total, bytes_since_boundary) = (reader.u64()?, reader.u64()?);
    let count = reader.count("boundaries", BOUNDARY_BYTES, STATE_BYTES_MAX)?;
    let mut boundaries = Vec::with_capacity(count);
    for _ in 0..count {
        boundaries.push(Boundary {
            log_index: LogIndex(reader.u64()?),
            bytes_total: reader.u64()?,
        });
    }
    let (next_turn, last_consumer) = (reader.u64()?, reader.u64()?);
    let next_delivery = reader.u64()?;
    let count = reader.count("lines", LINE_BYTES, usize::from(u8::MAX) + 1)?;
    let mut lines = Vec::with_capacity(count);
    for _ in 0..count {
        lines.push((reader.u8()?, reader.u64()?, reader.u64()?));
    }
    let dead_letters = (reader.u64()?, reader.u64()?);
    let first_seen = reader.u64()?;
    reader.finish()?;
    Ok(Head {
        applied,
        now_ms,
        settings,
        ended,
        last_used_ms,
        published_total,
        bytes_total,
        bytes_since_boundary,
        boundaries,
        next_turn,
        last_consumer,
        next_delivery,
        lines,
        dead_letters,
        first_seen,
    })
}

fn read_ended(reader: &mut Reader) -> Result<Option<EndReason>, CodecError> {
    match reader.u8()? {
        0 => Ok(None),
        1 => Ok(Some(EndReason::Deleted)),
        2 => Ok(Some(EndReason::Expired)),
        3 => Ok(Some(EndReason::Unused)),
        tag => Err(CodecError::UnknownTag {
            what: "end of a queue".to_owned(),
            tag,
        }),
    }
}

pub(super) fn write_ahead(ahead: &BTreeSet<u64>) -> Bytes {
    let mut writer = Writer::new();
    writer.u8(VERSION).count(ahead.len());
    for number in ahead {
        writer.u64(*number);
    }
    writer.finish()
}

pub(super) fn read_ahead(value: Bytes) -> Result<BTreeSet<u64>, CodecError> {
    let mut reader = Reader::new(value);
    reader.version("dead letters ahead", VERSION)?;
    let count = reader.count("dead letters ahead", 8, STATE_BYTES_MAX)?;
    let ahead = (0..count).map(|_| reader.u64()).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(ahead)
}

pub(super) fn write_item(item: &Item) -> Bytes {
    let mut writer = Writer::new();
    writer.u8(VERSION).raw(&pack(std::iter::once(*item)));
    writer.finish()
}

pub(super) fn read_item(value: Bytes) -> Result<Item, CodecError> {
    let mut reader = Reader::new(value);
    reader.version("message row", VERSION)?;
    read_last_item(&mut reader)
}

/// Reads the one item that ends a row.
fn read_last_item(reader: &mut Reader) -> Result<Item, CodecError> {
    let packed = reader.rest();
    let mut items = Vec::new();
    unpack(&packed, &mut items)?;
    match items.as_slice() {
        [item] => Ok(*item),
        items => Err(CodecError::OverLimit {
            what: "messages of a row".to_owned(),
            actual: items.len(),
            limit: 1,
        }),
    }
}

pub(super) fn write_consumer(consumer: &Consumer) -> Bytes {
    let mut writer = Writer::new();
    writer.u8(VERSION);
    write_attach(&mut writer, &consumer.attach);
    writer.u64(consumer.delivered).u32(consumer.unsettled);
    writer.u64(consumer.turn);
    writer.finish()
}

pub(super) fn read_consumer(value: Bytes) -> Result<Consumer, CodecError> {
    let mut reader = Reader::new(value);
    reader.version("consumer row", VERSION)?;
    let consumer = Consumer {
        attach: read_attach(&mut reader)?,
        delivered: reader.u64()?,
        unsettled: reader.u32()?,
        turn: reader.u64()?,
    };
    reader.finish()?;
    Ok(consumer)
}

pub(super) fn write_postponed(postponed: &Postponed) -> Bytes {
    let mut writer = Writer::new();
    writer
        .u8(VERSION)
        .u32(postponed.size)
        .u8(postponed.priority);
    writer.flag(postponed.ttl_ms.is_some());
    writer.u64(postponed.ttl_ms.unwrap_or(0));
    writer.finish()
}

pub(super) fn read_postponed(value: Bytes) -> Result<Postponed, CodecError> {
    let mut reader = Reader::new(value);
    reader.version("delayed message row", VERSION)?;
    let (size, priority) = (reader.u32()?, reader.u8()?);
    let has_ttl = reader.flag("has ttl")?;
    let ttl_ms = reader.u64()?;
    reader.finish()?;
    Ok(Postponed {
        size,
        priority,
        ttl_ms: has_ttl.then_some(ttl_ms),
    })
}

pub(super) fn write_seen(seen: &Seen) -> Bytes {
    let mut writer = Writer::new();
    writer.u8(VERSION).i64(seen.at_ms).raw(&seen.id);
    writer.finish()
}

pub(super) fn read_seen(value: Bytes) -> Result<Seen, CodecError> {
    let mut reader = Reader::new(value);
    reader.version("remembered id", VERSION)?;
    Ok(Seen {
        at_ms: reader.i64()?,
        // Copied: a slice would keep the whole checkpoint in memory.
        id: Bytes::copy_from_slice(&reader.rest()),
    })
}

pub(super) fn write_unsettled(channel: ChannelId, unsettled: &Unsettled) -> Bytes {
    let mut writer = Writer::new();
    writer.u8(VERSION);
    channel.write(&mut writer);
    writer.u8(unsettled.slot.rank).u64(unsettled.slot.number);
    writer.flag(unsettled.consumer.is_some());
    writer.u64(unsettled.consumer.map_or(0, ConsumerId::get));
    writer.i64(unsettled.delivered_at_ms);
    writer.flag(unsettled.is_redelivered);
    writer.raw(&pack(std::iter::once(unsettled.item)));
    writer.finish()
}

pub(super) fn read_unsettled(value: Bytes) -> Result<(ChannelId, Unsettled), CodecError> {
    let mut reader = Reader::new(value);
    reader.version("unsettled delivery row", VERSION)?;
    let channel = ChannelId::read(&mut reader)?;
    let slot = Slot {
        rank: reader.u8()?,
        number: reader.u64()?,
    };
    let has_consumer = reader.flag("has consumer")?;
    let consumer = ConsumerId(reader.u64()?);
    let delivered_at_ms = reader.i64()?;
    let is_redelivered = reader.flag("redelivered")?;
    let item = read_last_item(&mut reader)?;
    let unsettled = Unsettled {
        slot,
        item,
        consumer: has_consumer.then_some(consumer),
        delivered_at_ms,
        is_redelivered,
    };
    Ok((channel, unsettled))
}
