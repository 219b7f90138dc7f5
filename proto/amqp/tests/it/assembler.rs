//! Methods with content: what may follow what, and what each mistake is called.

use bytes::Bytes;
use raftmq_amqp_protocol::{
    Assembler, BasicProperties, Command, Content, FrameKind, Method, WireError, basic, channel,
};

use crate::{frame, header_frame, header_frame_of, method_frame, publish};

const LIMIT: u64 = 1_000;

/// An assembler that has taken a publish, and its header when a size is given.
fn begun(body_bytes: Option<u64>) -> Assembler {
    let mut assembler = Assembler::new(LIMIT);
    assert_eq!(assembler.push(method_frame(&publish())), Ok(None));
    if let Some(size) = body_bytes {
        let header = header_frame(size, &BasicProperties::default());
        assert_eq!(assembler.push(header), Ok(None));
    }
    assert!(assembler.is_in_content());
    assembler
}

fn reply(refused: Result<Option<Command>, WireError>) -> (u16, (u16, u16), String) {
    let refused = refused.expect_err("refused");
    let text = refused.reply_text().to_string();
    let method = refused.method();
    let id = (method.class_id, method.method_id);
    (refused.reply_code().code(), id, text)
}

const PUBLISH: (u16, u16) = (60, 40);

#[test]
fn a_method_without_content_is_complete_at_once() {
    let mut assembler = Assembler::new(LIMIT);
    let method = Method::from(channel::Flow { active: true });
    let command = assembler.push(method_frame(&method)).unwrap().unwrap();
    let content = None;
    assert_eq!(command, Command { method, content });
    assert!(!assembler.is_in_content());
}

#[test]
fn a_message_is_complete_with_its_last_fragment() {
    let mut assembler = begun(Some(6));
    for fragment in ["ab", "", "cd"] {
        let pushed = assembler.push(frame(FrameKind::Body, fragment));
        assert_eq!(pushed, Ok(None));
    }
    let command = assembler.push(frame(FrameKind::Body, "ef")).unwrap();
    let content = Content {
        properties: BasicProperties::default().encode().unwrap(),
        body: Bytes::from("abcdef").into(),
    };
    let method = publish();
    let content = Some(content);
    assert_eq!(command, Some(Command { method, content }));
    assert!(!assembler.is_in_content());
}

#[test]
fn an_empty_body_needs_no_frame() {
    let mut assembler = begun(None);
    let kept = BasicProperties {
        message_id: Some(b"m"),
        ..Default::default()
    };
    let command = assembler.push(header_frame(0, &kept)).unwrap().unwrap();
    let content = command.content.expect("a content");
    assert!(content.body.is_empty());
    assert_eq!(content.properties.view(), kept);
}

#[test]
fn a_large_fragment_is_shared_and_not_copied() {
    let body = Bytes::from(vec![7; 1_000]);
    let mut assembler = begun(Some(1_000));
    let command = assembler.push(frame(FrameKind::Body, body.clone()));
    let content = command.unwrap().unwrap().content.unwrap();
    assert_eq!(content.body.into_bytes().as_ptr(), body.as_ptr());
}

#[test]
fn content_without_a_method_is_refused() {
    let text = "UNEXPECTED_FRAME - expected method frame, got non method frame instead";
    for kind in [FrameKind::Header, FrameKind::Body] {
        let refused = Assembler::new(LIMIT).push(frame(kind, vec![0; 14]));
        assert_eq!(reply(refused), (505, (0, 0), text.to_owned()));
    }
}

#[test]
fn anything_but_a_header_after_publish_is_refused() {
    let text = "UNEXPECTED_FRAME - expected content header for class 60, \
                got non content header frame instead";
    let weighted = header_frame_of(60, 1, 5, &BasicProperties::default());
    let body = frame(FrameKind::Body, "abc");
    for wrong in [method_frame(&publish()), body, weighted] {
        let refused = begun(None).push(wrong);
        assert_eq!(reply(refused), (505, PUBLISH, text.to_owned()));
    }
    let text = "UNEXPECTED_FRAME - expected content header for class 60, \
                got one for class 50 instead";
    let refused = begun(None).push(header_frame_of(50, 0, 5, &BasicProperties::default()));
    assert_eq!(reply(refused), (505, PUBLISH, text.to_owned()));
}

#[test]
fn anything_but_a_body_after_the_header_is_refused() {
    let text = "UNEXPECTED_FRAME - expected content body, got non content body frame instead";
    let header = header_frame(5, &BasicProperties::default());
    for wrong in [method_frame(&publish()), header] {
        let refused = begun(Some(5)).push(wrong);
        assert_eq!(reply(refused), (505, PUBLISH, text.to_owned()));
    }
}

#[test]
fn more_body_than_announced_is_refused() {
    let text = "FRAME_ERROR - content body frame exceeds remaining content size";
    let mut assembler = begun(Some(5));
    assembler.push(frame(FrameKind::Body, "abc")).unwrap();
    let refused = assembler.push(frame(FrameKind::Body, "def"));
    assert_eq!(reply(refused), (501, PUBLISH, text.to_owned()));
    assert!(!assembler.is_in_content());
}

#[test]
fn a_message_over_the_limit_closes_the_channel_and_an_absurd_one_the_connection() {
    let text = "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000";
    let header = header_frame(1_001, &BasicProperties::default());
    let refused = begun(None).push(header).expect_err("too large");
    assert!(!refused.reply_code().closes_connection());
    assert_eq!(reply(Err(refused)), (406, PUBLISH, text.to_owned()));
    let text = "FRAME_ERROR - content body size 536870913 exceeds maximum allowed size 536870912";
    let header = header_frame(536_870_913, &BasicProperties::default());
    let refused = begun(None).push(header).expect_err("absurd");
    assert!(refused.reply_code().closes_connection());
    assert_eq!(reply(Err(refused)), (501, PUBLISH, text.to_owned()));
}

#[test]
fn broken_properties_are_a_syntax_error_that_names_the_property() {
    let mut header = header_frame(0, &BasicProperties::default());
    let mut payload = header.payload.to_vec();
    // The flag of `message_id`, whose length then reaches past the end.
    payload.splice(12.., [0x00, 0x80, 9, b'x']);
    header.payload = payload.into();
    let text = "SYNTAX_ERROR - message_id: 9 bytes needed, 1 remain";
    let refused = begun(None).push(header);
    assert_eq!(reply(refused), (502, PUBLISH, text.to_owned()));
}

#[test]
fn only_the_methods_of_messages_carry_content() {
    let carriers: Vec<_> = Method::ALL.iter().filter(|info| info.has_content).collect();
    let ids: Vec<_> = carriers.iter().map(|info| info.id).collect();
    let expected = [
        basic::Publish::ID,
        basic::Return::ID,
        basic::Deliver::ID,
        basic::GetOk::ID,
    ];
    assert_eq!(ids, expected);
}
