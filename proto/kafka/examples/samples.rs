//! Prints random messages, every API and version, one in a line: side, API key, version, hex.
//! `tests/it/golden/Rewrite.java` lets Kafka's own classes read and write them again.
//!
//! `cargo run -p raftmq-kafka-protocol --features testing --example samples -- ROUNDS`

use std::error::Error;
use std::io::Write;

use bytes::BytesMut;
use raftmq_kafka_protocol::testing::SampleRng;
use raftmq_kafka_protocol::{Request, Response, supported};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let rounds: u64 = std::env::args().nth(1).ok_or("how many rounds?")?.parse()?;
    let mut out = std::io::stdout().lock();
    for round in 0..rounds {
        let mut rng = SampleRng::new(round);
        for info in supported() {
            let key = i16::from(info.key);
            for version in info.versions.iter() {
                let mut bytes = BytesMut::new();
                Request::sample(info.key, version, &mut rng).encode(version, &mut bytes)?;
                writeln!(out, "request {key} {version} {}", hex(&bytes))?;
                bytes.clear();
                Response::sample(info.key, version, &mut rng).encode(version, &mut bytes)?;
                writeln!(out, "response {key} {version} {}", hex(&bytes))?;
            }
        }
    }
    Ok(())
}
