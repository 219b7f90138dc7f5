//! What a message costs in the machine of its connection: bytes in to request and confirm out, and
//! delivery to ack.
//!
//! `cargo bench -p raftmq-amqp --bench connection --profile dev`. The host answers at once, so the
//! figures are those of the machine alone.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark measures wall-clock time"
)]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark stops at any error"
)]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

use std::time::Instant;

use bytes::{Buf, BufMut, Bytes};
use raftmq_amqp::{
    Answer, Ask, ChannelKey, Connection, ConsumerKey, Delivery, Identity, Message, PublishOutcome,
    Request, Settings, Taken,
};
use raftmq_amqp_protocol::{
    BasicProperties, Body, Destination, FrameBuffer, LongString, Method, PROTOCOL_HEADER,
    ShortString, Text, basic, channel, confirm, connection,
};
use raftmq_core::queue::MessageRef;
use raftmq_core::{DeliveryId, GroupNumber, LogIndex};

const QUEUE: GroupNumber = GroupNumber(1);
const BATCH: u32 = 64;

fn send(connection: &mut Connection, channel: u16, method: impl Into<Method>) {
    let mut frames = FrameBuffer::new();
    frames.put_method(channel, &method.into());
    for bytes in frames.take_segments() {
        connection.input().put_slice(&bytes);
    }
}

/// Answers everything; tells the consumer that was started, if one was.
fn serve(connection: &mut Connection) -> Option<(ChannelKey, ConsumerKey)> {
    let mut consumer = None;
    while let Some(request) = connection.next_request() {
        match request {
            Request::Ask { id, channel, ask } => {
                let answer = if let Ask::Consume(consume) = &ask {
                    consumer = channel.map(|channel| (channel, consume.consumer));
                    Answer::Consuming { queue: QUEUE }
                } else if matches!(ask, Ask::Authenticate(_)) {
                    Answer::Authenticated(Identity {
                        user: Text::from_static("guest"),
                        may_impersonate: false,
                    })
                } else {
                    Answer::Done
                };
                connection.answer(channel, id, answer);
            }
            Request::Publish(publish) => {
                let (channel, number) = (publish.channel, publish.number);
                connection.published(channel, number, PublishOutcome::Committed);
            }
            Request::Settle { .. } | Request::Credit { .. } => {}
        }
    }
    consumer
}

fn drain(connection: &mut Connection) {
    let output = connection.flush();
    output.advance(output.len());
}

fn running() -> Connection {
    let mut connection = Connection::new(Settings::default());
    connection.input().put_slice(PROTOCOL_HEADER);
    let start_ok = connection::StartOk {
        mechanism: Text::from_static("PLAIN"),
        response: LongString::from("\0guest\0guest"),
        ..Default::default()
    };
    send(&mut connection, 0, start_ok);
    serve(&mut connection);
    let tune_ok = connection::TuneOk {
        channel_max: 10,
        frame_max: 131_072,
        heartbeat: 0,
    };
    send(&mut connection, 0, tune_ok);
    send(&mut connection, 0, connection::Open::default());
    send(&mut connection, 1, channel::Open::default());
    serve(&mut connection);
    drain(&mut connection);
    connection
}

/// Prints how long one message takes: the best of seven rounds, and the median.
fn measure(name: &str, messages: u32, mut batch: impl FnMut()) {
    let mut nanos: Vec<f64> = (0..7)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..messages / BATCH {
                batch();
            }
            started.elapsed().as_nanos() as f64 / f64::from(messages)
        })
        .collect();
    nanos.sort_by(f64::total_cmp);
    println!(
        "{name:<40} best {:>9.1} ns, median {:>9.1} ns",
        nanos[0], nanos[3]
    );
}

fn publish(body: &Bytes) {
    let mut connection = running();
    send(&mut connection, 1, confirm::Select { no_wait: true });
    let properties = BasicProperties {
        delivery_mode: Some(2),
        ..Default::default()
    };
    let mut frames = FrameBuffer::new();
    for _ in 0..BATCH {
        let method = basic::Publish {
            routing_key: ShortString::from_static("queue"),
            ..Default::default()
        };
        let to = Destination {
            channel: 1,
            frame_max: 131_072,
        };
        let body = Body::from(body.clone());
        frames.put_content(to, &method.into(), &properties.encode().unwrap(), &body);
    }
    let read: Vec<u8> = frames.take_segments().flatten().collect();
    measure("publish and confirm, 1 KiB", 640_000, || {
        connection.input().put_slice(&read);
        serve(&mut connection);
        drain(&mut connection);
    });
}

fn deliver(body: &Bytes) {
    let mut connection = running();
    let consume = basic::Consume {
        queue: Text::from_static("queue"),
        ..Default::default()
    };
    send(&mut connection, 1, consume);
    let Some((channel, consumer)) = serve(&mut connection) else {
        panic!("no consumer");
    };
    let mut last = 0;
    measure("deliver and ack (multiple), 1 KiB", 640_000, || {
        for _ in 0..BATCH {
            last += 1;
            connection.deliver(Delivery {
                channel,
                consumer,
                taken: taken(last, body.clone()),
            });
        }
        drain(&mut connection);
        let ack = basic::Ack {
            delivery_tag: last,
            multiple: true,
        };
        send(&mut connection, 1, ack);
        serve(&mut connection);
    });
}

fn taken(id: u64, body: Bytes) -> Taken {
    Taken {
        queue: QUEUE,
        id: DeliveryId(id),
        is_settled: false,
        is_redelivered: false,
        attempts: 0,
        stored_at: MessageRef {
            log_index: LogIndex(id),
            position: 0,
        },
        message: Message {
            body: Body::from(body),
            ..Message::default()
        },
    }
}

fn main() {
    let body = Bytes::from(vec![b'x'; 1_024]);
    publish(&body);
    deliver(&body);
}
