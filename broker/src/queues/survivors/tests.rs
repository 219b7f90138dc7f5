//! Tests of how survivors are written.

use std::sync::Arc;

use raftmq_core::queue::survivors::bodies;
use raftmq_core::queue::{Command, Message};
use raftmq_store::{CommitDriver, GroupId, MemoryDisk, MemoryEngine, Store, StoreConfig};

use super::*;

const MIB: usize = 1 << 20;
const ENTRY: u64 = 7;

/// A group whose store takes no operation above a size.
fn group(operation_bytes_max: usize) -> GroupStore {
    let engine = MemoryEngine::open(&MemoryDisk::new()).expect("memory");
    let config = StoreConfig {
        operation_bytes_max,
        ..StoreConfig::default()
    };
    let store = Store::open(Arc::new(engine), CommitDriver::Task, config);
    store.expect("it opens").group(GroupId(5))
}

fn message(log_index: u64, position: u32) -> MessageRef {
    MessageRef {
        log_index: LogIndex(log_index),
        position,
    }
}

/// An entry of messages, each of one byte, its position, again and again.
fn entry(count: u8, bytes: usize) -> Arc<Command> {
    let message = |position| Message {
        body: Bytes::from(vec![position; bytes]),
        ..Message::default()
    };
    Arc::new(Command::Publish((0..count).map(message).collect()))
}

fn chunk(messages: &[MessageRef]) -> Chunk {
    let mut builder = ChunkBuilder::default();
    for message in messages {
        builder.push(*message, message.log_index.get().to_string().as_bytes());
    }
    builder.finish().expect("messages")
}

async fn put(group: &GroupStore, chunks: &[&[MessageRef]]) {
    let change = SurvivorChange {
        puts: chunks.iter().map(|one| row_of(chunk(one))).collect(),
        deletes: Vec::new(),
    };
    let put = group.change_survivors(0, change).await;
    put.expect("it is written");
}

async fn left(group: &GroupStore) -> Vec<Vec<MessageRef>> {
    let index = group.survivors().await.expect("an index");
    let mut left = Vec::new();
    for key in index.heads.keys() {
        let chunk = group.read_survivor(index.generation, *key).await;
        let chunk = chunk.expect("readable").expect("there");
        left.push(bodies(&chunk).expect("a chunk").into_keys().collect());
    }
    left
}

#[tokio::test]
async fn more_than_the_store_takes_at_once_is_copied_in_slices() {
    const COUNT: u8 = 20;
    let group = group(12 * MIB);
    let bodies = Bodies::new(group.clone());
    bodies.keep(ENTRY, entry(COUNT, MIB));
    let messages: Vec<MessageRef> = (0..u32::from(COUNT)).map(|at| message(ENTRY, at)).collect();

    let copied = copy(&group, 0, &bodies, &messages).await;

    assert_eq!(copied, Ok(()));
    // From now on there are only the survivors.
    bodies.clear();
    for (position, message) in messages.iter().enumerate() {
        let body = bodies.read(*message).await.expect("a survivor");
        assert_eq!((body.len(), usize::from(body[0])), (MIB, position));
    }
}

#[tokio::test]
async fn what_is_still_needed_stays_and_a_chunk_without_it_goes() {
    let group = group(12 * MIB);
    let (one, two, three) = (message(1, 0), message(2, 0), message(3, 0));
    put(&group, &[&[one, two], &[three]]).await;
    let index = group.survivors().await.expect("an index");

    let rewritten = rewrite(&group, &index, LogIndex(3), &[two]).await;

    assert_eq!(rewritten, Ok(()));
    assert_eq!(left(&group).await, [[two]]);
    let body = Bodies::new(group.clone()).read(two).await;
    assert_eq!(body, Ok(Bytes::from_static(b"2")));
    let gone = Bodies::new(group.clone()).read(one).await;
    assert!(gone.is_err());
}

#[tokio::test]
async fn what_a_pass_that_was_cut_off_left_does_not_hide_a_later_one() {
    let group = group(12 * MIB);
    // Up to entry 2 there is a note; entries 3 and 4 are of a pass that never came to its own.
    put(
        &group,
        &[&[message(2, 9)], &[message(3, 0)], &[message(4, 0)]],
    )
    .await;
    let index = group.survivors().await.expect("an index");

    let removed = remove_leftovers(&group, &index, LogIndex(2)).await;
    assert_eq!(removed, Ok(()));
    assert_eq!(left(&group).await, [[message(2, 9)]]);

    put(&group, &[&[message(3, 0), message(5, 0)]]).await;
    let body = Bodies::new(group.clone()).read(message(5, 0)).await;
    assert_eq!(body, Ok(Bytes::from_static(b"5")));
}
