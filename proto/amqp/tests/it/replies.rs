//! Reply codes and texts.

use std::collections::BTreeSet;

use bytes::Bytes;
use raftmq_amqp_protocol::{
    Method, MethodId, ReplyCode, SyntaxCause, WireError, basic, connection, exchange, queue,
};

#[test]
fn codes_are_those_of_the_standard() {
    let codes: Vec<_> = ReplyCode::ALL.iter().map(|code| code.code()).collect();
    let expected = [
        200, 311, 312, 313, 320, 402, 403, 404, 405, 406, 501, 502, 503, 504, 505, 506, 530, 540,
        541,
    ];
    assert_eq!(codes, expected);
    let soft = [200, 311, 312, 313, 403, 404, 405, 406];
    for code in ReplyCode::ALL {
        let is_soft = soft.contains(&code.code());
        assert_eq!(code.closes_connection(), !is_soft, "{code}");
    }
}

#[test]
fn unknown_classes_and_methods_are_invalid_commands() {
    for (class_id, method_id) in [(60, 41), (61, 10), (0, 0), (65_535, 65_535)] {
        let payload = [class_id, method_id].map(u16::to_be_bytes).concat();
        let refused = Method::decode(payload.into()).unwrap_err();
        let method = MethodId {
            class_id,
            method_id,
        };
        assert_eq!(refused, WireError::UnknownMethod { method });
        assert_eq!(refused.reply_code(), ReplyCode::CommandInvalid);
    }
}

#[test]
fn text_is_checked_in_methods_without_content_only() {
    let bind = |name: &'static [u8]| {
        let mut payload = vec![0, 50, 0, 50, 0, 0, name.len() as u8];
        payload.extend_from_slice(name);
        payload.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
        Method::decode(payload.into())
    };
    assert!(bind(b"queue").is_ok());
    let refused = bind(b"\xff").unwrap_err();
    assert_eq!(
        refused,
        WireError::Field {
            method: queue::Unbind::ID,
            field: "queue",
            cause: SyntaxCause::NotUtf8,
        }
    );
    assert_eq!(refused.reply_code(), ReplyCode::FrameError);

    let publish = Bytes::from_static(b"\x00\x3c\x00\x28\x00\x00\x01\xff\x01\xfe\x03");
    let Ok(Method::Basic(basic::Method::Publish(publish))) = Method::decode(publish) else {
        panic!("a publish");
    };
    assert_eq!(&*publish.routing_key, b"\xfe");
    assert!(publish.mandatory && publish.immediate);
    assert_eq!(publish.exchange.to_str(), None);
}

#[test]
fn a_reply_text_is_cut_to_a_short_string() {
    let payload = Bytes::from_static(&[200; 16]);
    let long = WireError::BadFrameEnd {
        kind: 3,
        payload,
        end: 1,
    };
    assert!(long.reply_text().len() <= 255);
    assert!(long.reply_text().starts_with("FRAME_ERROR - type 3"));
}

#[test]
fn numbers_name_each_method_once() {
    let ids: BTreeSet<_> = Method::ALL.iter().map(|info| info.id).collect();
    let names: BTreeSet<_> = Method::ALL.iter().map(|info| info.name).collect();
    assert_eq!((ids.len(), names.len()), (66, 66));
    assert_eq!(exchange::UnbindOk::ID.method_id, 51);
    let close_ok = MethodId::peek(&[0, 10, 0, 51]);
    assert_eq!(close_ok, Some(connection::CloseOk::ID));
    assert_eq!(MethodId::peek(&[0, 10, 0]), None);
}
