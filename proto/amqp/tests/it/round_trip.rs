//! What is read is written again byte by byte, for every method, table value and property.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use raftmq_amqp_protocol::{
    BasicProperties, Command, Content, Destination, FrameBuffer, Method, Sender, Table,
    TableBuilder, decode_frame,
};

use crate::publish;
use crate::random::{Random, method_payload, table};

#[test]
fn every_method_comes_out_as_it_went_in() {
    let mut random = Random(6);
    for info in Method::ALL {
        for _ in 0..200 {
            let payload = method_payload(info, &mut random);
            let method = Method::decode(payload.clone()).expect(info.name);
            assert_eq!((method.id(), method.name()), (info.id, info.name));
            assert_eq!(method.has_content(), info.has_content);
            assert_eq!(method.is_from_client(), info.sender != Sender::Server);
            let mut again = BytesMut::new();
            method.encode(&mut again);
            assert_eq!(again, payload, "{method:?}");
        }
    }
}

#[test]
fn every_table_comes_out_as_it_went_in_read_value_by_value() {
    let mut random = Random(7);
    for _ in 0..2_000 {
        let bytes = table(&mut random, 4).freeze();
        let read = Table::validate(bytes.clone()).unwrap();
        let mut builder = TableBuilder::new();
        for (name, value) in read.iter() {
            builder.put(name, value).unwrap();
        }
        let built = builder.finish().unwrap();
        // `L` is written as `l`, and any truth but 1 as 1; both mean the same.
        assert_eq!(format!("{built:?}"), format!("{read:?}"));
        assert_eq!(read.raw(), &bytes);
    }
}

/// A string of a property.
fn text() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(vec(any::<u8>(), 0..=255))
}

proptest! {
    #[test]
    fn properties_come_out_as_they_went_in(
        strings in vec(text(), 10),
        seed in proptest::option::of(any::<u64>()),
        delivery_mode in any::<Option<u8>>(),
        priority in any::<Option<u8>>(),
        timestamp in any::<Option<u64>>(),
    ) {
        let headers = seed.map(|seed| Table::validate(table(&mut Random(seed), 2).freeze()).unwrap());
        let string = |at: usize| strings[at].as_deref();
        let properties = BasicProperties {
            content_type: string(0),
            content_encoding: string(1),
            headers: headers.as_ref().map(Table::as_ref),
            delivery_mode,
            priority,
            correlation_id: string(2),
            reply_to: string(3),
            expiration: string(4),
            message_id: string(5),
            timestamp,
            kind: string(6),
            user_id: string(7),
            app_id: string(8),
            cluster_id: string(9),
        };
        let written = properties.encode().unwrap();
        prop_assert_eq!(written.view(), properties);
        prop_assert_eq!(written.headers(), headers.unwrap_or_default());
    }

    #[test]
    fn a_message_comes_out_as_it_went_in_whatever_the_frame_size(
        body in vec(any::<u8>(), 0..40_000),
        frame_max in 4_096_u32..20_000,
        cut in 1_usize..5_000,
    ) {
        let content = Content {
            properties: BasicProperties { priority: Some(3), ..Default::default() }.encode().unwrap(),
            body: Bytes::from(body).into(),
        };
        let mut buffer = FrameBuffer::new();
        let to = Destination { channel: 1, frame_max };
        buffer.put_content(to, &publish(), &content.properties, &content.body);
        let stream: Vec<u8> = buffer.take_segments().flatten().collect();
        let commands = read_in_pieces(&stream, cut, frame_max);
        prop_assert_eq!(commands, [Command { method: publish(), content: Some(content) }]);
    }
}

/// Reads a stream that arrives in pieces, as from a socket.
fn read_in_pieces(stream: &[u8], cut: usize, frame_max: u32) -> Vec<Command> {
    let mut assembler = raftmq_amqp_protocol::Assembler::new(u64::MAX);
    let (mut buffer, mut commands) = (BytesMut::new(), Vec::new());
    for piece in stream.chunks(cut) {
        buffer.put_slice(piece);
        while let Some(frame) = decode_frame(&mut buffer, frame_max).unwrap() {
            assert!(frame.payload.len() + 8 <= frame_max as usize);
            commands.extend(assembler.push(frame).unwrap());
        }
    }
    assert!(buffer.is_empty() && !assembler.is_in_content());
    commands
}
