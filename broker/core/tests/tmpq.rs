//! Temporary.
#![allow(warnings)]
#[path = "it/queue/mod.rs"]
mod queue;
mod support {
    #[path = "../it/support/queue.rs"]
    pub(crate) mod queue;
    use bytes::Bytes;
    use raftmq_core::{EntryMeta, RowUpdates};
    use std::collections::BTreeMap;
    pub(crate) const NOW_MS: i64 = 1_700_000_000_000;
    pub(crate) fn meta(log_index: u64, term: u64) -> EntryMeta {
        EntryMeta {
            log_index,
            term,
            proposed_at_ms: NOW_MS,
            machine_version: 1,
        }
    }
    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct Rows {
        pub(crate) rows: BTreeMap<Bytes, Bytes>,
    }
    impl Rows {
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
        pub(crate) fn iter(&self) -> impl Iterator<Item = (Bytes, Bytes)> {
            self.rows.iter().map(|(k, v)| (k.clone(), v.clone()))
        }
    }
}
