//! The client: what producers, consumers and admin calls share.
//!
//! Owns settings, connections, the metadata cache and the retry loop of unary calls. It knows
//! nothing of batches or positions.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use raftmq_proto::v1::{MetadataRequest, MetadataResponse};
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::Channel;

use crate::admin::Admin;
use crate::backoff::Random;
use crate::connection::{Connections, broker_client};
use crate::connector::{Connector, TcpConnector};
use crate::consumer::ConsumerBuilder;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::metadata::Metadata;
use crate::producer::ProducerBuilder;
use crate::queues::{
    DEFAULT_VHOST, Exchange, Message, Queue, QueueRequest, RpcClient, RpcServer, Sessions, Vhost,
};

/// Attempts that the time of one call is enough for, even when every broker hangs.
const CALL_ATTEMPTS_MIN: u32 = 3;

/// Milliseconds since 1970: stamps records that have no timestamp of their own.
pub type WallClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A client of a RaftMQ cluster; cheap to clone, all clones share connections and metadata.
///
/// Must live within a tokio runtime. Nothing runs in the background except what producers and
/// consumers own.
///
/// ```no_run
/// # async fn example() -> raftmq_client::Result<()> {
/// let client = raftmq_client::Client::builder()
///     .bootstrap("127.0.0.1:9090")
///     .build()
///     .await?;
/// println!("{:?}", client.admin().list_topics().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    sessions: Arc<Sessions>,
}

impl Client {
    /// Starts to configure a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Starts to configure a producer.
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(Arc::clone(&self.shared))
    }

    /// Starts to configure a consumer.
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(Arc::clone(&self.shared))
    }

    /// Returns the control plane: topics, offsets, cluster.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.shared))
    }

    /// Returns a virtual host, which is looked for when it is used.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Vhost {
        Vhost::new(&self.shared, &self.sessions, name)
    }

    /// Returns a handle of a queue of the virtual host `/`.
    pub fn queue(&self, name: impl Into<String>) -> Queue {
        self.vhost(DEFAULT_VHOST).queue(name)
    }

    /// Returns a handle of an exchange of the virtual host `/`.
    pub fn exchange(&self, name: impl Into<String>) -> Exchange {
        self.vhost(DEFAULT_VHOST).exchange(name)
    }

    /// Makes a caller in the virtual host `/`; see [`Vhost::rpc_client`].
    ///
    /// # Errors
    /// As [`Vhost::rpc_client`].
    pub async fn rpc_client(&self) -> Result<RpcClient> {
        self.vhost(DEFAULT_VHOST).rpc_client().await
    }

    /// Serves the requests in a queue of the virtual host `/`; see [`Vhost::rpc_server`].
    ///
    /// # Errors
    /// As [`Vhost::rpc_server`].
    pub async fn rpc_server<H, F, M>(&self, queue: &str, handler: H) -> Result<RpcServer>
    where
        H: Fn(QueueRequest) -> F + Send + Sync + 'static,
        F: Future<Output = M> + Send + 'static,
        M: Into<Message> + Send,
    {
        self.vhost(DEFAULT_VHOST).rpc_server(queue, handler).await
    }
}

/// Settings of a [`Client`].
#[must_use]
pub struct ClientBuilder {
    bootstrap: Vec<String>,
    connector: Arc<dyn Connector>,
    clock: WallClock,
    rng_seed: Option<u64>,
    timeouts: Timeouts,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) request: Duration,
    pub(crate) topic_wait: Duration,
    pub(crate) metadata_age_max: Duration,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            connector: Arc::new(TcpConnector),
            clock: Arc::new(system_clock),
            rng_seed: None,
            timeouts: Timeouts {
                connect: limits::CONNECT_TIMEOUT,
                request: limits::REQUEST_TIMEOUT,
                topic_wait: limits::TOPIC_WAIT,
                metadata_age_max: limits::METADATA_AGE_MAX,
            },
        }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("bootstrap", &self.bootstrap)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// Adds brokers to start from: `host:port`, several separated by commas. One that answers is
    /// enough; the others are learnt from it.
    pub fn bootstrap(mut self, endpoints: &str) -> Self {
        let endpoints = endpoints.split(',').map(str::trim);
        self.bootstrap.extend(
            endpoints
                .filter(|endpoint| !endpoint.is_empty())
                .map(str::to_owned),
        );
        self
    }

    /// Replaces TCP, for example by a simulated network.
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = connector;
        self
    }

    /// Replaces the system's wall clock, which stamps records.
    pub fn clock(mut self, clock: WallClock) -> Self {
        self.clock = clock;
        self
    }

    /// Seeds jitter and partition choice, so that a simulation repeats.
    pub const fn rng_seed(mut self, seed: u64) -> Self {
        self.rng_seed = Some(seed);
        self
    }

    /// Bounds one attempt to connect (default 5 s).
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connect = timeout;
        self
    }

    /// Bounds one request to a broker, and each admin call with its retries (default 30 s).
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.request = timeout;
        self
    }

    /// Sets how long to wait for a topic that the cluster does not show, which may have been
    /// created a moment ago (default 5 s).
    pub const fn topic_wait(mut self, timeout: Duration) -> Self {
        self.timeouts.topic_wait = timeout;
        self
    }

    /// Sets the age at which metadata is fetched anew (default 300 s).
    pub const fn metadata_age_max(mut self, age: Duration) -> Self {
        self.timeouts.metadata_age_max = age;
        self
    }

    /// Connects to one of the bootstrap brokers and reads the cluster's metadata.
    ///
    /// Cancel safe: nothing is left behind.
    ///
    /// # Errors
    /// `InvalidConfig` without bootstrap brokers; `TimedOut` when none answers within the request
    /// timeout, with the last error inside.
    pub async fn build(self) -> Result<Client> {
        if self.bootstrap.is_empty() {
            return Err(Error::InvalidConfig(
                "bootstrap needs at least one host:port".to_owned(),
            ));
        }
        let shared = Shared {
            connections: Connections::new(self.connector, self.timeouts.connect),
            bootstrap: self.bootstrap,
            clock: self.clock,
            random: Random::new(self.rng_seed),
            metadata: Metadata::default(),
            metadata_seen: AtomicU64::new(0),
            refreshing: tokio::sync::Mutex::new(()),
            timeouts: self.timeouts,
        };
        shared.refresh_metadata().await?;
        Ok(Client {
            shared: Arc::new(shared),
            sessions: Arc::default(),
        })
    }
}

/// What everything made by one client shares.
pub(crate) struct Shared {
    pub(crate) connections: Connections,
    bootstrap: Vec<String>,
    clock: WallClock,
    pub(crate) random: Random,
    pub(crate) metadata: Metadata,
    /// The version of the metadata that what this client declared is in.
    metadata_seen: AtomicU64,
    /// One refresh at a time; the others take its result.
    refreshing: tokio::sync::Mutex<()>,
    pub(crate) timeouts: Timeouts,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("bootstrap", &self.bootstrap)
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// What brokers are to know before they carry a request out.
    pub(crate) fn metadata_seen(&self) -> u64 {
        self.metadata_seen.load(Ordering::Acquire)
    }

    /// Takes note of a declaration's outcome.
    pub(crate) fn see_metadata(&self, version: u64) {
        self.metadata_seen.fetch_max(version, Ordering::AcqRel);
    }

    pub(crate) fn now_ms(&self) -> i64 {
        (self.clock)()
    }

    /// Fetches the metadata of all wanted topics; when a refresh is under way, waits for that one.
    pub(crate) async fn refresh_metadata(&self) -> Result<()> {
        let seen = self.metadata.refreshes();
        let _turn = self.refreshing.lock().await;
        if self.metadata.refreshes() != seen {
            return Ok(());
        }
        let response = self.fetch_metadata(self.metadata.wanted()).await?;
        self.metadata.apply(response, Instant::now());
        Ok(())
    }

    /// Asks any broker for metadata; no topics means only brokers and controller.
    pub(crate) async fn fetch_metadata(&self, topics: Vec<String>) -> Result<MetadataResponse> {
        let request = MetadataRequest {
            brokers_only: topics.is_empty(),
            topics,
        };
        self.call("metadata request", |channel| {
            let request = request.clone();
            async move { broker_client(channel).metadata(request).await }
        })
        .await
    }

    /// Waits until the topic is known and returns its number of partitions.
    pub(crate) async fn partitions_count(&self, topic: &str) -> Result<u32> {
        self.metadata.want(topic);
        let deadline = Instant::now() + self.timeouts.topic_wait;
        let mut failures = 0;
        loop {
            if let Some(count) = self.metadata.partitions_count(topic) {
                return Ok(count);
            }
            self.refresh_metadata().await?;
            if let Some(count) = self.metadata.partitions_count(topic) {
                return Ok(count);
            }
            failures += 1;
            let pause = self.random.backoff(failures);
            if Instant::now() + pause > deadline {
                return Err(raftmq_proto::v1::Error::unknown_topic(topic).into());
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Calls any broker, one after the other, with pauses, until one answers or the request
    /// timeout is over. A broker that names the one to ask is followed at once.
    pub(crate) async fn call<T, F, Fut>(&self, operation: &'static str, call: F) -> Result<T>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = std::result::Result<tonic::Response<T>, Status>>,
    {
        let deadline = Instant::now() + self.timeouts.request;
        let mut candidates = Candidates::new(self);
        let mut last_error = None;
        let mut failures = 0;
        loop {
            let endpoint = candidates.next(self);
            // A broker that is connected but hangs must leave time for the others.
            let attempt_end = Instant::now() + self.timeouts.request / CALL_ATTEMPTS_MIN;
            let attempt_end = attempt_end.min(deadline);
            let error = match self.call_once(&endpoint, attempt_end, &call).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            // Brokers pass a call on to where it is decided: a topic they do not know is not there.
            if !error.is_retriable() || error.kind() == ErrorKind::NotFound {
                return Err(error);
            }
            tracing::debug!(operation, endpoint, %error, "call failed, trying again");
            failures += 1;
            let is_redirected = error.leader_endpoint().is_some_and(|leader| {
                candidates.redirect(leader);
                failures <= limits::REDIRECTS_AT_ONCE_MAX
            });
            let pause = if is_redirected {
                Duration::ZERO
            } else {
                self.random.backoff(failures)
            };
            // That the deadline cut the last attempt short tells less than why earlier ones failed.
            if attempt_end < deadline || error.kind() != ErrorKind::TimedOut || last_error.is_none()
            {
                last_error = Some(Box::new(error));
            }
            if Instant::now() + pause >= deadline {
                return Err(Error::TimedOut {
                    operation,
                    timeout: self.timeouts.request,
                    last_error,
                });
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Calls one broker once, within the deadline.
    pub(crate) async fn call_once<T, F, Fut>(
        &self,
        endpoint: &str,
        deadline: Instant,
        call: &F,
    ) -> Result<T>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = std::result::Result<tonic::Response<T>, Status>>,
    {
        let began = Instant::now();
        let attempt = async {
            let channel = self.connections.shared(endpoint).await?;
            call(channel)
                .await
                .map(tonic::Response::into_inner)
                .map_err(|status| Error::from_status(endpoint, &status))
        };
        let result = match tokio::time::timeout_at(deadline, attempt).await {
            Ok(result) => result,
            Err(_) => Err(Error::TimedOut {
                operation: "answer of a broker",
                timeout: deadline - began,
                last_error: None,
            }),
        };
        // TIMED_OUT as a broker's answer comes over a good connection.
        if let Err(Error::ConnectionLost { .. } | Error::Connect { .. } | Error::TimedOut { .. }) =
            &result
        {
            self.connections.forget(endpoint);
        }
        result
    }
}

/// Which broker to ask next: known ones and bootstrap ones, starting at a random one.
#[derive(Debug)]
pub(crate) struct Candidates {
    endpoints: Vec<String>,
    next: usize,
    redirected: Option<String>,
}

impl Candidates {
    pub(crate) fn new(shared: &Shared) -> Self {
        let endpoints = Self::known(shared);
        let count = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
        Self {
            next: usize::try_from(shared.random.below(count)).unwrap_or(0),
            endpoints,
            redirected: None,
        }
    }

    fn known(shared: &Shared) -> Vec<String> {
        let known = shared.metadata.alive();
        let mut endpoints: Vec<String> = known.iter().map(|known| known.to_string()).collect();
        for bootstrap in &shared.bootstrap {
            if !endpoints.contains(bootstrap) {
                endpoints.push(bootstrap.clone());
            }
        }
        endpoints
    }

    pub(crate) fn next(&mut self, shared: &Shared) -> String {
        if let Some(endpoint) = self.redirected.take() {
            return endpoint;
        }
        let endpoint = self.endpoints.get(self.next).cloned();
        self.next += 1;
        if let Some(endpoint) = endpoint {
            return endpoint;
        }
        // Once around: brokers may have been learnt meanwhile.
        self.endpoints = Self::known(shared);
        self.next = 1;
        self.endpoints.first().cloned().unwrap_or_default()
    }

    fn redirect(&mut self, endpoint: &str) {
        self.redirected = Some(endpoint.to_owned());
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the default wall clock; ClientBuilder::clock replaces it in a simulation"
)]
fn system_clock() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}
