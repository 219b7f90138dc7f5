//! What becomes of one thing that is asked, before anything is written: pure, against the applied queue
//! and what is in flight.

use raftmq_core::ids::{BrokerEpoch, BrokerId, ConsumerId};
use raftmq_core::queue::{
    Arrival, ChannelId, Command, Decision, Message, Pending, Published, Queue, Refusal, Reply,
    Ticket,
};

use super::submission::{Answer, Ask};
use super::view::QueueView;

/// How a thing is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// It is decided; no reply to an entry is needed.
    Decided(Answer),
    /// By the reply to its command.
    Proposed,
    /// The same: a message.
    Enqueued,
    /// The same, with word of whether everything that the consumer was delivered has been sent.
    Detached(ConsumerId),
    /// By what is there when everything asked before is done.
    Counts,
    /// By whether everything that the consumer was delivered has been sent.
    Drained(ConsumerId),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) slot: Slot,
    pub(super) command: Option<Command>,
    pub(super) ticket: Option<Ticket>,
}

/// Who asks: a registration of a broker; `None` = the leader itself.
pub(super) type Asker = Option<(BrokerId, BrokerEpoch)>;

/// By what it is decided.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) state: &'a Queue,
    pub(super) view: &'a QueueView,
    /// The leader's wall clock, with which the entry will be proposed.
    pub(super) now_ms: i64,
    /// Brokers whose disks have no room for messages.
    pub(super) full: Option<&'a [u32]>,
}

impl Rules<'_> {
    /// Whether a channel may be given messages: it is of the registration that asks, and that is in force.
    /// Whatever is left of an earlier one was or will be closed before this is applied, and nobody would
    /// close the channel again.
    fn is_open(&self, channel: ChannelId, asker: Asker) -> bool {
        let is_askers = asker.is_none_or(|asker| asker == (channel.broker, channel.broker_epoch));
        is_askers && !self.view.is_over(channel)
    }
}

impl Decided {
    fn at_once(answer: Answer) -> Self {
        Self::without_command(Slot::Decided(answer))
    }

    const fn without_command(slot: Slot) -> Self {
        Self {
            slot,
            command: None,
            ticket: None,
        }
    }

    fn gone() -> Self {
        Self::at_once(Answer::Reply(Reply::Refused(Refusal::Gone)))
    }

    fn proposed(command: Command) -> Self {
        Self {
            slot: Slot::Proposed,
            command: Some(command),
            ticket: None,
        }
    }
}

/// Decides.
pub(super) fn decide(ask: Ask, asker: Asker, rules: &Rules<'_>, pending: &mut Pending) -> Decided {
    let command = match ask {
        Ask::Counts if rules.state.ended().is_some() => return Decided::gone(),
        Ask::Counts => return Decided::without_command(Slot::Counts),
        Ask::Drained(consumer) => return Decided::without_command(Slot::Drained(consumer)),
        Ask::Run(Command::Publish(messages)) => return decide_publish(messages, rules, pending),
        Ask::Run(command) => command,
    };
    if !command
        .takers()
        .all(|channel| rules.is_open(channel, asker))
    {
        tracing::trace!(target: "raftmq::mark", name = "channel_of_another_registration_refused");
        return Decided::gone();
    }
    if let Command::Detach { consumer } = command {
        return Decided {
            slot: Slot::Detached(consumer),
            ..Decided::proposed(command)
        };
    }
    Decided::proposed(command)
}

fn decide_publish(messages: Vec<Message>, rules: &Rules<'_>, pending: &mut Pending) -> Decided {
    if let Some(brokers) = rules.full {
        return Decided::at_once(Answer::Full(brokers.to_vec()));
    }
    // Brokers submit them one by one: nothing else is read from bytes.
    match <[Message; 1]>::try_from(messages) {
        Ok([message]) => decide_message(message, rules, pending),
        Err(_none_or_more) => Decided::at_once(published(Vec::new(), vec![0])),
    }
}

fn decide_message(mut message: Message, rules: &Rules<'_>, pending: &mut Pending) -> Decided {
    // A queue that has ended says so itself, when the command is applied.
    let decision = if rules.state.ended().is_some() {
        Decision::Publish
    } else {
        rules.state.decide(pending, &message, rules.now_ms)
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
mod tests;
