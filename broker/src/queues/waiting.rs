//! What brokers have submitted to a queue's leader and no entry holds yet, and how much of it the next
//! entry takes.
//!
//! Does not know how entries are proposed, nor what becomes of them.

use std::collections::VecDeque;

use raftmq_core::limits::{APPEND_BYTES_MAX, QUEUE_BATCH_COUNT_MAX};
use raftmq_core::queue::link::Intake;
use raftmq_core::queue::{Command, Pending, Ticket};

use super::answers::Submitted;
use super::deciding::{Asker, Rules, decide};
use super::submission::{ASKS_COUNT_MAX, Ask, SUBMISSION_BYTES_MAX, Submission};

/// Payload at which an entry is closed.
pub(super) const ENTRY_BYTES_TARGET: usize = 1 << 20;
/// Things asked in one entry.
const ENTRY_ASKS_MAX: usize = 16_384;
/// What a queue asks for itself in one entry: bytes, at most. Its arguments, and a few commands.
const OWN_BYTES_MAX: usize = 1 << 20;

// The last submission of an entry may be the largest, and the entry must still be read.
const _: () =
    assert!(ENTRY_BYTES_TARGET + SUBMISSION_BYTES_MAX + OWN_BYTES_MAX <= APPEND_BYTES_MAX);
const _: () = assert!(ENTRY_ASKS_MAX + ASKS_COUNT_MAX < QUEUE_BATCH_COUNT_MAX);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    submissions: VecDeque<Submission>,
    bytes: usize,
}

/// What the next entry holds, and who waits for it.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) commands: Vec<Command>,
    pub(super) submitted: Vec<Submitted>,
    pub(super) last_ticket: Option<Ticket>,
}

impl Waiting {
    /// Takes a submission in behind all others, unless it comes late, out of order, or is larger than
    /// any may be: then it never will be taken, and whoever sent it is told so.
    pub(super) fn take(&mut self, submission: Submission, intake: &mut Intake) {
        let bytes = bytes_of(&submission);
        if bytes > SUBMISSION_BYTES_MAX {
            tracing::warn!(
                bytes,
                limit = SUBMISSION_BYTES_MAX,
                "a submission is too large"
            );
            return;
        }
        if let Some((sender, place)) = submission.from
            && !intake.admit(sender, place)
        {
            tracing::trace!(target: "raftmq::mark", name = "submission_out_of_order");
            return;
        }
        self.bytes += bytes;
        self.submissions.push_back(submission);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.submissions.is_empty()
    }

    /// Counts what waits, bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Tells everybody that nothing of it was taken.
    pub(super) fn clear(&mut self) {
        self.submissions.clear();
        self.bytes = 0;
    }

    /// Decides what waits, as much as goes into one entry, behind what the queue asks for itself.
    pub(super) fn next_entry(
        &mut self,
        own: Vec<Command>,
        rules: &Rules<'_>,
        pending: &mut Pending,
    ) -> Content {
        let mut content = Content::only(own);
        let mut bytes = 0_usize;
        while bytes < ENTRY_BYTES_TARGET && content.commands.len() < ENTRY_ASKS_MAX {
            let Some(submission) = self.submissions.pop_front() else {
                break;
            };
            let submission_bytes = bytes_of(&submission);
            self.bytes -= submission_bytes;
            bytes += submission_bytes;
            content.add(submission, rules, pending);
        }
        content
    }
}

impl Content {
    /// What the queue asks for itself, and nothing else.
    pub(super) const fn only(own: Vec<Command>) -> Self {
        Self {
            commands: own,
            submitted: Vec::new(),
            last_ticket: None,
        }
    }

    fn add(&mut self, submission: Submission, rules: &Rules<'_>, pending: &mut Pending) {
        let first = self.commands.len();
        let asker: Asker = submission
            .from
            .map(|(sender, place)| (sender, place.broker_epoch));
        let slots = submission.asks.into_iter().map(|ask| {
            let decided = decide(ask, asker, rules, pending);
            self.last_ticket = decided.ticket.or(self.last_ticket);
            self.commands.extend(decided.command);
            decided.slot
        });
        let slots = slots.collect();
        if let Some(reply) = submission.reply.take() {
            self.submitted.push(Submitted::new(slots, first, reply));
        }
    }
}

fn bytes_of(submission: &Submission) -> usize {
    submission.asks.iter().map(Ask::bytes).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use raftmq_core::ids::{BrokerEpoch, BrokerId};
    use raftmq_core::queue::link::Place;
    use raftmq_core::queue::{AckMode, ChannelId, Message, Published, Queue, Refusal, Reply};
    use tokio::sync::oneshot;

    use super::*;
    use crate::hosting::GroupView;
    use crate::queues::Counts;
    use crate::queues::submission::{Answer, NotDone, Untaken};
    use crate::queues::view::QueueView;

    const SENDER: BrokerId = BrokerId(2);

    type Answers = oneshot::Receiver<Result<Vec<Answer>, NotDone>>;

    fn submission((epoch, number): (u64, u64), asks: Vec<Ask>) -> (Submission, Answers) {
        let (reply, answers) = oneshot::channel();
        let place = Place {
            broker_epoch: BrokerEpoch(epoch),
            stream: 1,
            number,
        };
        let submission = Submission {
            from: Some((SENDER, place)),
            asks,
            reply: Untaken::new(reply),
        };
        (submission, answers)
    }

    fn publish(bytes: usize) -> Ask {
        Ask::Run(Command::Publish(vec![Message {
            body: Bytes::from(vec![7; bytes]),
            ..Message::default()
        }]))
    }

    fn next_entry(waiting: &mut Waiting, epoch: u64, own: Vec<Command>) -> Content {
        let view = QueueView {
            group: GroupView::default(),
            lag_time_max_ms: 1,
            settings: None,
            brokers: BTreeMap::from([(SENDER, BrokerEpoch(epoch))]),
        };
        let rules = Rules {
            state: &Queue::default(),
            view: &view,
            now_ms: 1,
            full: None,
        };
        waiting.next_entry(own, &rules, &mut Pending::new())
    }

    #[test]
    fn a_get_that_waited_while_its_broker_was_fenced_is_refused_and_what_came_with_it_is_not() {
        let (mut waiting, mut intake) = (Waiting::default(), Intake::default());
        let get = Command::Get {
            channel: ChannelId {
                broker: SENDER,
                broker_epoch: BrokerEpoch(1),
                number: 1,
            },
            ack_mode: AckMode::Automatic,
        };
        let (both, _answers) = submission((1, 0), vec![Ask::Run(get), publish(1)]);
        waiting.take(both, &mut intake);

        let mut content = next_entry(&mut waiting, 2, Vec::new());

        assert!(matches!(&content.commands[..], [Command::Publish(_)]));
        let submitted = content.submitted.pop().expect("somebody waits");
        let counts = Counts {
            ready: 0,
            consumers: 0,
        };
        let published = Reply::Published(Published::default());
        let answered = submitted.answered(std::slice::from_ref(&published), counts);
        let refused = Answer::Reply(Reply::Refused(Refusal::Gone));
        assert_eq!(answered.answers, [refused, Answer::Reply(published)]);
    }

    #[test]
    fn a_submission_larger_than_any_may_be_is_never_taken_and_what_follows_it_is_not_either() {
        let (mut waiting, mut intake) = (Waiting::default(), Intake::default());
        let (large, mut refused) = submission((1, 0), vec![publish(SUBMISSION_BYTES_MAX)]);
        let (behind, mut out_of_order) = submission((1, 1), vec![publish(1)]);

        waiting.take(large, &mut intake);
        waiting.take(behind, &mut intake);

        assert_eq!(refused.try_recv(), Ok(Err(NotDone::NotTaken)));
        assert_eq!(out_of_order.try_recv(), Ok(Err(NotDone::NotTaken)));
        assert!(waiting.is_empty());
        assert_eq!(waiting.bytes(), 0);
    }

    #[test]
    fn an_entry_with_the_largest_submission_is_still_read() {
        let (mut waiting, mut intake) = (Waiting::default(), Intake::default());
        let overhead = 200;
        let small = vec![publish(ENTRY_BYTES_TARGET - overhead)];
        let large = vec![publish(SUBMISSION_BYTES_MAX - overhead)];
        let rest = vec![publish(1)];
        for (number, asks) in (0..).zip([small, large, rest]) {
            let (submission, _answers) = submission((1, number), asks);
            waiting.take(submission, &mut intake);
        }

        let content = next_entry(&mut waiting, 1, vec![Command::Tick]);

        assert_eq!(
            content.submitted.len(),
            2,
            "the rest waits for the next one"
        );
        assert!(!waiting.is_empty());
        let encoded = Command::Batch(content.commands).encode();
        assert!(encoded.len() > SUBMISSION_BYTES_MAX);
        assert!(Command::decode(&encoded).is_ok());
    }

    #[test]
    fn what_is_cleared_was_not_taken() {
        let (mut waiting, mut intake) = (Waiting::default(), Intake::default());
        let (one, mut answers) = submission((1, 0), vec![publish(1)]);
        waiting.take(one, &mut intake);
        assert!(waiting.bytes() > 0);

        waiting.clear();

        assert_eq!(answers.try_recv(), Ok(Err(NotDone::NotTaken)));
        assert_eq!((waiting.is_empty(), waiting.bytes()), (true, 0));
    }
}
