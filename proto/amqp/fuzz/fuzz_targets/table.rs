//! Tables and properties: what passes the check is read to its end and can be built again.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use raftmq_amqp_protocol::{Properties, Table, TableBuilder, TableRef, Value};

/// Reads every value; returns how many bytes they took.
fn walk(table: TableRef<'_>) -> usize {
    let mut builder = TableBuilder::new();
    for (name, value) in table.iter() {
        if let Value::Table(inner) = value {
            walk(inner);
        }
        builder.put(name, value).expect("a name that was read");
    }
    builder.finish().expect("values that were read").raw().len()
}

fuzz_target!(|bytes: &[u8]| {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(table) = Table::validate(bytes.clone()) {
        assert_eq!(walk(table.as_ref()), bytes.len());
    }
    if let Ok(properties) = Properties::validate(bytes) {
        let view = properties.view();
        let again = view.encode().expect("strings that were read");
        assert_eq!(format!("{:?}", again.view()), format!("{view:?}"));
    }
});
