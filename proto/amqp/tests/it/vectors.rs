//! Bytes that pika and py-amqp made (`tests/vectors/generate.py`): decoded, shown, and written again.

use bytes::{Bytes, BytesMut};
use raftmq_amqp_protocol::{
    FrameBuffer, FrameKind, Method, PROTOCOL_HEADER, Properties, ProtocolHeader, Table, basic,
    decode_frame,
};

const PIKA: &str = include_str!("../vectors/pika.txt");
const PY_AMQP: &str = include_str!("../vectors/py_amqp.txt");

struct Vector {
    name: &'static str,
    bytes: Bytes,
    debug: &'static str,
}

fn vectors(file: &'static str, kind: &str) -> Vec<Vector> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    let of_kind = lines.filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
    of_kind
        .map(|line| {
            let mut parts = line.splitn(3, ' ');
            let mut next = || parts.next().expect("three parts");
            Vector {
                name: next(),
                bytes: from_hex(next()),
                debug: next(),
            }
        })
        .collect()
}

fn from_hex(text: &str) -> Bytes {
    let octets = text.as_bytes().chunks(2);
    octets
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Every frame of the vectors, for tests that break them.
pub(crate) fn frames() -> Vec<Bytes> {
    let kinds = ["method", "header", "frame"];
    let frames = kinds.into_iter().flat_map(|kind| vectors(PIKA, kind));
    frames.map(|vector| vector.bytes).collect()
}

fn payload_of(bytes: &Bytes, kind: FrameKind, channel: u16) -> Bytes {
    let mut buffer = BytesMut::from(&bytes[..]);
    let frame = decode_frame(&mut buffer, 4_096).unwrap().expect("whole");
    assert_eq!((frame.kind, frame.channel), (kind, channel));
    assert!(buffer.is_empty());
    frame.payload
}

fn sent(buffer: &mut FrameBuffer) -> Vec<u8> {
    buffer.take_segments().flatten().collect()
}

#[test]
fn every_method_is_read_and_written_as_pika_does() {
    let vectors = vectors(PIKA, "method");
    assert_eq!(vectors.len(), Method::ALL.len());
    for vector in vectors {
        let payload = payload_of(&vector.bytes, FrameKind::Method, 7);
        let method = Method::decode(payload).expect(vector.name);
        assert_eq!(method.name(), vector.name);
        assert_eq!(format!("{method:?}"), vector.debug);
        let mut buffer = FrameBuffer::new();
        buffer.put_method(7, &method);
        assert_eq!(sent(&mut buffer), vector.bytes, "{}", vector.name);
    }
}

#[test]
fn every_property_is_read_and_written_as_pika_does() {
    let vectors = vectors(PIKA, "header");
    assert_eq!(vectors.len(), 14 + 4);
    for vector in vectors {
        let payload = payload_of(&vector.bytes, FrameKind::Header, 7);
        let (fixed, properties) = payload.split_at(12);
        assert_eq!(fixed[..4], [0, basic::CLASS_ID as u8, 0, 0]);
        assert_eq!(fixed[4..], 0x01_0203_0405_u64.to_be_bytes());
        let properties = Properties::validate(payload.slice_ref(properties)).expect(vector.name);
        assert_eq!(format!("{:?}", properties.view()), vector.debug);
        let again = properties.view().encode().unwrap();
        assert_eq!(again, properties, "{}", vector.name);
    }
}

#[test]
fn every_table_value_is_read_as_the_clients_write_it() {
    for vector in [vectors(PIKA, "table"), vectors(PY_AMQP, "table")].concat_all() {
        let table = Table::validate(vector.bytes.slice(4..)).expect(vector.name);
        if vector.debug != "-" {
            assert_eq!(format!("{table:?}"), vector.debug, "{}", vector.name);
        }
    }
}

/// Joins lists of vectors, which are not cloned.
trait ConcatAll {
    fn concat_all(self) -> Vec<Vector>;
}

impl ConcatAll for [Vec<Vector>; 2] {
    fn concat_all(self) -> Vec<Vector> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn the_opening_and_the_other_frames_are_those_of_pika() {
    let opening = vectors(PIKA, "opening").remove(0).bytes;
    assert_eq!(opening, PROTOCOL_HEADER[..]);
    let header = ProtocolHeader::parse(&mut BytesMut::from(&opening[..]));
    assert_eq!(header, Ok(Some(ProtocolHeader::Amqp091)));

    let frames = vectors(PIKA, "frame");
    assert_eq!(payload_of(&frames[0].bytes, FrameKind::Body, 7), "abc");
    assert_eq!(payload_of(&frames[1].bytes, FrameKind::Heartbeat, 0), "");
    let mut buffer = FrameBuffer::new();
    buffer.put_heartbeat();
    assert_eq!(sent(&mut buffer), frames[1].bytes);
}
