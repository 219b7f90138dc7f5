//! Field tables: typed access, building, and the limits of strings.

use bytes::Bytes;
use raftmq_amqp_protocol::{
    ArrayBuilder, BasicProperties, LongString, Properties, ShortString, SyntaxCause, Table,
    TableBuilder, Text, TooLong, Value,
};

#[test]
fn the_first_of_two_equal_names_counts() {
    let table = TableBuilder::new()
        .with("k", Value::Int(1))
        .with("k", Value::Int(2))
        .finish()
        .unwrap();
    assert_eq!(table.get("k"), Some(Value::Int(1)));
    assert_eq!(table.get("other"), None);
    assert_eq!(table.iter().count(), 2);
}

#[test]
fn numbers_of_every_width_are_read_as_one() {
    let numbers = [
        Value::Byte(-1),
        Value::Short(-1),
        Value::Int(-1),
        Value::Long(-1),
    ];
    assert!(numbers.iter().all(|value| value.as_i64() == Some(-1)));
    let unsigned = [Value::UnsignedByte(255), Value::UnsignedShort(255)];
    assert!(unsigned.iter().all(|value| value.as_i64() == Some(255)));
    assert_eq!(Value::UnsignedInt(u32::MAX).as_i64(), Some(4_294_967_295));
    assert_eq!(Value::Timestamp(1).as_i64(), None);
    assert_eq!(Value::LongString(b"1").as_i64(), None);
    assert_eq!(Value::Binary(b"1").as_str(), None);
    assert_eq!(Value::Binary(b"1").as_bytes(), Some(&b"1"[..]));
}

#[test]
fn the_unsigned_short_of_the_standard_is_unknown_as_in_rabbitmq() {
    let refused = Table::validate(Bytes::from_static(b"\x01kU\x00\x01"));
    let tag = b'U';
    assert_eq!(refused, Err(SyntaxCause::UnknownValueType { tag }));
}

#[test]
fn an_entry_can_be_added_to_a_table_that_came_in() {
    let old = TableBuilder::new().with("a", Value::Void).finish().unwrap();
    let mut deaths = ArrayBuilder::new();
    deaths.extend([Value::Table(old.as_ref()), Value::Bool(true)]);
    let new = TableBuilder::from_table(old.as_ref())
        .with("x-death", Value::Array(deaths.as_array()))
        .finish()
        .unwrap();
    assert!(new.raw().starts_with(old.raw()));
    let Some(Value::Array(array)) = new.get("x-death") else {
        panic!("an array");
    };
    let values: Vec<_> = array.iter().collect();
    assert_eq!(values, [Value::Table(old.as_ref()), Value::Bool(true)]);
}

#[test]
fn a_name_is_stripped_and_the_other_entries_keep_their_bytes() {
    // `L` and a truth value of 9 would be written otherwise.
    let bytes = b"\x01aL\0\0\0\0\0\0\0\x01\x03BCCV\x01bt\x09\x03BCCV";
    let table = Table::validate(Bytes::from_static(bytes)).unwrap();
    let stripped = TableBuilder::from_table_without(table.as_ref(), "BCC");
    let stripped = stripped.finish().unwrap();
    let expected = b"\x01aL\0\0\0\0\0\0\0\x01\x01bt\x09";
    assert_eq!(stripped.raw(), &expected[..]);
    assert_eq!(stripped.get("a").map(Value::tag), Some(b'l'));
}

#[test]
fn strings_hold_255_bytes_and_no_more() {
    let (fits, over) = ("x".repeat(255), "x".repeat(256));
    let actual = 256;
    assert!(Text::try_from(fits.as_str()).is_ok());
    assert_eq!(Text::try_from(over.as_str()), Err(TooLong { actual }));
    assert_eq!(
        ShortString::try_from(over.as_str()),
        Err(TooLong { actual })
    );
    let put = TableBuilder::new()
        .put(over.as_bytes(), Value::Void)
        .map(|_| ());
    assert_eq!(put, Err(TooLong { actual }));
    let properties = BasicProperties {
        reply_to: Some(over.as_bytes()),
        ..Default::default()
    };
    assert_eq!(properties.encode(), Err(TooLong { actual }));
}

#[test]
fn secrets_are_not_shown() {
    let secret = LongString::from("\0user\0password");
    assert_eq!(format!("{secret:?}"), "LongString(14 bytes)");
}

#[test]
fn headers_share_the_memory_of_the_properties() {
    let headers = TableBuilder::new()
        .with("k", Value::LongString(b"v"))
        .finish()
        .unwrap();
    let properties = BasicProperties {
        headers: Some(headers.as_ref()),
        delivery_mode: Some(2),
        ..Default::default()
    };
    let properties = properties.encode().unwrap();
    let shared = properties.headers();
    assert_eq!(shared, headers);
    let range = properties.raw().as_ptr_range();
    assert!(range.contains(&shared.raw().as_ptr()));
}

#[test]
fn flags_that_continue_are_refused_and_the_unused_one_is_ignored() {
    let refused = Properties::validate(Bytes::from_static(&[0, 1, 0, 0]));
    assert_eq!(refused, Err(("flags", SyntaxCause::FlagsContinue)));
    let unused = Properties::validate(Bytes::from_static(&[0, 2])).unwrap();
    assert_eq!(unused.view(), BasicProperties::default());
}
