//! Frames on their way out: cut to size, shared or copied, sent by vectored writes.

use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use raftmq_amqp_protocol::{
    Body, Destination, FrameBuffer, FrameKind, Properties, channel, decode_frame,
};

use crate::publish;

const TO: Destination = Destination {
    channel: 9,
    frame_max: 4_096,
};

fn filled(body: Bytes) -> FrameBuffer {
    let mut buffer = FrameBuffer::new();
    let body = Body::from(body);
    buffer.put_content(TO, &publish(), &Properties::default(), &body);
    buffer
}

#[test]
fn a_body_is_cut_to_what_a_frame_holds() {
    for (size, sizes) in [
        (0, vec![]),
        (1, vec![1]),
        (4_088, vec![4_088]),
        (4_089, vec![4_088, 1]),
        (8_176, vec![4_088, 4_088]),
    ] {
        let sent: Vec<u8> = filled(vec![5; size].into())
            .take_segments()
            .flatten()
            .collect();
        let mut stream = BytesMut::from(&sent[..]);
        let mut fragments = Vec::new();
        while let Some(frame) = decode_frame(&mut stream, TO.frame_max).unwrap() {
            assert_eq!(frame.channel, 9);
            if frame.kind == FrameKind::Body {
                fragments.push(frame.payload.len());
            }
        }
        assert_eq!(fragments, sizes, "{size}");
    }
}

#[test]
fn a_large_body_is_shared_and_not_copied() {
    let body = Bytes::from(vec![1; 100_000]);
    let to = Destination {
        channel: 1,
        frame_max: 131_072,
    };
    let mut buffer = FrameBuffer::new();
    let whole = Body::from(body.clone());
    buffer.put_content(to, &publish(), &Properties::default(), &whole);
    let segments: Vec<Bytes> = buffer.take_segments().collect();
    assert_eq!(segments.len(), 3);
    assert_eq!(segments[1].as_ptr(), body.as_ptr());
    assert_eq!(segments[2], [0xCE][..]);
    assert!(buffer.is_empty());
}

#[test]
fn what_is_advanced_over_is_gone_and_the_rest_stays_in_order() {
    let whole: Vec<u8> = filled(vec![3; 20_000].into())
        .take_segments()
        .flatten()
        .collect();
    for step in [1, 7, 4_096, 5_000, whole.len()] {
        let mut buffer = filled(vec![3; 20_000].into());
        buffer.put_method(9, &channel::CloseOk {}.into());
        assert_eq!(buffer.len(), whole.len() + 12);
        let mut sent = Vec::new();
        while buffer.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 4];
            let count = buffer.chunks_vectored(&mut slices);
            assert_eq!(&*slices[0], buffer.chunk());
            let ready: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            assert!(!ready.is_empty());
            let taken = ready.len().min(step);
            sent.extend_from_slice(&ready[..taken]);
            buffer.advance(taken);
        }
        assert_eq!(sent[..whole.len()], whole, "{step}");
        assert_eq!(sent.len(), whole.len() + 12);
        assert_eq!(buffer.chunks_vectored(&mut [IoSlice::new(&[])]), 0);
    }
}
