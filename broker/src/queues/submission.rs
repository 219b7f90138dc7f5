//! What is asked of a queue's leader, and what it answers: on one broker by a channel, between brokers as
//! bytes.

use std::time::Duration;

use bytes::Bytes;
use raftmq_core::codec::{CodecError, Reader, Writer};
use raftmq_core::ids::{BrokerEpoch, BrokerId, ConsumerId, DeliveryId, LogIndex};
use raftmq_core::queue::link::Place;
use raftmq_core::queue::{
    self, ChannelId, Command, Delivery, Message, MessageRef, Published, Refusal, Reply,
};
use tokio::sync::oneshot;

use super::{Counts, Got};

/// One thing that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// Run a command.
    Run(Command),
    /// Count what is there.
    Counts,
    /// Whether everything that a consumer was delivered has reached its broker.
    Drained(ConsumerId),
}

/// Time within which a submission is answered, whatever the state of its replicas.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Things in one submission.
pub(super) const ASKS_COUNT_MAX: usize = 4_096;
/// Bytes after which a sender closes a submission.
pub(super) const SUBMISSION_BYTES_TARGET: usize = 1 << 20;
/// Size of a published message, as [`message_bytes`] counts, inclusive.
pub(super) const MESSAGE_BYTES_MAX: usize = 48 << 20;
/// What is asked in one submission, as [`Ask::bytes`] counts, inclusive: the last thing in it may be
/// the largest message.
pub(super) const SUBMISSION_BYTES_MAX: usize =
    SUBMISSION_BYTES_TARGET + ASK_BYTES + MESSAGE_BYTES_MAX;

/// What a thing takes in a log or on its way beside what it counts itself, bytes, at most.
const ASK_BYTES: usize = 64;
/// What a message takes beside its body and its id, bytes, at most.
const MESSAGE_HEAD_BYTES: usize = 32;
const SPAN_BYTES: usize = 16;
const DEAD_LETTER_ID_BYTES: usize = 8;
/// Bytes in front of the asks of a submission on its way.
const SUBMISSION_HEAD_BYTES: usize = 20;

/// What a message takes in a log or on its way, bytes, at most.
pub(super) fn message_bytes(message: &Message) -> usize {
    let id = message.dedup_id.as_ref().map_or(0, Bytes::len);
    MESSAGE_HEAD_BYTES + id + message.body.len()
}

impl Ask {
    /// What it takes in a log or on its way, bytes, at most. Settings are not asked for.
    pub(super) fn bytes(&self) -> usize {
        let counted = match self {
            Self::Run(Command::Publish(messages)) => messages.iter().map(message_bytes).sum(),
            Self::Run(Command::Settle { spans, .. }) => spans.len() * SPAN_BYTES,
            Self::Run(Command::Attach(attach)) => attach.tag.len(),
            Self::Run(Command::DeadLettersPublished(ids)) => ids.len() * DEAD_LETTER_ID_BYTES,
            Self::Run(_) | Self::Counts | Self::Drained(_) => 0,
        };
        ASK_BYTES + counted
    }

    /// What it counts for in a submission, bytes: a get fills one, because the answer may hold the largest
    /// message, and all answers must fit into one frame.
    pub(super) fn submission_bytes(&self) -> usize {
        if matches!(self, Self::Run(Command::Get { .. })) {
            return SUBMISSION_BYTES_TARGET;
        }
        self.bytes()
    }
}

/// The answer to one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// What the machine says to the command.
    Reply(Reply),
    /// What a `Get` took.
    Got(Got),
    /// What is there.
    Counts(Counts),
    /// The disks of these brokers are full; nothing was written.
    Full(Vec<u32>),
    /// It is done, or known, but deliveries of the consumer are still on their way to its broker.
    Draining,
}

/// Why nothing was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotDone {
    /// Nothing of it was done, and never will be.
    NotTaken,
    /// Nobody knows what was done.
    Unknown,
}

/// What comes to a leader's session.
#[derive(Debug)]
pub(super) struct Submission {
    /// Who asks, and where that stands among what it asks; `None` = the leader itself.
    pub(super) from: Option<(BrokerId, Place)>,
    pub(super) asks: Vec<Ask>,
    pub(super) reply: Untaken,
}

/// Where the answers to a submission go.
pub(super) type ReplySender = oneshot::Sender<Result<Vec<Answer>, NotDone>>;

/// The same, before the submission is taken: dropped, it says that it never will be.
#[derive(Debug)]
pub(super) struct Untaken {
    reply: Option<ReplySender>,
}

impl Untaken {
    pub(super) const fn new(reply: ReplySender) -> Self {
        Self { reply: Some(reply) }
    }

    /// The submission is taken: from now on whoever takes it must answer.
    pub(super) fn take(mut self) -> Option<ReplySender> {
        self.reply.take()
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Err(NotDone::NotTaken));
        }
    }
}

const ASK_RUN: u8 = 1;
const ASK_COUNTS: u8 = 2;
const ASK_DRAINED: u8 = 3;

/// Smallest bytes of an ask or an answer: its tag.
const TAG_BYTES: usize = 1;

/// What travels to a leader on another broker: the sender's registration stands on the frame.
pub(super) fn encode_asks<'a>(
    (stream, number): (u64, u64),
    asks: impl ExactSizeIterator<Item = &'a Ask>,
) -> Bytes {
    let mut writer = Writer::new();
    writer.u64(stream).u64(number).count(asks.len());
    for ask in asks {
        match ask {
            Ask::Run(command) => {
                writer.u8(ASK_RUN);
                writer.counted(|writer| command.write(writer));
            }
            Ask::Counts => {
                writer.u8(ASK_COUNTS);
            }
            Ask::Drained(consumer) => {
                writer.u8(ASK_DRAINED).u64(consumer.0);
            }
        }
    }
    writer.finish()
}

pub(super) fn decode_asks(body: Bytes, broker_epoch: u64) -> Result<(Place, Vec<Ask>), CodecError> {
    let limit = SUBMISSION_HEAD_BYTES + SUBMISSION_BYTES_MAX;
    if body.len() > limit {
        return Err(CodecError::OverLimit {
            what: "submission".to_owned(),
            actual: body.len(),
            limit,
        });
    }
    let mut reader = Reader::new(body);
    let place = Place {
        broker_epoch: BrokerEpoch(broker_epoch),
        stream: reader.u64()?,
        number: reader.u64()?,
    };
    let count = reader.count("asks", TAG_BYTES, ASKS_COUNT_MAX)?;
    let asks = (0..count).map(|_| match reader.u8()? {
        ASK_RUN => {
            let length = reader.u32()? as usize;
            let command = Command::decode(&reader.take(length)?)?;
            if !may_be_asked(&command) {
                return Err(unknown("ask", ASK_RUN));
            }
            Ok(Ask::Run(command))
        }
        ASK_COUNTS => Ok(Ask::Counts),
        ASK_DRAINED => Ok(Ask::Drained(ConsumerId(reader.u64()?))),
        tag => Err(unknown("ask", tag)),
    });
    let asks = asks.collect::<Result<Vec<Ask>, CodecError>>()?;
    reader.finish()?;
    Ok((place, asks))
}

/// A session puts what comes into batches of its own, and each message is answered by itself.
fn may_be_asked(command: &Command) -> bool {
    if let Command::Publish(messages) = command {
        return messages.len() == 1;
    }
    !matches!(command, Command::Batch(_))
}

fn unknown(what: &str, tag: u8) -> CodecError {
    CodecError::UnknownTag {
        what: what.to_owned(),
        tag,
    }
}

const PUBLISHED: u8 = 1;
const ATTACHED: u8 = 2;
const SETTLED: u8 = 3;
const GOT: u8 = 4;
const REMOVED: u8 = 5;
const DONE: u8 = 6;
const EXCLUSIVE_CONSUMER: u8 = 7;
const TOO_MANY_CONSUMERS: u8 = 8;
const IN_USE: u8 = 9;
const NOT_EMPTY: u8 = 10;
const GONE: u8 = 11;
const COUNTS: u8 = 12;
const FULL: u8 = 13;
const DRAINING: u8 = 14;
/// Brokers whose disks are named in one answer, at most.
const FULL_COUNT_MAX: usize = 1_024;

pub(super) fn encode_answers(answers: &[Answer]) -> Bytes {
    let mut writer = Writer::new();
    writer.count(answers.len());
    for answer in answers {
        write_answer(&mut writer, answer);
    }
    writer.finish()
}

fn write_answer(writer: &mut Writer, answer: &Answer) {
    match answer {
        Answer::Reply(reply) => write_reply(writer, reply),
        Answer::Got(got) => {
            writer.u8(GOT).flag(got.message.is_some());
            if let Some((delivery, body)) = &got.message {
                write_delivery(writer, delivery);
                writer.count(body.len()).raw(body);
            }
            writer.u64(got.ready_count);
        }
        Answer::Counts(counts) => {
            writer.u8(COUNTS).u64(counts.ready).u64(counts.consumers);
        }
        Answer::Full(brokers) => {
            let brokers = &brokers[..brokers.len().min(FULL_COUNT_MAX)];
            writer.u8(FULL).count(brokers.len());
            for broker in brokers {
                writer.u32(*broker);
            }
        }
        Answer::Draining => {
            writer.u8(DRAINING);
        }
    }
}

fn write_reply(writer: &mut Writer, reply: &Reply) {
    match reply {
        Reply::Published(published) => {
            writer.u8(PUBLISHED);
            writer.flag(published.duplicates.is_empty());
            writer.flag(published.refused.is_empty());
        }
        Reply::Attached { consumer } => {
            writer.u8(ATTACHED).u64(consumer.0);
        }
        Reply::Settled { count } => {
            writer.u8(SETTLED).u64(*count as u64);
        }
        Reply::Removed { count } => {
            writer.u8(REMOVED).u64(*count);
        }
        // The session answers gets with their bodies, and the parts of a batch one by one.
        Reply::Batch(_) | Reply::Got { .. } | Reply::Done => {
            writer.u8(DONE);
        }
        Reply::Refused(Refusal::ExclusiveConsumer) => {
            writer.u8(EXCLUSIVE_CONSUMER);
        }
        Reply::Refused(Refusal::TooManyConsumers { limit }) => {
            writer.u8(TOO_MANY_CONSUMERS).u64(*limit as u64);
        }
        Reply::Refused(Refusal::InUse { consumers_count }) => {
            writer.u8(IN_USE).u64(*consumers_count as u64);
        }
        Reply::Refused(Refusal::NotEmpty { ready_count }) => {
            writer.u8(NOT_EMPTY).u64(*ready_count);
        }
        Reply::Refused(Refusal::Gone) => {
            writer.u8(GONE);
        }
    }
}

pub(super) fn decode_answers(body: Bytes) -> Result<Vec<Answer>, CodecError> {
    let mut reader = Reader::new(body);
    let count = reader.count("answers", TAG_BYTES, ASKS_COUNT_MAX)?;
    let answers = (0..count).map(|_| read_answer(&mut reader));
    let answers = answers.collect::<Result<Vec<Answer>, CodecError>>()?;
    reader.finish()?;
    Ok(answers)
}

fn read_answer(reader: &mut Reader) -> Result<Answer, CodecError> {
    let tag = reader.u8()?;
    let reply = match tag {
        PUBLISHED => {
            let (is_new, is_taken) = (reader.flag("duplicate")?, reader.flag("refused")?);
            let first = |is_none: bool| if is_none { Vec::new() } else { vec![0] };
            Reply::Published(Published {
                count: 1,
                duplicates: first(is_new),
                refused: first(is_taken),
            })
        }
        ATTACHED => Reply::Attached {
            consumer: ConsumerId(reader.u64()?),
        },
        SETTLED => Reply::Settled {
            count: count_of(reader)?,
        },
        REMOVED => Reply::Removed {
            count: reader.u64()?,
        },
        DONE => Reply::Done,
        EXCLUSIVE_CONSUMER => Reply::Refused(Refusal::ExclusiveConsumer),
        TOO_MANY_CONSUMERS => Reply::Refused(Refusal::TooManyConsumers {
            limit: count_of(reader)?,
        }),
        IN_USE => Reply::Refused(Refusal::InUse {
            consumers_count: count_of(reader)?,
        }),
        NOT_EMPTY => Reply::Refused(Refusal::NotEmpty {
            ready_count: reader.u64()?,
        }),
        GONE => Reply::Refused(queue::Refusal::Gone),
        GOT => return read_got(reader),
        COUNTS => {
            return Ok(Answer::Counts(Counts {
                ready: reader.u64()?,
                consumers: reader.u64()?,
            }));
        }
        FULL => {
            let count = reader.count("brokers", 4, FULL_COUNT_MAX)?;
            let brokers = (0..count).map(|_| reader.u32());
            return Ok(Answer::Full(brokers.collect::<Result<_, _>>()?));
        }
        DRAINING => return Ok(Answer::Draining),
        tag => return Err(unknown("answer", tag)),
    };
    Ok(Answer::Reply(reply))
}

fn count_of(reader: &mut Reader) -> Result<usize, CodecError> {
    Ok(usize::try_from(reader.u64()?).unwrap_or(usize::MAX))
}

fn read_got(reader: &mut Reader) -> Result<Answer, CodecError> {
    let message = if reader.flag("message")? {
        let delivery = read_delivery(reader)?;
        let length = reader.u32()? as usize;
        Some((delivery, reader.take(length)?))
    } else {
        None
    };
    Ok(Answer::Got(Got {
        message,
        ready_count: reader.u64()?,
    }))
}

pub(super) fn write_channel(writer: &mut Writer, channel: ChannelId) {
    writer.u32(channel.broker.0).u64(channel.broker_epoch.0);
    writer.u64(channel.number);
}

pub(super) fn read_channel(reader: &mut Reader) -> Result<ChannelId, CodecError> {
    Ok(ChannelId {
        broker: BrokerId(reader.u32()?),
        broker_epoch: BrokerEpoch(reader.u64()?),
        number: reader.u64()?,
    })
}

pub(super) fn write_delivery(writer: &mut Writer, delivery: &Delivery) {
    writer.u64(delivery.id.0);
    write_channel(writer, delivery.channel);
    // Consumers' numbers begin at 1.
    writer.u64(delivery.consumer.map_or(0, |consumer| consumer.0));
    writer.u64(delivery.message.log_index.0);
    writer.u32(delivery.message.position);
    writer.u32(delivery.size).u32(delivery.attempts);
    writer.flag(delivery.is_redelivered);
    writer.flag(delivery.is_settled);
}

pub(super) fn read_delivery(reader: &mut Reader) -> Result<Delivery, CodecError> {
    Ok(Delivery {
        id: DeliveryId(reader.u64()?),
        channel: read_channel(reader)?,
        consumer: Some(reader.u64()?).filter(|id| *id != 0).map(ConsumerId),
        message: MessageRef {
            log_index: LogIndex(reader.u64()?),
            position: reader.u32()?,
        },
        size: reader.u32()?,
        attempts: reader.u32()?,
        is_redelivered: reader.flag("redelivered")?,
        is_settled: reader.flag("settled")?,
    })
}

#[cfg(test)]
mod tests;
