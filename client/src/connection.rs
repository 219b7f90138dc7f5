//! gRPC channels to brokers over the [`Connector`] seam.
//!
//! Knows endpoints and HTTP/2 settings. Long-lived streams take a connection of
//! their own each, so that bulk never delays a metadata call; unary calls share one per broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use raftmq_proto::v1::admin_client::AdminClient;
use raftmq_proto::v1::amqp_admin_client::AmqpAdminClient;
use raftmq_proto::v1::broker_client::BrokerClient;
use raftmq_proto::v1::queues_client::QueuesClient;
use tonic::transport::{Channel, Endpoint};

use crate::connector::Connector;
use crate::error::{Error, Result};
use crate::limits::{
    CONNECTION_WINDOW_BYTES, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, RESPONSE_BYTES_MAX,
    STREAM_WINDOW_BYTES,
};

/// Opens channels, and keeps those for unary calls.
#[derive(Debug)]
pub(crate) struct Connections {
    connector: Arc<dyn Connector>,
    connect_timeout: Duration,
    shared: Mutex<BTreeMap<String, Channel>>,
}

impl Connections {
    pub(crate) fn new(connector: Arc<dyn Connector>, connect_timeout: Duration) -> Self {
        Self {
            connector,
            connect_timeout,
            shared: Mutex::new(BTreeMap::new()),
        }
    }

    /// Opens a connection that nobody else uses.
    pub(crate) async fn open(&self, endpoint: &str) -> Result<Channel> {
        let connect = self.connect(endpoint);
        match tokio::time::timeout(self.connect_timeout, connect).await {
            Ok(channel) => channel,
            Err(_) => Err(Error::Connect {
                endpoint: endpoint.to_owned(),
                reason: format!("no answer within {:?}", self.connect_timeout),
            }),
        }
    }

    /// Returns the connection for unary calls, opening it when there is none.
    pub(crate) async fn shared(&self, endpoint: &str) -> Result<Channel> {
        let existing = self.shared.lock().get(endpoint).cloned();
        if let Some(channel) = existing {
            return Ok(channel);
        }
        let channel = self.open(endpoint).await?;
        self.shared
            .lock()
            .insert(endpoint.to_owned(), channel.clone());
        Ok(channel)
    }

    /// Drops the connection for unary calls after it failed.
    pub(crate) fn forget(&self, endpoint: &str) {
        self.shared.lock().remove(endpoint);
    }

    async fn connect(&self, endpoint: &str) -> Result<Channel> {
        let failed = |reason: String| Error::Connect {
            endpoint: endpoint.to_owned(),
            reason,
        };
        let target = Endpoint::from_shared(format!("http://{endpoint}"))
            .map_err(|error| failed(error.to_string()))?
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let connector = Arc::clone(&self.connector);
        let address = endpoint.to_owned();
        let connect = tower::service_fn(move |_: Uri| {
            let stream = connector.connect(address.clone());
            async move { stream.await.map(TokioIo::new) }
        });
        target
            .connect_with_connector(connect)
            .await
            .map_err(|error| failed(root_cause(&error)))
    }
}

/// The data plane's client on a channel, with limits set.
pub(crate) fn broker_client(channel: Channel) -> BrokerClient<Channel> {
    BrokerClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX)
}

/// The control plane's client on a channel, with limits set.
pub(crate) fn admin_client(channel: Channel) -> AdminClient<Channel> {
    AdminClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX)
}

/// The client of AMQP's control plane on a channel, with limits set.
pub(crate) fn amqp_admin_client(channel: Channel) -> AmqpAdminClient<Channel> {
    AmqpAdminClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX)
}

/// The queues' client on a channel, with limits set.
pub(crate) fn queues_client(channel: Channel) -> QueuesClient<Channel> {
    QueuesClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX)
}

/// Tonic says "transport error" and hides the reason in the chain.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
