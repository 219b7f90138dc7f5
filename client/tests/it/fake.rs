//! A cluster in memory: real tonic servers on ports of their own, one shared log per partition,
//! and a script of things that go wrong.
//!
//! It keeps Kafka's rules for sequences, so that a client that retries wrongly is found out.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;
use raftmq_client::ErrorCode;
use raftmq_proto::v1::admin_server::{Admin, AdminServer};
use raftmq_proto::v1::broker_server::{Broker, BrokerServer};
use raftmq_proto::v1::offset_query::At;
use raftmq_proto::v1::*;
use raftmq_records::{BatchHeader, DecodeLimits, Record, batches, records, stamp, validate_batch};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// What happens to the next produce request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Every batch is refused with this code; nothing is written.
    Refuse(ErrorCode),
    /// Nothing is written, the stream breaks.
    Break,
    /// Everything is written, the stream breaks before the answer.
    WriteThenBreak,
    /// Everything is written, no answer ever comes.
    WriteThenSilence,
}

#[derive(Debug, Default)]
struct Log {
    leader: u32,
    /// What metadata says, when it lags behind.
    shown_leader: Option<u32>,
    epoch: i64,
    batches: Vec<Bytes>,
    start: i64,
    end: i64,
    /// Next sequence, and what was written under which sequence, by producer id.
    producers: BTreeMap<i64, (i32, BTreeMap<i32, i64>)>,
}

#[derive(Debug, Default)]
struct State {
    endpoints: Vec<String>,
    topics: BTreeMap<String, Vec<Log>>,
    controller: u32,
    faults: VecDeque<Fault>,
    fetch_breaks: u32,
    produce_requests: u32,
    producer_ids: i64,
    append_time_ms: Option<i64>,
    version: u64,
}

/// The cluster; dropping it stops nothing (its tasks end with the test's runtime).
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    state: Arc<Mutex<State>>,
    appended: Arc<Notify>,
}

#[derive(Debug, Clone)]
struct Server {
    broker_id: u32,
    cluster: Cluster,
}

type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Cluster {
    /// Starts brokers 1, 2, …
    pub(crate) async fn start(brokers_count: u32) -> Self {
        let cluster = Self {
            state: Arc::default(),
            appended: Arc::default(),
        };
        cluster.state.lock().controller = 1;
        for broker_id in 1..=brokers_count {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a free port");
            let address = listener.local_addr().expect("bound").to_string();
            cluster.state.lock().endpoints.push(address);
            let server = Server {
                broker_id,
                cluster: cluster.clone(),
            };
            let serve = tonic::transport::Server::builder()
                .add_service(BrokerServer::new(server.clone()).max_decoding_message_size(64 << 20))
                .add_service(AdminServer::new(server))
                .serve_with_incoming(TcpListenerStream::new(listener));
            tokio::spawn(serve);
        }
        cluster
    }

    pub(crate) fn endpoint(&self, broker_id: u32) -> String {
        self.state.lock().endpoints[broker_id as usize - 1].clone()
    }

    /// Creates a topic whose partitions are led by brokers 1, 2, … in turn.
    pub(crate) fn create_topic(&self, name: &str, partitions_count: u32) {
        let mut state = self.state.lock();
        let brokers_count = u32::try_from(state.endpoints.len()).expect("few");
        let logs = (0..partitions_count).map(|partition| Log {
            leader: partition % brokers_count + 1,
            epoch: 1,
            ..Log::default()
        });
        let logs = logs.collect();
        state.topics.insert(name.to_owned(), logs);
        state.version += 1;
    }

    /// Moves a partition's leader; with `is_shown` false the metadata goes on naming the old one.
    pub(crate) fn move_leader(&self, topic: &str, partition: usize, leader: u32, is_shown: bool) {
        let mut state = self.state.lock();
        state.version += 1;
        let log = &mut state.topics.get_mut(topic).expect("exists")[partition];
        log.shown_leader = (!is_shown).then_some(log.leader);
        log.leader = leader;
        log.epoch += 1;
    }

    pub(crate) fn fail_produce(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().faults.extend(faults);
    }

    pub(crate) fn break_fetches(&self, count: u32) {
        self.state.lock().fetch_breaks = count;
    }

    pub(crate) fn forget_producers(&self) {
        for log in self.state.lock().topics.values_mut().flatten() {
            log.producers.clear();
        }
    }

    pub(crate) fn set_append_time(&self, timestamp_ms: i64) {
        self.state.lock().append_time_ms = Some(timestamp_ms);
    }

    pub(crate) fn delete_records(&self, topic: &str, partition: usize, before: i64) {
        self.state.lock().topics.get_mut(topic).expect("exists")[partition].start = before;
    }

    /// Puts bytes into the log as they are.
    pub(crate) fn append_raw(&self, topic: &str, partition: usize, bytes: Bytes, end: i64) {
        let mut state = self.state.lock();
        let log = &mut state.topics.get_mut(topic).expect("exists")[partition];
        log.batches.push(bytes);
        log.end = end;
    }

    pub(crate) fn produce_requests(&self) -> u32 {
        self.state.lock().produce_requests
    }

    pub(crate) fn batches_count(&self, topic: &str, partition: usize) -> usize {
        self.state.lock().topics[topic][partition].batches.len()
    }

    pub(crate) fn headers(&self, topic: &str, partition: usize) -> Vec<BatchHeader> {
        let state = self.state.lock();
        let batches = state.topics[topic][partition].batches.iter();
        batches
            .map(|batch| BatchHeader::parse(batch).expect("written batches are valid"))
            .collect()
    }

    /// Everything in a partition, decoded.
    pub(crate) fn records(&self, topic: &str, partition: usize) -> Vec<Record> {
        let state = self.state.lock();
        let log = &state.topics[topic][partition];
        log.batches
            .iter()
            .flat_map(|batch| records(batch, DecodeLimits::default()).expect("valid"))
            .map(|record| record.expect("valid"))
            .collect()
    }

    pub(crate) fn values(&self, topic: &str, partition: usize) -> Vec<String> {
        let records = self.records(topic, partition).into_iter();
        records
            .map(|record| String::from_utf8(record.value.expect("set").to_vec()).expect("text"))
            .collect()
    }
}

impl State {
    fn log(&mut self, topic: &str, partition: u32) -> Result<&mut Log, Error> {
        let logs = self
            .topics
            .get_mut(topic)
            .ok_or_else(|| Error::unknown_topic(topic))?;
        logs.get_mut(partition as usize)
            .ok_or_else(|| Error::unknown_partition(topic, partition))
    }

    fn led_log(&mut self, broker_id: u32, topic: &str, partition: u32) -> Result<&mut Log, Error> {
        let leader = self.log(topic, partition)?.leader;
        if leader != broker_id {
            let endpoint = self.endpoints[leader as usize - 1].clone();
            return Err(Error::not_leader("elsewhere", Some((leader, endpoint))));
        }
        self.log(topic, partition)
    }

    fn append(&mut self, broker_id: u32, batch: &PartitionBatch) -> Result<(i64, bool), Error> {
        let log = self.led_log(broker_id, &batch.topic, batch.partition)?;
        if batch.record_batch.len() > MAX_MESSAGE_BYTES {
            return Err(Error::new(ErrorCode::RecordTooLarge, "too large"));
        }
        let header = validate_batch(&batch.record_batch, MAX_MESSAGE_BYTES)
            .map_err(|error| Error::new(ErrorCode::CorruptRecord, error.to_string()))?;
        if header.has_producer() {
            let (next, written) = log.producers.entry(header.producer_id).or_default();
            if let Some(offset) = written.get(&header.base_sequence) {
                return Ok((*offset, true));
            }
            if header.base_sequence != *next {
                return Err(Error::new(ErrorCode::OutOfOrderSequence, "a gap"));
            }
            *next += header.records_count;
            written.insert(header.base_sequence, log.end);
        }
        let base_offset = log.end;
        let mut stamped = batch.record_batch.to_vec();
        stamp(&mut stamped, base_offset, 1);
        log.batches.push(Bytes::from(stamped));
        log.end += i64::from(header.records_count);
        Ok((base_offset, false))
    }

    fn produce(&mut self, broker_id: u32, batch: &PartitionBatch) -> ProduceResult {
        let appended = self.append(broker_id, batch);
        let (base_offset, duplicate) = *appended.as_ref().unwrap_or(&(-1, false));
        ProduceResult {
            topic: batch.topic.clone(),
            partition: batch.partition,
            error: appended.err(),
            base_offset,
            log_append_time_ms: self.append_time_ms.unwrap_or(-1),
            log_start_offset: 0,
            duplicate,
        }
    }

    fn fetch(&mut self, broker_id: u32, wanted: &FetchPartition) -> FetchResult {
        let mut result = FetchResult {
            topic: wanted.topic.clone(),
            partition: wanted.partition,
            ..FetchResult::default()
        };
        let log = match self.led_log(broker_id, &wanted.topic, wanted.partition) {
            Ok(log) => log,
            Err(error) => {
                result.error = Some(error);
                return result;
            }
        };
        let epoch = wanted.current_leader_epoch;
        if epoch >= 0 && epoch < log.epoch {
            result.error = Some(Error::new(ErrorCode::FencedLeaderEpoch, "old epoch"));
            return result;
        }
        if wanted.fetch_offset < log.start || wanted.fetch_offset > log.end {
            result.error = Some(Error::new(ErrorCode::OffsetOutOfRange, "out of range"));
            return result;
        }
        let mut bytes = Vec::new();
        for batch in &log.batches {
            let next = batches(batch)
                .filter_map(Result::ok)
                .map(|(h, _)| h.next_offset());
            let is_wanted = next.max().is_none_or(|next| next > wanted.fetch_offset);
            let has_room =
                bytes.is_empty() || bytes.len() + batch.len() <= wanted.max_bytes as usize;
            if is_wanted && !has_room {
                break;
            }
            if is_wanted {
                bytes.extend_from_slice(batch);
            }
        }
        result.record_batches = Bytes::from(bytes);
        result.high_watermark = log.end;
        result.log_start_offset = log.start;
        result.leader_epoch = log.epoch;
        result
    }

    fn topic_info(&self, name: &str) -> TopicInfo {
        let Some(logs) = self.topics.get(name) else {
            return TopicInfo {
                name: name.to_owned(),
                error: Some(Error::unknown_topic(name)),
                ..TopicInfo::default()
            };
        };
        let partitions = logs.iter().zip(0..).map(|(log, partition)| PartitionInfo {
            partition,
            leader_broker_id: log.shown_leader.unwrap_or(log.leader),
            leader_epoch: log.epoch,
            ..PartitionInfo::default()
        });
        TopicInfo {
            name: name.to_owned(),
            partitions: partitions.collect(),
            ..TopicInfo::default()
        }
    }

    fn list_offset(&mut self, broker_id: u32, query: &OffsetQuery) -> OffsetResult {
        let mut result = OffsetResult {
            topic: query.topic.clone(),
            partition: query.partition,
            timestamp_ms: -1,
            ..OffsetResult::default()
        };
        let log = match self.led_log(broker_id, &query.topic, query.partition) {
            Ok(log) => log,
            Err(error) => {
                result.error = Some(error);
                return result;
            }
        };
        result.leader_epoch = log.epoch;
        result.offset = match query.at {
            Some(At::Special(special)) if special == OffsetSpecial::Earliest as i32 => log.start,
            Some(At::Special(_)) | None => log.end,
            Some(At::TimestampMs(timestamp_ms)) => {
                let all = log
                    .batches
                    .iter()
                    .filter_map(|batch| records(batch, DecodeLimits::default()).ok());
                let found = all
                    .flatten()
                    .filter_map(Result::ok)
                    .find(|record| record.timestamp_ms >= timestamp_ms);
                found.map_or(-1, |record| record.offset)
            }
        };
        result
    }
}

impl Server {
    async fn serve_produce(
        self,
        mut requests: Streaming<ProduceRequest>,
        answers: mpsc::Sender<Result<ProduceResponse, Status>>,
    ) {
        while let Ok(Some(request)) = requests.message().await {
            let (fault, results) = self.handle_produce(&request);
            self.cluster.appended.notify_waiters();
            match fault {
                Some(Fault::Break | Fault::WriteThenBreak) => {
                    let _ = answers.send(Err(Status::unavailable("scripted"))).await;
                    return;
                }
                Some(Fault::WriteThenSilence) => continue,
                Some(Fault::Refuse(_)) | None => {}
            }
            if request.acks() == Acks::None {
                continue;
            }
            let response = ProduceResponse {
                correlation_id: request.correlation_id,
                results,
            };
            if answers.send(Ok(response)).await.is_err() {
                return;
            }
        }
    }

    fn handle_produce(&self, request: &ProduceRequest) -> (Option<Fault>, Vec<ProduceResult>) {
        let mut state = self.cluster.state.lock();
        state.produce_requests += 1;
        let fault = state.faults.pop_front();
        let produce = |state: &mut State, batch| match fault {
            Some(Fault::Refuse(code)) => {
                let batch: &PartitionBatch = batch;
                ProduceResult {
                    topic: batch.topic.clone(),
                    partition: batch.partition,
                    error: Some(Error::new(code, "scripted")),
                    base_offset: -1,
                    ..ProduceResult::default()
                }
            }
            Some(Fault::Break) => ProduceResult::default(),
            Some(Fault::WriteThenBreak | Fault::WriteThenSilence) | None => {
                state.produce(self.broker_id, batch)
            }
        };
        let batches = request.batches.iter();
        let results = batches.map(|batch| produce(&mut state, batch)).collect();
        (fault, results)
    }

    async fn serve_fetch(
        self,
        mut requests: Streaming<FetchRequest>,
        answers: mpsc::Sender<Result<FetchResponse, Status>>,
    ) {
        while let Ok(Some(request)) = requests.message().await {
            let is_broken = {
                let mut state = self.cluster.state.lock();
                let is_broken = state.fetch_breaks > 0;
                state.fetch_breaks = state.fetch_breaks.saturating_sub(1);
                is_broken
            };
            if is_broken {
                let _ = answers.send(Err(Status::unavailable("scripted"))).await;
                return;
            }
            let wait = Duration::from_millis(request.max_wait_ms.into());
            let deadline = tokio::time::Instant::now() + wait;
            let results = loop {
                let appended = self.cluster.appended.notified();
                let results = self.handle_fetch(&request);
                let is_enough = results
                    .iter()
                    .any(|result| result.error.is_some() || !result.record_batches.is_empty());
                let is_over = tokio::time::timeout_at(deadline, appended);
                if is_enough || is_over.await.is_err() {
                    break results;
                }
            };
            let response = FetchResponse {
                correlation_id: request.correlation_id,
                results,
            };
            if answers.send(Ok(response)).await.is_err() {
                return;
            }
        }
    }

    fn handle_fetch(&self, request: &FetchRequest) -> Vec<FetchResult> {
        let mut state = self.cluster.state.lock();
        let wanted = request.partitions.iter();
        wanted
            .map(|wanted| state.fetch(self.broker_id, wanted))
            .collect()
    }
}

#[tonic::async_trait]
impl Broker for Server {
    type ProduceStream = ResponseStream<ProduceResponse>;
    type FetchStream = ResponseStream<FetchResponse>;

    async fn produce(
        &self,
        request: Request<Streaming<ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStream>, Status> {
        let (sender, answers) = mpsc::channel(64);
        tokio::spawn(self.clone().serve_produce(request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn fetch(
        &self,
        request: Request<Streaming<FetchRequest>>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let (sender, answers) = mpsc::channel(64);
        tokio::spawn(self.clone().serve_fetch(request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn list_offsets(
        &self,
        request: Request<ListOffsetsRequest>,
    ) -> Result<Response<ListOffsetsResponse>, Status> {
        let mut state = self.cluster.state.lock();
        let queries = request.get_ref().queries.iter();
        let results = queries.map(|query| state.list_offset(self.broker_id, query));
        let results = results.collect();
        Ok(Response::new(ListOffsetsResponse { results }))
    }

    async fn metadata(
        &self,
        request: Request<MetadataRequest>,
    ) -> Result<Response<MetadataResponse>, Status> {
        let state = self.cluster.state.lock();
        let request = request.into_inner();
        let names = match (request.topics.is_empty(), request.brokers_only) {
            (true, true) => Vec::new(),
            (true, false) => state.topics.keys().cloned().collect(),
            (false, _) => request.topics,
        };
        let brokers = state
            .endpoints
            .iter()
            .zip(1..)
            .map(|(endpoint, broker_id)| BrokerInfo {
                broker_id,
                grpc_endpoint: endpoint.clone(),
                ..BrokerInfo::default()
            });
        Ok(Response::new(MetadataResponse {
            cluster_id: "fake".to_owned(),
            controller_broker_id: state.controller,
            brokers: brokers.collect(),
            topics: names.iter().map(|name| state.topic_info(name)).collect(),
            version: state.version,
        }))
    }

    async fn init_producer_id(
        &self,
        _: Request<InitProducerIdRequest>,
    ) -> Result<Response<InitProducerIdResponse>, Status> {
        let mut state = self.cluster.state.lock();
        state.producer_ids += 1;
        Ok(Response::new(InitProducerIdResponse {
            producer_id: state.producer_ids,
            producer_epoch: 0,
        }))
    }
}

impl Server {
    /// Control calls are taken by the controller only, so that redirection is seen to work.
    fn check_controller(&self) -> Result<(), Status> {
        let state = self.cluster.state.lock();
        let controller = state.controller;
        if controller == self.broker_id {
            return Ok(());
        }
        let endpoint = state.endpoints[controller as usize - 1].clone();
        Err(Error::not_leader("not the controller", Some((controller, endpoint))).into())
    }
}

impl Cluster {
    pub(crate) fn set_controller(&self, broker_id: u32) {
        self.state.lock().controller = broker_id;
    }
}

#[tonic::async_trait]
impl Admin for Server {
    async fn create_topic(
        &self,
        request: Request<CreateTopicRequest>,
    ) -> Result<Response<CreateTopicResponse>, Status> {
        self.check_controller()?;
        let request = request.into_inner();
        if self.cluster.state.lock().topics.contains_key(&request.name) {
            return Err(Error::new(ErrorCode::TopicAlreadyExists, "it exists").into());
        }
        if !request.validate_only {
            self.cluster
                .create_topic(&request.name, request.partitions_count);
        }
        Ok(Response::new(CreateTopicResponse {
            topic: Some(self.cluster.state.lock().topic_info(&request.name)),
            warnings: Vec::new(),
        }))
    }

    async fn delete_topic(
        &self,
        request: Request<DeleteTopicRequest>,
    ) -> Result<Response<DeleteTopicResponse>, Status> {
        self.check_controller()?;
        let name = request.into_inner().name;
        let deleted = self.cluster.state.lock().topics.remove(&name);
        deleted.ok_or_else(|| Error::unknown_topic(&name))?;
        Ok(Response::new(DeleteTopicResponse {}))
    }

    async fn alter_topic(
        &self,
        request: Request<AlterTopicRequest>,
    ) -> Result<Response<AlterTopicResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.cluster.state.lock();
        let count = request.partitions_count as usize;
        if let Some(logs) = state.topics.get_mut(&request.name) {
            logs.resize_with(count.max(logs.len()), || Log {
                leader: 1,
                ..Log::default()
            });
        }
        Ok(Response::new(AlterTopicResponse {
            topic: Some(state.topic_info(&request.name)),
        }))
    }

    async fn describe_topic(
        &self,
        request: Request<DescribeTopicRequest>,
    ) -> Result<Response<DescribeTopicResponse>, Status> {
        let topic = self
            .cluster
            .state
            .lock()
            .topic_info(&request.get_ref().name);
        if let Some(error) = topic.error {
            return Err(error.into());
        }
        Ok(Response::new(DescribeTopicResponse {
            topic: Some(topic),
            configs: Vec::new(),
        }))
    }

    async fn delete_records(
        &self,
        request: Request<DeleteRecordsRequest>,
    ) -> Result<Response<DeleteRecordsResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.cluster.state.lock();
        let log = state.log(&request.topic, request.partition)?;
        log.start = request.before_offset;
        Ok(Response::new(DeleteRecordsResponse {
            log_start_offset: request.before_offset,
        }))
    }

    async fn alter_replicas(
        &self,
        _: Request<AlterReplicasRequest>,
    ) -> Result<Response<AlterReplicasResponse>, Status> {
        Err(Error::new(ErrorCode::UnknownBroker, "no such broker").into())
    }

    async fn describe_cluster(
        &self,
        _: Request<DescribeClusterRequest>,
    ) -> Result<Response<DescribeClusterResponse>, Status> {
        Ok(Response::new(DescribeClusterResponse {
            cluster_id: "fake".to_owned(),
            ..DescribeClusterResponse::default()
        }))
    }
}
