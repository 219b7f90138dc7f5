//! The little pieces of the formats, and the identities.

use bytes::Bytes;
use proptest::prelude::{any, prop_assert_eq, proptest};
use raftmq_core::codec::{CodecError, Reader, Writer};
use raftmq_core::{GroupNumber, Offset, TopicId};

fn reader(bytes: &'static [u8]) -> Reader {
    Reader::new(Bytes::from_static(bytes))
}

#[test]
fn numbers_are_big_endian() {
    let mut writer = Writer::new();
    writer.u8(1).u16(2).u32(3).u64(4).i16(-1).i32(-2).i64(-3);

    let bytes = writer.finish();

    assert_eq!(bytes[..7], [1, 0, 2, 0, 0, 0, 3]);
    let mut reader = Reader::new(bytes);
    assert_eq!(reader.u8(), Ok(1));
    assert_eq!(reader.u16(), Ok(2));
    assert_eq!(reader.u32(), Ok(3));
    assert_eq!(reader.u64(), Ok(4));
    assert_eq!(reader.i16(), Ok(-1));
    assert_eq!(reader.i32(), Ok(-2));
    assert_eq!(reader.i64(), Ok(-3));
    assert_eq!(reader.finish(), Ok(()));
}

#[test]
fn a_number_cut_short_says_what_is_missing() {
    let mut reader = reader(&[1, 2, 3]);

    assert_eq!(
        reader.u64(),
        Err(CodecError::Truncated {
            needed: 8,
            remaining: 3
        })
    );
    assert_eq!(reader.remaining(), 3, "nothing was taken");
}

#[test]
fn a_count_is_checked_against_the_bytes_that_remain() {
    let mut fits = reader(&[0, 0, 0, 2, 0, 0, 0, 0]);
    assert_eq!(fits.count("things", 2, 100), Ok(2));

    let mut huge = reader(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let needed = 0x7fff_ffff_usize * 2;
    assert_eq!(
        huge.count("things", 2, usize::MAX),
        Err(CodecError::Truncated {
            needed,
            remaining: 4
        })
    );
}

#[test]
fn a_count_over_its_limit_is_refused_first() {
    let mut reader = reader(&[0, 0, 0, 9, 0]);

    assert_eq!(
        reader.count("things", 1, 8),
        Err(CodecError::OverLimit {
            what: "things".to_owned(),
            actual: 9,
            limit: 8
        })
    );
}

#[test]
fn items_of_no_size_count_as_one_byte() {
    let mut reader = reader(&[0, 0, 0, 9, 0]);

    assert_eq!(
        reader.count("things", 0, 100),
        Err(CodecError::Truncated {
            needed: 9,
            remaining: 1
        })
    );
}

#[test]
fn text_must_be_utf8() {
    assert_eq!(
        reader(&[0, 0, 0, 2, b'h', b'i']).text("name", 9).as_deref(),
        Ok("hi")
    );
    assert_eq!(
        reader(&[0, 0, 0, 1, 0xff]).text("name", 9),
        Err(CodecError::NotUtf8)
    );
}

#[test]
fn a_flag_is_zero_or_one() {
    assert_eq!(reader(&[0]).flag("flag"), Ok(false));
    assert_eq!(reader(&[1]).flag("flag"), Ok(true));
    assert_eq!(
        reader(&[2]).flag("flag"),
        Err(CodecError::UnknownTag {
            what: "flag".to_owned(),
            tag: 2
        })
    );
}

#[test]
fn only_the_known_version_is_read() {
    assert_eq!(reader(&[3]).version("thing", 3), Ok(()));
    assert_eq!(
        reader(&[4]).version("thing", 3),
        Err(CodecError::UnknownVersion {
            what: "thing".to_owned(),
            version: 4
        })
    );
}

#[test]
fn bytes_that_are_left_over_are_an_error() {
    assert_eq!(reader(&[]).finish(), Ok(()));
    assert_eq!(
        reader(&[1, 2]).finish(),
        Err(CodecError::LeftOver { remaining: 2 })
    );
}

#[test]
fn taken_bytes_are_shared() {
    let bytes = Bytes::from(vec![1, 2, 3, 4]);
    let mut reader = Reader::new(bytes.clone());

    let taken = reader.take(2).unwrap();
    let rest = reader.rest();

    assert_eq!(taken.as_ptr(), bytes.as_ptr());
    assert_eq!(rest.as_ptr(), bytes[2..].as_ptr());
    assert_eq!(reader.remaining(), 0);
}

#[test]
fn the_metadata_group_is_number_zero() {
    assert!(GroupNumber::METADATA.is_metadata());
    assert!(!GroupNumber(1).is_metadata());
    assert_eq!(GroupNumber(7).to_string(), "7");
}

#[test]
fn an_offset_never_overflows() {
    assert_eq!(Offset(5).advance(3), Offset(8));
    assert_eq!(Offset(i64::MAX).advance(1), Offset(i64::MAX));
    assert_eq!(Offset::ZERO.get(), 0);
    assert_eq!(Offset::from(3), Offset(3));
}

#[test]
fn a_topic_id_is_shown_in_hexadecimal() {
    let id = TopicId([0x0f; 16]);

    assert_eq!(id.to_string(), "0f".repeat(16));
    assert_eq!(format!("{id:?}"), format!("TopicId({id})"));
}

proptest! {
    #[test]
    fn text_survives(text in ".{0,100}") {
        let mut writer = Writer::new();
        writer.text(&text).flag(true);
        let mut reader = Reader::new(writer.finish());
        prop_assert_eq!(reader.text("text", 1_000), Ok(text));
        prop_assert_eq!(reader.flag("flag"), Ok(true));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let mut reader = Reader::new(bytes.into());
        let _ = reader.count("things", 8, 1_000);
        let _ = reader.text("text", 20);
        let _ = reader.array::<16>();
        let _ = reader.finish();
    }
}
