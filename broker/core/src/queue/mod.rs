//! The machine of one queue: what its Raft log means to AMQP's world.
//!
//! Owns the order of messages, consumers and their credit, unsettled deliveries, limits, timers,
//! dead letters and the deduplication window. Bodies stay in the Raft log, under their log index and
//! position: the state holds a few bytes for each message. It deliberately does not know Raft roles,
//! sockets, exchanges or what a body contains. Everything that clients see is decided at apply, the
//! same on every replica, so that deliveries survive a move of the leader. Sources: AMQP 0-9-1
//! classes `basic` and `queue`, RabbitMQ's queue documentation; ARCHITECTURE.md, "Queues".

pub mod arguments;
mod channels;
pub mod command;
mod command_codec;
mod consumers;
mod dead_letters;
pub mod deaths;
mod dedup;
mod delayed;
mod deliver;
mod entry;
pub mod event;
mod fifo;
mod item;
pub mod link;
pub mod message;
pub mod pending;
mod publish;
mod query;
mod ready;
pub mod reply;
mod row_values;
mod rows;
pub mod settings;
mod settle;
pub mod survivors;
mod timers;

use bytes::Bytes;

pub use self::command::{AckMode, Attach, Attempt, Command, Outcome, Span, message_in_entry};
pub use self::command_codec::adds_messages;
pub use self::consumers::Consumer;
pub use self::deaths::{Death, Deaths};
pub use self::event::{DeadLetter, DeathReason, Delivery, EndReason, QueueEvent};
pub use self::message::{Arrival, ChannelId, Message, MessageRef};
pub use self::pending::{Decision, Pending, Ticket};
pub use self::reply::{Published, Refusal, Reply};
pub use self::settings::{DedupSettings, Overflow, Settings};

use self::channels::Channels;
use self::consumers::Consumers;
use self::dead_letters::DeadLetters;
use self::dedup::Window;
use self::delayed::Delayed;
use self::entry::Entry;
use self::ready::Ready;
use crate::codec::{CodecError, RestoreError};
use crate::effect::{Effect, Effects};
use crate::ids::{DeadLetterId, LogIndex, Offset};
use crate::limits::{QUEUE_CONSUMERS_COUNT_MAX, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MIN};
use crate::machine::{EntryMeta, Machine, RowUpdates};
use crate::planted::{self, Bug};
use crate::thinning::thin_out;

/// A state that was, or can be, checkpointed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Boundary {
    /// The last entry in it.
    pub log_index: LogIndex,
    /// Payload of the log up to there, bytes.
    pub bytes_total: u64,
}

/// The replicated state of one queue.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    applied: LogIndex,
    /// Replicated time: the largest `proposed_at_ms` seen, milliseconds since 1970.
    now_ms: i64,
    settings: Settings,
    ended: Option<EndReason>,
    /// Replicated time of the last use without consumers, milliseconds.
    last_used_ms: i64,
    /// Messages ever published.
    published_total: u64,
    bytes_total: u64,
    bytes_since_boundary: u64,
    boundaries: Vec<Boundary>,
    ready: Ready,
    delayed: Delayed,
    consumers: Consumers,
    channels: Channels,
    dead_letters: DeadLetters,
    window: Window,
    is_head_dirty: bool,
}

/// Compares the state, not which rows are waiting to be written.
impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        self.checkpoint() == other.checkpoint()
    }
}

impl Queue {
    fn run(&mut self, command: Command, entry: &mut Entry<'_>) -> Reply {
        if let Command::Batch(commands) = command {
            let replies = commands.into_iter().map(|one| self.run(one, entry));
            return Reply::Batch(replies.collect());
        }
        entry.count_command();
        let reply = if self.ended.is_some() {
            self.run_ended(command, entry)
        } else {
            self.run_one(command, entry)
        };
        self.pump(entry);
        self.enforce_limits(entry);
        reply
    }

    fn run_one(&mut self, command: Command, entry: &mut Entry<'_>) -> Reply {
        match command {
            // The decoder refuses a batch inside a batch.
            Command::Batch(_) | Command::Tick => Reply::Done,
            Command::Publish(messages) => Reply::Published(self.publish(&messages, entry)),
            Command::Attach(attach) => self.attach(attach),
            Command::Credit {
                consumer,
                prefetch,
                granted,
            } => {
                self.consumers.set_credit(consumer, prefetch, granted);
                Reply::Done
            }
            Command::Detach { consumer } => {
                if let Some(gone) = self.consumers.remove(consumer) {
                    let channel = gone.attach.channel;
                    self.channels.remove_consumer(channel, consumer);
                    self.consumer_left(entry);
                }
                Reply::Done
            }
            Command::CloseChannel { channel, attempt } => {
                self.close_channels(&[channel], attempt, entry)
            }
            Command::CloseBroker {
                broker,
                broker_epoch,
                attempt,
            } => {
                let channels = self.channels.of_broker(broker, broker_epoch);
                if !channels.is_empty() {
                    tracing::trace!(target: "raftmq::mark", name = "queue_channels_of_lost_broker_closed");
                }
                self.close_channels(&channels, attempt, entry)
            }
            Command::Settle {
                channel,
                spans,
                outcome,
            } => self.settle(channel, &spans, outcome, entry),
            Command::Get { channel, ack_mode } => self.get_one(channel, ack_mode, entry),
            Command::Purge => self.purge(),
            Command::Delete {
                if_unused,
                if_empty,
            } => self.delete(if_unused, if_empty, entry),
            Command::Configure(settings) => self.configure(settings),
            Command::Touch => {
                self.last_used_ms = self.now_ms;
                Reply::Done
            }
            Command::DeadLettersPublished(ids) => self.dead_letters_published(ids),
        }
    }

    /// A queue that has ended only lets its dead letters go.
    fn run_ended(&mut self, command: Command, entry: &mut Entry<'_>) -> Reply {
        match command {
            Command::DeadLettersPublished(ids) => self.dead_letters_published(ids),
            Command::Publish(messages) => {
                entry.skip_positions(messages.len());
                Reply::Refused(Refusal::Gone)
            }
            Command::Tick | Command::Detach { .. } | Command::Credit { .. } => Reply::Done,
            // Nobody holds anything any more.
            Command::CloseChannel { .. } | Command::CloseBroker { .. } | Command::Settle { .. } => {
                Reply::Settled { count: 0 }
            }
            Command::Batch(_)
            | Command::Attach(_)
            | Command::Get { .. }
            | Command::Purge
            | Command::Delete { .. }
            | Command::Configure(_)
            | Command::Touch => Reply::Refused(Refusal::Gone),
        }
    }

    fn attach(&mut self, attach: Attach) -> Reply {
        if let Some(consumer) = self.consumers.find(attach.channel, &attach.tag) {
            return Reply::Attached { consumer };
        }
        let is_taken =
            self.consumers.has_exclusive() || (attach.is_exclusive && !self.consumers.is_empty());
        if is_taken {
            return Reply::Refused(Refusal::ExclusiveConsumer);
        }
        if self.consumers.len() >= QUEUE_CONSUMERS_COUNT_MAX {
            return Reply::Refused(Refusal::TooManyConsumers {
                limit: QUEUE_CONSUMERS_COUNT_MAX,
            });
        }
        let channel = attach.channel;
        let consumer = self.consumers.insert(attach);
        self.channels.add_consumer(channel, consumer);
        Reply::Attached { consumer }
    }

    fn purge(&mut self) -> Reply {
        if planted::is_planted(Bug::QueuePurgeRemovesNothing) {
            let count = self.ready.count();
            return Reply::Removed { count };
        }
        let count = self.ready.clear();
        if count > 0 {
            tracing::trace!(target: "raftmq::mark", name = "queue_purged");
        }
        Reply::Removed { count }
    }

    fn configure(&mut self, settings: Settings) -> Reply {
        if settings.dedup.is_none() {
            self.window.clear();
        }
        self.settings = settings;
        self.last_used_ms = self.now_ms;
        Reply::Done
    }

    fn delete(&mut self, if_unused: bool, if_empty: bool, entry: &mut Entry<'_>) -> Reply {
        let consumers_count = self.consumers.len();
        let count = self.ready.count();
        if if_unused && consumers_count > 0 {
            return Reply::Refused(Refusal::InUse { consumers_count });
        }
        if if_empty && count > 0 {
            return Reply::Refused(Refusal::NotEmpty { ready_count: count });
        }
        self.end(EndReason::Deleted, entry);
        Reply::Removed { count }
    }

    fn dead_letters_published(&mut self, ids: Vec<DeadLetterId>) -> Reply {
        for id in ids {
            tracing::trace!(target: "raftmq::mark", name = "dead_letter_published");
            self.dead_letters.published(id);
        }
        Reply::Done
    }

    /// Ends the queue: everything goes but the dead letters that are still to be published.
    fn end(&mut self, reason: EndReason, entry: &mut Entry<'_>) {
        tracing::trace!(target: "raftmq::mark", name = "queue_ended");
        self.ended = Some(reason);
        let consumers: Vec<_> = self.consumers.iter().map(|(id, _)| id).collect();
        for consumer in consumers {
            if let Some(gone) = self.consumers.remove(consumer) {
                let channel = gone.attach.channel;
                self.channels.remove_consumer(channel, consumer);
                entry.push(QueueEvent::ConsumerCancelled { channel, consumer });
            }
        }
        let unsettled = self.channels.iter().map(|(channel, id, _)| (channel, id));
        for (channel, delivery) in unsettled.collect::<Vec<_>>() {
            self.channels.remove(channel, delivery);
        }
        self.ready.clear();
        self.delayed.clear();
        self.window.clear();
        entry.push(QueueEvent::Ended { reason });
    }

    fn close_full_segment(&mut self, entry: &mut Entry<'_>) {
        self.bytes_total += entry.payload_bytes;
        self.bytes_since_boundary += entry.payload_bytes;
        let segment_bytes = match self.settings.segment_bytes {
            0 => SEGMENT_BYTES_DEFAULT,
            given => given.max(SEGMENT_BYTES_MIN),
        };
        if self.bytes_since_boundary < segment_bytes {
            return;
        }
        self.bytes_since_boundary = 0;
        // Of the boundaries below everything that waits in line, only the newest is of use.
        let floor = self.ready.oldest_in_line().unwrap_or(self.applied);
        let below = self
            .boundaries
            .partition_point(|boundary| boundary.log_index < floor);
        self.boundaries.drain(..below.saturating_sub(1));
        self.boundaries.push(Boundary {
            log_index: self.applied,
            bytes_total: self.bytes_total,
        });
        thin_out(&mut self.boundaries);
        tracing::trace!(target: "raftmq::mark", name = "queue_segment_boundary");
        entry.effects.push(Effect::Checkpoint {
            log_index: self.applied,
            log_end: Offset(i64::try_from(self.published_total).unwrap_or(i64::MAX)),
        });
    }
}

impl Machine for Queue {
    type Command = Command;
    type Reply = Reply;

    fn decode(bytes: &Bytes) -> Result<Command, CodecError> {
        Command::decode(bytes)
    }

    fn apply(&mut self, meta: &EntryMeta, command: Command, effects: &mut Effects) -> Reply {
        self.applied = LogIndex(meta.log_index);
        self.now_ms = self.now_ms.max(meta.proposed_at_ms);
        self.is_head_dirty = true;
        let mut entry = Entry::new(self.applied, effects);
        self.advance_time(&mut entry);
        let reply = self.run(command, &mut entry);
        self.close_full_segment(&mut entry);
        reply
    }

    fn dirty_rows(&mut self) -> RowUpdates {
        rows::take_dirty(self)
    }

    fn restore(rows: impl Iterator<Item = (Bytes, Bytes)>) -> Result<Self, RestoreError> {
        rows::restore(rows)
    }

    fn checkpoint(&self) -> Bytes {
        rows::checkpoint(self)
    }

    fn restore_checkpoint(bytes: &Bytes) -> Result<Self, RestoreError> {
        rows::restore_checkpoint(bytes)
    }
}
