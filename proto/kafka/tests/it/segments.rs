//! The sink for Fetch: large byte fields go out by reference.

use bytes::{Buf, Bytes, BytesMut};
use raftmq_kafka_protocol::limits::SHARED_BYTES_MIN;
use raftmq_kafka_protocol::messages::FetchResponse;
use raftmq_kafka_protocol::messages::fetch::response::{FetchableTopicResponse, PartitionData};
use raftmq_kafka_protocol::testing::SampleRng;
use raftmq_kafka_protocol::{RecordSet, Response, SegmentedBuf, Sink, encode_response};

use crate::support::all_cases;

fn fetch_response(records: &[Bytes]) -> Response {
    let records = records.iter().cloned().map(RecordSet::from);
    response_with(records.collect())
}

fn response_with(records: Vec<RecordSet>) -> Response {
    let partition = |records: RecordSet| PartitionData {
        records: Some(records),
        ..Default::default()
    };
    let partitions = records.into_iter().map(partition).collect();
    let topic = FetchableTopicResponse {
        partitions,
        ..Default::default()
    };
    Response::Fetch(FetchResponse {
        responses: vec![topic],
        ..Default::default()
    })
}

fn contiguous(response: &Response) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode_response(16, 1, response, &mut bytes).expect("version 16 has it all");
    bytes
}

#[test]
fn record_sets_are_handed_on_without_a_copy() {
    let records = [
        Bytes::from(vec![7; 1 << 20]),
        Bytes::from(vec![8; SHARED_BYTES_MIN]),
    ];
    let response = fetch_response(&records);
    let mut buffer = SegmentedBuf::new();

    encode_response(16, 1, &response, &mut buffer).unwrap();

    let segments = buffer.take_segments();
    assert_eq!(segments.len(), 5);
    assert_eq!(segments[1].as_ptr(), records[0].as_ptr());
    assert_eq!(segments[3].as_ptr(), records[1].as_ptr());
    assert_eq!(
        segments.iter().flatten().copied().collect::<Vec<u8>>(),
        contiguous(&response)
    );
    assert_eq!(buffer.remaining(), 0);
}

#[test]
fn the_pieces_of_a_record_set_are_handed_on_without_a_copy() {
    let pieces = [7, 8, 9].map(|byte| Bytes::from(vec![byte; SHARED_BYTES_MIN]));
    let records = RecordSet::from(pieces.to_vec());
    let response = response_with(vec![records.clone()]);
    let mut buffer = SegmentedBuf::new();

    encode_response(16, 1, &response, &mut buffer).unwrap();

    let segments = buffer.take_segments();
    assert_eq!(segments.len(), 5);
    for (segment, piece) in segments.range(1..4).zip(&pieces) {
        assert_eq!(segment.as_ptr(), piece.as_ptr());
    }
    let sent: Vec<u8> = segments.iter().flatten().copied().collect();
    assert_eq!(sent, contiguous(&response));
    let in_one_piece = response_with(vec![records.into_bytes().into()]);
    assert_eq!(sent, contiguous(&in_one_piece));
    assert_eq!(response, in_one_piece);
}

#[test]
fn small_byte_fields_are_copied() {
    let response = fetch_response(&[Bytes::from(vec![7; SHARED_BYTES_MIN - 1])]);
    let mut buffer = SegmentedBuf::new();

    encode_response(16, 1, &response, &mut buffer).unwrap();

    assert_eq!(buffer.take_segments().len(), 1);
}

#[test]
fn responses_queue_up_while_earlier_ones_are_sent_piece_by_piece() {
    let mut rng = SampleRng::new(8);
    let mut buffer = SegmentedBuf::new();
    let (mut due, mut sent) = (BytesMut::new(), Vec::new());
    for round in 0..200_u8 {
        let size = [10, 5000, 9000][usize::from(round % 3)];
        let response = fetch_response(&[Bytes::from(vec![round; size])]);
        encode_response(16, 1, &response, &mut buffer).unwrap();
        due.unsplit(contiguous(&response));

        for _ in 0..rng.below(4) {
            let step = rng.index(7000).min(buffer.remaining());
            let mut piece = vec![0; step];
            buffer.copy_to_slice(&mut piece);
            sent.append(&mut piece);
        }
        assert_eq!(sent.len() + buffer.remaining(), due.len());
    }
    let rest = buffer.remaining();
    sent.extend_from_slice(&buffer.copy_to_bytes(rest));

    assert_eq!(sent, due);
    assert!(!buffer.has_remaining());
}

#[test]
fn a_vectored_write_gets_every_piece() {
    let response = fetch_response(&[Bytes::from(vec![7; 8192])]);
    let mut buffer = SegmentedBuf::new();
    encode_response(16, 1, &response, &mut buffer).unwrap();
    let mut slices = [std::io::IoSlice::new(&[]); 8];

    let filled = buffer.chunks_vectored(&mut slices);

    let gathered: Vec<u8> = slices[..filled]
        .iter()
        .flat_map(|slice| slice.to_vec())
        .collect();
    assert_eq!(gathered, contiguous(&response));
}

#[test]
fn every_message_has_the_same_bytes_in_segments() {
    let mut rng = SampleRng::new(9);
    for case in all_cases() {
        let body = case.sample(&mut rng);
        let mut buffer = SegmentedBuf::new();

        body.encode(case.version, &mut buffer).unwrap();
        buffer.put(b"");

        let size = buffer.remaining();
        assert_eq!(
            buffer.copy_to_bytes(size),
            body.to_bytes(case.version),
            "{case:?}"
        );
    }
}
