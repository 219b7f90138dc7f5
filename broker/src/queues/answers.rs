//! Who waits for what a session has proposed: answers are put together when an entry is applied, and
//! given when every in-sync replica has it.

use std::collections::VecDeque;
use std::sync::Arc;

use raftmq_core::ids::{ConsumerId, LogIndex};
use raftmq_core::partition::isr::IsrTracker;
use raftmq_core::queue::{Delivery, MessageRef, Published, Reply};

use super::bodies::Bodies;
use super::deciding::Slot;
use super::outgoing::Outgoing;
use super::submission::{Answer, NotDone, ReplySender};
use super::{Counts, Got};

/// A submission whose commands are in an entry.
#[derive(Debug)]
pub(super) struct Submitted {
    slots: Vec<Slot>,
    /// Number of its first command in the entry.
    first: usize,
    reply: ReplySender,
}

impl Submitted {
    pub(super) fn new(slots: Vec<Slot>, first: usize, reply: ReplySender) -> Self {
        Self {
            slots,
            first,
            reply,
        }
    }

    pub(super) fn fail(self, why: NotDone) {
        let _ = self.reply.send(Err(why));
    }

    /// Answers as if everything had been done, if that is only messages.
    pub(super) fn pretend(self) -> Option<Self> {
        if self.slots.iter().any(|slot| *slot != Slot::Enqueued) {
            return Some(self);
        }
        let published = Published {
            count: 1,
            ..Published::default()
        };
        let answer = Answer::Reply(Reply::Published(published));
        let _ = self.reply.send(Ok(vec![answer; self.slots.len()]));
        None
    }

    /// The answers, given the replies to all commands of the entry and what is there now.
    pub(super) fn answered(self, replies: &[Reply], counts: Counts) -> Answered {
        let mut replies = replies.iter().skip(self.first).cloned();
        let mut reply = || Answer::Reply(replies.next().unwrap_or(Reply::Done));
        let mut ended = Vec::new();
        let slots = self.slots.into_iter().enumerate();
        let answers = slots.map(|(at, slot)| match slot {
            Slot::Decided(answer) => answer,
            Slot::Counts => Answer::Counts(counts),
            Slot::Proposed | Slot::Enqueued => reply(),
            Slot::Detached(consumer) => {
                ended.push((at, consumer));
                reply()
            }
            Slot::Drained(consumer) => {
                ended.push((at, consumer));
                Answer::Reply(Reply::Done)
            }
        });
        Answered {
            answers: answers.collect(),
            ended,
            reply: self.reply,
        }
    }
}

/// A submission whose entry is applied.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) answers: Vec<Answer>,
    /// Consumers that get nothing more, and which answers say whether all that they got has been sent.
    ended: Vec<(usize, ConsumerId)>,
    reply: ReplySender,
}

impl Answered {
    /// Notes which consumers still have deliveries on the way.
    fn look_at_ended(&mut self, has_deliveries: impl Fn(ConsumerId) -> bool) {
        for (at, consumer) in &self.ended {
            if has_deliveries(*consumer)
                && let Some(answer) = self.answers.get_mut(*at)
            {
                *answer = Answer::Draining;
            }
        }
    }

    /// The messages that gets took.
    fn taken(&self) -> impl Iterator<Item = MessageRef> + '_ {
        self.answers.iter().filter_map(|answer| match answer {
            Answer::Reply(Reply::Got { delivery, .. }) => delivery.map(|taken| taken.message),
            Answer::Reply(_)
            | Answer::Got(_)
            | Answer::Counts(_)
            | Answer::Full(_)
            | Answer::Draining => None,
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Answering {
    bodies: Arc<Bodies>,
    outgoing: Arc<Outgoing>,
    applied: VecDeque<(LogIndex, Vec<Answered>)>,
}

impl Answering {
    pub(super) fn new(bodies: Arc<Bodies>, outgoing: Arc<Outgoing>) -> Self {
        Self {
            bodies,
            outgoing,
            applied: VecDeque::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.applied.is_empty()
    }

    /// An entry was applied, with these replies to its commands; `counts` is what is there now.
    pub(super) fn applied(
        &mut self,
        log_index: LogIndex,
        submitted: Vec<Submitted>,
        replies: &[Reply],
        counts: Counts,
    ) {
        if submitted.is_empty() {
            return;
        }
        let answered = submitted
            .into_iter()
            .map(|one| one.answered(replies, counts));
        let answered: Vec<Answered> = answered.collect();
        for message in answered.iter().flat_map(Answered::taken) {
            self.bodies.hold(message);
        }
        // Until now that kept what was taken for good.
        self.outgoing.release_got(replies);
        self.applied.push_back((log_index, answered));
    }

    /// Answers everybody whose entry every in-sync replica has, in order of the log.
    pub(super) fn answer_in_sync(&mut self, isr: &IsrTracker) {
        while let Some((log_index, _)) = self.applied.front() {
            if !has_everybody(isr, *log_index) {
                return;
            }
            let Some((_, answered)) = self.applied.pop_front() else {
                return;
            };
            answered.into_iter().for_each(|one| self.give(one));
        }
    }

    fn give(&self, mut answered: Answered) {
        answered.look_at_ended(|consumer| self.outgoing.has_deliveries_of(consumer));
        let taken: Vec<MessageRef> = answered.taken().collect();
        let Answered { answers, reply, .. } = answered;
        let is_got = |answer: &Answer| matches!(answer, Answer::Reply(Reply::Got { .. }));
        if !answers.iter().any(is_got) {
            let _ = reply.send(Ok(answers));
            return;
        }
        let bodies = self.bodies.clone();
        // Ends when the bodies are read.
        tokio::spawn(async move {
            let _ = reply.send(with_bodies(&bodies, answers).await);
            taken.iter().for_each(|message| bodies.release(*message));
        });
    }

    pub(super) fn fail(&mut self) {
        for (_, answered) in self.applied.drain(..) {
            for one in answered {
                one.taken().for_each(|message| self.bodies.release(message));
                let _ = one.reply.send(Err(NotDone::Unknown));
            }
        }
    }
}

/// Whether every in-sync replica has flushed an applied entry, however few they are: a majority has it, or it
/// would not have been applied.
fn has_everybody(isr: &IsrTracker, log_index: LogIndex) -> bool {
    isr.all_in_sync_flushed_up_to() >= log_index
}

/// Reads the bodies of what gets took.
async fn with_bodies(bodies: &Bodies, answers: Vec<Answer>) -> Result<Vec<Answer>, NotDone> {
    let mut whole = Vec::with_capacity(answers.len());
    for answer in answers {
        let Answer::Reply(Reply::Got {
            delivery,
            ready_count,
        }) = answer
        else {
            whole.push(answer);
            continue;
        };
        let message = match delivery {
            Some(delivery) => Some((delivery, read(bodies, &delivery).await?)),
            None => None,
        };
        whole.push(Answer::Got(Got {
            message,
            ready_count,
        }));
    }
    Ok(whole)
}

async fn read(bodies: &Bodies, delivery: &Delivery) -> Result<bytes::Bytes, NotDone> {
    bodies.read(delivery.message).await.map_err(|error| {
        tracing::error!(%error, "the body of a message was not read");
        NotDone::Unknown
    })
}

#[cfg(test)]
mod tests {
    use raftmq_core::ids::{BrokerId, DeliveryId};
    use raftmq_core::queue::{ChannelId, Queue, QueueEvent};
    use tokio::sync::oneshot;

    use super::*;

    const ME: BrokerId = BrokerId(1);
    const COUNTS: Counts = Counts {
        ready: 4,
        consumers: 2,
    };

    #[test]
    fn an_answer_waits_for_the_leader_itself_although_fewer_than_a_majority_are_in_sync() {
        let replicas = [ME, BrokerId(2), BrokerId(3)];
        let mut isr = IsrTracker::new(ME, &replicas, &[ME], 1_000, 0);
        isr.observe_leader_last(LogIndex(5), 0);
        assert!(isr.check_after_append(LogIndex(5)).is_err());

        assert!(!has_everybody(&isr, LogIndex(5)), "it is not flushed here");
        isr.observe(ME, LogIndex(5), 1);

        assert!(has_everybody(&isr, LogIndex(5)));
        assert!(!has_everybody(&isr, LogIndex(6)));
    }

    #[test]
    fn who_ends_a_consumer_is_told_as_long_as_its_deliveries_are_on_the_way() {
        let (ended, other) = (ConsumerId(1), ConsumerId(2));
        let outgoing = Outgoing::default();
        outgoing.begin(1, &Queue::default());
        outgoing.take(QueueEvent::Delivered(Delivery {
            id: DeliveryId(1),
            channel: ChannelId {
                broker: ME,
                ..ChannelId::default()
            },
            consumer: Some(ended),
            message: MessageRef::default(),
            size: 0,
            attempts: 0,
            is_redelivered: false,
            is_settled: true,
        }));
        let slots = || {
            vec![
                Slot::Proposed,
                Slot::Detached(ended),
                Slot::Drained(ended),
                Slot::Detached(other),
            ]
        };
        let answers = || {
            let submitted = Submitted::new(slots(), 1, oneshot::channel().0);
            let replies = [
                Reply::Settled { count: 8 },
                Reply::Settled { count: 9 },
                Reply::Done,
                Reply::Done,
            ];
            let mut answered = submitted.answered(&replies, COUNTS);
            answered.look_at_ended(|consumer| outgoing.has_deliveries_of(consumer));
            answered.answers
        };
        let (done, settled) = (
            Answer::Reply(Reply::Done),
            Answer::Reply(Reply::Settled { count: 9 }),
        );

        let draining = [
            settled.clone(),
            Answer::Draining,
            Answer::Draining,
            done.clone(),
        ];
        assert_eq!(answers(), draining);
        outgoing.end(1);

        assert_eq!(answers(), [settled, done.clone(), done.clone(), done]);
    }
}
