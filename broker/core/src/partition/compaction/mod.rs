//! Log compaction: of all records with one key, the last one survives; offsets never change.
//!
//! Pure: which range is due (`plan`), which record goes (`pass`), how what is left is put together
//! (`chunk`), what retention means for it (`retention`). The host reads, writes and purges; each
//! replica cleans by itself, like Kafka's (ADR 0006). Does not know storage, openraft, topics.
//! Sources: Kafka's `LogCleaner`, KIP-354, KIP-534.

pub mod chunk;
mod key_map;
mod pass;
mod plan;
mod retention;

pub use self::chunk::{Chunk, ChunkBuilder, ChunkHead, Survivors};
pub use self::key_map::KeyMap;
pub use self::pass::{Cleaned, Pass, Region, check_keys};
pub use self::plan::{CompactionSettings, Plan, plan};
pub use self::retention::cut;
