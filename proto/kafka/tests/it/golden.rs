//! Bytes that Kafka's own Java classes wrote: we read them to the end and write the same again.
//!
//! The file has the newest version of every API, among them those that the crate of the
//! differential test does not know yet.

use bytes::Bytes;
use raftmq_kafka_protocol::{ApiKey, supported};

use crate::support::{Case, Side};

const GOLDEN: &str = include_str!("golden/kafka-4.4.0.hex");

fn unhex(text: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("the file is hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn golden_lines() -> impl Iterator<Item = (Case, Bytes)> {
    GOLDEN
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let side = if words[0] == "request" {
                Side::Request
            } else {
                Side::Response
            };
            let key = words[1].parse().expect("the file has keys");
            let version = words[2].parse().expect("the file has versions");
            let api = ApiKey::from_i16(key).expect("the file has only keys of the schema");
            (Case { api, side, version }, unhex(words[3]))
        })
}

#[test]
fn what_kafka_wrote_is_read_and_written_again() {
    for (case, bytes) in golden_lines() {
        let (body, trailing) = case.decode(bytes.clone()).unwrap();

        assert_eq!(trailing, 0, "{case:?}");
        assert_eq!(body.to_bytes(case.version), bytes, "{case:?}");
    }
}

#[test]
fn the_golden_file_has_the_newest_version_of_every_api() {
    for info in supported() {
        for side in [Side::Request, Side::Response] {
            let is_there = golden_lines().any(|(case, _)| {
                (case.api, case.side, case.version) == (info.key, side, info.versions.max)
            });
            assert!(is_there, "{side:?} of {}", info.name);
        }
    }
}
