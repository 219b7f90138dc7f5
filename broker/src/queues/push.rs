//! What a queue's leader has for the channels of one broker, as bytes: the answer says which of the events
//! were not taken.

use std::collections::BTreeSet;

use bytes::Bytes;
use raftmq_core::codec::{CodecError, Reader, Writer};
use raftmq_core::ids::{ConsumerId, DeliveryId};
use raftmq_core::limits::QUEUE_BATCH_COUNT_MAX;
use raftmq_core::queue::{ChannelId, Delivery};

use super::submission::{read_channel, read_delivery, write_channel, write_delivery};

/// One event on its way to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Push {
    /// A message and its body.
    Delivered(Delivery, Bytes),
    /// A delivery that has returned.
    TakenBack(ChannelId, DeliveryId),
    /// A consumer whose queue is no more.
    Cancelled(ChannelId, ConsumerId),
}

impl Push {
    /// Whom it is for.
    pub(super) const fn channel(&self) -> ChannelId {
        match self {
            Self::Delivered(delivery, _) => delivery.channel,
            Self::TakenBack(channel, _) | Self::Cancelled(channel, _) => *channel,
        }
    }
}

const DELIVERED: u8 = 1;
const TAKEN_BACK: u8 = 2;
const CANCELLED: u8 = 3;
/// Bytes of an event's number.
const NUMBER_BYTES: usize = 4;

pub(super) fn encode_pushes(pushes: &[Push]) -> Bytes {
    let mut writer = Writer::new();
    writer.count(pushes.len());
    for push in pushes {
        match push {
            Push::Delivered(delivery, body) => {
                writer.u8(DELIVERED);
                write_delivery(&mut writer, delivery);
                writer.count(body.len()).raw(body);
            }
            Push::TakenBack(channel, delivery) => {
                writer.u8(TAKEN_BACK);
                write_channel(&mut writer, *channel);
                writer.u64(delivery.0);
            }
            Push::Cancelled(channel, consumer) => {
                writer.u8(CANCELLED);
                write_channel(&mut writer, *channel);
                writer.u64(consumer.0);
            }
        }
    }
    writer.finish()
}

pub(super) fn decode_pushes(body: Bytes) -> Result<Vec<Push>, CodecError> {
    let mut reader = Reader::new(body);
    let count = reader.count("pushes", 1, QUEUE_BATCH_COUNT_MAX)?;
    let pushes = (0..count).map(|_| read_push(&mut reader));
    let pushes = pushes.collect::<Result<Vec<Push>, CodecError>>()?;
    reader.finish()?;
    Ok(pushes)
}

fn read_push(reader: &mut Reader) -> Result<Push, CodecError> {
    Ok(match reader.u8()? {
        DELIVERED => {
            let delivery = read_delivery(reader)?;
            let length = reader.u32()? as usize;
            Push::Delivered(delivery, reader.take(length)?)
        }
        TAKEN_BACK => Push::TakenBack(read_channel(reader)?, DeliveryId(reader.u64()?)),
        CANCELLED => Push::Cancelled(read_channel(reader)?, ConsumerId(reader.u64()?)),
        tag => {
            return Err(CodecError::UnknownTag {
                what: "push".to_owned(),
                tag,
            });
        }
    })
}

/// The answer to a push: the numbers of the events that were not taken.
pub(super) fn encode_refused(refused: &[usize]) -> Bytes {
    let mut writer = Writer::new();
    writer.count(refused.len());
    for number in refused {
        writer.u32(u32::try_from(*number).unwrap_or(u32::MAX));
    }
    writer.finish()
}

pub(super) fn decode_refused(body: Bytes) -> Result<BTreeSet<usize>, CodecError> {
    let mut reader = Reader::new(body);
    let count = reader.count("refused pushes", NUMBER_BYTES, QUEUE_BATCH_COUNT_MAX)?;
    let refused = (0..count).map(|_| reader.u32().map(|number| number as usize));
    let refused = refused.collect::<Result<BTreeSet<usize>, CodecError>>()?;
    reader.finish()?;
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use raftmq_core::queue::MessageRef;

    use super::*;

    fn pushes() -> Vec<Push> {
        let channel = ChannelId::default();
        let delivery = Delivery {
            id: DeliveryId(5),
            channel,
            consumer: Some(ConsumerId(2)),
            message: MessageRef::default(),
            size: 4,
            attempts: 0,
            is_redelivered: false,
            is_settled: true,
        };
        vec![
            Push::Delivered(delivery, Bytes::from_static(b"body")),
            Push::TakenBack(channel, DeliveryId(6)),
            Push::Cancelled(channel, ConsumerId(2)),
        ]
    }

    #[test]
    fn pushes_read_as_they_were_written_and_nothing_else_is_taken() {
        let bytes = encode_pushes(&pushes());
        assert_eq!(decode_pushes(bytes.clone()), Ok(pushes()));
        for end in 0..bytes.len() {
            assert!(decode_pushes(bytes.slice(..end)).is_err(), "{end}");
        }
    }

    #[test]
    fn which_events_were_refused_reads_as_it_was_written_and_nothing_else_is_taken() {
        let bytes = encode_refused(&[0, 7]);
        assert_eq!(decode_refused(bytes.clone()), Ok(BTreeSet::from([0, 7])));
        for end in 0..bytes.len() {
            assert!(decode_refused(bytes.slice(..end)).is_err(), "{end}");
        }
        assert_eq!(decode_refused(encode_refused(&[])), Ok(BTreeSet::new()));
    }
}
