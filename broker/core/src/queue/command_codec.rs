//! The bytes of a queue's commands.
//!
//! Format (big-endian): version (1) u8, tag u8, then the fields. `Batch` holds whole commands, each
//! with its length in front, so that one entry carries what came meanwhile. Bodies are sliced out
//! of the entry's bytes. Tags and versions are never reused (STYLE rule 23).

use bytes::Bytes;

use crate::codec::{CodecError, Reader, Writer};
use crate::ids::{BrokerEpoch, BrokerId, ConsumerId, DeadLetterId, DeliveryId};
use crate::limits::{
    APPEND_BYTES_MAX, QUEUE_BATCH_COUNT_MAX, QUEUE_COMMAND_ITEMS_COUNT_MAX, SHORT_STRING_BYTES_MAX,
};
use crate::queue::command::{AckMode, Attach, Attempt, Command, Outcome, Span};
use crate::queue::message::{ChannelId, MESSAGE_BYTES_MIN, Message};
use crate::queue::settings::Settings;

const VERSION: u8 = 1;
const TAG_BATCH: u8 = 1;
const TAG_PUBLISH: u8 = 2;
const TAG_ATTACH: u8 = 3;
const TAG_CREDIT: u8 = 4;
const TAG_DETACH: u8 = 5;
const TAG_CLOSE_CHANNEL: u8 = 6;
const TAG_CLOSE_BROKER: u8 = 7;
const TAG_SETTLE: u8 = 8;
const TAG_GET: u8 = 9;
const TAG_PURGE: u8 = 10;
const TAG_DELETE: u8 = 11;
const TAG_CONFIGURE: u8 = 12;
const TAG_TOUCH: u8 = 13;
const TAG_TICK: u8 = 14;
const TAG_DEAD_LETTERS_PUBLISHED: u8 = 15;

const SPAN_BYTES: usize = 16;

/// Whether these bytes of a command add messages, without decoding them.
#[must_use]
pub fn adds_messages(command: &[u8]) -> bool {
    let publishes = |one: &[u8]| matches!(one, [VERSION, TAG_PUBLISH, ..]);
    let [VERSION, TAG_BATCH, _, _, _, _, rest @ ..] = command else {
        return publishes(command);
    };
    let mut rest = rest;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((one, others)) = after.split_at_checked(length) else {
            return true;
        };
        if publishes(one) {
            return true;
        }
        rest = others;
    }
    false
}

impl Command {
    /// Writes the command. Each body is copied once.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(self.size_hint());
        self.write(&mut writer);
        writer.finish()
    }

    /// Writes the command behind a prefix that is not its own.
    #[must_use]
    pub fn encode_behind(&self, prefix: &[u8]) -> Bytes {
        let mut writer = Writer::with_capacity(prefix.len() + self.size_hint());
        writer.raw(prefix);
        self.write(&mut writer);
        writer.finish()
    }

    fn size_hint(&self) -> usize {
        if let Self::Batch(commands) = self {
            return commands.iter().map(|one| one.size_hint() + 4).sum();
        }
        let bodies = self.messages().iter().map(|one| one.body.len() + 32);
        64 + bodies.sum::<usize>()
    }

    /// Writes the command behind what is there.
    pub fn write(&self, writer: &mut Writer) {
        writer.u8(VERSION).u8(self.tag());
        match self {
            Self::Batch(commands) => {
                writer.count(commands.len());
                for command in commands {
                    writer.counted(|writer| command.write(writer));
                }
            }
            Self::Publish(messages) => {
                writer.count(messages.len());
                messages.iter().for_each(|message| message.write(writer));
            }
            Self::Attach(attach) => write_attach(writer, attach),
            Self::Credit {
                consumer,
                prefetch,
                granted,
            } => {
                writer.u64(consumer.0).u32(*prefetch).u64(*granted);
            }
            Self::Detach { consumer } => {
                writer.u64(consumer.0);
            }
            Self::CloseChannel { channel, attempt } => {
                channel.write(writer);
                writer.flag(*attempt == Attempt::Counts);
            }
            Self::CloseBroker {
                broker,
                broker_epoch,
                attempt,
            } => {
                writer.u32(broker.0).u64(broker_epoch.0);
                writer.flag(*attempt == Attempt::Counts);
            }
            Self::Settle {
                channel,
                spans,
                outcome,
            } => write_settle(writer, *channel, spans, *outcome),
            Self::Get { channel, ack_mode } => {
                channel.write(writer);
                writer.flag(*ack_mode == AckMode::Automatic);
            }
            Self::Purge | Self::Touch | Self::Tick => {}
            Self::Delete {
                if_unused,
                if_empty,
            } => {
                writer.flag(*if_unused).flag(*if_empty);
            }
            Self::Configure(settings) => settings.write(writer),
            Self::DeadLettersPublished(ids) => {
                writer.count(ids.len());
                for id in ids {
                    writer.u64(id.0);
                }
            }
        }
    }

    const fn tag(&self) -> u8 {
        match self {
            Self::Batch(_) => TAG_BATCH,
            Self::Publish(_) => TAG_PUBLISH,
            Self::Attach(_) => TAG_ATTACH,
            Self::Credit { .. } => TAG_CREDIT,
            Self::Detach { .. } => TAG_DETACH,
            Self::CloseChannel { .. } => TAG_CLOSE_CHANNEL,
            Self::CloseBroker { .. } => TAG_CLOSE_BROKER,
            Self::Settle { .. } => TAG_SETTLE,
            Self::Get { .. } => TAG_GET,
            Self::Purge => TAG_PURGE,
            Self::Delete { .. } => TAG_DELETE,
            Self::Configure(_) => TAG_CONFIGURE,
            Self::Touch => TAG_TOUCH,
            Self::Tick => TAG_TICK,
            Self::DeadLettersPublished(_) => TAG_DEAD_LETTERS_PUBLISHED,
        }
    }

    /// Reads a command; bodies share `bytes`.
    ///
    /// # Errors
    /// `Truncated`, `UnknownVersion`, `UnknownTag`, `OverLimit`, `NotUtf8`, `LeftOver`.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        if bytes.len() > APPEND_BYTES_MAX {
            return Err(CodecError::OverLimit {
                what: "queue command".to_owned(),
                actual: bytes.len(),
                limit: APPEND_BYTES_MAX,
            });
        }
        let mut reader = Reader::new(bytes.clone());
        reader.version("queue command", VERSION)?;
        let tag = reader.u8()?;
        let command = if tag == TAG_BATCH {
            Self::Batch(read_batch(&mut reader)?)
        } else {
            read_one(tag, &mut reader)?
        };
        reader.finish()?;
        Ok(command)
    }
}

fn read_batch(reader: &mut Reader) -> Result<Vec<Command>, CodecError> {
    let count = reader.count("commands", 6, QUEUE_BATCH_COUNT_MAX)?;
    let mut commands = Vec::with_capacity(count);
    for _ in 0..count {
        let length = reader.u32()? as usize;
        let mut inner = Reader::new(reader.take(length)?);
        inner.version("queue command", VERSION)?;
        let tag = inner.u8()?;
        commands.push(read_one(tag, &mut inner)?);
        inner.finish()?;
    }
    Ok(commands)
}

fn read_one(tag: u8, reader: &mut Reader) -> Result<Command, CodecError> {
    Ok(match tag {
        TAG_PUBLISH => Command::Publish(read_list(reader, MESSAGE_BYTES_MIN, Message::read)?),
        TAG_ATTACH => Command::Attach(read_attach(reader)?),
        TAG_CREDIT => Command::Credit {
            consumer: ConsumerId(reader.u64()?),
            prefetch: reader.u32()?,
            granted: reader.u64()?,
        },
        TAG_DETACH => Command::Detach {
            consumer: ConsumerId(reader.u64()?),
        },
        TAG_CLOSE_CHANNEL => Command::CloseChannel {
            channel: ChannelId::read(reader)?,
            attempt: read_attempt(reader)?,
        },
        TAG_CLOSE_BROKER => Command::CloseBroker {
            broker: BrokerId(reader.u32()?),
            broker_epoch: BrokerEpoch(reader.u64()?),
            attempt: read_attempt(reader)?,
        },
        TAG_SETTLE => Command::Settle {
            channel: ChannelId::read(reader)?,
            outcome: read_outcome(reader)?,
            spans: read_list(reader, SPAN_BYTES, |reader| {
                Ok(Span {
                    first: DeliveryId(reader.u64()?),
                    last: DeliveryId(reader.u64()?),
                })
            })?,
        },
        TAG_GET => Command::Get {
            channel: ChannelId::read(reader)?,
            ack_mode: read_ack_mode(reader)?,
        },
        TAG_PURGE => Command::Purge,
        TAG_DELETE => Command::Delete {
            if_unused: reader.flag("if unused")?,
            if_empty: reader.flag("if empty")?,
        },
        TAG_CONFIGURE => Command::Configure(Settings::read(reader)?),
        TAG_TOUCH => Command::Touch,
        TAG_TICK => Command::Tick,
        TAG_DEAD_LETTERS_PUBLISHED => {
            Command::DeadLettersPublished(read_list(reader, 8, |reader| {
                Ok(DeadLetterId(reader.u64()?))
            })?)
        }
        tag => {
            return Err(CodecError::UnknownTag {
                what: "queue command".to_owned(),
                tag,
            });
        }
    })
}

fn read_list<T>(
    reader: &mut Reader,
    item_bytes_min: usize,
    read: impl Fn(&mut Reader) -> Result<T, CodecError>,
) -> Result<Vec<T>, CodecError> {
    let limit = QUEUE_COMMAND_ITEMS_COUNT_MAX;
    let count = reader.count("items of a queue command", item_bytes_min, limit)?;
    (0..count).map(|_| read(reader)).collect()
}

pub(super) fn write_attach(writer: &mut Writer, attach: &Attach) {
    attach.channel.write(writer);
    writer.text(&attach.tag).i32(attach.priority);
    writer.flag(attach.is_exclusive);
    writer.flag(attach.ack_mode == AckMode::Automatic);
    writer.u32(attach.prefetch).u64(attach.granted);
}

pub(super) fn read_attach(reader: &mut Reader) -> Result<Attach, CodecError> {
    Ok(Attach {
        channel: ChannelId::read(reader)?,
        tag: reader.text("consumer tag", SHORT_STRING_BYTES_MAX)?,
        priority: reader.i32()?,
        is_exclusive: reader.flag("exclusive")?,
        ack_mode: read_ack_mode(reader)?,
        prefetch: reader.u32()?,
        granted: reader.u64()?,
    })
}

fn write_settle(writer: &mut Writer, channel: ChannelId, spans: &[Span], outcome: Outcome) {
    channel.write(writer);
    writer.u8(match outcome {
        Outcome::Acked => 1,
        Outcome::Rejected => 2,
        Outcome::Returned(Attempt::Counts) => 3,
        Outcome::Returned(Attempt::CountsNot) => 4,
    });
    writer.count(spans.len());
    for span in spans {
        writer.u64(span.first.0).u64(span.last.0);
    }
}

fn read_outcome(reader: &mut Reader) -> Result<Outcome, CodecError> {
    match reader.u8()? {
        1 => Ok(Outcome::Acked),
        2 => Ok(Outcome::Rejected),
        3 => Ok(Outcome::Returned(Attempt::Counts)),
        4 => Ok(Outcome::Returned(Attempt::CountsNot)),
        tag => Err(CodecError::UnknownTag {
            what: "outcome".to_owned(),
            tag,
        }),
    }
}

fn read_attempt(reader: &mut Reader) -> Result<Attempt, CodecError> {
    Ok(if reader.flag("attempt")? {
        Attempt::Counts
    } else {
        Attempt::CountsNot
    })
}

fn read_ack_mode(reader: &mut Reader) -> Result<AckMode, CodecError> {
    Ok(if reader.flag("no ack")? {
        AckMode::Automatic
    } else {
        AckMode::Manual
    })
}
