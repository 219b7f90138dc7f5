//! The deliveries of a stream that the client has not settled, under their delivery tags.
//!
//! Owns the tags (from 1, never reused) and what `multiple` means. Does not know what settling does.

use std::collections::{BTreeMap, BTreeSet};

use raftmq_core::queue::Span;
use raftmq_core::{DeliveryId, GroupNumber};

/// One delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) queue: GroupNumber,
    pub(super) id: DeliveryId,
}

/// See the module. `None` under a tag: the queue took it back, and settling it does nothing.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    held: BTreeMap<u64, Option<Held>>,
    last_tag: u64,
}

impl Unsettled {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Takes the next tag, for a delivery that is not to be settled.
    pub(super) const fn next_tag(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// Keeps a delivery and returns its tag.
    pub(super) fn insert(&mut self, held: Held) -> u64 {
        let tag = self.next_tag();
        self.held.insert(tag, Some(held));
        tag
    }

    /// Takes one delivery; `None` if there is none of that tag.
    pub(super) fn take_one(&mut self, tag: u64) -> Option<Vec<Held>> {
        let held = self.held.remove(&tag)?;
        Some(held.into_iter().collect())
    }

    /// Takes the deliveries up to a tag, inclusive; all of them for tag 0. `None` if there is none of that
    /// tag.
    pub(super) fn take_up_to(&mut self, tag: u64) -> Option<Vec<Held>> {
        let rest = match tag {
            0 => BTreeMap::new(),
            _ if !self.held.contains_key(&tag) => return None,
            _ => self.held.split_off(&(tag + 1)),
        };
        let taken = std::mem::replace(&mut self.held, rest);
        Some(taken.into_values().flatten().collect())
    }

    /// Notes that a queue has taken deliveries back.
    pub(super) fn mark_gone(&mut self, queue: GroupNumber, ids: &BTreeSet<DeliveryId>) {
        for held in self.held.values_mut() {
            if held.is_some_and(|held| held.queue == queue && ids.contains(&held.id)) {
                *held = None;
            }
        }
    }
}

/// Puts deliveries together, by queue and without gaps.
pub(super) fn spans_by_queue(held: &[Held]) -> BTreeMap<GroupNumber, Vec<Span>> {
    let mut ids: BTreeMap<GroupNumber, BTreeSet<DeliveryId>> = BTreeMap::new();
    for one in held {
        ids.entry(one.queue).or_default().insert(one.id);
    }
    ids.into_iter()
        .map(|(queue, ids)| (queue, spans(ids)))
        .collect()
}

fn spans(ids: BTreeSet<DeliveryId>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for id in ids {
        match spans.last_mut() {
            Some(span) if span.last.0 + 1 == id.0 => span.last = id,
            Some(_) | None => spans.push(Span::one(id)),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(queue: u64, id: u64) -> Held {
        Held {
            queue: GroupNumber(queue),
            id: DeliveryId(id),
        }
    }

    fn five() -> Unsettled {
        let mut unsettled = Unsettled::default();
        let all = [held(1, 7), held(1, 8), held(2, 1), held(1, 9), held(1, 12)];
        for (one, tag) in all.into_iter().zip(1..) {
            assert_eq!(unsettled.insert(one), tag);
        }
        unsettled
    }

    #[test]
    fn multiple_takes_everything_up_to_the_tag_and_nothing_behind_it() {
        let mut unsettled = five();
        let taken = unsettled.take_up_to(4).unwrap();
        assert_eq!(taken, [held(1, 7), held(1, 8), held(2, 1), held(1, 9)]);
        assert_eq!(unsettled.len(), 1);
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
        assert_eq!(unsettled.take_one(0), None);
        assert_eq!(unsettled.take_up_to(0).map(|all| all.len()), Some(5));
        assert_eq!(unsettled.take_up_to(0), Some(Vec::new()));
        assert_eq!(unsettled.take_up_to(u64::MAX), None);
        assert_eq!(unsettled.insert(held(1, 1)), 6);
    }

    #[test]
    fn what_the_queue_took_back_can_still_be_settled_and_does_nothing() {
        let mut unsettled = five();
        unsettled.mark_gone(GroupNumber(1), &[DeliveryId(8), DeliveryId(1)].into());
        assert_eq!(unsettled.take_one(2), Some(Vec::new()));
        assert_eq!(unsettled.take_one(2), None);
        assert_eq!(unsettled.take_one(1), Some(vec![held(1, 7)]));
        let rest = unsettled.take_up_to(0).unwrap();
        assert_eq!(rest.len(), 3, "the other queue's delivery 1 stays");
    }
}
