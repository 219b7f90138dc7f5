//! What clients of this broker ask of one queue, until the way to it takes it: in the order of calls.
//!
//! What settles, gives credit or ends a consumer or channel is taken whatever waits, and never lost: it
//! goes with something that the queue has delivered or attached, which bounds it. Everything else finds
//! room or is refused. Does not know leaders.

use std::collections::VecDeque;

use parking_lot::Mutex;
use raftmq_core::queue::Command;
use raftmq_core::queue::link::Item;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::error::QueueError;
use super::submission::{Answer, Ask};
use crate::planted::{Bug, is_planted};

/// Things that wait on one way, beside those that must arrive.
pub(super) const ITEMS_WAITING_MAX: usize = 8_192;

/// One thing on its way.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) ask: Ask,
    pub(super) reply: oneshot::Sender<Result<Answer, QueueError>>,
    pub(super) since: Instant,
    /// May be sent again although nobody knows whether it was carried out.
    pub(super) is_repeatable: bool,
    /// It is: it may have been carried out.
    pub(super) is_repeated: bool,
    /// Its part of the budget, until it is done with.
    pub(super) _permit: Option<OwnedSemaphorePermit>,
}

impl Item for Errand {
    fn bytes(&self) -> usize {
        self.ask.submission_bytes()
    }

    fn is_repeatable(&self) -> bool {
        let is_settle = matches!(self.ask, Ask::Run(Command::Settle { .. }));
        self.is_repeatable && !(is_settle && is_planted(Bug::QueueSettleNotRepeated))
    }

    fn note_repeated(&mut self) {
        self.is_repeated = true;
    }
}

impl Errand {
    /// Whether it is neither refused when much waits nor given up when nobody leads the queue for too
    /// long: else a delivery would never return, or a consumer live on that its client has cancelled.
    pub(super) fn must_arrive(&self) -> bool {
        matches!(
            self.ask,
            Ask::Run(
                Command::Settle { .. }
                    | Command::Credit { .. }
                    | Command::Detach { .. }
                    | Command::CloseChannel { .. }
            )
        )
    }

    pub(super) fn fail(self, error: QueueError) {
        let _ = self.reply.send(Err(error));
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Errand>,
    /// How many of them need not arrive.
    refusable_count: usize,
    is_closed: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Errands {
    state: Mutex<State>,
    news: Notify,
}

impl Errands {
    /// Adds an errand behind all others.
    ///
    /// # Errors
    ///
    /// `Overloaded` when too much waits; `Gone` when the way has ended.
    pub(super) fn push(&self, errand: Errand) -> Result<(), QueueError> {
        let mut state = self.state.lock();
        if state.is_closed {
            // It ends only with its queue, or with the broker.
            return Err(QueueError::Gone);
        }
        if !errand.must_arrive() {
            if state.refusable_count >= ITEMS_WAITING_MAX {
                return Err(QueueError::Overloaded);
            }
            state.refusable_count += 1;
        }
        state.waiting.push_back(errand);
        drop(state);
        self.news.notify_one();
        Ok(())
    }

    /// Takes the first one out, if there is one.
    pub(super) fn try_next(&self) -> Option<Errand> {
        let mut state = self.state.lock();
        let errand = state.waiting.pop_front()?;
        state.refusable_count -= usize::from(!errand.must_arrive());
        Some(errand)
    }

    /// Takes the first one out as soon as there is one. For one way; cancel safe.
    pub(super) async fn next(&self) -> Errand {
        loop {
            if let Some(errand) = self.try_next() {
                return errand;
            }
            self.news.notified().await;
        }
    }

    /// Takes nothing any more, and gives back what nobody has taken out.
    pub(super) fn close(&self) -> VecDeque<Errand> {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.refusable_count = 0;
        std::mem::take(&mut state.waiting)
    }
}

#[cfg(test)]
mod tests {
    use raftmq_core::ids::{ConsumerId, DeliveryId};
    use raftmq_core::queue::link::Outbox;
    use raftmq_core::queue::{AckMode, Attempt, ChannelId, Outcome, Span};

    use super::super::submission::SUBMISSION_BYTES_TARGET;
    use super::*;

    fn errand(ask: Ask) -> Errand {
        Errand {
            ask,
            reply: oneshot::channel().0,
            since: Instant::now(),
            is_repeatable: true,
            is_repeated: false,
            _permit: None,
        }
    }

    fn ending() -> Vec<Command> {
        let channel = ChannelId::default();
        let consumer = ConsumerId(1);
        vec![
            Command::Settle {
                channel,
                spans: vec![Span::one(DeliveryId(1))],
                outcome: Outcome::Acked,
            },
            Command::Credit {
                consumer,
                prefetch: 1,
                granted: 1,
            },
            Command::Detach { consumer },
            Command::CloseChannel {
                channel,
                attempt: Attempt::Counts,
            },
        ]
    }

    #[tokio::test]
    async fn what_ends_something_finds_a_place_where_nothing_else_does_and_keeps_the_order() {
        let errands = Errands::default();
        for _ in 0..ITEMS_WAITING_MAX {
            assert_eq!(errands.push(errand(Ask::Counts)), Ok(()));
        }

        let refused = errands.push(errand(Ask::Run(Command::Purge)));
        assert_eq!(refused, Err(QueueError::Overloaded));
        for command in ending() {
            assert_eq!(errands.push(errand(Ask::Run(command))), Ok(()));
        }

        for _ in 0..ITEMS_WAITING_MAX {
            assert_eq!(errands.next().await.ask, Ask::Counts);
        }
        assert_eq!(errands.push(errand(Ask::Counts)), Ok(()), "there is room");
        for command in ending() {
            assert_eq!(errands.next().await.ask, Ask::Run(command));
        }
        assert_eq!(errands.next().await.ask, Ask::Counts);
        assert!(errands.try_next().is_none());
    }

    #[tokio::test]
    async fn the_answer_to_a_submission_holds_one_large_message_at_most() {
        let get = || Command::Get {
            channel: ChannelId::default(),
            ack_mode: AckMode::Automatic,
        };
        let asks = [Command::Touch, get(), get(), Command::Touch, Command::Touch];
        let mut outbox = Outbox::new(1);
        for command in asks {
            outbox.push(errand(Ask::Run(command)));
        }
        let mut counts = Vec::new();
        while let Some((_, _, items)) = outbox.next_batch(SUBMISSION_BYTES_TARGET, 9) {
            counts.push(items.len());
        }
        assert_eq!(counts, [2, 1, 2]);
    }

    #[tokio::test]
    async fn nothing_is_taken_by_a_way_that_has_ended() {
        let errands = Errands::default();
        assert_eq!(errands.push(errand(Ask::Counts)), Ok(()));

        assert_eq!(errands.close().len(), 1);

        assert_eq!(
            errands.push(errand(Ask::Run(Command::Touch))),
            Err(QueueError::Gone)
        );
        assert!(errands.try_next().is_none());
    }
}
