//! What was written to, deleted from and read of the topics from which records go while a run lasts.
//!
//! Apart from the operations of a [`History`](super::History), because the rules there say that nothing
//! goes. It does not judge: see `checkers`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Outcome;

/// Why records of a topic go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cleanup {
    /// Somebody deletes those below an offset.
    Delete,
    /// Newer records of the same key are there.
    Compact,
}

impl Cleanup {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Delete, Self::Compact];

    /// The name of its topic.
    #[must_use]
    pub const fn topic(self) -> &'static str {
        match self {
            Self::Delete => "deleted",
            Self::Compact => "compacted",
        }
    }
}

/// A record that was sent with `acks=-1` and idempotence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptSend {
    /// Its key.
    pub key: u32,
    /// Its value, which no other record has.
    pub value: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Where it stands, once acknowledged.
    pub offset: Option<i64>,
}

/// A record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptRecord {
    /// Where it stands.
    pub offset: i64,
    /// Its key.
    pub key: u32,
    /// Its value.
    pub value: u64,
}

/// Something that concerns the log start, in the order of time; one client does all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartEvent {
    /// Records below this offset are to go; whether they do is not known yet.
    Asked(i64),
    /// The cluster said that the log starts here from now on.
    Deleted(i64),
    /// The cluster was asked where the log starts.
    Seen(i64),
}

/// The one partition of one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptTopic {
    /// In the order in which they were sent.
    pub sends: Vec<KeptSend>,
    /// In the order of time.
    pub starts: Vec<StartEvent>,
    /// Readings from the log start to the end, while others wrote and deleted.
    pub reads: Vec<Vec<KeptRecord>>,
    /// The last reading, after which nothing was written and before which nothing was deleted, with the
    /// log start.
    pub drained: Option<(i64, Vec<KeptRecord>)>,
}

/// The topics of a run, shared by who writes down and who judges.
#[derive(Debug, Clone, Default)]
pub struct Kept(Rc<RefCell<BTreeMap<Cleanup, KeptTopic>>>);

impl Kept {
    /// Changes what is known of a topic.
    pub fn change<T>(&self, cleanup: Cleanup, change: impl FnOnce(&mut KeptTopic) -> T) -> T {
        change(self.0.borrow_mut().entry(cleanup).or_default())
    }

    /// Notes a send, which ends unknown until it is told otherwise; returns its place.
    pub fn send(&self, cleanup: Cleanup, key: u32, value: u64) -> usize {
        let send = KeptSend {
            key,
            value,
            outcome: Outcome::Info,
            offset: None,
        };
        self.change(cleanup, |topic| {
            topic.sends.push(send);
            topic.sends.len() - 1
        })
    }

    /// Everything that was noted.
    #[must_use]
    pub fn topics(&self) -> BTreeMap<Cleanup, KeptTopic> {
        self.0.borrow().clone()
    }
}
