//! The recorder that all clients of one simulation share.
//!
//! Owns operation ids and the open operations. It takes times as arguments and knows no clock.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Action, Event, History, Operation, Outcome, TimedEvent};

/// An operation that was invoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationId(usize);

/// Shared writer of a [`History`]; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    history: Arc<Mutex<History>>,
}

impl Recorder {
    /// Records that `process` began `action`. Until it completes it counts as `info`.
    #[must_use]
    pub fn invoke(&self, process: u32, action: Action, now_us: u64) -> OperationId {
        let mut history = self.history.lock();
        let position = history.operations.len();
        history.operations.push(Operation {
            id: position as u64,
            process,
            invoked_at_us: now_us,
            completed_at_us: None,
            outcome: Outcome::Info,
            action,
        });
        OperationId(position)
    }

    /// Records how an operation ended; `change` may fill in what it returned.
    /// A second completion of the same operation is ignored.
    pub fn complete(
        &self,
        id: OperationId,
        outcome: Outcome,
        now_us: u64,
        change: impl FnOnce(&mut Action),
    ) {
        let mut history = self.history.lock();
        let Some(operation) = history.operations.get_mut(id.0) else {
            return;
        };
        if operation.completed_at_us.is_none() {
            operation.completed_at_us = Some(now_us);
            operation.outcome = outcome;
            change(&mut operation.action);
        }
    }

    /// Records an event.
    pub fn event(&self, event: Event, now_us: u64) {
        self.history.lock().events.push(TimedEvent {
            at_us: now_us,
            event,
        });
    }

    /// Runs `read` on what was recorded so far.
    pub fn with<R>(&self, read: impl FnOnce(&History) -> R) -> R {
        read(&self.history.lock())
    }

    /// Takes the history; the recorder is empty afterwards.
    #[must_use]
    pub fn take(&self) -> History {
        std::mem::take(&mut *self.history.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Acks, Send};

    fn send() -> Action {
        Action::Send(Send {
            partition: 0,
            value: 1,
            session: 1,
            acks: Acks::All,
            idempotent: true,
            retries: true,
            offset: None,
        })
    }

    #[test]
    fn an_operation_that_never_completes_is_info() {
        let recorder = Recorder::default();
        let _id = recorder.invoke(3, send(), 10);

        let history = recorder.take();

        assert_eq!(history.operations[0].outcome, Outcome::Info);
        assert_eq!(history.operations[0].completed_at_us, None);
    }

    #[test]
    fn only_the_first_completion_counts() {
        let recorder = Recorder::default();
        let id = recorder.invoke(3, send(), 10);
        recorder.complete(id, Outcome::Ok, 20, |action| {
            if let Action::Send(send) = action {
                send.offset = Some(5);
            }
        });
        recorder.complete(id, Outcome::Fail, 30, |_| ());

        let history = recorder.take();

        assert_eq!(history.operations[0].outcome, Outcome::Ok);
        assert_eq!(history.operations[0].completed_at_us, Some(20));
        assert_eq!(history.operations[0].as_send().unwrap().offset, Some(5));
    }
}
