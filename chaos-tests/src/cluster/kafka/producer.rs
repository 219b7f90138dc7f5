//! A producer: for each partition a task that sends one batch after the other, again and again if
//! it may, until it is acknowledged or its time is up.
//!
//! An idempotent producer whose batch has an unknown fate can send nothing any more: what follows
//! would have the wrong sequence.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use raftmq_kafka_protocol::messages::produce::request::{PartitionProduceData, TopicProduceData};
use raftmq_kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};
use raftmq_kafka_protocol::{ApiKey, ErrorCode, Response};
use raftmq_records::{BatchBuilder, Compression};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{KafkaClient, Leader, named, unexpected};
use crate::cluster::seams::wall_clock_ms;
use crate::history::{Acks, Outcome};
use crate::seed::ProducerOptions;
use crate::system::{Delivery, Producer, SendFailure};
use crate::workload::OVERSIZE_BYTES;

const INIT_PRODUCER_ID: i16 = 5;
/// Batches stay below the topic's limit, so that only a record that is too large is refused.
const BATCH_BYTES: usize = OVERSIZE_BYTES as usize / 4;
/// Records of one partition that wait to be sent.
const QUEUE_RECORDS_MAX: usize = 64;
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(8);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long a broker may wait for acknowledgements.
const ACKS_TIMEOUT_MS: i32 = 1_500;

/// A record that waits, and who waits for it.
struct Queued {
    value: Bytes,
    done: oneshot::Sender<Result<Option<i64>, SendFailure>>,
}

/// How a batch ended.
enum Fate {
    /// Acknowledged, with the offset of its first record if there was an answer.
    Written(Option<i64>),
    /// Certainly not written.
    Refused,
    Unknown,
}

/// What the tasks of the partitions share.
struct Shared {
    client: KafkaClient,
    options: ProducerOptions,
    /// Producer id and epoch, if it is idempotent.
    identity: Option<(i64, i16)>,
    is_dead: Cell<bool>,
}

struct Inner {
    shared: Rc<Shared>,
    queues: RefCell<BTreeMap<u32, mpsc::Sender<Queued>>>,
    /// They end when the producer is dropped, with whatever they have in work.
    partitions: RefCell<JoinSet<()>>,
}

/// See the module.
pub(in crate::cluster) struct KafkaProducer {
    inner: Rc<Inner>,
}

impl KafkaProducer {
    pub(in crate::cluster) async fn start(
        client: KafkaClient,
        options: ProducerOptions,
    ) -> Result<Self, String> {
        client.check_versions().await?;
        client.refresh().await?;
        let identity = match options.idempotent {
            true => Some(init_producer_id(&client).await?),
            false => None,
        };
        let inner = Inner {
            shared: Rc::new(Shared {
                client,
                options,
                identity,
                is_dead: Cell::new(false),
            }),
            queues: RefCell::default(),
            partitions: RefCell::default(),
        };
        Ok(Self {
            inner: Rc::new(inner),
        })
    }
}

/// Any broker gives ids.
async fn init_producer_id(client: &KafkaClient) -> Result<(i64, i16), String> {
    let endpoint = client.any_broker();
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        ..InitProducerIdRequest::default()
    };
    let answered = client
        .call(&endpoint, INIT_PRODUCER_ID, &request.into())
        .await;
    let Response::InitProducerId(given) = answered? else {
        return Err(unexpected(ApiKey::InitProducerId));
    };
    match given.error_code {
        0 => Ok((given.producer_id, given.producer_epoch)),
        refused => Err(named(refused)),
    }
}

impl Producer for KafkaProducer {
    fn send(
        &self,
        partition: u32,
        value: Bytes,
    ) -> LocalBoxFuture<'_, Result<Delivery, SendFailure>> {
        Box::pin(async move {
            let dead = SendFailure {
                outcome: Outcome::Fail,
                is_fatal: true,
            };
            if self.inner.shared.is_dead.get() {
                return Err(dead);
            }
            let (done, ended) = oneshot::channel();
            let queue = self.inner.queue_of(partition);
            let queued = queue.send(Queued { value, done }).await;
            queued.map_err(|_closed| dead)?;
            // The producer lives as long as its deliveries.
            let inner = Rc::clone(&self.inner);
            Ok(Box::pin(async move {
                let result = ended.await;
                drop(inner);
                let unknown = SendFailure {
                    outcome: Outcome::Info,
                    is_fatal: true,
                };
                result.unwrap_or(Err(unknown))
            }) as Delivery)
        })
    }
}

impl Inner {
    fn queue_of(&self, partition: u32) -> mpsc::Sender<Queued> {
        let mut queues = self.queues.borrow_mut();
        let queue = queues.entry(partition).or_insert_with(|| {
            let (queue, queued) = mpsc::channel(QUEUE_RECORDS_MAX);
            let shared = Rc::clone(&self.shared);
            let sending = shared.send_all(partition, queued);
            self.partitions.borrow_mut().spawn_local(sending);
            queue
        });
        queue.clone()
    }
}

impl Shared {
    async fn send_all(self: Rc<Self>, partition: u32, mut queued: mpsc::Receiver<Queued>) {
        let mut sequence = 0;
        let mut held_back = None;
        loop {
            let next = match held_back.take() {
                Some(held_back) => Some(held_back),
                None => queued.recv().await,
            };
            let Some(first) = next else { return };
            let linger = Duration::from_millis(u64::from(self.options.linger_ms));
            tokio::time::sleep(linger).await;
            let mut bytes = first.value.len();
            let mut batch = vec![first];
            while let Ok(next) = queued.try_recv() {
                bytes += next.value.len();
                if bytes > BATCH_BYTES {
                    held_back = Some(next);
                    break;
                }
                batch.push(next);
            }
            let fate = match self.is_dead.get() {
                true => Fate::Refused,
                false => self.deliver(partition, &batch, sequence).await,
            };
            let is_written = matches!(fate, Fate::Written(_));
            if is_written && self.identity.is_some() {
                sequence += i32::try_from(batch.len()).unwrap_or(i32::MAX);
            }
            self.tell(batch, &fate);
        }
    }

    fn tell(&self, batch: Vec<Queued>, fate: &Fate) {
        let is_unknown = matches!(fate, Fate::Unknown);
        if is_unknown && self.identity.is_some() {
            self.is_dead.set(true);
        }
        let is_fatal = self.is_dead.get();
        for (number, queued) in (0..).zip(batch) {
            let failed = |outcome| Err(SendFailure { outcome, is_fatal });
            let result = match fate {
                Fate::Written(base) => Ok(base.map(|base| base + number)),
                Fate::Refused => failed(Outcome::Fail),
                Fate::Unknown => failed(Outcome::Info),
            };
            // Whoever sent it may be gone.
            let _ = queued.done.send(result);
        }
    }

    /// Sends a batch until its fate is known or its time is up.
    async fn deliver(&self, partition: u32, batch: &[Queued], sequence: i32) -> Fate {
        let deadline = Instant::now() + DELIVERY_TIMEOUT;
        let request = self.request(partition, batch, sequence);
        loop {
            let tried = self.attempt(partition, request.clone()).await;
            match tried {
                Ok(fate) => return fate,
                Err(error) => {
                    tracing::debug!(partition, error, "not acknowledged");
                    if !self.options.retries || Instant::now() >= deadline {
                        return Fate::Unknown;
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn attempt(&self, partition: u32, mut request: ProduceRequest) -> Result<Fate, String> {
        if self.client.leader(partition).is_none() {
            self.client.refresh().await?;
        }
        let leader = self.client.leader(partition).ok_or("no leader is known")?;
        let Leader { endpoint, .. } = leader;
        let version = self.client.produce_version;
        let (name, topic_id) = self.client.topic_named(version);
        request.topic_data[0].name = name.into();
        request.topic_data[0].topic_id = topic_id;
        let request = request.into();
        if self.options.acks == Acks::None {
            let told = self.client.tell(&endpoint, version, &request).await;
            return told
                .inspect_err(|_| self.client.forget(partition))
                .map(|()| Fate::Written(None));
        }
        let answered = self.client.call(&endpoint, version, &request).await;
        let answered = answered.inspect_err(|_| self.client.forget(partition));
        let Response::Produce(response) = answered? else {
            return Err(unexpected(ApiKey::Produce));
        };
        self.fate(partition, &response)
    }

    fn fate(&self, partition: u32, response: &ProduceResponse) -> Result<Fate, String> {
        let topic = response.responses.first().ok_or("no topic")?;
        let answer = topic.partition_responses.first().ok_or("no partition")?;
        match ErrorCode::from_i16(answer.error_code) {
            Some(ErrorCode::None) => Ok(Fate::Written(Some(answer.base_offset))),
            // Refused for its size before anything was written, on every attempt.
            Some(ErrorCode::MessageTooLarge) => Ok(Fate::Refused),
            // Of any other error nobody knows what an earlier attempt did.
            Some(error) if !error.is_retriable() => Ok(Fate::Unknown),
            Some(_) | None => {
                let hinted = &answer.current_leader;
                let mut nodes = response.node_endpoints.iter();
                let node = nodes.find(|node| node.node_id == hinted.leader_id);
                let endpoint = node.map(|node| format!("{}:{}", node.host, node.port));
                self.client
                    .note_leader(partition, endpoint, hinted.leader_epoch);
                Err(named(answer.error_code))
            }
        }
    }

    fn request(&self, partition: u32, batch: &[Queued], sequence: i32) -> ProduceRequest {
        let mut builder = BatchBuilder::new(Compression::None, BATCH_BYTES);
        for queued in batch {
            let appended = builder.append(wall_clock_ms(), None, Some(&queued.value), &[]);
            appended.expect("a batch is small");
        }
        if let Some((producer_id, epoch)) = self.identity {
            builder.set_producer(producer_id, epoch, sequence);
        }
        let records = builder.finish().expect("it has records");
        ProduceRequest {
            acks: match self.options.acks {
                Acks::None => 0,
                Acks::Leader => 1,
                Acks::All => -1,
            },
            timeout_ms: ACKS_TIMEOUT_MS,
            topic_data: vec![TopicProduceData {
                partition_data: vec![PartitionProduceData {
                    index: i32::try_from(partition).unwrap_or(i32::MAX),
                    records: Some(records.into()),
                }],
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        }
    }
}
