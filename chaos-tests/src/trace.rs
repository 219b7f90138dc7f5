//! The trace hash: one number over every event of our own targets and its simulated time.
//!
//! Two runs of a seed are the same run exactly when their hashes are equal. The layer also counts
//! coverage marks (`target: "raftmq::mark"`). It reads the simulated clock and nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter};

/// Events of targets that begin with this are hashed.
pub const TARGET_PREFIX: &str = "raftmq";
/// Target of coverage marks; their field `name` is the mark.
pub const MARK_TARGET: &str = "raftmq::mark";

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a, 64 bits: small, stable over versions and processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(FNV_OFFSET)
    }
}

impl Fnv {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }

    /// Adds a number in one step instead of eight; a bijection for each, as with bytes.
    pub const fn add_word(&mut self, word: u64) {
        // Folded, because a product carries nothing down into its lower bits.
        let mixed = (self.0 ^ word).wrapping_mul(FNV_PRIME);
        self.0 = mixed ^ (mixed >> 32);
    }

    /// The hash of everything added so far.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

/// What the layer has seen so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// FNV-1a over the rendered events.
    pub hash: Fnv,
    /// How many.
    pub events: u64,
    /// Marks and how often each was hit.
    pub marks: BTreeMap<String, u64>,
}

struct State {
    summary: Summary,
    line: String,
    print: Option<Box<dyn std::io::Write + Send>>,
}

/// The layer; clones share their state.
#[derive(Clone)]
pub struct TraceHash {
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TraceHash")
            .field(&self.state.lock().summary)
            .finish()
    }
}

impl TraceHash {
    /// A layer that has seen nothing; it also writes each event as a line to `print`.
    #[must_use]
    pub fn new(print: Option<Box<dyn std::io::Write + Send>>) -> Self {
        let summary = Summary {
            hash: Fnv::default(),
            events: 0,
            marks: BTreeMap::new(),
        };
        Self {
            state: Arc::new(Mutex::new(State {
                summary,
                line: String::new(),
                print,
            })),
        }
    }

    /// What was seen so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.state.lock().summary.clone()
    }

    /// Lets only our own events through, so that all others cost nothing.
    #[must_use]
    pub const fn filter() -> OurTargets {
        OurTargets
    }
}

impl<S: Subscriber> Layer<S> for TraceHash {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        use fmt::Write as _;

        let mut state = self.state.lock();
        let State {
            summary,
            line,
            print,
        } = &mut *state;
        line.clear();
        let at_us = turmoil::sim_elapsed().map_or(0, |elapsed| elapsed.as_micros());
        let metadata = event.metadata();
        // Writing to a String cannot fail.
        let _ = write!(line, "{at_us} {} {}", metadata.level(), metadata.target());
        let mut render = Render { line, mark: None };
        event.record(&mut render);
        if metadata.target() == MARK_TARGET
            && let Some(mark) = render.mark
        {
            *summary.marks.entry(mark).or_default() += 1;
        }
        summary.hash.add(line.as_bytes());
        summary.events += 1;
        if let Some(print) = print {
            // A reader that went away only loses the print, never the run.
            let _ = writeln!(print, "{line}");
        }
    }
}

struct Render<'a> {
    line: &'a mut String,
    mark: Option<String>,
}

impl Visit for Render<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "name" {
            self.mark = Some(value.to_owned());
        }
        self.record_debug(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;

        let _ = write!(self.line, " {}={value:?}", field.name());
    }
}

/// See [`TraceHash::filter`].
#[derive(Debug, Clone, Copy)]
pub struct OurTargets;

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && metadata.target().starts_with(TARGET_PREFIX)
}

impl<S> Filter<S> for OurTargets {
    fn enabled(&self, metadata: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        is_ours(metadata)
    }

    fn callsite_enabled(
        &self,
        metadata: &'static Metadata<'static>,
    ) -> tracing::subscriber::Interest {
        if is_ours(metadata) {
            tracing::subscriber::Interest::always()
        } else {
            tracing::subscriber::Interest::never()
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn summary_of(run: impl FnOnce()) -> Summary {
        let layer = TraceHash::new(None);
        let subscriber =
            tracing_subscriber::registry().with(layer.clone().with_filter(TraceHash::filter()));
        tracing::subscriber::with_default(subscriber, run);
        layer.summary()
    }

    #[test]
    fn equal_events_have_equal_hashes_and_different_ones_do_not() {
        let event = |count: u32| summary_of(|| tracing::info!(target: "raftmq::x", count, "done"));

        assert_eq!(event(1).hash, event(1).hash);
        assert_ne!(event(1).hash, event(2).hash);
        assert_eq!(event(1).events, 1);
    }

    #[test]
    fn the_order_of_events_is_part_of_the_hash() {
        let one = || tracing::info!(target: "raftmq::x", "one");
        let two = || tracing::info!(target: "raftmq::x", "two");
        let forward = summary_of(|| {
            one();
            two();
        });
        let backward = summary_of(|| {
            two();
            one();
        });

        assert_ne!(forward.hash, backward.hash);
    }

    #[test]
    fn events_of_other_targets_are_ignored() {
        let summary = summary_of(|| tracing::info!(target: "turmoil", "send"));

        assert_eq!(summary.events, 0);
    }

    #[test]
    fn marks_are_counted_by_name() {
        let summary = summary_of(|| {
            for _ in 0..3 {
                tracing::trace!(target: "raftmq::mark", name = "leader_stepped_down");
            }
        });

        assert_eq!(
            summary.marks,
            [("leader_stepped_down".to_owned(), 3)].into()
        );
    }
}
