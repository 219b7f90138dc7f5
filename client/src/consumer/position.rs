//! One partition as the consumer's driver sees it: what is fetched next, and what went wrong.
//!
//! A small state machine without I/O or clock.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::buffer::Wish;
use crate::admin::OffsetAt;
use crate::error::{Error, ErrorKind};
use crate::limits::REDIRECTS_AT_ONCE_MAX;
use crate::metadata::{Leader, NO_EPOCH};

/// What a partition needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Its offset has to be looked up.
    Lookup(OffsetAt),
    /// A lookup is under way.
    LookingUp(OffsetAt),
    /// Records from this offset.
    Records(i64),
    /// Nothing, until a seek.
    Nothing,
}

/// A partition.
#[derive(Debug)]
pub(crate) struct Position {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
    pub(crate) generation: u64,
    pub(crate) need: Need,
    /// Nothing is asked for before.
    pub(crate) retry_at: Option<Instant>,
    /// Failures in a row.
    pub(crate) failures: u32,
    failing_since: Option<Instant>,
    /// The newest leader epoch that an answer carried.
    seen_epoch: i64,
}

impl Position {
    pub(crate) const fn new(topic: Arc<str>, partition: u32) -> Self {
        Self {
            topic,
            partition,
            generation: 0,
            need: Need::Nothing,
            retry_at: None,
            failures: 0,
            failing_since: None,
            seen_epoch: NO_EPOCH,
        }
    }

    pub(crate) const fn apply(&mut self, generation: u64, wish: Wish) {
        self.generation = generation;
        self.need = match wish {
            Wish::Stop => Need::Nothing,
            Wish::Seek(start) => match start.resolve() {
                Ok(offset) => Need::Records(offset),
                Err(at) => Need::Lookup(at),
            },
        };
        self.succeed();
        self.retry_at = None;
    }

    /// The epoch to send to this leader: -1 asks for no check.
    ///
    /// Metadata may lag behind an election, so the check is left out after a few failures. It only
    /// spares a wrong broker the answer: what an older leader says is refused on arrival.
    pub(crate) fn epoch_for(&self, leader: &Leader) -> i64 {
        if leader.epoch == NO_EPOCH || self.failures > REDIRECTS_AT_ONCE_MAX {
            NO_EPOCH
        } else {
            leader.epoch.max(self.seen_epoch)
        }
    }

    /// Takes the epoch of an answer; false when a newer leader has answered before.
    pub(crate) const fn accept_epoch(&mut self, epoch: i64) -> bool {
        if epoch < self.seen_epoch {
            return false;
        }
        self.seen_epoch = epoch;
        true
    }

    pub(crate) const fn succeed(&mut self) {
        self.failures = 0;
        self.failing_since = None;
    }

    /// Counts a failure; true when the error is worth another try.
    pub(crate) fn fail(&mut self, error: &Error, now: Instant, not_found_wait: Duration) -> bool {
        self.failures += 1;
        let since = *self.failing_since.get_or_insert(now);
        let is_gone = error.kind() == ErrorKind::NotFound && since + not_found_wait <= now;
        error.is_retriable() && !is_gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::Start;

    fn leader(epoch: i64) -> Leader {
        Leader {
            endpoint: Arc::from("a:1"),
            epoch,
        }
    }

    #[test]
    fn a_seek_to_an_offset_needs_no_lookup() {
        let mut position = Position::new(Arc::from("t"), 0);

        position.apply(1, Wish::Seek(Start::Offset(9)));
        assert_eq!(position.need, Need::Records(9));

        position.apply(2, Wish::Seek(Start::Timestamp(5)));
        assert_eq!(position.need, Need::Lookup(OffsetAt::Timestamp(5)));
    }

    #[test]
    fn an_answer_from_an_older_leader_is_refused() {
        let mut position = Position::new(Arc::from("t"), 0);

        assert!(position.accept_epoch(4));
        assert!(!position.accept_epoch(3));
        assert!(position.accept_epoch(4));
        assert_eq!(position.epoch_for(&leader(2)), 4);
        assert_eq!(position.epoch_for(&leader(NO_EPOCH)), NO_EPOCH);
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_stays_away_is_given_up_and_an_absent_leader_is_not() {
        let wait = Duration::from_secs(5);
        let mut position = Position::new(Arc::from("t"), 0);
        let gone: Error = raftmq_proto::v1::Error::unknown_topic("t").into();
        let leaderless: Error = raftmq_proto::v1::Error::unavailable("no leader").into();
        let began = Instant::now();

        assert!(position.fail(&gone, began, wait));
        assert!(position.fail(&leaderless, began + wait * 2, wait));
        assert!(!position.fail(&gone, began + wait, wait));
    }
}
