//! The history of a run: operations with their times, and events; as values and as JSON lines.
//!
//! Owns the record of what clients saw. It does not judge (see `checkers`) and knows no broker:
//! the same format can be written by a harness with real processes.

mod event;
mod kept;
mod operation;
mod queues;
mod recorder;

use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};

pub use event::{Event, TimedEvent};
pub use kept::{Cleanup, Kept, KeptRecord, KeptSend, KeptTopic, StartEvent};
pub use operation::{Acks, Action, Operation, Outcome, Poll, PollMode, Read, Send, Value};
pub use queues::{
    PRIORITY_MAX, Publication, Purge, Queue, QueueHistory, QueueRecorder, Receipt, Route,
    Settlement, Wishes,
};
pub use recorder::{OperationId, Recorder};

/// Everything that was recorded in one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// In the order of invocation.
    pub operations: Vec<Operation>,
    /// In the order of time.
    pub events: Vec<TimedEvent>,
}

/// Why a written history could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The underlying reader or writer failed.
    #[error("history could not be read or written")]
    Io(#[from] std::io::Error),
    /// A line is not one of ours.
    #[error("line {line} of the history is malformed")]
    Line {
        /// From 1.
        line: usize,
        /// What the parser says.
        source: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Operation(Operation),
    Event(TimedEvent),
}

impl History {
    /// The sends, each with its operation.
    pub fn sends(&self) -> impl Iterator<Item = (&Operation, &Send)> {
        self.operations
            .iter()
            .filter_map(|op| op.as_send().map(|send| (op, send)))
    }

    /// The polls, each with its operation.
    pub fn polls(&self) -> impl Iterator<Item = (&Operation, &Poll)> {
        self.operations
            .iter()
            .filter_map(|op| op.as_poll().map(|poll| (op, poll)))
    }

    /// Whether `event` was recorded.
    #[must_use]
    pub fn has_event(&self, event: &Event) -> bool {
        self.events.iter().any(|timed| timed.event == *event)
    }

    /// When every fault had ended, if that was reached.
    #[must_use]
    pub fn healed_at_us(&self) -> Option<u64> {
        self.events
            .iter()
            .find(|timed| timed.event == Event::Healed)
            .map(|timed| timed.at_us)
    }

    /// Writes one JSON object a line: first the operations, then the events.
    ///
    /// # Errors
    /// `Io` when the writer fails.
    pub fn write_json_lines(&self, writer: &mut dyn Write) -> Result<(), HistoryError> {
        let operations = self.operations.iter().cloned().map(Line::Operation);
        let events = self.events.iter().cloned().map(Line::Event);
        for line in operations.chain(events) {
            let text = serde_json::to_string(&line).map_err(std::io::Error::from)?;
            writeln!(writer, "{text}")?;
        }
        Ok(())
    }

    /// Reads what [`History::write_json_lines`] wrote.
    ///
    /// # Errors
    /// `Io` when the reader fails, `Line` at the first line that is not ours.
    pub fn read_json_lines(reader: &mut dyn BufRead) -> Result<Self, HistoryError> {
        let mut history = Self::default();
        for (number, text) in reader.lines().enumerate() {
            let line = serde_json::from_str(&text?).map_err(|source| HistoryError::Line {
                line: number + 1,
                source,
            })?;
            match line {
                Line::Operation(operation) => history.operations.push(operation),
                Line::Event(event) => history.events.push(event),
            }
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::Script;

    #[test]
    fn a_history_survives_being_written_and_read() {
        let mut script = Script::new();
        script.send_ok(0, 7, 0);
        script.poll(1, 0, &[(0, 7)]);
        script.event(Event::Healed);
        let history = script.history();

        let mut bytes = Vec::new();
        history.write_json_lines(&mut bytes).unwrap();
        let read = History::read_json_lines(&mut bytes.as_slice()).unwrap();

        assert_eq!(read, history);
    }

    #[test]
    fn a_malformed_line_is_named_by_its_number() {
        let error = History::read_json_lines(&mut "{\"x\":1}\n".as_bytes()).unwrap_err();

        assert_eq!(error.to_string(), "line 1 of the history is malformed");
    }
}
