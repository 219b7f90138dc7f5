//! A replica that joins late gets every retained record, not only those after the newest
//! checkpoint (ARCHITECTURE.md, "Checkpoints and snapshots"). Two brokers in this process, real sockets,
//! real disks.

use std::time::Duration;

use raftmq::replica::Replica;
use raftmq_client::{Client, Record};
use tempfile::TempDir;

use crate::in_process::{eventually, in_service, peer, start};

/// Appends that are awaited one by one, so that each is an entry of its own.
const ENTRIES_COUNT: i64 = 20_000;

async fn read_all(replica: &Replica) -> (i64, i64, i64) {
    let (log_start, log_end) = {
        let state = replica.machine().read();
        (state.log_start().get(), state.log_end().get())
    };
    let (mut offset, mut records_count) = (log_start, 0);
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
        }
    }
    (log_start, log_end, records_count)
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

    let (log_start, log_end, records_count) = read_all(&copy).await;
    assert_eq!(log_start, ENTRIES_COUNT / 2);
    assert_eq!(log_end, ENTRIES_COUNT);
    assert_eq!(
        records_count,
        ENTRIES_COUNT / 2,
        "every retained record is on the new replica"
    );
    assert_eq!(read_all(&leader).await, (log_start, log_end, records_count));
    second.stop().await;
    first.stop().await;
}
