//! The publishes of a channel that the host has not answered, and the confirms they lead to.
//!
//! Owns the numbers of publishes and of confirms (`confirm.select`), and how confirms are put
//! together: what is settled below every waiting publish goes out as one `multiple`, the rest one by
//! one, so that a slow queue holds nothing back. Does not know frames.

use std::collections::VecDeque;

use crate::limits::IN_FLIGHT_COUNT_MAX;
use crate::planted::{Bug, is_planted};
use crate::request::PublishNumber;

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// `basic.ack`.
    Acked,
    /// `basic.nack`.
    Nacked,
}

/// One frame of confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Confirm {
    pub(crate) tag: u64,
    /// Everything up to the tag, too.
    pub(crate) is_multiple: bool,
    pub(crate) verdict: Verdict,
}

/// One publish.
#[derive(Debug, Clone, Copy)]
struct Slot {
    body_bytes: u64,
    is_waiting: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Publishes {
    /// From the oldest that waits on.
    window: VecDeque<Slot>,
    /// Publishes before the window.
    passed: u64,
    waiting_count: usize,
    waiting_bytes: u64,
    /// Publishes before `confirm.select`; `None` until then.
    before_select: Option<u64>,
    /// Numbers that are settled and not confirmed yet.
    settled: Vec<(u64, Verdict)>,
}

impl Publishes {
    /// Turns confirms on; doing so again changes nothing.
    pub(crate) fn select(&mut self) {
        let published = self.passed + self.window.len() as u64;
        self.before_select.get_or_insert(published);
    }

    pub(crate) const fn is_confirmed(&self) -> bool {
        self.before_select.is_some()
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.waiting_count >= IN_FLIGHT_COUNT_MAX
    }

    /// Bodies that wait, bytes.
    pub(crate) const fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    pub(crate) fn begin(&mut self, body_bytes: u64) -> PublishNumber {
        self.window.push_back(Slot {
            body_bytes,
            is_waiting: true,
        });
        self.waiting_count += 1;
        self.waiting_bytes += body_bytes;
        PublishNumber(self.passed + self.window.len() as u64)
    }

    /// Notes the outcome of a publish and returns the bytes of its body; `None` if it does not wait.
    pub(crate) fn settle(&mut self, number: PublishNumber, verdict: Verdict) -> Option<u64> {
        let at = number.0.checked_sub(self.passed)?.checked_sub(1)?;
        let slot = self.window.get_mut(usize::try_from(at).ok()?)?;
        if !std::mem::replace(&mut slot.is_waiting, false) {
            return None;
        }
        let body_bytes = slot.body_bytes;
        self.waiting_count -= 1;
        self.waiting_bytes -= body_bytes;
        if self.before_select.is_some_and(|before| number.0 > before) {
            self.settled.push((number.0, verdict));
        }
        while self.window.front().is_some_and(|slot| !slot.is_waiting) {
            self.window.pop_front();
            self.passed += 1;
        }
        Some(body_bytes)
    }

    pub(crate) const fn has_confirms(&self) -> bool {
        !self.settled.is_empty()
    }

    /// Takes what can be confirmed, in the order in which it is sent.
    pub(crate) fn take_confirms(&mut self) -> Vec<Confirm> {
        let mut settled = std::mem::take(&mut self.settled);
        settled.sort_unstable();
        if is_planted(Bug::ConfirmedTwice) {
            self.settled.clone_from(&settled);
        }
        let before = self.before_select.unwrap_or(0);
        let below_waiting = settled.partition_point(|(number, _)| *number <= self.passed);
        let (whole, scattered) = settled.split_at(below_waiting);
        // Runs of one verdict: when one goes out, everything before it is confirmed already.
        let runs = whole.chunk_by(|(_, one), (_, next)| one == next);
        let runs = runs.filter_map(|run| Some((run.last()?, run.len() > 1)));
        let is_wide = is_planted(Bug::ConfirmTooMuch);
        runs.chain(scattered.iter().map(|one| (one, is_wide)))
            .map(|((number, verdict), is_multiple)| Confirm {
                tag: number - before,
                is_multiple,
                verdict: *verdict,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirms(publishes: &mut Publishes) -> Vec<(u64, bool, Verdict)> {
        let confirms = publishes.take_confirms().into_iter();
        confirms
            .map(|one| (one.tag, one.is_multiple, one.verdict))
            .collect()
    }

    fn settle(publishes: &mut Publishes, numbers: &[u64], verdict: Verdict) {
        for number in numbers {
            assert_eq!(publishes.settle(PublishNumber(*number), verdict), Some(10));
        }
    }

    fn published(count: u64) -> Publishes {
        let mut publishes = Publishes::default();
        publishes.select();
        for number in 1..=count {
            assert_eq!(publishes.begin(10), PublishNumber(number));
        }
        publishes
    }

    #[test]
    fn what_is_settled_in_a_row_is_confirmed_at_once() {
        let mut publishes = published(5);
        settle(&mut publishes, &[2, 1, 3], Verdict::Acked);
        assert_eq!(confirms(&mut publishes), [(3, true, Verdict::Acked)]);
        assert_eq!(confirms(&mut publishes), []);
        assert_eq!(publishes.waiting_bytes(), 20);
    }

    #[test]
    fn what_is_settled_out_of_order_is_confirmed_alone_and_once() {
        let mut publishes = published(5);
        settle(&mut publishes, &[4, 2], Verdict::Acked);
        let alone = [(2, false, Verdict::Acked), (4, false, Verdict::Acked)];
        assert_eq!(confirms(&mut publishes), alone);
        settle(&mut publishes, &[1], Verdict::Acked);
        assert_eq!(confirms(&mut publishes), [(1, false, Verdict::Acked)]);
        settle(&mut publishes, &[3, 5], Verdict::Acked);
        assert_eq!(confirms(&mut publishes), [(5, true, Verdict::Acked)]);
    }

    #[test]
    fn a_failed_publish_splits_the_confirms_around_it() {
        let mut publishes = published(6);
        settle(&mut publishes, &[1, 2, 4, 5, 6], Verdict::Acked);
        settle(&mut publishes, &[3], Verdict::Nacked);
        assert_eq!(
            confirms(&mut publishes),
            [
                (2, true, Verdict::Acked),
                (3, false, Verdict::Nacked),
                (6, true, Verdict::Acked)
            ]
        );
    }

    #[test]
    fn a_second_outcome_and_an_unknown_number_change_nothing() {
        let mut publishes = published(2);
        settle(&mut publishes, &[2], Verdict::Acked);
        for number in [0, 2, 3, u64::MAX] {
            let number = PublishNumber(number);
            assert_eq!(publishes.settle(number, Verdict::Nacked), None);
        }
        assert_eq!(confirms(&mut publishes), [(2, false, Verdict::Acked)]);
    }

    #[test]
    fn publishes_before_select_are_not_confirmed_and_not_counted() {
        let mut publishes = Publishes::default();
        let early = publishes.begin(1);
        publishes.select();
        let late = publishes.begin(1);
        publishes.select();
        assert!(publishes.settle(early, Verdict::Acked).is_some());
        assert!(publishes.settle(late, Verdict::Acked).is_some());
        assert_eq!(confirms(&mut publishes), [(1, false, Verdict::Acked)]);
    }
}
