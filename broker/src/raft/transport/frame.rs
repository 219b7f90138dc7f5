//! A frame of calls as it goes to a peer: a gRPC message of type `PeerRequest`, written by hand, so that large bodies are
//! sent from where they are kept. Prost would copy them twice.
//!
//! The peer reads it with the generated code; the tests here do, too.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes};
use http_body::{Body as HttpBody, Frame};
use prost::Message;
use raftmq_proto::internal_v1::{PeerCall, PeerRequest};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::transport::Channel;

use super::rope::Rope;

/// Protobuf's key of a field number with a length before its bytes: `PeerRequest.calls` and `PeerCall.body`, both 4.
const FIELD_4_OF_BYTES: u8 = (4 << 3) | 2;
/// What stands before each gRPC message: not compressed.
const PLAIN: u8 = 0;

/// Writes a frame: `head` without its calls, then the calls without their bodies, each with its body.
pub(super) fn encode(head: &PeerRequest, calls: Vec<(PeerCall, Rope)>) -> Rope {
    let mut message = Rope::default();
    put(&mut message, head);
    for (call, body) in calls {
        let mut encoded = Rope::default();
        put(&mut encoded, &call);
        if !body.is_empty() {
            put_field_4(&mut encoded, body);
        }
        put_field_4(&mut message, encoded);
    }
    let mut frame = Rope::default();
    let length = u32::try_from(message.len()).expect("frames are far smaller than 4 GiB");
    frame.open().put_u8(PLAIN);
    frame.open().put_u32(length);
    frame.append(message);
    frame
}

fn put(rope: &mut Rope, message: &impl Message) {
    let encoded = message.encode(rope.open());
    encoded.expect("a buffer that grows has room");
}

fn put_field_4(rope: &mut Rope, bytes: Rope) {
    rope.open().put_u8(FIELD_4_OF_BYTES);
    let encoded = prost::encode_length_delimiter(bytes.len(), rope.open());
    encoded.expect("a buffer that grows has room");
    rope.append(bytes);
}

/// The frames of one lane as the body of its only request.
struct Frames {
    frames: mpsc::Receiver<Rope>,
    /// What is left of the frame that is being sent.
    pieces: VecDeque<Bytes>,
}

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match ready!(self.frames.poll_recv(context)) {
                Some(frame) => self.pieces = frame.into_pieces(),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// A connection whose first request gets frames as its body, whatever the generated client put there.
pub(super) struct Outgoing {
    channel: Channel,
    frames: Option<Frames>,
}

impl Outgoing {
    pub(super) fn new(channel: Channel, frames: mpsc::Receiver<Rope>) -> Self {
        let pieces = VecDeque::new();
        Self {
            channel,
            frames: Some(Frames { frames, pieces }),
        }
    }
}

impl tower::Service<http::Request<Body>> for Outgoing {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = <Channel as tower::Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        tower::Service::poll_ready(&mut self.channel, context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let request = match self.frames.take() {
            Some(frames) => request.map(|_nothing| Body::new(frames)),
            None => request,
        };
        tower::Service::call(&mut self.channel, request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(call_id: u64, body: Bytes) -> PeerCall {
        PeerCall {
            call_id,
            group_id: 300,
            method: 2,
            body,
        }
    }

    #[test]
    fn a_frame_is_what_the_generated_code_reads_and_large_bodies_are_not_copied() {
        let bodies = [0, 1, 200, 5_000, 1 << 20].map(|length| Bytes::from(vec![7; length]));
        let head = PeerRequest {
            sender_broker_id: 3,
            sender_broker_epoch: 1 << 40,
            cluster_id: "cluster".to_owned(),
            calls: Vec::new(),
        };
        let whole = PeerRequest {
            calls: (0..)
                .zip(bodies.clone())
                .map(|(id, body)| call(id, body))
                .collect(),
            ..head.clone()
        };
        let calls = (0..).zip(bodies.clone());
        let calls = calls.map(|(id, body)| (call(id, Bytes::new()), Rope::from(body)));

        let frame = encode(&head, calls.collect());

        let pieces = frame.into_pieces();
        let places: Vec<_> = pieces.iter().map(|piece| piece.as_ptr()).collect();
        for body in &bodies[3..] {
            assert!(
                places.contains(&body.as_ptr()),
                "{} bytes are copied",
                body.len()
            );
        }
        let bytes: Vec<u8> = pieces.iter().flatten().copied().collect();
        let (prefix, message) = bytes.split_at(5);
        let length = u32::try_from(message.len()).unwrap();
        assert_eq!(prefix, [&[0][..], &length.to_be_bytes()].concat());
        assert_eq!(PeerRequest::decode(message).unwrap(), whole);
    }

    #[test]
    fn a_frame_without_calls_is_its_head() {
        let head = PeerRequest {
            sender_broker_id: 3,
            ..PeerRequest::default()
        };
        let bytes = encode(&head, Vec::new()).into_bytes();
        assert_eq!(PeerRequest::decode(&bytes[5..]).unwrap(), head);
    }
}
