//! One message in and out: the three frames of a publish decoded, those of a delivery encoded.
//!
//! `cargo bench -p raftmq-amqp-protocol --bench publish_deliver --profile dev`. A publish as pika
//! sends it with confirms (persistent, three headers), bodies of 1 KiB and 1 MiB.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures wall-clock time"
)]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark stops at any error")]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

use std::hint::black_box;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use raftmq_amqp_protocol::{
    Assembler, BasicProperties, Body, Command, Destination, FrameBuffer, Method, Properties,
    ShortString, TableBuilder, Value, basic, decode_frame,
};

const FRAME_MAX: u32 = 131_072;
const TO: Destination = Destination {
    channel: 1,
    frame_max: FRAME_MAX,
};

fn properties() -> Properties {
    let headers = TableBuilder::new()
        .with(
            "trace-id",
            Value::LongString(b"4bf92f3577b34da6a3ce929d0e0e4736"),
        )
        .with("attempt", Value::Int(1))
        .with("tenant", Value::LongString(b"acme"))
        .finish()
        .unwrap();
    let properties = BasicProperties {
        content_type: Some(b"application/json"),
        headers: Some(headers.as_ref()),
        delivery_mode: Some(2),
        message_id: Some(b"9f0c4a52-0a3e-4a7e-8c9b-1c35ad0f6d11"),
        timestamp: Some(1_700_000_000),
        ..Default::default()
    };
    properties.encode().unwrap()
}

fn publish() -> Method {
    basic::Publish {
        exchange: ShortString::from_static("orders"),
        routing_key: ShortString::from_static("eu.de.created"),
        mandatory: true,
        ..Default::default()
    }
    .into()
}

/// Prints how long one run takes: the best of seven rounds, and the median.
fn measure(name: &str, runs: u32, mut round: impl FnMut(u32)) {
    let mut nanos: Vec<f64> = (0..7)
        .map(|_| {
            let started = Instant::now();
            round(runs);
            started.elapsed().as_nanos() as f64 / f64::from(runs)
        })
        .collect();
    nanos.sort_by(f64::total_cmp);
    println!(
        "{name:<40} best {:>9.1} ns, median {:>9.1} ns",
        nanos[0], nanos[3]
    );
}

/// Decodes so many messages that arrived in one read each of 64 or, if larger, one.
fn decode(name: &str, body_bytes: usize, runs: u32) {
    let mut one = FrameBuffer::new();
    let body = Body::from(Bytes::from(vec![b'x'; body_bytes]));
    one.put_content(TO, &publish(), &properties(), &body);
    let one: Vec<u8> = one.take_segments().flatten().collect();
    let per_read = if body_bytes > 64 * 1024 { 1 } else { 64 };
    let read = one.repeat(per_read);
    let mut assembler = Assembler::new(u64::MAX);
    let mut copying = std::time::Duration::ZERO;
    measure(name, runs, |runs| {
        for _ in 0..runs as usize / per_read {
            let started = Instant::now();
            let mut buffer = BytesMut::from(&read[..]);
            copying += started.elapsed();
            while let Some(frame) = decode_frame(&mut buffer, FRAME_MAX).unwrap() {
                black_box(assembler.push(frame).unwrap());
            }
        }
    });
    let copies = f64::from(runs) * 7.0;
    let copy_ns = copying.as_nanos() as f64 / copies;
    println!("{:<40} of which {copy_ns:>5.1} ns fill the read buffer", "");
}

fn deliver(name: &str, body_bytes: usize, runs: u32) {
    let body = Body::from(Bytes::from(vec![b'x'; body_bytes]));
    let properties = properties();
    let consumer_tag = ShortString::from_static("ctag1.0123456789abcdef");
    let mut buffer = FrameBuffer::new();
    measure(name, runs, |runs| {
        for delivery_tag in 0..u64::from(runs) {
            let deliver = basic::Deliver {
                consumer_tag: consumer_tag.clone(),
                delivery_tag,
                redelivered: false,
                exchange: ShortString::from_static("orders"),
                routing_key: ShortString::from_static("eu.de.created"),
            };
            buffer.put_content(TO, &deliver.into(), &properties, &body);
            if buffer.len() > 256 * 1024 {
                let sent = black_box(&buffer).len();
                buffer.advance(sent);
            }
        }
        let rest = buffer.len();
        buffer.advance(rest);
    });
}

fn main() {
    decode("publish decode, 1 KiB", 1_024, 640_000);
    decode("publish decode, 1 MiB", 1024 * 1024, 700);
    deliver("deliver encode, 1 KiB", 1_024, 500_000);
    deliver("deliver encode, 1 MiB", 1024 * 1024, 100_000);
    let headers = properties();
    measure("properties read, all fourteen", 1_000_000, |runs| {
        for _ in 0..runs {
            black_box(black_box(&headers).view());
        }
    });
    let ack: Command = Command {
        method: basic::Ack {
            delivery_tag: 7,
            multiple: false,
        }
        .into(),
        content: None,
    };
    let mut buffer = FrameBuffer::new();
    measure("ack encode", 1_000_000, |runs| {
        for _ in 0..runs {
            buffer.put_method(1, black_box(&ack.method));
            if buffer.len() > 64 * 1024 {
                let sent = buffer.len();
                buffer.advance(sent);
            }
        }
    });
}
