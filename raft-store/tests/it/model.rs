//! A naive model of an engine, random batches for it, and the comparison of both.

use std::collections::BTreeMap;

use bytes::Bytes;
use raftmq_store::{
    Engine, EntryKind, EntryRecord, GroupId, NODE_GROUP, Op, RowFamily, WriteBatch, entry_crc,
};

use crate::support::payload;

/// A small generator: the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

const FAMILIES: [RowFamily; 4] = [
    RowFamily::Meta,
    RowFamily::State,
    RowFamily::Checkpoint,
    RowFamily::CheckpointHead,
];

/// What an engine should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) logs: BTreeMap<u64, BTreeMap<u64, (u64, Bytes)>>,
    pub(crate) rows: BTreeMap<(u64, RowFamily, Bytes), Bytes>,
}

impl Model {
    pub(crate) fn apply(&mut self, op: &Op) {
        match op.clone() {
            Op::Append { group, entry } => {
                let log = self.logs.entry(group.0).or_default();
                log.insert(entry.index, (entry.term, entry.payload));
            }
            Op::Truncate { group, from } => {
                self.logs
                    .entry(group.0)
                    .or_default()
                    .retain(|index, _| *index < from);
            }
            Op::Purge { group, from, upto } => {
                self.logs
                    .entry(group.0)
                    .or_default()
                    .retain(|index, _| *index > upto || *index < from);
            }
            Op::Put {
                group,
                family,
                key,
                value,
            } => {
                self.rows.insert((group.0, family, key), value);
            }
            Op::Delete { group, family, key } => {
                self.rows.remove(&(group.0, family, key));
            }
            Op::DeleteFamily { group, family } => {
                self.rows
                    .retain(|key, _| key.0 != group.0 || key.1 != family);
            }
            Op::RemoveGroup { group } => {
                self.logs.remove(&group.0);
                self.rows.retain(|key, _| key.0 != group.0);
            }
        }
        self.logs.retain(|_, log| !log.is_empty());
    }

    pub(crate) fn apply_all(&mut self, batch: &WriteBatch) {
        for op in &batch.ops {
            self.apply(op);
        }
    }

    /// Everything that an engine holds, read through its public face.
    pub(crate) fn read(engine: &dyn Engine) -> Self {
        let mut model = Self::default();
        for group in engine.group_ids().unwrap() {
            let read = engine.read_entries(group, 0..u64::MAX, usize::MAX).unwrap();
            let log: BTreeMap<_, _> = read
                .into_iter()
                .map(|entry| (entry.index, (entry.term, entry.payload)))
                .collect();
            if !log.is_empty() {
                let bounds = engine
                    .log_bounds(group, 0)
                    .unwrap()
                    .expect("a log has bounds");
                assert_eq!(Some(&bounds.first.index), log.keys().next());
                assert_eq!(Some(&bounds.last.index), log.keys().next_back());
                model.logs.insert(group.0, log);
            }
            for family in FAMILIES {
                let rows = engine.scan_rows(group, family).unwrap();
                model.rows.extend(
                    rows.into_iter()
                        .map(|(key, value)| ((group.0, family, key), value)),
                );
            }
        }
        let rows = engine.scan_rows(NODE_GROUP, RowFamily::Node).unwrap();
        let key = |key| (NODE_GROUP.0, RowFamily::Node, key);
        model
            .rows
            .extend(rows.into_iter().map(|(row, value)| (key(row), value)));
        model
    }

    fn next_index(&self, group: u64) -> u64 {
        let log = self.logs.get(&group);
        log.and_then(|log| log.keys().next_back())
            .map_or(1, |last| last + 1)
    }
}

/// How large and how varied random batches are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) groups: u64,
    pub(crate) ops_max: u64,
    pub(crate) payload_max: u64,
}

/// A batch that fits after what `model` holds.
pub(crate) fn random_batch(random: &mut Random, model: &Model, shape: Shape) -> WriteBatch {
    let mut model = model.clone();
    let mut batch = WriteBatch::default();
    for _ in 0..=random.below(shape.ops_max) {
        let op = random_op(random, &model, shape);
        model.apply(&op);
        batch.ops.push(op);
    }
    batch
}

fn random_op(random: &mut Random, model: &Model, shape: Shape) -> Op {
    let number = random.below(shape.groups);
    let group = GroupId(number);
    let next = model.next_index(number);
    let family = FAMILIES[random.below(4) as usize];
    let key = Bytes::from(vec![random.below(4) as u8; 1 + random.below(3) as usize]);
    match random.below(100) {
        0..70 => append(random, group, next, shape.payload_max),
        70..75 => Op::Truncate {
            group,
            from: next.saturating_sub(random.below(4)),
        },
        75..80 => Op::Purge {
            group,
            from: 0,
            upto: next.saturating_sub(random.below(20)),
        },
        80..90 => {
            let value = payload(number, 0, next, random.below(64) as usize);
            Op::Put {
                group,
                family,
                key,
                value,
            }
        }
        90..94 => Op::Delete { group, family, key },
        94..96 => Op::DeleteFamily { group, family },
        96..97 => Op::RemoveGroup { group },
        _ => {
            let value = Bytes::from(random.next().to_le_bytes().to_vec());
            Op::Put {
                group: NODE_GROUP,
                family: RowFamily::Node,
                key,
                value,
            }
        }
    }
}

fn append(random: &mut Random, group: GroupId, index: u64, payload_max: u64) -> Op {
    let term = 1 + random.below(3);
    let kind = if random.below(20) == 0 {
        EntryKind::Blank
    } else {
        EntryKind::Normal
    };
    let len = if kind == EntryKind::Blank {
        0
    } else {
        random.below(payload_max)
    };
    let payload = payload(group.0, term, index, len as usize);
    let crc = entry_crc(group, index, term, kind, &payload);
    Op::Append {
        group,
        entry: EntryRecord {
            index,
            term,
            kind,
            crc,
            bytes_before: 0,
            payload,
        },
    }
}
