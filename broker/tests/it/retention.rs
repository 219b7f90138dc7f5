//! A replica that joins late, or was away for long, gets every retained record, not only those after the
//! newest checkpoint (ARCHITECTURE.md, "Checkpoints and snapshots"). Brokers in this process, real
//! sockets, real disks.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use raftmq::replica::Replica;
use raftmq_client::{Client, Record};
use tempfile::TempDir;

use crate::in_process::{eventually, in_service, peer, start};
use crate::support::copy_folder;

/// Appends that are awaited one by one, so that each is an entry of its own.
const ENTRIES_COUNT: i64 = 20_000;
/// Appends that are awaited together where entries need not be single appends.
const TOGETHER_COUNT: i64 = 50;

/// What a replica has of its partition.
#[derive(Debug, PartialEq)]
struct Retained {
    log_start: i64,
    log_end: i64,
    records_count: i64,
    batches: Vec<Bytes>,
}

async fn read_all(replica: &Replica) -> Retained {
    let (log_start, log_end) = {
        let state = replica.machine().read();
        (state.log_start().get(), state.log_end().get())
    };
    let (mut offset, mut records_count) = (log_start, 0);
    let mut batches = Vec::new();
    while offset < log_end {
        let read = replica
            .read_committed(offset, 1 << 20)
            .await
            .expect("the log is readable");
        assert!(!read.batches.is_empty(), "a hole at offset {offset}");
        for batch in read.batches {
            let header = raftmq_records::BatchHeader::parse(&batch).expect("a record batch");
            let first = header.base_offset.max(offset);
            offset = header.base_offset + i64::from(header.last_offset_delta) + 1;
            records_count += offset - first;
            batches.push(batch);
        }
    }
    Retained {
        log_start,
        log_end,
        records_count,
        batches,
    }
}

async fn produce_one_by_one(client: &Client) {
    let producer = client
        .producer()
        .linger(Duration::ZERO)
        .build()
        .await
        .expect("a producer");
    for number in 0..ENTRIES_COUNT {
        let value = format!("{number:0>256}");
        let sent = producer
            .send(Record::to("kept").value(value))
            .await
            .expect("accepted");
        sent.await.expect("acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_gets_every_retained_record() {
    let folders = [
        TempDir::new().expect("a folder"),
        TempDir::new().expect("a folder"),
    ];
    let first = start(1, Vec::new(), &folders[0]).await;
    let second = start(2, vec![peer(1, &first)], &folders[1]).await;
    in_service(&[&first, &second]).await;

    let client = Client::builder()
        .bootstrap(first.grpc_endpoint())
        .build()
        .await;
    let client = client.expect("a client");
    let admin = client.admin();
    // The smallest segments: many checkpoints.
    let topic = admin.create_topic("kept").assign(0, &[1]);
    topic
        .config("segment.bytes", "1048576")
        .send()
        .await
        .expect("a topic");

    let leader = first.parts().replicas.find("kept", 0).expect("a replica");
    eventually("a leader", || leader.leading_term().is_some()).await;
    produce_one_by_one(&client).await;
    admin
        .delete_records("kept", 0, ENTRIES_COUNT / 2)
        .await
        .expect("deleted");
    let store = leader.group().store();
    eventually("a purge", || {
        store.first_log_index().is_some_and(|first| first > 5_000)
    })
    .await;

    admin
        .alter_replicas("kept", 0, &[1, 2])
        .await
        .expect("a move begins");
    eventually("a replica on the second broker", || {
        second.parts().replicas.find("kept", 0).is_ok()
    })
    .await;
    let copy = second.parts().replicas.find("kept", 0).expect("a replica");
    eventually("a full copy", || {
        copy.machine().read().log_end().get() == ENTRIES_COUNT
    })
    .await;

    let copied = read_all(&copy).await;
    assert_eq!(copied.log_start, ENTRIES_COUNT / 2);
    assert_eq!(copied.log_end, ENTRIES_COUNT);
    assert_eq!(
        copied.records_count,
        ENTRIES_COUNT / 2,
        "every retained record is on the new replica"
    );
    assert_eq!(read_all(&leader).await, copied);
    second.stop().await;
    first.stop().await;
}

async fn produce_together(client: &Client) {
    let producer = client.producer().build().await.expect("a producer");
    for part in 0..ENTRIES_COUNT / TOGETHER_COUNT {
        let mut sent = Vec::new();
        for number in 0..TOGETHER_COUNT {
            let number = part * TOGETHER_COUNT + number;
            let record = Record::to("kept").value(format!("{number:0>256}"));
            sent.push(producer.send(record).await.expect("accepted"));
        }
        for delivery in join_all(sent).await {
            delivery.expect("acknowledged");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_next_entry_was_purged_meanwhile_gets_every_retained_record() {
    let folders = [(); 3].map(|()| TempDir::new().expect("a folder"));
    let first = start(1, Vec::new(), &folders[0]).await;
    let second = start(2, vec![peer(1, &first)], &folders[1]).await;
    let third = start(3, vec![peer(1, &first)], &folders[2]).await;
    in_service(&[&first, &second, &third]).await;
    let client = Client::builder().bootstrap(first.grpc_endpoint());
    let client = client.build().await.expect("a client");
    let admin = client.admin();
    let topic = admin.create_topic("kept").assign(0, &[1, 2, 3]);
    // The smallest segments: many checkpoints.
    let topic = topic.config("segment.bytes", "16384");
    topic.send().await.expect("a topic");
    let leader = first.parts().replicas.find("kept", 0).expect("a replica");
    eventually("a leader", || leader.leading_term().is_some()).await;
    let producer = client.producer().build().await.expect("a producer");
    let sent = producer.send(Record::to("kept").value("first")).await;
    sent.expect("accepted").await.expect("acknowledged");
    let store = leader.group().store();
    let end_of_absent = store.last_log_index().expect("entries");

    second.stop().await;
    produce_together(&client).await;
    admin
        .delete_records("kept", 0, ENTRIES_COUNT / 2)
        .await
        .expect("deleted");
    eventually("a purge of what it needs next", || {
        store
            .first_log_index()
            .is_some_and(|first| first > end_of_absent + 1)
    })
    .await;
    let peers = vec![peer(1, &first), peer(3, &third)];
    // Elsewhere, because a folder is free only when the last trace of its store is gone.
    let later = TempDir::new().expect("a folder");
    copy_folder(folders[1].path(), later.path());
    let second = start(2, peers, &later).await;

    let log_end = ENTRIES_COUNT + 1;
    eventually("a full copy", || {
        let copy = second.parts().replicas.find("kept", 0);
        copy.is_ok_and(|copy| copy.machine().read().log_end().get() == log_end)
    })
    .await;
    let copy = second.parts().replicas.find("kept", 0).expect("a replica");
    let copied = read_all(&copy).await;
    assert_eq!(copied.log_start, ENTRIES_COUNT / 2);
    assert_eq!(copied.records_count, log_end - ENTRIES_COUNT / 2);
    assert_eq!(read_all(&leader).await, copied);
    second.stop().await;
    third.stop().await;
    first.stop().await;
}
