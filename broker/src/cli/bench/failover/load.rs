//! The load of `bench failover`: each partition gets a record at a fixed interval, one after the other,
//! and the longest time between two acknowledgements of each partition is kept.
//!
//! Does not know who is killed, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use raftmq_client::{Acks, Client, Producer, Record};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::cli::connect::client_failure;
use crate::cli::error::CliResult;

/// Bytes of each value.
const VALUE_BYTES: usize = 100;

/// When a partition was last acknowledged, and the longest gap since [`Gaps::begin`], in microseconds
/// of the run.
#[derive(Debug, Default)]
struct Acknowledged {
    last_us: AtomicU64,
    gap_us: AtomicU64,
}

/// What the load has seen.
#[derive(Debug)]
pub(super) struct Gaps {
    started_at: Instant,
    partitions: Vec<Acknowledged>,
    failed: AtomicU64,
}

impl Gaps {
    fn now_us(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn note(&self, partition: usize) {
        let now_us = self.now_us();
        let partition = &self.partitions[partition];
        let last_us = partition.last_us.swap(now_us, Ordering::Relaxed);
        let gap_us = now_us.saturating_sub(last_us);
        partition.gap_us.fetch_max(gap_us, Ordering::Relaxed);
    }

    /// Forgets the gaps so far. Gives the time, for [`Self::all_since`].
    pub(super) fn begin(&self) -> u64 {
        for partition in &self.partitions {
            partition.gap_us.store(0, Ordering::Relaxed);
        }
        self.now_us()
    }

    /// Whether every partition was acknowledged after that time.
    pub(super) fn all_since(&self, since_us: u64) -> bool {
        let mut partitions = self.partitions.iter();
        partitions.all(|partition| partition.last_us.load(Ordering::Relaxed) > since_us)
    }

    /// The longest gap of any partition since [`Self::begin`].
    pub(super) fn longest(&self) -> Duration {
        let gaps_us = self.partitions.iter();
        let gaps_us = gaps_us.map(|partition| partition.gap_us.load(Ordering::Relaxed));
        Duration::from_micros(gaps_us.max().unwrap_or_default())
    }

    /// Records that were refused for good.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// The running load; dropped, it ends.
pub(super) struct Load {
    /// What it has seen so far.
    pub(super) gaps: Arc<Gaps>,
    _tasks: JoinSet<()>,
}

/// Starts to publish: the partitions spread over the interval.
pub(super) async fn start(
    client: &Client,
    topic: &str,
    partitions_count: u32,
    every: Duration,
) -> CliResult<Load> {
    let producer = client.producer().acks(Acks::All).linger(Duration::ZERO);
    let producer = producer.build().await;
    let producer = producer.map_err(|error| client_failure("start a producer", &error))?;
    let producer = Arc::new(producer);
    let partitions = (0..partitions_count).map(|_| Acknowledged::default());
    let started_at = Instant::now();
    let gaps = Arc::new(Gaps {
        started_at,
        partitions: partitions.collect(),
        failed: AtomicU64::new(0),
    });
    let topic: Arc<str> = topic.into();
    let mut tasks = JoinSet::new();
    for partition in 0..partitions_count {
        let mut ticks = interval_at(started_at + every * partition / partitions_count, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let record = Record::to(Arc::clone(&topic)).partition(partition);
        let record = record.value(Bytes::from(vec![0; VALUE_BYTES]));
        let (producer, gaps) = (Arc::clone(&producer), Arc::clone(&gaps));
        let target = (partition as usize, record);
        tasks.spawn(async move { publish(&producer, &gaps, target, ticks).await });
    }
    Ok(Load {
        gaps,
        _tasks: tasks,
    })
}

async fn publish(
    producer: &Producer,
    gaps: &Gaps,
    (partition, record): (usize, Record),
    mut ticks: Interval,
) {
    loop {
        ticks.tick().await;
        let acknowledged = match producer.send(record.clone()).await {
            Ok(delivery) => delivery.await.is_ok(),
            Err(_error) => false,
        };
        if acknowledged {
            gaps.note(partition);
        } else {
            gaps.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}
