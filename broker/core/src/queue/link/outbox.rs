//! What a broker has for a queue's leader: batches under way, in order, and what is repeated when the
//! leader is lost.
//!
//! Batches of one stream go to one leader. After the first one that fails nothing more is sent until
//! every batch under way has its fate; then a new stream begins, with what has to be repeated in front.
//! What was sent behind a batch of unknown fate has an unknown fate, too, answered or not: everything
//! is repeated in its order, so that nothing is repeated behind what was asked after it.

use std::collections::VecDeque;

/// Something to be sent.
pub trait Item {
    /// What it counts for in a batch, bytes.
    fn bytes(&self) -> usize;
    /// Whether it may be sent again when nobody knows whether it was carried out.
    fn is_repeatable(&self) -> bool;
    /// It will be sent again although it may have been carried out.
    fn note_repeated(&mut self);
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was carried out, and answered.
    Answered,
    /// It was not taken, and never will be.
    NotTaken,
    /// Nobody knows.
    Unknown,
}

/// Items that are done with.
#[derive(Debug, PartialEq, Eq)]
pub struct Settled<T> {
    /// Those of an answered batch, in order.
    pub answered: Vec<T>,
    /// Those whose outcome will never be known.
    pub lost: Vec<T>,
}

#[derive(Debug)]
struct Sent<T> {
    items: Vec<T>,
    /// `None` while it is under way; an answered one is taken out.
    failed: Option<Fate>,
    number: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Outbox<T> {
    stream: u64,
    next: u64,
    waiting: VecDeque<T>,
    sent: VecDeque<Sent<T>>,
    has_failed: bool,
}

impl<T: Item> Outbox<T> {
    /// An empty one. `stream` must be above those of every other one of this registration and queue.
    #[must_use]
    pub const fn new(stream: u64) -> Self {
        Self {
            stream,
            next: 0,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            has_failed: false,
        }
    }

    /// Adds an item behind all others.
    pub fn push(&mut self, item: T) {
        self.waiting.push_back(item);
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// Counts what waits to be sent.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Counts the batches under way, and those that failed while others still are.
    #[must_use]
    pub fn in_flight_count(&self) -> usize {
        self.sent.len()
    }

    /// Takes the next batch out: stream, number and items, `bytes_target` or a little more of them.
    /// `None` when nothing waits, or a failure must be over first.
    pub fn next_batch(
        &mut self,
        bytes_target: usize,
        count_max: usize,
    ) -> Option<(u64, u64, &[T])> {
        if self.has_failed || self.waiting.is_empty() {
            return None;
        }
        let (mut bytes, mut count) = (0_usize, 0);
        for item in self.waiting.iter().take(count_max) {
            if count > 0 && bytes >= bytes_target {
                break;
            }
            bytes = bytes.saturating_add(item.bytes());
            count += 1;
        }
        let number = self.next;
        self.next += 1;
        self.sent.push_back(Sent {
            items: self.waiting.drain(..count).collect(),
            failed: None,
            number,
        });
        let sent = self.sent.back()?;
        Some((self.stream, number, &sent.items))
    }

    /// Takes note of the fate of a batch; one that is not under way is ignored. If nobody knows it, those
    /// sent behind it are not under way any more either: what is still said of them is ignored.
    pub fn settle(&mut self, number: u64, fate: Fate) -> Settled<T> {
        let is_it = |sent: &Sent<T>| sent.number == number && sent.failed.is_none();
        let mut answered = Vec::new();
        if let Some(at) = self.sent.iter().position(is_it) {
            match fate {
                Fate::Answered => {
                    answered = self
                        .sent
                        .remove(at)
                        .map(|sent| sent.items)
                        .unwrap_or_default();
                }
                Fate::NotTaken => {
                    self.has_failed = true;
                    if let Some(sent) = self.sent.get_mut(at) {
                        sent.failed = Some(fate);
                    }
                }
                Fate::Unknown => {
                    self.has_failed = true;
                    for sent in self.sent.range_mut(at..) {
                        sent.failed.get_or_insert(fate);
                    }
                }
            }
        }
        let is_over = self.sent.iter().all(|sent| sent.failed.is_some());
        let lost = if self.has_failed && is_over {
            self.begin_anew()
        } else {
            Vec::new()
        };
        Settled { answered, lost }
    }

    /// Begins a new stream: what follows goes to another leader. Changes nothing while batches are under way.
    pub fn begin_stream(&mut self) {
        if self.sent.is_empty() && self.next > 0 {
            self.stream += 1;
            self.next = 0;
        }
    }

    /// Takes everything that waits and is not under way; nothing of it was sent, or it was not taken.
    pub fn take_waiting(&mut self) -> Vec<T> {
        self.waiting.drain(..).collect()
    }

    /// Puts what failed in front of what waits, in order; returns what cannot be repeated.
    fn begin_anew(&mut self) -> Vec<T> {
        let (mut again, mut lost) = (Vec::new(), Vec::new());
        for sent in self.sent.drain(..) {
            for mut item in sent.items {
                if sent.failed == Some(Fate::NotTaken) {
                    again.push(item);
                } else if item.is_repeatable() {
                    item.note_repeated();
                    again.push(item);
                } else {
                    lost.push(item);
                }
            }
        }
        for item in again.into_iter().rev() {
            self.waiting.push_front(item);
        }
        self.stream += 1;
        self.next = 0;
        self.has_failed = false;
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Thing {
        number: u32,
        is_repeatable: bool,
        is_repeated: bool,
    }

    impl Item for Thing {
        fn bytes(&self) -> usize {
            10
        }

        fn is_repeatable(&self) -> bool {
            self.is_repeatable
        }

        fn note_repeated(&mut self) {
            self.is_repeated = true;
        }
    }

    fn settle(number: u32) -> Thing {
        Thing {
            number,
            is_repeatable: true,
            is_repeated: false,
        }
    }

    fn publish(number: u32) -> Thing {
        Thing {
            number,
            is_repeatable: false,
            is_repeated: false,
        }
    }

    fn outbox(things: &[Thing]) -> Outbox<Thing> {
        let mut outbox = Outbox::new(1);
        things.iter().for_each(|thing| outbox.push(*thing));
        outbox
    }

    /// Sends the next thing alone.
    fn send(outbox: &mut Outbox<Thing>) -> Option<(u64, u64, u32)> {
        let (stream, number, items) = outbox.next_batch(1, 1)?;
        Some((stream, number, items[0].number))
    }

    #[test]
    fn batches_are_as_large_as_asked_for() {
        let mut outbox = outbox(&[publish(1), publish(2), publish(3), publish(4)]);

        assert_eq!(
            outbox.next_batch(15, 10).map(|batch| batch.2.len()),
            Some(2)
        );
        assert_eq!(
            outbox.next_batch(100, 1).map(|batch| batch.2.len()),
            Some(1)
        );
        assert_eq!(outbox.next_batch(1, 10).map(|batch| batch.2.len()), Some(1));
        assert_eq!(outbox.next_batch(1, 10), None);
        assert_eq!(outbox.in_flight_count(), 3);
    }

    #[test]
    fn an_answered_batch_is_done_with() {
        let mut outbox = outbox(&[publish(1), settle(2)]);
        send(&mut outbox);

        let settled = outbox.settle(0, Fate::Answered);

        assert_eq!(settled.answered, [publish(1)]);
        assert_eq!(settled.lost, []);
        assert_eq!(send(&mut outbox), Some((1, 1, 2)), "the stream goes on");
    }

    #[test]
    fn what_was_not_taken_is_sent_again_in_order_in_a_new_stream() {
        let mut outbox = outbox(&[publish(1), publish(2), settle(3)]);
        send(&mut outbox);
        send(&mut outbox);

        assert_eq!(outbox.settle(0, Fate::NotTaken).lost, []);
        assert_eq!(send(&mut outbox), None, "one is still under way");
        assert_eq!(outbox.settle(1, Fate::NotTaken).lost, []);

        assert_eq!(send(&mut outbox), Some((2, 0, 1)));
        assert_eq!(send(&mut outbox), Some((2, 1, 2)));
        assert_eq!(send(&mut outbox), Some((2, 2, 3)));
    }

    #[test]
    fn of_what_may_have_been_carried_out_only_repeatable_things_are_sent_again() {
        let mut outbox = outbox(&[settle(1), publish(2), publish(3)]);
        outbox.next_batch(20, 2);
        send(&mut outbox);

        assert_eq!(outbox.settle(1, Fate::NotTaken).lost, []);
        let settled = outbox.settle(0, Fate::Unknown);

        assert_eq!(settled.lost, [publish(2)]);
        assert_eq!(send(&mut outbox), Some((2, 0, 1)));
        assert_eq!(send(&mut outbox), Some((2, 1, 3)));
    }

    #[test]
    fn what_was_sent_behind_a_batch_of_unknown_fate_is_repeated_behind_it_answered_or_not() {
        let mut outbox = outbox(&[settle(1), settle(2), publish(3), settle(4)]);
        (0..3).for_each(|_| _ = send(&mut outbox));

        let settled = outbox.settle(0, Fate::Unknown);
        assert_eq!((settled.answered, settled.lost), (vec![], vec![publish(3)]));
        assert_eq!(outbox.settle(1, Fate::Answered).answered, []);

        assert_eq!(send(&mut outbox), Some((2, 0, 1)));
        assert_eq!(send(&mut outbox), Some((2, 1, 2)));
        assert_eq!(send(&mut outbox), Some((2, 2, 4)));
    }

    #[test]
    fn what_was_sent_before_a_batch_of_unknown_fate_keeps_its_own() {
        let mut outbox = outbox(&[publish(1), settle(2)]);
        send(&mut outbox);
        send(&mut outbox);

        assert_eq!(outbox.settle(1, Fate::Unknown).lost, []);
        assert_eq!(send(&mut outbox), None, "one is still under way");
        let settled = outbox.settle(0, Fate::Answered);

        assert_eq!(settled.answered, [publish(1)]);
        assert_eq!(send(&mut outbox), Some((2, 0, 2)));
    }

    #[test]
    fn what_may_have_been_carried_out_is_marked_when_it_is_sent_again() {
        let mut outbox = outbox(&[settle(1), settle(2)]);
        outbox.next_batch(100, 2);
        outbox.settle(0, Fate::NotTaken);
        let again = outbox.next_batch(100, 2).expect("it is sent again").2;
        assert!(again.iter().all(|thing| !thing.is_repeated));

        outbox.settle(0, Fate::Unknown);

        assert!(outbox.take_waiting().iter().all(|thing| thing.is_repeated));
    }

    #[test]
    fn a_new_stream_begins_only_when_nothing_is_under_way() {
        let mut outbox = outbox(&[publish(1), publish(2), publish(3)]);
        outbox.begin_stream();
        assert_eq!(send(&mut outbox), Some((1, 0, 1)), "nothing was sent yet");

        outbox.begin_stream();
        assert_eq!(send(&mut outbox), Some((1, 1, 2)), "one is under way");
        outbox.settle(0, Fate::Answered);
        outbox.settle(1, Fate::Answered);
        outbox.begin_stream();

        assert_eq!(send(&mut outbox), Some((2, 0, 3)));
    }

    #[test]
    fn an_unknown_fate_changes_nothing() {
        let mut outbox = outbox(&[settle(1)]);
        send(&mut outbox);

        let settled = outbox.settle(7, Fate::Answered);

        assert_eq!((settled.answered, settled.lost), (vec![], vec![]));
        assert_eq!(outbox.in_flight_count(), 1);
    }
}
