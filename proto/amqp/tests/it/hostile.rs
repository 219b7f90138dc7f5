//! Any bytes give a frame, a method, a table or an error: never a panic, never memory without a bound.

use bytes::{BufMut, Bytes, BytesMut};
use raftmq_amqp_protocol::{
    Assembler, Method, Properties, SyntaxCause, TABLE_DEPTH_MAX, Table, WireError, decode_frame,
};

use crate::allocation::asked_bytes;
use crate::random::{Random, method_payload};
use crate::{frame_bytes, header_frame, method_frame, publish, vectors};

const FRAME_MAX: u32 = 131_072;

/// Reads a stream as a connection does, to its end or its first error.
fn read_all(stream: &[u8]) {
    let mut buffer = BytesMut::from(stream);
    let mut assembler = Assembler::new(1_000_000);
    while let Ok(Some(frame)) = decode_frame(&mut buffer, FRAME_MAX) {
        if let Ok(Some(command)) = assembler.push(frame) {
            let _ = format!("{command:?}");
        }
    }
}

#[test]
fn every_prefix_of_every_frame_waits_for_more() {
    for bytes in vectors::frames() {
        for length in 0..bytes.len() {
            let mut buffer = BytesMut::from(&bytes[..length]);
            assert_eq!(decode_frame(&mut buffer, FRAME_MAX), Ok(None), "{length}");
            assert_eq!(buffer.len(), length);
        }
    }
}

#[test]
fn every_prefix_of_every_method_is_refused() {
    let mut random = Random(1);
    for info in Method::ALL {
        let payload = method_payload(info, &mut random);
        for length in 0..payload.len() {
            let refused = Method::decode(payload.slice(..length)).expect_err(info.name);
            if length < 4 {
                assert!(matches!(refused, WireError::UnknownMethod { .. }));
            } else {
                assert_eq!(refused.method(), info.id, "{refused}");
                assert_eq!(refused.reply_code().code(), 502, "{refused}");
            }
        }
    }
}

#[test]
fn a_byte_too_many_is_refused() {
    let mut random = Random(2);
    for info in Method::ALL {
        let mut payload = method_payload(info, &mut random).to_vec();
        payload.push(0);
        let refused = Method::decode(payload.into()).expect_err(info.name);
        let cause = SyntaxCause::LeftOver { remaining: 1 };
        let (method, field) = (info.id, "end");
        assert_eq!(
            refused,
            WireError::Field {
                method,
                field,
                cause
            }
        );
    }
}

#[test]
fn mutated_frames_never_panic() {
    let mut random = Random(0xA111_0091);
    let seeds = vectors::frames();
    for _ in 0..40_000 {
        let mut stream = BytesMut::new();
        for _ in 0..=random.below(3) {
            stream.put_slice(&seeds[random.below(seeds.len())]);
        }
        for _ in 0..=random.below(6) {
            let at = random.below(stream.len());
            match random.below(4) {
                0 => stream[at] = random.next() as u8,
                1 => stream[at] ^= 1 << random.below(8),
                2 => stream.truncate(at + 1),
                _ => stream[at] = [0, 1, 0x7f, 0x80, 0xfe, 0xff, 0xce][random.below(7)],
            }
        }
        read_all(&stream);
    }
}

#[test]
fn mutated_payloads_never_panic_and_what_is_read_is_written_again() {
    let mut random = Random(0xA111_0092);
    for round in 0..40_000 {
        let info = &Method::ALL[round % Method::ALL.len()];
        let mut payload = method_payload(info, &mut random).to_vec();
        for _ in 0..=random.below(3) {
            let at = 4 + random.below(payload.len().max(5) - 4);
            if let Some(octet) = payload.get_mut(at) {
                *octet = random.next() as u8;
            }
        }
        if let Ok(method) = Method::decode(payload.clone().into()) {
            let _ = format!("{method:?}");
            let mut again = BytesMut::new();
            method.encode(&mut again);
            assert_eq!(Method::decode(again.freeze()), Ok(method));
        }
        let _ = Properties::validate(payload.split_off(4).into());
    }
}

/// A table in a table in a table.
fn nested(tag: u8, depth: usize) -> Bytes {
    let mut inner = Vec::new();
    for _ in 1..depth {
        let mut outer = Vec::with_capacity(inner.len() + 6);
        if tag == b'F' {
            outer.push(0);
        }
        outer.push(tag);
        outer.put_u32(inner.len() as u32);
        outer.extend_from_slice(&inner);
        inner = outer;
    }
    if tag == b'A' {
        // The outermost value needs a name.
        inner.insert(0, 0);
    }
    inner.into()
}

#[test]
fn tables_ten_thousand_deep_are_refused_without_memory() {
    for tag in [b'F', b'A'] {
        let bytes = nested(tag, 10_000);
        let max = TABLE_DEPTH_MAX;
        let asked = asked_bytes(|| {
            assert_eq!(Table::validate(bytes), Err(SyntaxCause::TooDeep { max }));
        });
        assert_eq!(asked, 0);
        Table::validate(nested(tag, TABLE_DEPTH_MAX)).expect("this deep is allowed");
        Table::validate(nested(tag, TABLE_DEPTH_MAX + 1)).expect_err("and no deeper");
    }
}

#[test]
fn absurd_lengths_ask_for_no_memory() {
    let mut table = BytesMut::from(&b"\x01kS"[..]);
    table.put_u32(u32::MAX);
    let mut start_ok = BytesMut::from(&[0, 10, 0, 11][..]);
    start_ok.put_u32(u32::MAX);
    let (table, start_ok) = (table.freeze(), start_ok.freeze());
    let asked = asked_bytes(|| {
        let (needed, remaining) = (u32::MAX as usize, 0);
        let cause = SyntaxCause::Truncated { needed, remaining };
        assert_eq!(Table::validate(table), Err(cause));
        let refused = Method::decode(start_ok).expect_err("too long");
        assert_eq!(refused.reply_code().code(), 502);
    });
    assert_eq!(asked, 0);
}

#[test]
fn an_announced_frame_takes_memory_only_within_the_limit() {
    let mut huge = BytesMut::from(&[3, 0, 1, 0xff, 0xff, 0xff, 0xff][..]);
    let mut large = BytesMut::from(&[3, 0, 1, 0, 1, 0, 0][..]);
    let asked = asked_bytes(|| {
        decode_frame(&mut huge, FRAME_MAX).expect_err("larger than negotiated");
    });
    assert_eq!(asked, 0);
    let asked = asked_bytes(|| {
        assert_eq!(decode_frame(&mut large, FRAME_MAX), Ok(None));
        assert_eq!(decode_frame(&mut large, FRAME_MAX), Ok(None), "asked once");
    });
    assert!(asked <= 2 * (65_536 + 8), "{asked}");
}

#[test]
fn an_announced_body_takes_no_memory_until_it_comes() {
    let announced = 500 * 1024 * 1024;
    let (method, header) = (
        method_frame(&publish()),
        header_frame(announced, &Default::default()),
    );
    let mut assembler = Assembler::new(announced);
    let asked = asked_bytes(|| {
        assembler.push(method).unwrap();
        assembler.push(header).unwrap();
    });
    assert!(asked <= 256, "{asked}");
}

#[test]
fn a_body_sent_byte_by_byte_costs_its_size() {
    let count = 100_000;
    let mut assembler = Assembler::new(count);
    let mut stream = BytesMut::new();
    for _ in 0..count {
        stream.extend_from_slice(&frame_bytes(3, 1, b"x"));
    }
    assembler.push(method_frame(&publish())).unwrap();
    let header = header_frame(count, &Default::default());
    assembler.push(header).unwrap();
    let mut last = None;
    let asked = asked_bytes(|| {
        while let Some(frame) = decode_frame(&mut stream, FRAME_MAX).unwrap() {
            last = assembler.push(frame).unwrap();
        }
    });
    let body = last.expect("complete").content.expect("a content").body;
    assert_eq!(body.segments().count(), 1);
    assert_eq!(body.into_bytes(), "x".repeat(count as usize));
    assert!(asked < 10 * count as usize, "{asked}");
}
