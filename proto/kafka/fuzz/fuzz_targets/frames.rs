//! Any bytes as a connection: however they are cut, the same frames come out.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use raftmq_kafka_protocol::{FrameError, split_frame};

const FRAME_BYTES_MAX: usize = 1 << 16;

fn frames(pieces: impl Iterator<Item = impl AsRef<[u8]>>) -> (Vec<Bytes>, Option<FrameError>) {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece.as_ref());
        loop {
            match split_frame(&mut buffer, FRAME_BYTES_MAX) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fuzz_target!(|data: &[u8]| {
    let [step, wire @ ..] = data else { return };
    let at_once = frames(std::iter::once(wire));
    let in_pieces = frames(wire.chunks(usize::from(*step).max(1)));
    assert_eq!(at_once, in_pieces);
    let taken: usize = at_once.0.iter().map(|frame| frame.len() + 4).sum();
    assert!(taken <= wire.len());
});
