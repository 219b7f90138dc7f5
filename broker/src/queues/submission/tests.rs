//! What travels between brokers reads as it was written, and whatever else comes is refused.

use raftmq_core::queue::{AckMode, Message};

use super::*;

fn asks() -> Vec<Ask> {
    let channel = ChannelId {
        broker: BrokerId(3),
        broker_epoch: BrokerEpoch(9),
        number: 4,
    };
    let message = Message {
        body: Bytes::from_static(b"body"),
        ..Message::default()
    };
    vec![
        Ask::Run(Command::Publish(vec![message])),
        Ask::Counts,
        Ask::Run(Command::Get {
            channel,
            ack_mode: AckMode::Manual,
        }),
    ]
}

fn answers() -> Vec<Answer> {
    let delivery = Delivery {
        id: DeliveryId(5),
        channel: ChannelId::default(),
        consumer: Some(ConsumerId(2)),
        message: MessageRef {
            log_index: LogIndex(8),
            position: 1,
        },
        size: 4,
        attempts: 1,
        is_redelivered: true,
        is_settled: false,
    };
    let replies = [
        Reply::Published(Published {
            count: 1,
            duplicates: vec![0],
            refused: Vec::new(),
        }),
        Reply::Attached {
            consumer: ConsumerId(3),
        },
        Reply::Settled { count: 2 },
        Reply::Removed { count: 3 },
        Reply::Done,
        Reply::Refused(Refusal::ExclusiveConsumer),
        Reply::Refused(Refusal::TooManyConsumers { limit: 4 }),
        Reply::Refused(Refusal::InUse { consumers_count: 5 }),
        Reply::Refused(Refusal::NotEmpty { ready_count: 6 }),
        Reply::Refused(Refusal::Gone),
    ];
    let mut answers: Vec<Answer> = replies.into_iter().map(Answer::Reply).collect();
    let got = |message| Got {
        message,
        ready_count: 1,
    };
    answers.push(Answer::Got(got(Some((
        delivery,
        Bytes::from_static(b"body"),
    )))));
    answers.push(Answer::Got(got(None)));
    answers.push(Answer::Counts(Counts {
        ready: 7,
        consumers: 8,
    }));
    answers.push(Answer::Full(vec![1, 2]));
    answers
}

#[test]
fn asks_and_answers_read_as_they_were_written() {
    let bytes = encode_asks((5, 6), asks().iter());
    let place = Place {
        broker_epoch: BrokerEpoch(9),
        stream: 5,
        number: 6,
    };
    assert_eq!(decode_asks(bytes, 9), Ok((place, asks())));
    let bytes = encode_answers(&answers());
    assert_eq!(decode_answers(bytes), Ok(answers()));
}

#[test]
fn bytes_that_are_cut_off_or_go_on_are_refused() {
    let (asks, answers) = (
        encode_asks((5, 6), asks().iter()),
        encode_answers(&answers()),
    );
    for end in 0..asks.len() {
        assert!(decode_asks(asks.slice(..end), 9).is_err(), "{end}");
    }
    for end in 0..answers.len() {
        assert!(decode_answers(answers.slice(..end)).is_err(), "{end}");
    }
    let longer = |bytes: &Bytes| Bytes::from([bytes, &b"x"[..]].concat());
    assert!(decode_asks(longer(&asks), 9).is_err());
    assert!(decode_answers(longer(&answers)).is_err());
}

#[test]
fn a_batch_of_commands_is_refused() {
    let batch = [Ask::Run(Command::Batch(vec![Command::Tick]))];
    let bytes = encode_asks((1, 0), batch.iter());
    assert!(decode_asks(bytes, 1).is_err());
}

#[test]
fn a_count_beyond_the_bytes_takes_no_memory() {
    let mut writer = Writer::new();
    writer.u64(1).u64(0).u32(u32::MAX);
    assert!(decode_asks(writer.finish(), 1).is_err());
    let mut writer = Writer::new();
    writer.u32(u32::MAX);
    assert!(decode_answers(writer.finish()).is_err());
}
