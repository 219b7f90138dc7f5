//! Golden bytes of frames and segment headers, and every flipped bit.

use bytes::Bytes;

use super::{FrameBuilder, FrameHeader, Location, SegmentHeader, decode_ops};
use crate::engine::{EntryKind, EntryRecord, Op, RowFamily};
use crate::types::GroupId;

const PLACE: Location = Location {
    segment: 2,
    position: 32,
};

fn builder() -> FrameBuilder {
    let payload = Bytes::from_static(b"payload");
    let entry = EntryRecord {
        index: 5,
        term: 2,
        kind: EntryKind::Normal,
        crc: 0x0102_0304,
        bytes_before: 9,
        payload,
    };
    let group = GroupId(3);
    let (family, key) = (RowFamily::State, Bytes::from_static(b"k"));
    let mut builder = FrameBuilder::default();
    builder.push_entry(
        group,
        &entry,
        Some(Location {
            segment: 1,
            position: 64,
        }),
    );
    builder.push(Op::Append { group, entry });
    builder.push(Op::Truncate { group, from: 6 });
    builder.push(Op::Purge {
        group,
        from: 0,
        upto: 1,
    });
    builder.push(Op::Put {
        group,
        family,
        key: key.clone(),
        value: Bytes::from_static(b"v"),
    });
    builder.push(Op::Delete { group, family, key });
    builder.push(Op::DeleteFamily { group, family });
    builder.push(Op::RemoveGroup { group });
    builder
}

fn whole(builder: &FrameBuilder) -> Vec<u8> {
    let built = builder.build(PLACE, 7, 6).expect("it is short");
    let mut bytes = built.header.to_vec();
    bytes.extend_from_slice(built.meta);
    built
        .body
        .iter()
        .for_each(|part| bytes.extend_from_slice(part));
    bytes
}

#[test]
fn a_frame_has_stable_bytes_and_reads_back() {
    let mut builder = builder();
    let bytes = whole(&builder);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = "46524d31cd8c148a07000000000000000600000000000000c4000000080000000e00000000000000\
        08030000000000000005000000000000000200000000000000010403020109000000000000000700\
        00000100000000000000400000000000000001030000000000000005000000000000000200000000\
        00000001040302010900000000000000070000000203000000000000000600000000000000030300\
        0000000000000000000000000000010000000000000004030000000000000002010000006b010000\
        007605030000000000000002010000006b060300000000000000020703000000000000007061796c\
        6f61647061796c6f6164";
    assert_eq!(hex, golden);

    let header = FrameHeader::decode(bytes.first_chunk().expect("a header")).expect("a frame");
    let meta = &bytes[40..40 + header.meta_bytes as usize];
    assert!(header.verify(PLACE, meta));
    assert_eq!(
        (header.sequence, header.synced, header.body_bytes),
        (7, 6, 14)
    );
    assert_eq!(decode_ops(&header, meta), Some(builder.take_ops()));
}

#[test]
fn a_frame_at_another_place_or_with_any_bit_flipped_is_not_accepted() {
    let bytes = whole(&builder());
    let accepts = |bytes: &[u8], place: Location| {
        let Some(header) = bytes.first_chunk().and_then(FrameHeader::decode) else {
            return false;
        };
        let meta = bytes.get(40..40 + header.meta_bytes as usize);
        meta.is_some_and(|meta| header.verify(place, meta))
    };
    let body_start = bytes.len() - 14;
    assert!(accepts(&bytes, PLACE));
    assert!(!accepts(
        &bytes,
        Location {
            segment: 3,
            ..PLACE
        }
    ));
    assert!(!accepts(
        &bytes,
        Location {
            position: 40,
            ..PLACE
        }
    ));
    for bit in 0..body_start * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(!accepts(&damaged, PLACE), "bit {bit}");
    }
}

#[test]
fn a_segment_header_has_stable_bytes_and_any_flipped_bit_is_found() {
    let header = SegmentHeader {
        segment: 2,
        first_sequence: 7,
    };
    let bytes = header.encode();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "52464d51534547310100000024a4b10d02000000000000000700000000000000"
    );
    assert_eq!(SegmentHeader::decode(&bytes), Some(header));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(SegmentHeader::decode(&damaged), None, "bit {bit}");
    }
}
