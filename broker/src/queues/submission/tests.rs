//! What travels between brokers reads as it was written, and whatever else comes is refused.

use raftmq_core::ids::DeadLetterId;
use raftmq_core::queue::{AckMode, Attach, Attempt, Outcome, Span};

use super::*;

const CHANNEL: ChannelId = ChannelId {
    broker: BrokerId(3),
    broker_epoch: BrokerEpoch(9),
    number: 4,
};

fn asks() -> Vec<Ask> {
    let channel = CHANNEL;
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
        Ask::Drained(ConsumerId(7)),
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
    answers.push(Answer::Draining);
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
fn a_publish_of_more_or_less_than_one_message_is_refused() {
    for count in [0, 2] {
        let publish = [Ask::Run(Command::Publish(vec![Message::default(); count]))];
        let bytes = encode_asks((1, 0), publish.iter());
        assert!(decode_asks(bytes, 1).is_err(), "{count}");
    }
}

#[test]
fn more_asks_than_a_sender_puts_together_are_refused() {
    let most = vec![Ask::Counts; ASKS_COUNT_MAX];
    let decoded = decode_asks(encode_asks((1, 0), most.iter()), 1);
    assert_eq!(decoded.map(|(_, asks)| asks), Ok(most));
    let more = vec![Ask::Counts; ASKS_COUNT_MAX + 1];
    assert!(decode_asks(encode_asks((1, 0), more.iter()), 1).is_err());
}

#[test]
fn a_submission_with_the_largest_message_passes_and_a_larger_one_does_not() {
    let publish = |bytes| {
        Ask::Run(Command::Publish(vec![Message {
            body: Bytes::from(vec![7; bytes]),
            ..Message::default()
        }]))
    };
    let largest = publish(MESSAGE_BYTES_MAX - MESSAGE_HEAD_BYTES);
    let mut asks = vec![publish(SUBMISSION_BYTES_TARGET - 1_000), largest];
    let bytes = encode_asks((1, 0), asks.iter());
    assert!(asks.iter().map(Ask::bytes).sum::<usize>() <= SUBMISSION_BYTES_MAX);
    assert!(decode_asks(bytes, 1).is_ok());

    asks.push(publish(SUBMISSION_BYTES_TARGET));
    let bytes = encode_asks((1, 0), asks.iter());
    assert!(decode_asks(bytes, 1).is_err());
}

#[test]
fn an_ask_takes_no_more_than_it_counts_for() {
    let message = Message {
        priority: 1,
        ttl_ms: Some(2),
        delay_ms: Some(3),
        dedup_id: Some(Bytes::from(vec![4; 255])),
        body: Bytes::from_static(b"body"),
        ..Message::default()
    };
    let attach = Attach {
        channel: CHANNEL,
        tag: "t".repeat(255),
        priority: 5,
        is_exclusive: true,
        ack_mode: AckMode::Automatic,
        prefetch: 6,
        granted: 7,
    };
    let credit = Command::Credit {
        consumer: ConsumerId(1),
        prefetch: 2,
        granted: 3,
    };
    let settle = Command::Settle {
        channel: CHANNEL,
        spans: vec![Span::one(DeliveryId(1)); 100],
        outcome: Outcome::Acked,
    };
    let close = Command::CloseChannel {
        channel: CHANNEL,
        attempt: Attempt::Counts,
    };
    let commands = [
        Command::Publish(vec![message]),
        Command::Attach(attach),
        credit,
        settle,
        close,
        Command::DeadLettersPublished(vec![DeadLetterId(1); 100]),
    ];
    for command in commands {
        let ask = Ask::Run(command.clone());
        let sent = encode_asks((1, 0), std::iter::once(&ask)).len();
        assert!(sent <= SUBMISSION_HEAD_BYTES + ask.bytes(), "{command:?}");
        let one = Command::Batch(vec![command.clone()]).encode().len();
        let none = Command::Batch(Vec::new()).encode().len();
        assert!(one - none <= ask.bytes(), "{command:?}");
    }
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
