//! Frames: cut from a stream, limits, end octet, kinds; the protocol header; tuning.

use bytes::{Bytes, BytesMut};
use raftmq_amqp_protocol::{
    FRAME_MAX_MIN, Frame, FrameKind, HeaderRefusal, Method, PROTOCOL_HEADER, ProtocolHeader,
    Tuning, WireError, channel, connection, connection_method, decode_frame, negotiate,
};

use crate::frame_bytes;

#[test]
fn frames_are_cut_one_after_the_other() {
    let mut buffer = frame_bytes(3, 1, b"one");
    buffer.extend_from_slice(&frame_bytes(3, 65_535, b""));
    let first = decode_frame(&mut buffer, 4_096).unwrap().unwrap();
    let second = decode_frame(&mut buffer, 4_096).unwrap().unwrap();
    let body = |channel, payload: &'static str| Frame {
        kind: FrameKind::Body,
        channel,
        payload: payload.into(),
    };
    assert_eq!((first, second), (body(1, "one"), body(65_535, "")));
    assert_eq!(decode_frame(&mut buffer, 4_096), Ok(None));
}

#[test]
fn a_payload_may_exceed_the_limit_by_eight_bytes_and_no_more() {
    let frame_max = 4_096;
    let mut fits = frame_bytes(3, 1, &[0; 4_096]);
    assert!(decode_frame(&mut fits, frame_max).unwrap().is_some());
    let mut over = frame_bytes(3, 1, &[0; 4_097]);
    let refused = decode_frame(&mut over, frame_max).unwrap_err();
    assert!(refused.loses_sync());
    assert_eq!(
        refused.reply_text().as_str(),
        "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4097,4088}"
    );
}

#[test]
fn another_octet_at_the_end_is_refused() {
    let mut bytes = frame_bytes(1, 1, &[0, 20, 0, 10, 0]);
    *bytes.last_mut().unwrap() = 0;
    let refused = decode_frame(&mut bytes, 4_096).unwrap_err();
    assert!(refused.loses_sync());
    assert_eq!(
        refused.reply_text().as_str(),
        "FRAME_ERROR - type 1, all octets = <<0,20,0,10,0>>: {invalid_frame_end_marker,0}"
    );
}

#[test]
fn unknown_kinds_and_payloads_too_short_are_no_frames() {
    let broken: [(u8, &[u8]); 6] = [
        (0, b""),
        (4, b"abc"),
        (255, b""),
        (1, &[0, 10, 0]),
        (2, &[0; 11]),
        (8, b"x"),
    ];
    for (kind, payload) in broken {
        let refused = decode_frame(&mut frame_bytes(kind, 0, payload), 4_096).unwrap_err();
        let payload = Bytes::copy_from_slice(payload);
        assert_eq!(refused, WireError::UnknownFrame { kind, payload });
        assert_eq!(refused.reply_code().code(), 501);
        assert!(!refused.loses_sync());
    }
}

#[test]
fn a_heartbeat_belongs_to_channel_zero() {
    let refused = decode_frame(&mut frame_bytes(8, 1, b""), 4_096).unwrap_err();
    assert_eq!(
        refused.reply_text().as_str(),
        "UNEXPECTED_FRAME - type 8, all octets = <<>>"
    );
    let heartbeat = decode_frame(&mut frame_bytes(8, 0, b""), 4_096).unwrap();
    assert_eq!(connection_method(heartbeat.unwrap()), Ok(None));
}

#[test]
fn channel_zero_carries_methods_only() {
    let mut open = frame_bytes(1, 0, &[0, 20, 0, 10, 0]);
    let frame = decode_frame(&mut open, 4_096).unwrap().unwrap();
    let method = Method::from(channel::Open::default());
    assert_eq!(connection_method(frame), Ok(Some(method)));
    let body = decode_frame(&mut frame_bytes(3, 0, b"abc"), 4_096).unwrap();
    let refused = connection_method(body.unwrap()).unwrap_err();
    assert_eq!(
        refused.reply_text().as_str(),
        "UNEXPECTED_FRAME - type 3, all octets = <<\"abc\">>"
    );
}

#[test]
fn a_protocol_header_is_taken_and_others_are_refused_with_a_reason() {
    for length in 0..8 {
        let mut part = BytesMut::from(&PROTOCOL_HEADER[..length]);
        assert_eq!(ProtocolHeader::parse(&mut part), Ok(None));
    }
    let mut buffer = BytesMut::from(&b"AMQP\x00\x00\x09\x01rest"[..]);
    let header = ProtocolHeader::parse(&mut buffer);
    assert_eq!(header, Ok(Some(ProtocolHeader::Amqp091)));
    assert_eq!(buffer, "rest");

    let parse = |octets: &[u8; 8]| ProtocolHeader::parse(&mut BytesMut::from(&octets[..]));
    let old = parse(b"AMQP\x01\x01\x00\x09");
    assert_eq!(old, Ok(Some(ProtocolHeader::Amqp09)));
    let sasl = HeaderRefusal::Version {
        class: 3,
        instance: 1,
        major: 0,
        minor: 0,
    };
    assert_eq!(parse(b"AMQP\x03\x01\x00\x00"), Err(sasl));
    assert_eq!(parse(b"GET / HT"), Err(HeaderRefusal::Http));
    let hello = parse(&[0x16, 3, 1, 2, 0, 1, 0, 1]);
    assert_eq!(hello, Err(HeaderRefusal::Tls));
    let octets = *b"\x00\x00\x00\x23\x00\x12\x00\x04";
    assert_eq!(parse(&octets), Err(HeaderRefusal::NotAmqp { octets }));
}

fn tuned(frame_max: u32, channel_max: u16) -> Result<Tuning, WireError> {
    let offered = connection::Tune {
        channel_max: 2_047,
        frame_max: 131_072,
        heartbeat: 60,
    };
    let answered = connection::TuneOk {
        channel_max,
        frame_max,
        heartbeat: 7,
    };
    negotiate(&offered, &answered)
}

#[test]
fn a_client_may_lower_the_limits_and_not_raise_them() {
    let lowered = Tuning {
        channel_max: 1,
        frame_max: FRAME_MAX_MIN,
        heartbeat_s: 7,
    };
    assert_eq!(tuned(4_096, 1), Ok(lowered));
    let text = |refused: Result<_, WireError>| refused.unwrap_err().reply_text().to_string();
    assert_eq!(
        text(tuned(4_095, 1)),
        "NOT_ALLOWED - negotiated frame_max = 4095 is lower than the minimum allowed value (4096)"
    );
    assert_eq!(
        text(tuned(131_073, 1)),
        "NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value (131072)"
    );
    assert_eq!(
        text(tuned(131_072, 0)),
        "NOT_ALLOWED - negotiated channel_max = 0 (no limit) is higher than the maximum allowed \
         value (2047)"
    );
    let no_limits = negotiate(&Default::default(), &Default::default()).unwrap();
    assert!(no_limits.frame_max > 0 && no_limits.channel_max == u16::MAX);
}
