//! The smallest system that keeps every promise, and can be told to break one: it proves the
//! harness without the broker. Every broker serves one log per partition that all of them share.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::history::{Acks, Outcome};
use crate::invariants::{LogPosition, RaftStatus};
use crate::nemesis::{Rot, Tail};
use crate::net::SimNet;
use crate::seed::{ProducerOptions, Protocol};
use crate::system::{
    BrokerContext, Clients, Consumer, Delivery, Polled, Producer, SendFailure, Stop, System,
};
use crate::workload::OVERSIZE_BYTES;

const APPEND: u8 = 1;
const READ: u8 = 2;
const CALL_SECONDS_MAX: u64 = 1;
const ATTEMPTS_MAX: u32 = 8;
/// Records of one read; all records of a run are of one size.
const READ_MAX: usize = 100;

/// A promise that the toy breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToyBug {
    /// The newest records of every partition vanish when a broker crashes.
    ForgetsOnCrash,
    /// Now and then a record is stored twice.
    StoresTwice,
    /// Broker 1 ends after a while.
    Stops,
    /// Broker 1 panics after a while.
    Panics,
}

type Logs = BTreeMap<u32, Vec<Bytes>>;

#[derive(Clone)]
pub(crate) struct Toy {
    logs: Rc<RefCell<Logs>>,
    running: Rc<RefCell<BTreeSet<u32>>>,
    appends: Rc<Cell<u64>>,
    brokers_count: u32,
    bug: Option<ToyBug>,
}

impl Toy {
    pub(crate) fn new(brokers_count: u32, bug: Option<ToyBug>) -> Self {
        Self {
            logs: Rc::default(),
            running: Rc::default(),
            appends: Rc::default(),
            brokers_count,
            bug,
        }
    }

    /// Appends unless the record is there already; returns its offset.
    fn append(&self, partition: u32, value: Bytes) -> u64 {
        let mut logs = self.logs.borrow_mut();
        let log = logs.entry(partition).or_default();
        let known = log.iter().position(|stored| *stored == value);
        if let Some(offset) = known {
            return offset as u64;
        }
        self.appends.set(self.appends.get() + 1);
        if self.bug == Some(ToyBug::StoresTwice) && self.appends.get().is_multiple_of(50) {
            log.push(value.clone());
        }
        log.push(value);
        log.len() as u64 - 1
    }

    async fn serve(self, mut stream: crate::net::SimStream) -> std::io::Result<()> {
        loop {
            let kind = stream.read_u8().await?;
            let partition = stream.read_u32().await?;
            if kind == APPEND {
                let mut value = vec![0; stream.read_u32().await? as usize];
                stream.read_exact(&mut value).await?;
                let offset = self.append(partition, Bytes::from(value));
                stream.write_all(&offset.to_be_bytes()).await?;
                continue;
            }
            let offset = stream.read_u64().await?;
            let log = self
                .logs
                .borrow()
                .get(&partition)
                .cloned()
                .unwrap_or_default();
            let first = usize::try_from(offset).unwrap_or(usize::MAX).min(log.len());
            let records = &log[first..log.len().min(first + READ_MAX)];
            let size = records.first().map_or(0, Bytes::len);
            let mut answer = (log.len() as u64).to_be_bytes().to_vec();
            answer.extend(
                u32::try_from(records.len() * size)
                    .unwrap_or(0)
                    .to_be_bytes(),
            );
            answer.extend(u32::try_from(size).unwrap_or(0).to_be_bytes());
            records.iter().for_each(|record| answer.extend(record));
            stream.write_all(&answer).await?;
        }
    }

    async fn run(self, context: BrokerContext) -> Result<(), String> {
        self.running.borrow_mut().insert(context.id);
        let mut listener = context
            .net
            .listen("x:9090")
            .await
            .map_err(|error| error.to_string())?;
        let is_bad = context.id == 1 && matches!(self.bug, Some(ToyBug::Stops | ToyBug::Panics));
        let serving = async {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(self.clone().serve(stream));
            }
        };
        if timeout(
            Duration::from_secs(if is_bad { 5 } else { 10_000 }),
            serving,
        )
        .await
        .is_err()
        {
            assert!(self.bug != Some(ToyBug::Panics), "as planted");
        }
        Ok(())
    }
}

impl System for Toy {
    fn run_broker(&self, context: BrokerContext) -> LocalBoxFuture<'static, Result<(), Stop>> {
        let running = self.clone().run(context);
        Box::pin(async { running.await.map_err(Stop::from) })
    }

    fn power_loss(&self, broker: u32, _tail: Tail, _rng_seed: u64) -> u64 {
        self.running.borrow_mut().remove(&broker);
        if self.bug == Some(ToyBug::ForgetsOnCrash) {
            for log in self.logs.borrow_mut().values_mut() {
                log.truncate(log.len().saturating_sub(3));
            }
        }
        0
    }

    fn leave(&self, broker: u32) -> bool {
        self.running.borrow().contains(&broker)
    }

    fn set_sync_latency_us(&self, _broker: u32, _latency_us: u64) {}

    fn set_free_bytes(&self, _broker: u32, _free_bytes: Option<u64>) {}

    fn rot(&self, _broker: u32, _rot: Rot) -> u64 {
        0
    }

    fn is_rotten(&self, _broker: u32) -> bool {
        false
    }

    fn is_short_of_space(&self, _broker: u32) -> bool {
        false
    }

    fn set_clock_offset_ms(&self, _broker: u32, _offset_ms: i64) {}

    fn sync_wait(&self, _broker: u32) -> Duration {
        Duration::from_secs(1)
    }

    fn statuses(&self) -> Vec<Rc<RaftStatus>> {
        let at = Some(LogPosition { term: 1, index: 1 });
        let voters: BTreeSet<u32> = (1..=self.brokers_count).collect();
        let running = self.running.borrow();
        let status = |broker: &u32| RaftStatus {
            broker: *broker,
            is_leader: *broker == self.brokers_count,
            last_log: Some(1),
            committed: at,
            applied: at,
            voters: vec![voters.clone()],
            ..RaftStatus::default()
        };
        running.iter().map(status).map(Rc::new).collect()
    }

    fn clients(&self, net: SimNet, _rng_seed: u64) -> LocalBoxFuture<'static, Box<dyn Clients>> {
        let client = ToyClient {
            net,
            brokers_count: self.brokers_count,
            calls: Rc::default(),
        };
        Box::pin(async move { Box::new(client) as Box<dyn Clients> })
    }
}

#[derive(Clone)]
struct ToyClient {
    net: SimNet,
    brokers_count: u32,
    calls: Rc<Cell<u32>>,
}

impl ToyClient {
    /// One call on a new connection to the next broker: a number and records.
    async fn call(&self, request: &[u8], is_append: bool) -> Result<(u64, Vec<Bytes>), String> {
        self.calls.set(self.calls.get() + 1);
        let broker = self.calls.get() % self.brokers_count + 1;
        let exchange = async {
            let mut stream = self.net.connect(&format!("broker-{broker}:9090")).await?;
            stream.write_all(request).await?;
            let number = stream.read_u64().await?;
            if is_append {
                return Ok((number, Vec::new()));
            }
            let mut bytes = vec![0; stream.read_u32().await? as usize];
            let size = stream.read_u32().await?.max(1) as usize;
            stream.read_exact(&mut bytes).await?;
            let records = bytes.chunks(size).map(Bytes::copy_from_slice);
            std::io::Result::Ok((number, records.collect()))
        };
        timeout(Duration::from_secs(CALL_SECONDS_MAX), exchange)
            .await
            .map_err(|_| "timed out".to_owned())?
            .map_err(|error| error.to_string())
    }

    async fn read(&self, partition: u32, offset: i64) -> Result<(i64, Vec<Bytes>), String> {
        let mut request = vec![READ];
        request.extend(partition.to_be_bytes());
        request.extend(offset.to_be_bytes());
        let (end, records) = self.call(&request, false).await?;
        Ok((
            i64::try_from(end).map_err(|error| error.to_string())?,
            records,
        ))
    }

    async fn append(
        self,
        options: ProducerOptions,
        partition: u32,
        value: Bytes,
    ) -> Result<Option<i64>, SendFailure> {
        if value.len() >= OVERSIZE_BYTES as usize {
            return Err(SendFailure {
                outcome: Outcome::Fail,
                is_fatal: false,
            });
        }
        let mut request = vec![APPEND];
        request.extend(partition.to_be_bytes());
        request.extend(u32::try_from(value.len()).unwrap_or(0).to_be_bytes());
        request.extend(&value);
        for _ in 0..if options.retries { ATTEMPTS_MAX } else { 1 } {
            if let Ok((offset, _)) = self.call(&request, true).await {
                let offset = i64::try_from(offset).ok();
                return Ok(offset.filter(|_| options.acks != Acks::None));
            }
        }
        Err(SendFailure {
            outcome: Outcome::Info,
            is_fatal: false,
        })
    }
}

impl Clients for ToyClient {
    fn create_topic(&self) -> LocalBoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn producer(
        &self,
        options: ProducerOptions,
    ) -> LocalBoxFuture<'_, Result<Box<dyn Producer>, String>> {
        let client = self.clone();
        Box::pin(async move { Ok(Box::new(ToyProducer { client, options }) as Box<dyn Producer>) })
    }

    fn consumer(
        &self,
        _protocol: Protocol,
        from: BTreeMap<u32, i64>,
    ) -> LocalBoxFuture<'_, Result<Box<dyn Consumer>, String>> {
        let client = self.clone();
        Box::pin(async move { Ok(Box::new(ToyConsumer { client, from }) as Box<dyn Consumer>) })
    }

    fn reassign(
        &self,
        _partition: u32,
        _replicas: Vec<u32>,
    ) -> LocalBoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn high_watermark(&self, partition: u32) -> LocalBoxFuture<'_, Result<i64, String>> {
        Box::pin(async move { Ok(self.read(partition, 0).await?.0) })
    }
}

struct ToyProducer {
    client: ToyClient,
    options: ProducerOptions,
}

impl Producer for ToyProducer {
    /// One at a time, or the order of a partition would be lost on the way.
    fn send(
        &self,
        partition: u32,
        value: Bytes,
    ) -> LocalBoxFuture<'_, Result<Delivery, SendFailure>> {
        Box::pin(async move {
            let result = self
                .client
                .clone()
                .append(self.options, partition, value)
                .await;
            Ok(Box::pin(async move { result }) as Delivery)
        })
    }
}

struct ToyConsumer {
    client: ToyClient,
    from: BTreeMap<u32, i64>,
}

impl Consumer for ToyConsumer {
    fn poll(&mut self) -> LocalBoxFuture<'_, Result<Polled, String>> {
        Box::pin(async move {
            sleep(Duration::from_millis(1)).await;
            let mut polled = Polled::default();
            for (partition, position) in &mut self.from {
                let (end, records) = self.client.read(*partition, *position).await?;
                polled.high_watermarks.insert(*partition, end);
                for record in records {
                    polled
                        .records
                        .entry(*partition)
                        .or_default()
                        .push((*position, record));
                    *position += 1;
                }
            }
            Ok(polled)
        })
    }
}
