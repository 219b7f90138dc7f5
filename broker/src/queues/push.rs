//! What a queue's leader has for the channels of one broker, as bytes: the answer says how many of the
//! events were taken.

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

const DELIVERED: u8 = 1;
const TAKEN_BACK: u8 = 2;
const CANCELLED: u8 = 3;

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
}
