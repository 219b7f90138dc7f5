//! What becomes of one thing that is asked, before anything is written: pure, against the applied queue
//! and what is in flight.

use raftmq_core::queue::{
    Arrival, Command, Decision, Message, Pending, Published, Queue, Reply, Ticket,
};

use super::submission::{Answer, Ask};

/// How a thing is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// It is decided; no reply to an entry is needed.
    Decided(Answer),
    /// By the reply to its command.
    Proposed,
    /// The same: a message.
    Enqueued,
    /// By what is there when everything asked before is done.
    Counts,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) slot: Slot,
    pub(super) command: Option<Command>,
    pub(super) ticket: Option<Ticket>,
}

impl Decided {
    fn at_once(answer: Answer) -> Self {
        Self {
            slot: Slot::Decided(answer),
            command: None,
            ticket: None,
        }
    }

    fn proposed(command: Command) -> Self {
        Self {
            slot: Slot::Proposed,
            command: Some(command),
            ticket: None,
        }
    }
}

/// Decides; `full` names the brokers whose disks have no room for messages.
pub(super) fn decide(
    ask: Ask,
    state: &Queue,
    pending: &mut Pending,
    now_ms: i64,
    full: Option<&[u32]>,
) -> Decided {
    match ask {
        Ask::Counts => Decided {
            slot: Slot::Counts,
            command: None,
            ticket: None,
        },
        Ask::Run(Command::Publish(messages)) => {
            if let Some(brokers) = full {
                return Decided::at_once(Answer::Full(brokers.to_vec()));
            }
            let mut messages = messages.into_iter();
            match (messages.next(), messages.next()) {
                (Some(message), None) => decide_message(message, state, pending, now_ms),
                // Brokers submit them one by one.
                (None | Some(_), None | Some(_)) => {
                    Decided::at_once(Answer::Reply(Reply::Published(Published::default())))
                }
            }
        }
        Ask::Run(command) => Decided::proposed(command),
    }
}

fn decide_message(
    mut message: Message,
    state: &Queue,
    pending: &mut Pending,
    now_ms: i64,
) -> Decided {
    // A queue that has ended says so itself, when the command is applied.
    let decision = if state.ended().is_some() {
        Decision::Publish
    } else {
        state.decide(pending, &message, now_ms)
    };
    match decision {
        Decision::Publish => {}
        Decision::DeadLetter => message.arrival = Arrival::DeadLetter,
        Decision::Duplicate | Decision::DuplicateInFlight { .. } => {
            // One in flight stands in an entry before this answer: either both are committed, or both
            // fail.
            return Decided::at_once(published(vec![0], Vec::new()));
        }
        Decision::Refused => {
            tracing::trace!(target: "raftmq::mark", name = "publish_refused_by_full_queue");
            return Decided::at_once(published(Vec::new(), vec![0]));
        }
    }
    let ticket = pending.record(&message);
    Decided {
        slot: Slot::Enqueued,
        ticket: Some(ticket),
        ..Decided::proposed(Command::Publish(vec![message]))
    }
}

fn published(duplicates: Vec<usize>, refused: Vec<usize>) -> Answer {
    Answer::Reply(Reply::Published(Published {
        count: 1,
        duplicates,
        refused,
    }))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use raftmq_core::Effects;
    use raftmq_core::machine::{EntryMeta, Machine};
    use raftmq_core::queue::{DedupSettings, Overflow, Settings};

    use super::*;

    fn queue(settings: Settings) -> Queue {
        let mut queue = Queue::default();
        let meta = EntryMeta {
            log_index: 1,
            term: 1,
            proposed_at_ms: 1,
            machine_version: 1,
        };
        queue.apply(&meta, Command::Configure(settings), &mut Effects::default());
        queue
    }

    fn publish(id: Option<&'static [u8]>) -> Ask {
        Ask::Run(Command::Publish(vec![Message {
            dedup_id: id.map(Bytes::from_static),
            body: Bytes::from_static(b"body"),
            ..Message::default()
        }]))
    }

    #[test]
    fn messages_in_flight_count_against_a_length_limit() {
        let queue = queue(Settings {
            length_max: Some(1),
            overflow: Overflow::RejectPublish,
            ..Settings::default()
        });
        let mut pending = Pending::new();

        let first = decide(publish(None), &queue, &mut pending, 2, None);
        let second = decide(publish(None), &queue, &mut pending, 2, None);

        assert_eq!(
            (first.slot, first.ticket),
            (Slot::Enqueued, Some(Ticket(0)))
        );
        assert!(first.command.is_some());
        assert_eq!(second.slot, Slot::Decided(published(Vec::new(), vec![0])));
        assert!(second.command.is_none());
        assert_eq!(pending.in_flight_count(), 1);
    }

    #[test]
    fn a_duplicate_of_a_message_in_flight_is_not_proposed() {
        let dedup = DedupSettings {
            window_ms: 1_000,
            ids_count_max: 10,
        };
        let queue = queue(Settings {
            dedup: Some(dedup),
            ..Settings::default()
        });
        let mut pending = Pending::new();
        decide(publish(Some(b"a")), &queue, &mut pending, 2, None);

        let again = decide(publish(Some(b"a")), &queue, &mut pending, 2, None);

        assert_eq!(again.slot, Slot::Decided(published(vec![0], Vec::new())));
        assert!(again.command.is_none());
    }

    #[test]
    fn full_disks_keep_messages_out_and_nothing_else() {
        let queue = queue(Settings::default());
        let mut pending = Pending::new();
        let full = [3];

        let refused = decide(publish(None), &queue, &mut pending, 2, Some(&full));
        let purge = Ask::Run(Command::Purge);
        let taken = decide(purge, &queue, &mut pending, 2, Some(&full));

        assert_eq!(refused.slot, Slot::Decided(Answer::Full(vec![3])));
        assert_eq!(taken.slot, Slot::Proposed);
        assert_eq!(pending.in_flight_count(), 0);
    }
}
