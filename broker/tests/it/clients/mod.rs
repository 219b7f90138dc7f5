//! Kafka's own clients and tools, unmodified, against a cluster of three brokers.
//!
//! Knows the command lines of the clients and what each must say; nothing of the protocol. A client
//! that is not installed fails the test: `make tools` installs them.

mod interop;
mod java;
mod kcat;
mod librdkafka;
pub(crate) mod programs;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::support::{Dev, text};

/// Brokers of the cluster under test.
const BROKERS: u64 = 3;
/// Names of Kafka's compressions that the librdkafka of the crate speaks. It was compiled without
/// zstd (see Cargo.toml); kcat and Java speak all.
const LIBRDKAFKA_COMPRESSIONS: [&str; 4] = ["none", "gzip", "snappy", "lz4"];

/// A cluster and where its Kafka clients connect.
#[derive(Debug)]
struct Cluster {
    dev: Dev,
    bootstrap: String,
}

impl Cluster {
    /// The cluster that tests share, as long as one of them holds it. Each has topics of its own.
    fn shared() -> Shared {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock();
        if let Some(cluster) = shared.upgrade() {
            return Shared(cluster);
        }
        let cluster = Arc::new(Self::start());
        *shared = Arc::downgrade(&cluster);
        Shared(cluster)
    }

    /// Starts three brokers, for who kills one of them.
    fn start() -> Self {
        let dev = Dev::start(&[]);
        let endpoints: Vec<String> = (1..=BROKERS)
            .map(|id| text(&dev.broker(id), "kafka"))
            .collect();
        Self {
            dev,
            bootstrap: endpoints.join(","),
        }
    }
}

/// A hold on the cluster that tests share.
#[derive(Debug)]
struct Shared(Arc<Cluster>);

impl Deref for Shared {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Another test may be the last to hold it.
        if std::thread::panicking() {
            self.dev.folder.keep();
        }
    }
}

/// A record as any of the clients sends or shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Milliseconds since 1970 of the first record that a test writes.
const BASE_TIME_MS: i64 = 1_700_000_000_000;

/// The record with this number: some have no key, some no value, all have headers, one twice.
fn record(number: i64) -> Shown {
    let text = |text: String| Some(text.into_bytes());
    Shown {
        partition: 0,
        offset: number,
        timestamp_ms: BASE_TIME_MS + number,
        key: (number % 3 != 0).then(|| format!("key {number}").into_bytes()),
        value: (number % 7 != 5).then(|| format!("value {number} ").repeat(20).into_bytes()),
        headers: vec![
            ("number".to_owned(), text(number.to_string())),
            ("empty".to_owned(), text(String::new())),
            ("number".to_owned(), text("again".to_owned())),
        ],
    }
}

/// Asserts that these are the records `0..count`, in order.
fn assert_records(shown: &[Shown], count: i64, who: &str) {
    assert_eq!(shown.len() as u64, count.cast_unsigned(), "{who}");
    for (number, shown) in (0..).zip(shown) {
        assert_eq!(*shown, record(number), "{who}: record {number}");
    }
}

/// Keys of all lengths modulo four, for the hash.
fn keys() -> Vec<String> {
    (0..60)
        .map(|number| "k".repeat(number % 9 + 1) + &number.to_string())
        .collect()
}

/// Where Kafka's default partitioner puts each of [`keys`].
fn expected_partitions(partitions_count: u32) -> BTreeMap<String, u32> {
    let expected = |key: String| {
        let partition = raftmq_records::partition_for_key(key.as_bytes(), partitions_count);
        (key, partition)
    };
    keys().into_iter().map(expected).collect()
}
