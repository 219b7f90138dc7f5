//! A replica whose disk lost bits of an old entry gets everything back from its leader: the entry, and
//! every retained record before and behind it. The background scrub finds the damage. Two brokers in
//! this process, real sockets, real disks.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use raftmq::node::NodeError;
use raftmq_client::{Client, Record};
use raftmq_store::{GroupHealth, StoreError};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::in_process::{eventually, in_service, peer, start, start_changed};
use crate::support::{PATIENCE, copy_folder};

/// More than after which state is persisted, so that the damage lies below it.
const RECORDS_COUNT: usize = 400;
const RECORD_BYTES: usize = 64 * 1024;
/// The record that is damaged.
const DAMAGED: usize = 42;
/// Time in which the background scrub reads everything.
const SCRUB_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes read at once while a record is looked for on the disk.
const SEARCH_BYTES: usize = 1 << 20;

fn value(number: usize) -> Vec<u8> {
    let text = format!("{number:08};");
    text.bytes().cycle().take(RECORD_BYTES).collect()
}

/// Flips a bit in the first copy of a record on a disk.
fn damage(data: &Path, number: usize) {
    let searched = &value(number)[..64];
    let mut segments: Vec<_> = std::fs::read_dir(data.join("journal"))
        .expect("a journal")
        .map(|entry| entry.expect("a segment").path())
        .collect();
    segments.sort();
    for segment in segments {
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).open(segment);
        let file = file.expect("a segment");
        let len = file.metadata().expect("a length").len();
        let mut position = 0;
        while position < len {
            let size = SEARCH_BYTES.min(usize::try_from(len - position).expect("a size"));
            let mut bytes = vec![0; size];
            file.read_exact_at(&mut bytes, position).expect("readable");
            if let Some(place) = find(&bytes, searched) {
                let at = position + u64::try_from(place).expect("a place") + 10;
                file.write_all_at(b"\x00", at).expect("writable");
                return;
            }
            // Records are larger than what may be cut by the end of the part.
            position += u64::try_from(size).expect("a size");
        }
    }
    panic!("the record is not on the disk");
}

fn find(bytes: &[u8], searched: &[u8]) -> Option<usize> {
    let steps = 0..bytes.len().saturating_sub(searched.len());
    steps
        .into_iter()
        .find(|place| bytes[*place..].starts_with(searched))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_scrub_finds_a_damaged_old_entry_recovers_every_record_from_its_leader() {
    let folders = [
        TempDir::new().expect("a folder"),
        TempDir::new().expect("a folder"),
    ];
    let first = start(1, Vec::new(), &folders[0]).await;
    let peers = vec![peer(1, &first)];
    let second = start_changed(2, peers, &folders[1], |config, _| {
        config.scrub_interval = SCRUB_INTERVAL;
    });
    let second = second.await;
    in_service(&[&first, &second]).await;
    let client = Client::builder().bootstrap(first.grpc_endpoint());
    let client = client.build().await.expect("a client");
    let topic = client.admin().create_topic("kept").assign(0, &[1, 2]);
    topic.send().await.expect("a topic");
    let producer = client.producer().build().await.expect("a producer");
    for number in 0..RECORDS_COUNT {
        let sent = producer.send(Record::to("kept").value(value(number))).await;
        sent.expect("accepted").await.expect("acknowledged");
    }
    let leader = first.parts().replicas.find("kept", 0).expect("a replica");
    let end = leader.machine().read().log_end();
    let copy = second.parts().replicas.find("kept", 0).expect("a replica");
    eventually("a full copy", || copy.machine().read().log_end() == end).await;
    drop(copy);

    damage(folders[1].path(), DAMAGED);
    // Nobody reads the entry but the scrub.
    let failure = timeout(PATIENCE, second.failed()).await;
    assert!(
        matches!(
            failure,
            Ok(NodeError::Store(StoreError::DamagedEntry { .. }))
        ),
        "{failure:?}"
    );
    second.stop().await;
    // Only the end of a process frees everything that a failed store leaves behind.
    let folder = TempDir::new().expect("a folder");
    copy_folder(folders[1].path(), folder.path());
    let second = start(2, vec![peer(1, &first)], &folder).await;
    let copy = || second.parts().replicas.find("kept", 0).ok();
    eventually("a replica that is whole again", || {
        copy().is_some_and(|copy| {
            copy.group().store().health() == GroupHealth::Ok
                && copy.machine().read().log_end() == end
        })
    })
    .await;

    let copy = copy().expect("a replica");
    for number in 0..RECORDS_COUNT {
        let offset = i64::try_from(number).expect("an offset");
        let read = copy.read_committed(offset, 1).await.expect("readable");
        let batch = read.batches.first().expect("no hole");
        assert!(find(batch, &value(number)).is_some(), "record {number}");
    }
    second.stop().await;
    first.stop().await;
}
