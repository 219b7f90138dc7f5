//! Tests of where bodies are found, and how much of them is kept.

use raftmq_core::ids::LogIndex;
use raftmq_core::queue::Message;
use raftmq_core::queue::survivors::ChunkBuilder;
use raftmq_store::{
    CommitDriver, GroupId, MemoryDisk, MemoryEngine, Store, StoreConfig, SurvivorChange,
    SurvivorRow,
};

use super::*;

const MIB: usize = 1 << 20;

fn group() -> GroupStore {
    let engine = MemoryEngine::open(&MemoryDisk::new()).expect("memory");
    let store = Store::open(Arc::new(engine), CommitDriver::Task, StoreConfig::default());
    store.expect("it opens").group(GroupId(5))
}

fn message(log_index: u64) -> MessageRef {
    MessageRef {
        log_index: LogIndex(log_index),
        position: 0,
    }
}

fn entry(bytes: usize) -> Arc<Command> {
    let message = Message {
        body: Bytes::from(vec![7; bytes]),
        ..Message::default()
    };
    Arc::new(Command::Batch(vec![Command::Publish(vec![message])]))
}

/// The entries that are kept.
fn kept(bodies: &Bodies) -> Vec<u64> {
    let kept = bodies.kept.lock();
    kept.iter().map(|kept| kept.log_index).collect()
}

#[tokio::test]
async fn few_bytes_are_kept_and_the_last_entry_whatever_its_size() {
    let bodies = Bodies::new(group());

    bodies.keep(1, entry(MIB));
    bodies.keep(2, entry(MIB));
    bodies.keep(3, entry(2 * MIB));
    assert_eq!(kept(&bodies), [1, 2, 3]);
    bodies.keep(4, entry(1));
    assert_eq!(kept(&bodies), [2, 3, 4], "they are too large together");
    bodies.keep(5, entry(32 * MIB));
    assert_eq!(kept(&bodies), [5]);
    bodies.keep(5, entry(32 * MIB));
    assert_eq!(kept(&bodies), [5], "once");
    for small in 6..=10 {
        bodies.keep(small, entry(1));
    }
    assert_eq!(kept(&bodies), [7, 8, 9, 10]);

    bodies.clear();
    assert!(kept(&bodies).is_empty());
}

#[tokio::test]
async fn a_chunk_of_survivors_is_read_once_for_all_its_messages() {
    let group = group();
    let mut builder = ChunkBuilder::default();
    builder.push(message(1), b"one");
    builder.push(message(2), b"two");
    let chunk = builder.finish().expect("a chunk");
    let key = survivor_key(chunk.first);
    let puts = vec![SurvivorRow {
        key,
        note: Bytes::new(),
        body: chunk.bytes,
    }];
    let change = SurvivorChange {
        puts,
        deletes: Vec::new(),
    };
    group.change_survivors(0, change).await.expect("written");
    let bodies = Bodies::new(group.clone());
    assert_eq!(
        bodies.read(message(1)).await,
        Ok(Bytes::from_static(b"one"))
    );

    let change = SurvivorChange {
        puts: Vec::new(),
        deletes: vec![key],
    };
    group.change_survivors(0, change).await.expect("written");

    assert_eq!(
        bodies.read(message(2)).await,
        Ok(Bytes::from_static(b"two"))
    );
    bodies.clear();
    let missing = Err(BodyError::Missing(message(2)));
    assert_eq!(bodies.read(message(2)).await, missing);
}

#[tokio::test]
async fn a_body_is_held_as_often_as_somebody_wants_it() {
    let bodies = Bodies::new(group());

    bodies.hold(message(3));
    bodies.hold(message(3));
    bodies.hold(message(2));
    assert_eq!(bodies.held(), [message(2), message(3)]);
    bodies.release(message(3));
    assert_eq!(bodies.held(), [message(2), message(3)]);
    bodies.release(message(3));
    bodies.release(message(9));
    assert_eq!(bodies.held(), [message(2)]);
}
