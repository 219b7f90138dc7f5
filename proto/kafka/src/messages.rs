//! Every message of the schema, generated: `schema/*.kmsg` says what is in them.
//!
//! A struct has the fields of all versions. A field that a version lacks has Kafka's default after
//! decoding; when encoding, a value there is refused, or dropped if the schema says `ignorable`.
//! The bodies stand here, the structs within them in the module of their API.

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
