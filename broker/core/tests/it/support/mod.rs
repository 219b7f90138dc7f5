//! Helpers: one harness for each machine, and batches made by hand.

pub(crate) mod batch;
pub(crate) mod cluster;
pub(crate) mod keyed;
pub(crate) mod partition;
pub(crate) mod queue;

use std::collections::BTreeMap;

use bytes::Bytes;
use raftmq_core::{EntryMeta, RowUpdates};

/// Wall clock of the leaders in the tests, milliseconds since 1970.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

/// The meta of an entry that the leader of `term` proposed at `NOW_MS`.
pub(crate) fn meta(log_index: u64, term: u64) -> EntryMeta {
    EntryMeta {
        log_index,
        term,
        proposed_at_ms: NOW_MS,
        machine_version: raftmq_core::machine::MACHINE_VERSION,
    }
}

/// What a host keeps of a machine's rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rows {
    pub(crate) rows: BTreeMap<Bytes, Bytes>,
}

impl Rows {
    /// Takes over what changed, and checks that a key is not both written and deleted.
    pub(crate) fn update(&mut self, updates: RowUpdates) {
        for (key, _) in &updates.puts {
            assert!(
                !updates.deletes.contains(key),
                "a key is both written and deleted"
            );
        }
        for key in updates.deletes {
            self.rows.remove(&key);
        }
        self.rows.extend(updates.puts);
    }

    /// Gives all rows in ascending order of keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Bytes, Bytes)> {
        self.rows
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
    }
}
