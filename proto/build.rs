//! Compiles `raftmq/v1/*.proto` and `raftmq/internal/v1/*.proto` with protox: no protoc to install.
//!
//! Knows nothing of what the messages mean; every `bytes` field becomes `bytes::Bytes`, so that a
//! record batch is a slice of the frame it came in.

use std::error::Error;

const FILES: [&str; 6] = [
    "raftmq/v1/error.proto",
    "raftmq/v1/broker.proto",
    "raftmq/v1/admin.proto",
    "raftmq/v1/amqp.proto",
    "raftmq/v1/queues.proto",
    "raftmq/internal/v1/peer.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let files = protox::compile(FILES, ["."])?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        // A password must not get into a log: `src/redacted.rs` shows the rest.
        .skip_debug([".raftmq.v1.PutUserRequest"])
        .compile_fds(files)?;
    Ok(())
}
