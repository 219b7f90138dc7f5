//! What a queue was allowed to let go of: messages that were purged, or dropped because there were too many.
//!
//! Judges nothing by itself: what was allowed to go is not lost.

use crate::history::{Outcome, Publication, Queue, QueueHistory, Route};

/// Whether a confirmed message may be gone without anybody having got it.
pub(super) fn may_be_gone(history: &QueueHistory, publication: &Publication, queue: Queue) -> bool {
    match queue {
        Queue::Purged => was_purged(history, publication),
        Queue::Capped => had_enough_behind(history, publication),
        // A message waits by the time of the brokers: a clock that was ahead makes it wait for longer than
        // the run lasts.
        Queue::Delayed => publication.wishes.delay_ms.is_some() && history.has_clock_jumps,
        Queue::Work
        | Queue::Copies
        | Queue::Single
        | Queue::Limited
        | Queue::Expiring
        | Queue::Deduplicated
        | Queue::Dead
        | Queue::Prioritized
        | Queue::Refusing => false,
    }
}

/// Whether a purge may have been carried out behind it.
fn was_purged(history: &QueueHistory, publication: &Publication) -> bool {
    let mut purges = history.purges.iter();
    purges.any(|purge| {
        let ended_at_us = purge.ended_at_us.unwrap_or(u64::MAX);
        purge.queue == Queue::Purged && publication.sent_at_us < ended_at_us
    })
}

/// Whether as many messages as the queue takes may have been behind it at one time.
fn had_enough_behind(history: &QueueHistory, publication: &Publication) -> bool {
    let others = history.publications.iter().filter(|other| {
        let is_before = other
            .confirmed_at_us
            .is_some_and(|at_us| at_us < publication.sent_at_us);
        other.route == Route::To(Queue::Capped)
            && other.outcome != Outcome::Fail
            && other.value != publication.value
            && !is_before
    });
    let needed = Queue::Capped.ready_max().unwrap_or(u32::MAX);
    others.count() >= usize::try_from(needed).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::super::unaccounted;
    use super::*;

    fn lost(script: Script) -> Vec<u64> {
        let lost = unaccounted(&script.drained()).into_iter();
        lost.map(|(value, _)| value).collect()
    }

    #[test]
    fn a_purge_takes_what_was_published_before_its_answer_and_nothing_else() {
        let mut script = Script::new();
        script.publish_ok(1, Route::To(Queue::Purged));
        script.publish_ok(2, Route::To(Queue::Prioritized));
        script.purge(Queue::Purged);
        script.publish_ok(3, Route::To(Queue::Purged));

        assert_eq!(lost(script), [2, 3]);
    }

    #[test]
    fn a_purge_that_was_not_answered_may_take_anything() {
        let mut script = Script::new();
        script.purge(Queue::Purged);
        script.history.purges[0].ended_at_us = None;
        script.publish_ok(1, Route::To(Queue::Purged));

        assert_eq!(lost(script), Vec::<u64>::new());
    }

    #[test]
    fn only_what_has_enough_behind_it_may_be_dropped() {
        let mut script = Script::new();
        let max = u64::from(Queue::Capped.ready_max().unwrap());
        for value in 1..=max + 1 {
            script.publish_ok(value, Route::To(Queue::Capped));
        }

        assert_eq!(lost(script), (2..=max + 1).collect::<Vec<_>>());
    }

    #[test]
    fn a_message_that_waits_may_be_missing_only_where_clocks_jump() {
        let wishing = |has_clock_jumps| {
            let mut script = Script::new();
            script.history.has_clock_jumps = has_clock_jumps;
            let wishes = crate::history::Wishes {
                delay_ms: Some(500),
                ..crate::history::Wishes::default()
            };
            script.publish_wishing(1, Route::To(Queue::Delayed), wishes);
            script.publish_ok(2, Route::To(Queue::Delayed));
            lost(script)
        };

        assert_eq!(wishing(false), [1, 2]);
        assert_eq!(wishing(true), [2]);
    }
}
