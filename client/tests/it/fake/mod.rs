//! A cluster in memory: real tonic servers on ports of their own, one shared log per partition,
//! and a script of things that go wrong.
//!
//! It keeps Kafka's rules for sequences, so that a client that retries wrongly is found out.

mod admin;
mod amqp;
mod broker;
mod queues;
mod state;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use raftmq_client::ErrorCode;
use raftmq_proto::v1::QueueMessage;
use raftmq_proto::v1::admin_server::AdminServer;
use raftmq_proto::v1::amqp_admin_server::AmqpAdminServer;
use raftmq_proto::v1::broker_server::BrokerServer;
use raftmq_proto::v1::queues_server::QueuesServer;
use raftmq_records::{BatchHeader, DecodeLimits, Record, records};
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;

use self::state::{Log, State};

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

/// What happens to the next message that is published to a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ChannelFault {
    /// It is refused with this code; the queue does not have it.
    Refuse(ErrorCode),
    /// The queue does not have it, the stream breaks.
    Break,
    /// The queue has it, the stream breaks before the answer.
    StoreThenBreak,
    /// The queue has it, no answer ever comes.
    StoreThenSilence,
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
                .add_service(AdminServer::new(server.clone()))
                .add_service(AmqpAdminServer::new(server.clone()))
                .add_service(QueuesServer::new(server))
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

    /// The next lists of virtual hosts break off.
    pub(crate) fn break_lists(&self, count: u32) {
        self.state.lock().list_breaks = count;
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

    pub(crate) fn refuse_metadata(&self) {
        self.state.lock().refuses_metadata = true;
    }

    pub(crate) fn metadata_requests(&self) -> u32 {
        self.state.lock().metadata_requests
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

    pub(crate) fn fail_publishes(&self, faults: impl IntoIterator<Item = ChannelFault>) {
        self.state.lock().channel_faults.extend(faults);
    }

    /// Breaks every stream of queues that is open.
    pub(crate) fn break_channels(&self) {
        self.state.lock().channels_epoch += 1;
        self.appended.notify_waiters();
    }

    /// Streams of queues that were opened.
    pub(crate) fn channels_count(&self) -> u64 {
        self.state.lock().channels_count
    }

    pub(crate) fn metadata_wanted(&self) -> u64 {
        self.state.lock().metadata_wanted
    }

    /// Every message that was stored in a queue.
    pub(crate) fn stored(&self, queue: &str) -> Vec<QueueMessage> {
        self.state.lock().queues[queue].stored.clone()
    }

    pub(crate) fn set_controller(&self, broker_id: u32) {
        self.state.lock().controller = broker_id;
    }
}
