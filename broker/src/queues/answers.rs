//! Who waits for what a session has proposed: answers are put together when an entry is applied, and
//! given when every in-sync replica has it.

use std::collections::VecDeque;
use std::sync::Arc;

use raftmq_core::ids::LogIndex;
use raftmq_core::partition::isr::IsrTracker;
use raftmq_core::queue::{Delivery, MessageRef, Published, Reply};

use super::bodies::Bodies;
use super::deciding::Slot;
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

    fn answered(self, replies: &[Reply], counts: Counts) -> Answered {
        let mut replies = replies.iter().skip(self.first);
        let answer = |slot: Slot| match slot {
            Slot::Decided(answer) => answer,
            Slot::Counts => Answer::Counts(counts),
            Slot::Proposed | Slot::Enqueued => {
                Answer::Reply(replies.next().cloned().unwrap_or(Reply::Done))
            }
        };
        Answered {
            answers: self.slots.into_iter().map(answer).collect(),
            reply: self.reply,
        }
    }
}

#[derive(Debug)]
struct Answered {
    answers: Vec<Answer>,
    reply: ReplySender,
}

impl Answered {
    /// The messages that gets took.
    fn taken(&self) -> impl Iterator<Item = MessageRef> + '_ {
        self.answers.iter().filter_map(|answer| match answer {
            Answer::Reply(Reply::Got { delivery, .. }) => delivery.map(|taken| taken.message),
            Answer::Reply(_) | Answer::Got(_) | Answer::Counts(_) | Answer::Full(_) => None,
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Answering {
    bodies: Arc<Bodies>,
    applied: VecDeque<(LogIndex, Vec<Answered>)>,
}

impl Answering {
    pub(super) fn new(bodies: Arc<Bodies>) -> Self {
        Self {
            bodies,
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
        self.applied.push_back((log_index, answered));
    }

    /// Answers everybody whose entry every in-sync replica has, in order of the log.
    pub(super) fn answer_in_sync(&mut self, isr: &IsrTracker) {
        while let Some((log_index, _)) = self.applied.front() {
            // With a minimum of one the only error would be that nobody is in sync: not even the leader.
            if isr.check_after_append(*log_index) == Ok(false) {
                return;
            }
            let Some((_, answered)) = self.applied.pop_front() else {
                return;
            };
            answered.into_iter().for_each(|one| self.give(one));
        }
    }

    fn give(&self, answered: Answered) {
        let taken: Vec<MessageRef> = answered.taken().collect();
        let Answered { answers, reply } = answered;
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
