//! The machine against the naive model, and what must hold whatever happens (R22): nothing is lost,
//! nothing comes from nowhere, a repeated delivery says so, a single active consumer sees the order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseError;
use raftmq_core::queue::{
    Delivery, MessageRef, Outcome, Queue, QueueEvent, Reply, Settings, survivors,
};
use raftmq_core::{DeadLetterId, Effect, LogIndex, Machine};

use super::model::Model;
use super::steps::{Step, any_life, any_settings};
use crate::support::Rows;
use crate::support::queue::{Harness, apply, channel};

type Checked = Result<(), TestCaseError>;

/// A queue beside its model.
struct Pair {
    harness: Harness,
    model: Model,
}

impl Pair {
    fn new(settings: &Settings) -> Self {
        let harness = Harness::new(settings.clone());
        let mut model = Model::default();
        let configure = Queue::decode(&harness.log[0].1).unwrap();
        model.apply(1, harness.now_ms, &configure);
        Self { harness, model }
    }

    fn take(&mut self, step: &Step) -> Result<Vec<Delivery>, TestCaseError> {
        self.harness.now_ms += step.passes_ms();
        let command = step.command(&self.model);
        let log_index = self.harness.log.len() as u64 + 1;
        let applied = self.harness.commit(&command);
        let (reply, events) = self.model.apply(log_index, self.harness.now_ms, &command);
        prop_assert_eq!(&applied.reply, &reply, "reply to {:?}", command);
        prop_assert_eq!(&applied.events, &events, "events of {:?}", command);
        let mut deliveries = applied.deliveries();
        deliveries.extend(got(&applied.reply));
        Ok(deliveries)
    }

    fn compare(&self) -> Checked {
        let (queue, model) = (&self.harness.queue, &self.model);
        prop_assert_eq!(queue.ready_messages(usize::MAX), model.ready());
        for number in 0..5 {
            let channel = channel(number);
            prop_assert_eq!(queue.deliveries(channel), model.deliveries(channel));
        }
        let letters = queue.dead_letters(DeadLetterId(0), usize::MAX);
        prop_assert_eq!(&letters, &model.letters);
        prop_assert_eq!(queue.dead_letters_count(), model.letters.len() as u64);
        prop_assert_eq!(queue.delayed_count(), model.late_count());
        prop_assert_eq!(queue.dedup_ids_count(), model.seen_count());
        prop_assert_eq!(queue.ended(), model.ended);
        let unsettled: Vec<MessageRef> = queue.unsettled().map(|(message, _)| message).collect();
        let distinct: BTreeSet<MessageRef> = unsettled.iter().copied().collect();
        prop_assert_eq!(distinct.len(), unsettled.len(), "a message is there twice");
        Ok(())
    }
}

/// The deliveries of `basic.get`, which are replies.
fn got(reply: &Reply) -> Vec<Delivery> {
    match reply {
        Reply::Batch(replies) => replies.iter().flat_map(got).collect(),
        Reply::Got { delivery, .. } => delivery.iter().copied().collect(),
        Reply::Published(_)
        | Reply::Attached { .. }
        | Reply::Settled { .. }
        | Reply::Removed { .. }
        | Reply::Done
        | Reply::Refused(_) => Vec::new(),
    }
}

proptest! {
    #[test]
    fn a_queue_does_what_the_naive_model_does(settings in any_settings(), life in any_life()) {
        let mut pair = Pair::new(&settings);
        for step in &life {
            pair.take(step)?;
            pair.compare()?;
        }
    }

    #[test]
    fn a_repeated_delivery_always_says_so_and_a_first_one_never(
        settings in any_settings(),
        life in any_life(),
    ) {
        let mut pair = Pair::new(&settings);
        let mut seen = BTreeSet::new();
        for step in &life {
            for delivery in pair.take(step)? {
                let is_repeated = !seen.insert(delivery.message);
                // Within one entry, get and consumer may come in another order than listed here.
                if !matches!(step, Step::Together(_)) {
                    prop_assert_eq!(delivery.is_redelivered, is_repeated, "{:?}", delivery);
                }
            }
        }
    }

    #[test]
    fn nothing_is_lost_and_nothing_comes_from_nowhere(
        life in any_life(),
        mut settings in any_settings(),
    ) {
        // Every way out of the queue is then an acknowledgement or a dead letter.
        settings.has_dead_letters = true;
        settings.expires_ms = None;
        settings.is_auto_delete = false;
        let mut pair = Pair::new(&settings);
        let mut gone = BTreeSet::new();
        let mut taken = BTreeSet::new();
        let takes_away =
            |step: &&Step| matches!(step, Step::Delete { .. } | Step::Purge | Step::Together(_));
        for step in life.iter().filter(|step| !takes_away(step)) {
            let before = needed(&pair.harness.queue);
            let letters_before: BTreeMap<_, _> = letters(&pair.harness.queue);
            let log_index = LogIndex(pair.harness.log.len() as u64 + 1);
            for delivery in pair.take(step)? {
                if delivery.is_settled {
                    gone.insert(delivery.message);
                }
            }
            taken.extend(taken_by(&pair.harness, log_index));
            let after = needed(&pair.harness.queue);
            let left: BTreeSet<MessageRef> = before.difference(&after).copied().collect();
            // Only acknowledging and publishing dead letters may take something away.
            let is_acked = matches!(step, Step::Settle { outcome: Outcome::Acked, .. });
            let is_published = matches!(step, Step::Published { .. });
            let may_leave = |one: &MessageRef| {
                gone.contains(one) || is_acked || (is_published && letters_before.contains_key(one))
            };
            prop_assert!(left.iter().all(may_leave), "lost: {:?} by {:?}", left, step);
            gone.extend(left);
            prop_assert!(after.is_subset(&taken), "from nowhere");
            let found: BTreeSet<MessageRef> = after.union(&gone).copied().collect();
            prop_assert_eq!(&found, &taken, "lost or unexpected");
        }
    }

    #[test]
    fn a_single_active_consumer_sees_the_order(life in any_life(), mut settings in any_settings()) {
        settings.is_single_active_consumer = true;
        settings.priority_max = 0;
        let mut pair = Pair::new(&settings);
        let has_delays = life.iter().any(has_delay);
        for step in &life {
            for delivery in pair.take(step)? {
                if delivery.consumer.is_none() || has_delays {
                    continue;
                }
                // Whatever is delivered to the active consumer, nothing before it is still to come.
                let waits = pair.harness.queue.ready_messages(1);
                let is_returned = matches!(step, Step::Settle { .. } | Step::Close { .. }
                    | Step::CloseBroker { .. } | Step::Together(_) | Step::TimePasses(_));
                prop_assert!(
                    is_returned || waits.iter().all(|one| *one > delivery.message),
                    "{:?} overtakes {:?}", delivery, waits
                );
            }
        }
    }

    #[test]
    fn rows_and_checkpoints_hold_the_whole_state(
        settings in any_settings(),
        life in any_life(),
        saves in proptest::collection::vec(proptest::bool::weighted(0.3), 90),
    ) {
        let mut pair = Pair::new(&settings);
        let mut restored: Option<(Queue, Rows)> = None;
        for (step, saves) in life.iter().zip(saves) {
            let log_index = pair.harness.log.len();
            pair.take(step)?;
            if let Some((replica, rows)) = &mut restored {
                let (meta, bytes) = pair.harness.log[log_index].clone();
                apply(replica, &meta, &bytes);
                prop_assert!(*replica == pair.harness.queue, "a restored replica differs");
                if saves {
                    rows.update(replica.dirty_rows());
                    let again = Queue::restore(rows.iter()).unwrap();
                    prop_assert!(again == pair.harness.queue, "rows of a restored replica differ");
                }
            }
            if saves {
                pair.harness.save();
                let from_rows = Queue::restore(pair.harness.rows.iter()).unwrap();
                prop_assert!(from_rows == pair.harness.queue, "rows differ");
                let checkpoint = pair.harness.queue.checkpoint();
                let mut from_checkpoint = Queue::restore_checkpoint(&checkpoint).unwrap();
                prop_assert_eq!(from_checkpoint.checkpoint(), checkpoint);
                let mut rows = Rows::default();
                rows.update(from_checkpoint.dirty_rows());
                prop_assert!(Queue::restore(rows.iter()).unwrap() == pair.harness.queue);
                if restored.is_none() {
                    restored = Some((from_rows, pair.harness.rows.clone()));
                }
            }
        }
    }

    #[test]
    fn a_snapshot_of_a_purged_log_equals_the_original(
        settings in any_settings(),
        life in any_life(),
    ) {
        let mut pair = Pair::new(&settings);
        let mut replica: Option<(Queue, BTreeMap<MessageRef, bytes::Bytes>)> = None;
        for step in life.iter().chain(&life) {
            pair.take(step)?;
        }
        let queue = &pair.harness.queue;
        if let Some(plan) = queue.plan_purge(raftmq_core::queue::Boundary::default()) {
            let mut builder = survivors::ChunkBuilder::default();
            for message in &plan.survivors {
                builder.push(*message, &pair.harness.body(*message));
            }
            let chunk = builder.finish().map(|chunk| chunk.bytes).unwrap_or_default();
            let retained = survivors::retain(&chunk, &plan.survivors).unwrap();
            prop_assert_eq!(&retained.map(|chunk| chunk.bytes).unwrap_or_default(), &chunk);
            let at = plan.boundary.log_index;
            let checkpoint = pair.harness.checkpoints.iter().find(|(index, _)| *index == at);
            let mut copy = Queue::restore_checkpoint(&checkpoint.unwrap().1).unwrap();
            let above = usize::try_from(at.0).unwrap();
            for (meta, bytes) in &pair.harness.log[above..] {
                apply(&mut copy, meta, bytes);
            }
            replica = Some((copy, survivors::bodies(&chunk).unwrap()));
            prop_assert!(plan.survivors_bytes * 2 <= plan.boundary.bytes_total);
            let below = queue.needed_up_to(at);
            prop_assert_eq!(&below, &plan.survivors);
        }
        if let Some((copy, bodies)) = replica {
            prop_assert!(copy == *queue);
            for (message, size) in copy.unsettled() {
                let body = bodies.get(&message).cloned();
                let body = body.unwrap_or_else(|| pair.harness.body(message));
                prop_assert_eq!(body.len(), size as usize);
            }
        }
    }

    #[test]
    fn hostile_bytes_are_errors(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let bytes = bytes::Bytes::from(bytes);
        let _ = Queue::decode(&bytes);
        let _ = Queue::restore_checkpoint(&bytes);
        let _ = survivors::bodies(&bytes);
        for family in *b"abcdhortu" {
            let key = bytes::Bytes::from(vec![family, 0, 0, 0, 0, 0, 0, 0, 1]);
            let _ = Queue::restore(std::iter::once((key, bytes.clone())));
        }
    }
}

fn has_delay(step: &Step) -> bool {
    if let Step::Together(steps) = step {
        return steps.iter().any(has_delay);
    }
    if let Step::Publish(messages) = step {
        return messages.iter().any(|one| one.delay_ms.is_some());
    }
    false
}

fn needed(queue: &Queue) -> BTreeSet<MessageRef> {
    queue.unsettled().map(|(message, _)| message).collect()
}

fn letters(queue: &Queue) -> BTreeMap<MessageRef, DeadLetterId> {
    let letters = queue.dead_letters(DeadLetterId(0), usize::MAX);
    letters
        .into_iter()
        .map(|one| (one.message, one.id))
        .collect()
}

/// The messages of the last entry that the queue took (confirmed, or refused and dead-lettered).
fn taken_by(harness: &Harness, log_index: LogIndex) -> Vec<MessageRef> {
    let (meta, bytes) = harness.log.last().unwrap();
    assert_eq!(meta.log_index, log_index.0);
    let mut before = Queue::default();
    let mut reply = None;
    for (meta, bytes) in &harness.log {
        reply = Some(apply(&mut before, meta, bytes));
    }
    let Some((Reply::Published(published), _)) = reply else {
        return Vec::new();
    };
    assert!(!bytes.is_empty());
    let numbers = (0..published.count).filter(|number| !published.duplicates.contains(number));
    numbers
        .map(|number| MessageRef {
            log_index,
            position: u32::try_from(number).unwrap(),
        })
        .collect()
}

#[test]
fn every_effect_of_a_queue_is_an_event_or_a_checkpoint() {
    let mut harness = Harness::new(Settings::default());
    harness.publish(&["a"]);
    let (meta, bytes) = harness.log[1].clone();
    let mut again = Queue::default();
    let (_, effects) = apply(&mut again, &meta, &bytes);
    assert_eq!(effects, Vec::<Effect>::new());
    assert!(
        harness
            .attach(1, "c", 1)
            .events
            .iter()
            .all(|event| matches!(event, QueueEvent::Delivered(_)))
    );
}
