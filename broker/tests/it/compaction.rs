//! Compacted topics from end to end: the last record of each key survives at its offset, on every
//! replica, after restarts and moves, and the disk gets its space back. Brokers in this process, real
//! sockets, real disks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use raftmq::node::Node;
use raftmq::replica::Replica;
use raftmq_client::{Admin, Client, Compression, ErrorKind, OffsetAt, Producer, Record, Start};
use raftmq_records::{BatchHeader, DecodeLimits, check_crc, records};
use tempfile::TempDir;

use crate::in_process::{eventually, in_service, peer, start};

const TOPIC: &str = "compacted";
const KEYS: u64 = 20;
const VALUE_BYTES: u32 = 500;

/// Key to the offset and value of its last record; no value: a tombstone.
type Last = BTreeMap<String, (i64, Option<String>)>;

struct Setup {
    node: Node,
    client: Client,
    producer: Producer,
    replica: Arc<Replica>,
    last: Last,
    sent: u64,
}

async fn client_of(node: &Node) -> Client {
    let client = Client::builder().bootstrap(node.grpc_endpoint());
    client.build().await.expect("a client")
}

async fn create(admin: &Admin, policy: &str, delete_retention_ms: &str) {
    let topic = admin.create_topic(TOPIC).assign(0, &[1]);
    topic
        .config("cleanup.policy", policy)
        .config("segment.bytes", "16384")
        .config("min.cleanable.dirty.ratio", "0.01")
        .config("delete.retention.ms", delete_retention_ms)
        .send()
        .await
        .expect("a topic");
}

impl Setup {
    async fn new(folder: &TempDir, policy: &str, delete_retention_ms: &str) -> Self {
        let node = start(1, Vec::new(), folder).await;
        in_service(&[&node]).await;
        let client = client_of(&node).await;
        create(&client.admin(), policy, delete_retention_ms).await;
        Self::of(node, client).await
    }

    async fn of(node: Node, client: Client) -> Self {
        let replica = node.parts().replicas.find(TOPIC, 0).expect("a replica");
        eventually("a leader", || replica.leading_term().is_some()).await;
        let producer = client
            .producer()
            .linger(Duration::ZERO)
            .compression(Compression::Lz4);
        let producer = producer.build().await.expect("a producer");
        Self {
            node,
            client,
            producer,
            replica,
            last: Last::new(),
            sent: 0,
        }
    }

    async fn send(&mut self, key: u64, value: Option<String>) {
        let key = format!("key-{key}");
        let record = Record::to(TOPIC).key(key.clone());
        let record = match value.clone() {
            Some(value) => record.value(value),
            None => record,
        };
        let sent = self.producer.send(record).await.expect("accepted");
        let offset = sent.await.expect("acknowledged").offset;
        let offset = offset.expect("an offset");
        self.last.insert(key, (offset, value));
        self.sent += 1;
    }

    async fn send_rounds(&mut self, rounds: u64) {
        for _ in 0..rounds {
            for key in 0..KEYS {
                // Does not shrink much when it is compressed.
                let number = self.sent.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let letter = |at: u32| {
                    let letter = number.rotate_left(at % 64) % 26;
                    char::from(b'a' + u8::try_from(letter).expect("a letter"))
                };
                let value: String = (0..VALUE_BYTES).map(letter).collect();
                self.send(key, Some(format!("{}:{value}", self.sent))).await;
            }
        }
    }

    /// One look of the cleaner at everything, as the broker does every few seconds.
    async fn clean(&self) {
        self.node.parts().replicas.clean_compacted().await;
    }

    async fn set(&self, name: &str, value: &str) {
        let alter = self.client.admin().alter_topic(TOPIC);
        alter.set_config(name, value).send().await.expect("set");
    }

    fn log_bytes(&self) -> u64 {
        self.replica.group().store().log_bytes()
    }
}

/// What a replica shows from the log start to the end: offset, key, value.
async fn read_all(replica: &Replica) -> Vec<(i64, String, Option<String>)> {
    let (mut offset, log_end) = {
        let state = replica.machine().read();
        (state.log_start().get(), state.log_end().get())
    };
    let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
    let mut found = Vec::new();
    while offset < log_end {
        let read = replica.read_committed(offset, 64 << 10).await;
        let read = read.expect("the log is readable");
        assert!(!read.batches.is_empty(), "nothing at offset {offset}");
        for batch in read.batches {
            check_crc(&batch).expect("a whole batch");
            let header = BatchHeader::parse(&batch).expect("a record batch");
            assert!(header.next_offset() > offset, "offsets go forward");
            for record in records(&batch, DecodeLimits::default()).expect("records") {
                let record = record.expect("a record");
                let key = text(&record.key.expect("a key"));
                found.push((record.offset, key, record.value.as_ref().map(text)));
            }
            offset = header.next_offset();
        }
    }
    found
}

/// Every acknowledged last record of a key is there, and nothing is twice or out of order.
fn assert_complete(found: &[(i64, String, Option<String>)], last: &Last) {
    assert!(found.is_sorted_by(|one, next| one.0 < next.0));
    let seen: Last = found
        .iter()
        .map(|(offset, key, value)| (key.clone(), (*offset, value.clone())))
        .collect();
    assert_eq!(&seen, last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_record_of_each_key_survives_and_the_rest_goes() {
    let folder = TempDir::new().expect("a folder");
    let mut setup = Setup::new(&folder, "compact", "86400000").await;
    setup.send_rounds(30).await;
    let before = setup.log_bytes();

    setup.clean().await;

    eventually("a purge", || setup.log_bytes() < before / 4).await;
    let found = read_all(&setup.replica).await;
    assert_complete(&found, &setup.last);
    assert!(found.len() < 100, "{} of 600 records", found.len());
    setup.clean().await;
    let again = read_all(&setup.replica).await;
    assert_eq!(again, found, "a second pass has nothing to do");

    // More of the same, over survivors and log.
    setup.send_rounds(30).await;
    setup.clean().await;
    assert_complete(&read_all(&setup.replica).await, &setup.last);

    // A restart changes nothing of that, and appends go on.
    let expected = read_all(&setup.replica).await;
    let last = setup.last.clone();
    let sent = setup.sent;
    setup.node.stop().await;
    drop((setup.client, setup.producer, setup.replica));
    let node = start(1, Vec::new(), &folder).await;
    in_service(&[&node]).await;
    let client = client_of(&node).await;
    let mut setup = Setup::of(node, client).await;
    (setup.last, setup.sent) = (last, sent);
    assert_eq!(read_all(&setup.replica).await, expected);
    setup.send_rounds(10).await;
    setup.clean().await;
    assert_complete(&read_all(&setup.replica).await, &setup.last);
    setup.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_reads_over_the_gaps_to_the_end_and_finds_offsets_by_time() {
    let folder = TempDir::new().expect("a folder");
    let mut setup = Setup::new(&folder, "compact", "86400000").await;
    setup.send_rounds(20).await;
    setup.clean().await;

    let consumer = setup.client.consumer().assign([(TOPIC, 0)]);
    let consumer = consumer.start(Start::Beginning).build().await;
    let mut consumer = consumer.expect("a consumer");
    let mut seen = Last::new();
    let mut first_timestamp_ms = None;
    let log_end = i64::try_from(setup.sent).expect("few records");
    loop {
        let record = consumer.next().await.expect("a record").expect("readable");
        let text = |bytes: bytes::Bytes| String::from_utf8_lossy(&bytes).into_owned();
        first_timestamp_ms.get_or_insert((record.offset, record.timestamp_ms));
        let key = text(record.key.expect("a key"));
        seen.insert(key, (record.offset, record.value.map(text)));
        if record.offset == log_end - 1 {
            break;
        }
    }
    assert_eq!(seen, setup.last);

    let (offset, timestamp_ms) = first_timestamp_ms.expect("records");
    let queries = [(TOPIC, 0, OffsetAt::Timestamp(timestamp_ms))];
    let listed = setup.client.admin().list_offsets(&queries).await;
    assert_eq!(listed.expect("listed")[0].offset, Some(offset));
    setup.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tombstone_stays_for_its_time_and_then_goes_with_its_key() {
    let folder = TempDir::new().expect("a folder");
    let mut setup = Setup::new(&folder, "compact", "86400000").await;
    setup.send_rounds(5).await;
    setup.send(0, None).await;
    setup.send(1, None).await;
    // Other keys, so that the segment of the tombstones ends.
    for key in 100..400 {
        setup.send(key, Some("x".repeat(500))).await;
    }
    setup.clean().await;
    setup.clean().await;

    let found = read_all(&setup.replica).await;
    assert_complete(&found, &setup.last);
    let of_key = |found: &[(i64, String, Option<String>)], key: &str| {
        let of_key = found.iter().filter(|(_, known, _)| known == key);
        of_key
            .map(|(_, _, value)| value.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of_key(&found, "key-0"), [None]);

    // A day is over at once: the time counts from the pass that first saw it.
    let day_later = raftmq::env::Env::real().clock.now_ms() + 86_400_001;
    setup.replica.clean(day_later).await.expect("cleaned");

    let found = read_all(&setup.replica).await;
    assert!(of_key(&found, "key-0").is_empty());
    assert!(of_key(&found, "key-1").is_empty());
    setup.last.retain(|key, _| key != "key-0" && key != "key-1");
    assert_complete(&found, &setup.last);
    setup.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_without_a_key_is_refused_while_the_topic_is_compacted() {
    let folder = TempDir::new().expect("a folder");
    let setup = Setup::new(&folder, "delete", "0").await;
    let keyless = || async {
        let record = Record::to(TOPIC).value("no key");
        let sent = setup.producer.send(record).await.expect("accepted");
        sent.await
            .map(|sent| sent.offset)
            .map_err(|error| error.kind())
    };
    assert_eq!(keyless().await, Ok(Some(0)));

    setup.set("cleanup.policy", "compact").await;
    eventually("the policy", || {
        setup.replica.view().settings.compaction.is_some()
    })
    .await;
    assert_eq!(keyless().await, Err(ErrorKind::Invalid));
    assert_eq!(setup.replica.machine().read().log_end().get(), 1);

    setup.set("cleanup.policy", "delete").await;
    eventually("the policy", || {
        setup.replica.view().settings.compaction.is_none()
    })
    .await;
    assert_eq!(keyless().await, Ok(Some(1)));
    setup.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_drops_survivors_too_once_the_policy_says_delete() {
    let folder = TempDir::new().expect("a folder");
    let mut setup = Setup::new(&folder, "compact", "86400000").await;
    setup.set("retention.ms", "1").await;
    setup.send_rounds(20).await;
    setup.clean().await;
    setup.node.parts().replicas.enforce_retention().await;
    assert_complete(&read_all(&setup.replica).await, &setup.last);
    let store = setup.replica.group().store();
    assert!(!store.survivors().await.expect("readable").heads.is_empty());

    setup.set("cleanup.policy", "compact,delete").await;
    let log_end = i64::try_from(setup.sent).expect("few records");
    eventually("expiry", || {
        setup.replica.machine().read().log_start().get() == log_end
    })
    .await;
    setup.clean().await;

    assert!(store.survivors().await.expect("readable").heads.is_empty());
    assert_eq!(read_all(&setup.replica).await, []);
    setup.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_gets_every_survivor_and_goes_on_from_there() {
    let folders = [
        TempDir::new().expect("a folder"),
        TempDir::new().expect("a folder"),
    ];
    let first = start(1, Vec::new(), &folders[0]).await;
    let second = start(2, vec![peer(1, &first)], &folders[1]).await;
    in_service(&[&first, &second]).await;
    let client = client_of(&first).await;
    create(&client.admin(), "compact", "86400000").await;
    let mut setup = Setup::of(first, client).await;
    setup.send_rounds(30).await;
    setup.clean().await;
    let store = setup.replica.group().store();
    eventually("a purge", || {
        store.first_log_index().is_some_and(|first| first > 100)
    })
    .await;

    let admin = setup.client.admin();
    let moved = admin.alter_replicas(TOPIC, 0, &[1, 2]).await;
    moved.expect("a move begins");
    eventually("a replica on the second broker", || {
        second.parts().replicas.find(TOPIC, 0).is_ok()
    })
    .await;
    let copy = second.parts().replicas.find(TOPIC, 0).expect("a replica");
    let log_end = i64::try_from(setup.sent).expect("few records");
    eventually("a full copy", || {
        copy.machine().read().log_end().get() == log_end
    })
    .await;

    let found = read_all(&copy).await;
    assert_complete(&found, &setup.last);
    assert_eq!(found, read_all(&setup.replica).await);

    // Each replica cleans by itself; the last records are on both.
    setup.send_rounds(30).await;
    let log_end = i64::try_from(setup.sent).expect("few records");
    eventually("a full copy", || {
        copy.machine().read().log_end().get() == log_end
    })
    .await;
    second.parts().replicas.clean_compacted().await;
    assert_complete(&read_all(&copy).await, &setup.last);
    assert_complete(&read_all(&setup.replica).await, &setup.last);
    second.stop().await;
    setup.node.stop().await;
}
