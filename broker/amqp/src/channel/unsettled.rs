//! The deliveries of a channel that the client has not settled, under their delivery tags.
//!
//! Owns the tags (from 1, never reused) and what `multiple` means. Does not know what settling
//! does.

use std::collections::{BTreeMap, BTreeSet};

use raftmq_core::queue::Span;
use raftmq_core::{DeliveryId, GroupNumber};

use crate::planted::{Bug, is_planted};
use crate::request::ConsumerKey;

/// One delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) queue: GroupNumber,
    pub(crate) id: DeliveryId,
    /// `None` = `basic.get`.
    pub(crate) consumer: Option<ConsumerKey>,
    /// Whether the queue has taken it back: settling it does nothing.
    pub(crate) is_gone: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    map: BTreeMap<u64, Held>,
    /// Those that consumers hold, as the channel's limit counts them.
    consumed_count: usize,
    last_tag: u64,
}

impl Unsettled {
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) const fn consumed_count(&self) -> usize {
        self.consumed_count
    }

    /// Takes the next tag, for a delivery that is not to be settled.
    pub(crate) const fn next_tag(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// Keeps a delivery and returns its tag.
    pub(crate) fn insert(&mut self, held: Held) -> u64 {
        let is_got = held.consumer.is_none();
        let tag = if is_got && self.last_tag > 0 && is_planted(Bug::DeliveryTagReused) {
            self.last_tag
        } else {
            self.next_tag()
        };
        self.consumed_count += usize::from(!is_got);
        self.map.insert(tag, held);
        tag
    }

    /// Takes one delivery; `None` if there is none of that tag.
    pub(crate) fn take_one(&mut self, tag: u64) -> Option<Held> {
        let held = self.map.remove(&tag)?;
        self.forget(&held);
        Some(held)
    }

    /// Takes the deliveries up to a tag, inclusive; all of them for tag 0. `None` if there is none of
    /// that tag.
    pub(crate) fn take_up_to(&mut self, tag: u64) -> Option<Vec<Held>> {
        if tag == 0 {
            return Some(self.take_all());
        }
        if !self.map.contains_key(&tag) {
            return None;
        }
        let last = tag + u64::from(is_planted(Bug::MultipleSettlesTooMuch));
        let rest = self.map.split_off(&(last + 1));
        let taken = std::mem::replace(&mut self.map, rest);
        let taken: Vec<Held> = taken.into_values().collect();
        for held in &taken {
            self.forget(held);
        }
        Some(taken)
    }

    pub(crate) fn take_all(&mut self) -> Vec<Held> {
        self.consumed_count = 0;
        std::mem::take(&mut self.map).into_values().collect()
    }

    /// Notes that a queue has taken deliveries back.
    pub(crate) fn mark_gone(&mut self, queue: GroupNumber, ids: &BTreeSet<DeliveryId>) {
        for held in self.map.values_mut() {
            if held.queue == queue && !held.is_gone && ids.contains(&held.id) {
                tracing::trace!(target: "raftmq::mark", name = "amqp_delivery_taken_back");
                held.is_gone = true;
                self.consumed_count -= usize::from(held.consumer.is_some());
            }
        }
    }

    fn forget(&mut self, held: &Held) {
        self.consumed_count -= usize::from(held.consumer.is_some() && !held.is_gone);
    }
}

/// Puts deliveries together, by queue and without gaps.
pub(crate) fn spans_by_queue(held: &[Held]) -> BTreeMap<GroupNumber, Vec<Span>> {
    let mut ids: BTreeMap<GroupNumber, Vec<DeliveryId>> = BTreeMap::new();
    for one in held.iter().filter(|one| !one.is_gone) {
        ids.entry(one.queue).or_default().push(one.id);
    }
    ids.into_iter()
        .map(|(queue, ids)| (queue, spans(ids)))
        .collect()
}

fn spans(mut ids: Vec<DeliveryId>) -> Vec<Span> {
    ids.sort_unstable();
    let runs = ids.chunk_by(|one, next| one.0 + 1 == next.0);
    runs.filter_map(|run| {
        Some(Span {
            first: *run.first()?,
            last: *run.last()?,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSUMER: ConsumerKey = ConsumerKey(1);

    fn held(queue: u64, id: u64) -> Held {
        Held {
            queue: GroupNumber(queue),
            id: DeliveryId(id),
            consumer: Some(CONSUMER),
            is_gone: false,
        }
    }

    fn five() -> Unsettled {
        let mut unsettled = Unsettled::default();
        for (at, one) in [held(1, 7), held(1, 8), held(2, 1), held(1, 9), held(1, 12)]
            .into_iter()
            .enumerate()
        {
            assert_eq!(unsettled.insert(one), at as u64 + 1);
        }
        unsettled
    }

    #[test]
    fn multiple_takes_everything_up_to_the_tag_and_nothing_behind_it() {
        let mut unsettled = five();
        let taken = unsettled.take_up_to(4).unwrap();
        assert_eq!(taken, [held(1, 7), held(1, 8), held(2, 1), held(1, 9)]);
        assert_eq!((unsettled.len(), unsettled.consumed_count()), (1, 1));
        let spans = spans_by_queue(&taken);
        let span = |first, last| Span {
            first: DeliveryId(first),
            last: DeliveryId(last),
        };
        assert_eq!(spans[&GroupNumber(1)], [span(7, 9)]);
        assert_eq!(spans[&GroupNumber(2)], [span(1, 1)]);
        assert_eq!(unsettled.take_up_to(4), None, "a tag is settled once");
    }

    #[test]
    fn tag_zero_takes_everything_and_no_tag_is_used_again() {
        let mut unsettled = five();
        assert_eq!(unsettled.take_up_to(0).map(|all| all.len()), Some(5));
        assert_eq!(unsettled.take_up_to(0), Some(Vec::new()));
        assert_eq!(unsettled.take_one(0), None);
        assert_eq!(unsettled.insert(held(1, 1)), 6);
    }

    #[test]
    fn what_the_queue_took_back_can_still_be_settled_and_does_nothing() {
        let mut unsettled = five();
        unsettled.mark_gone(GroupNumber(1), &[DeliveryId(8), DeliveryId(1)].into());
        assert_eq!(unsettled.consumed_count(), 4);
        let gone = unsettled.take_one(2).unwrap();
        assert!(gone.is_gone && spans_by_queue(&[gone]).is_empty());
        assert_eq!(unsettled.consumed_count(), 4);
    }
}
