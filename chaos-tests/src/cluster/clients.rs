//! Clients behind the harness's traits: those of the client crate, and those that speak Kafka's bytes or
//! AMQP's.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt};
use raftmq_client::{Client, Error, ErrorKind, OffsetAt, Record, Start};
use tokio::time::timeout;

use super::amqp::AmqpClient;
use super::kafka::{KafkaClient, KafkaConsumer, KafkaProducer};
use super::kept::SimKeeper;
use super::seams::{ClientNet, wall_clock_ms};
use crate::history::{Acks, Cleanup, Outcome};
use crate::nemesis::Host;
use crate::net::{GRPC_PORT, SimNet};
use crate::seed::{Options, ProducerOptions, Protocol};
use crate::system::{
    Clients, Consumer, Delivery, Keeper, Polled, Producer, QueueClient, SendFailure,
};
use crate::workload::OVERSIZE_BYTES;

const TOPIC: &str = "chaos";
pub(super) const REPLICATION_FACTOR: u32 = 3;
/// Half an hour.
pub(super) const RETENTION_MS: &str = "1800000";
/// Batches stay below the topic's limit, so that only a record that is too large is refused.
const BATCH_BYTES: usize = OVERSIZE_BYTES as usize / 4;
const MESSAGE_BYTES_MAX: u32 = OVERSIZE_BYTES / 2;
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
pub(super) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(8);
const POLL_TIMEOUT: Duration = Duration::from_millis(300);
/// Records that one poll takes at most.
const POLL_RECORDS_MAX: usize = 200;

/// Clients of one run; they share a seed.
pub(super) struct SimClients {
    net: SimNet,
    rng_seed: u64,
    bootstrap: String,
    options: Options,
    made: std::cell::Cell<u64>,
}

impl SimClients {
    pub(super) fn new(net: SimNet, rng_seed: u64, options: &Options) -> Self {
        let brokers = (1..=options.brokers_count).map(Host::Broker);
        let endpoints: Vec<String> = brokers
            .map(|broker| format!("{broker}:{GRPC_PORT}"))
            .collect();
        let made = std::cell::Cell::new(0);
        Self {
            net,
            rng_seed,
            bootstrap: endpoints.join(","),
            options: options.clone(),
            made,
        }
    }

    fn next_rng_seed(&self) -> u64 {
        self.made.set(self.made.get() + 1);
        self.rng_seed.wrapping_add(self.made.get())
    }

    /// The same for Kafka's protocol.
    fn kafka_client(&self) -> KafkaClient {
        let rng_seed = self.next_rng_seed();
        KafkaClient::new(
            self.net.clone(),
            TOPIC,
            self.options.brokers_count,
            rng_seed,
        )
    }

    /// A client of its own for every producer and consumer: connections are not shared.
    async fn client(&self) -> Result<Client, String> {
        let client = Client::builder()
            .bootstrap(&self.bootstrap)
            .connector(Arc::new(ClientNet(self.net.clone())))
            .clock(Arc::new(wall_clock_ms))
            .rng_seed(self.next_rng_seed())
            .connect_timeout(CONNECT_TIMEOUT)
            .request_timeout(REQUEST_TIMEOUT)
            .build();
        client.await.map_err(|error| error.to_string())
    }
}

impl Clients for SimClients {
    fn create_topic(&self) -> LocalBoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let admin = self.client().await?.admin();
            let created = admin
                .create_topic(TOPIC)
                .partitions(self.options.partitions_count)
                .replication_factor(REPLICATION_FACTOR)
                // Longer than any run: what goes by time goes because a clock is wrong.
                .config("retention.ms", RETENTION_MS)
                .config("segment.bytes", self.options.segment_bytes.to_string())
                .config("max.message.bytes", MESSAGE_BYTES_MAX.to_string())
                .send()
                .await;
            match created {
                Ok(_) => Ok(()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn producer(
        &self,
        options: ProducerOptions,
    ) -> LocalBoxFuture<'_, Result<Box<dyn Producer>, String>> {
        Box::pin(async move {
            if options.protocol == Protocol::Kafka {
                let producer = KafkaProducer::start(self.kafka_client(), options).await?;
                return Ok(Box::new(producer) as Box<dyn Producer>);
            }
            let acks = match options.acks {
                Acks::None => raftmq_client::Acks::None,
                Acks::Leader => raftmq_client::Acks::Leader,
                Acks::All => raftmq_client::Acks::All,
            };
            let producer = self
                .client()
                .await?
                .producer()
                .acks(acks)
                .idempotence(options.idempotent)
                .retries(if options.retries { u32::MAX } else { 0 })
                .batch_size_bytes(BATCH_BYTES)
                .linger(Duration::from_millis(u64::from(options.linger_ms)))
                .delivery_timeout(DELIVERY_TIMEOUT)
                .build()
                .await
                .map_err(|error| error.to_string())?;
            Ok(Box::new(SimProducer {
                producer: Rc::new(producer),
            }) as Box<dyn Producer>)
        })
    }

    fn consumer(
        &self,
        protocol: Protocol,
        from: BTreeMap<u32, i64>,
    ) -> LocalBoxFuture<'_, Result<Box<dyn Consumer>, String>> {
        Box::pin(async move {
            if protocol == Protocol::Kafka {
                let consumer = KafkaConsumer::start(self.kafka_client(), from).await?;
                return Ok(Box::new(consumer) as Box<dyn Consumer>);
            }
            let partitions: Vec<u32> = from.keys().copied().collect();
            let mut builder = self.client().await?.consumer();
            for (partition, offset) in from {
                builder = builder.assign_from(TOPIC, partition, Start::Offset(offset));
            }
            let consumer = builder.build().await.map_err(|error| error.to_string())?;
            Ok(Box::new(SimConsumer {
                consumer,
                partitions,
            }) as Box<dyn Consumer>)
        })
    }

    fn reassign(
        &self,
        partition: u32,
        replicas: Vec<u32>,
    ) -> LocalBoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let admin = self.client().await?.admin();
            let moved = admin.alter_replicas(TOPIC, partition, &replicas).await;
            moved.map_err(|error| error.to_string())
        })
    }

    fn high_watermark(&self, partition: u32) -> LocalBoxFuture<'_, Result<i64, String>> {
        Box::pin(async move {
            let admin = self.client().await?.admin();
            let listed = admin
                .list_offsets(&[(TOPIC, partition, OffsetAt::End)])
                .await;
            let listed = listed.map_err(|error| error.to_string())?;
            let offset = listed.first().and_then(|listed| listed.offset);
            offset.ok_or_else(|| "no end offset".to_owned())
        })
    }

    fn keeper(&self, cleanup: Cleanup) -> LocalBoxFuture<'_, Result<Box<dyn Keeper>, String>> {
        Box::pin(async move {
            let keeper = SimKeeper::new(self.client().await?, cleanup).await?;
            Ok(Box::new(keeper) as Box<dyn Keeper>)
        })
    }

    fn queue_client(&self) -> LocalBoxFuture<'_, Result<Box<dyn QueueClient>, String>> {
        let (net, brokers_count) = (self.net.clone(), self.options.brokers_count);
        let rng_seed = self.next_rng_seed();
        Box::pin(async move {
            let client = AmqpClient::start(net, brokers_count, rng_seed).await?;
            Ok(Box::new(client) as Box<dyn QueueClient>)
        })
    }
}

struct SimProducer {
    producer: Rc<raftmq_client::Producer>,
}

impl Producer for SimProducer {
    fn send(
        &self,
        partition: u32,
        value: Bytes,
    ) -> LocalBoxFuture<'_, Result<Delivery, SendFailure>> {
        Box::pin(async move {
            let record = Record::to(TOPIC).partition(partition).value(value);
            send(&self.producer, record).await
        })
    }
}

/// Sends a record; the delivery says what became of it.
pub(super) async fn send(
    producer: &Rc<raftmq_client::Producer>,
    record: Record,
) -> Result<Delivery, SendFailure> {
    // What was not even taken certainly was not sent.
    let taken = producer.send(record).await;
    let delivery = taken.map_err(|error| failure(Outcome::Fail, &error))?;
    // The producer lives as long as its deliveries: dropping it would fail them.
    let producer = Rc::clone(producer);
    Ok(Box::pin(async move {
        let result = delivery.await;
        drop(producer);
        let result = result.map(|delivery| delivery.offset);
        // Refused for its size before anything was written, on every attempt; of any other
        // error nobody knows what an earlier attempt did.
        let outcome = |error: &Error| match error.kind() == ErrorKind::TooLarge {
            true => Outcome::Fail,
            false => Outcome::Info,
        };
        result.map_err(|error| failure(outcome(&error), &error))
    }))
}

fn failure(outcome: Outcome, error: &Error) -> SendFailure {
    SendFailure {
        outcome,
        is_fatal: error.is_fatal() || error.kind() == ErrorKind::Closed,
    }
}

struct SimConsumer {
    consumer: raftmq_client::Consumer,
    partitions: Vec<u32>,
}

impl Consumer for SimConsumer {
    /// Waits for one record, then takes what is there already.
    fn poll(&mut self) -> LocalBoxFuture<'_, Result<Polled, String>> {
        Box::pin(async move {
            let mut polled = Polled::default();
            let mut next = timeout(POLL_TIMEOUT, self.consumer.next()).await.ok();
            let mut taken = 0;
            while let Some(record) = next {
                let record = record.ok_or_else(|| "the consumer ended".to_owned())?;
                let record = record.map_err(|error| error.to_string())?;
                let records = polled.records.entry(record.partition).or_default();
                records.push((record.offset, record.value.unwrap_or_default()));
                taken += 1;
                if taken == POLL_RECORDS_MAX {
                    break;
                }
                next = self.consumer.next().now_or_never();
            }
            for partition in &self.partitions {
                if let Ok(Some(offset)) = self.consumer.high_watermark(TOPIC, *partition) {
                    polled.high_watermarks.insert(*partition, offset);
                }
            }
            Ok(polled)
        })
    }
}
