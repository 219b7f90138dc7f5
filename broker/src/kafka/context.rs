//! What every handler is given: the broker's parts, and by which listener the client came.
//!
//! Knows how brokers look to the clients of a listener; decides nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use parking_lot::Mutex;
use raftmq_core::cluster::{Broker, Command, Image, Outcome};
use raftmq_core::ids::BrokerId;
use raftmq_core::limits::NAME_BYTES_MAX;
use raftmq_core::quota::ClientIdentity;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::metrics::Metrics;
use super::quotas::ClientQuotas;
use super::sessions::Sessions;
use super::wire::node_id;
use crate::controller::ControlError;
use crate::node::Parts;

/// What the broker's own configuration says, as far as clients are told.
#[derive(Debug)]
pub(super) struct OwnConfig {
    /// `NAME://host:port`, comma-separated.
    pub(super) listeners: String,
    /// A path.
    pub(super) data_dir: String,
}

/// What all connections of a broker share.
pub(super) struct Shared {
    pub(super) parts: Parts,
    pub(super) own: OwnConfig,
    pub(super) sessions: Mutex<Sessions>,
    pub(super) metrics: Metrics,
    pub(super) quotas: ClientQuotas,
    pub(super) connections: Arc<Semaphore>,
    /// In units of `REQUEST_BYTES_UNIT`.
    pub(super) request_bytes: Arc<Semaphore>,
    pub(super) request_units_max: usize,
    pub(super) request_bytes_max: usize,
    pub(super) idle_max: Duration,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Context {
    shared: Arc<Shared>,
    listener: Arc<str>,
    /// Whose requests these are.
    client: Arc<ClientIdentity>,
    /// One permit: whose turn it is to fetch for this connection.
    fetching: Arc<Semaphore>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

/// A broker as clients reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeAddress {
    pub(super) id: i32,
    pub(super) host: ByteString,
    pub(super) port: i32,
    pub(super) rack: Option<ByteString>,
    pub(super) is_fenced: bool,
}

impl Context {
    pub(super) fn new(shared: Arc<Shared>, listener: Arc<str>) -> Self {
        Self {
            shared,
            listener,
            client: Arc::new(identity("")),
            fetching: Arc::new(Semaphore::new(1)),
        }
    }

    /// Whose request is worked on.
    pub(super) fn client(&self) -> &ClientIdentity {
        &self.client
    }

    /// From now on requests are those of a client that calls itself so.
    pub(super) fn set_client_id(&mut self, client_id: &str) {
        let client_id = shortened(client_id);
        if &*self.client.client_id != client_id {
            self.client = Arc::new(identity(client_id));
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.shared.parts
    }

    /// Waits until no other fetch of this connection is worked on, in the order of the requests.
    pub(super) async fn fetch_turn(&self) -> Option<OwnedSemaphorePermit> {
        self.fetching.clone().acquire_owned().await.ok()
    }

    /// The metadata image now.
    pub(super) fn image(&self) -> Arc<Image> {
        self.shared.parts.controller.images().current()
    }

    /// This broker.
    pub(super) fn me(&self) -> BrokerId {
        BrokerId(self.shared.parts.host.broker_id())
    }

    /// A broker as clients of this listener reach it; `None` if it has no listener of that name.
    pub(super) fn address_of(&self, broker: &Broker) -> Option<NodeAddress> {
        let endpoint = broker.endpoints.kafka.get(&*self.listener)?;
        let (host, port) = endpoint.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(NodeAddress {
            id: node_id(broker.id),
            host: host.into(),
            port: port.parse().ok()?,
            rack: Some(&broker.rack)
                .filter(|rack| !rack.is_empty())
                .map(|rack| rack.as_str().into()),
            is_fenced: broker.is_fenced,
        })
    }

    /// Every broker in service that clients of this listener can reach.
    pub(super) fn live_nodes(&self, image: &Image) -> Vec<NodeAddress> {
        let brokers = image.alive_brokers();
        brokers
            .filter_map(|broker| self.address_of(broker))
            .collect()
    }

    /// Proposes a metadata command, here or through the controller.
    pub(super) async fn propose(
        &self,
        command: &Command,
        within: Duration,
    ) -> Result<Outcome, ControlError> {
        self.shared.parts.controller.propose(command, within).await
    }

    /// Proposes a metadata command, or only says what it would do.
    pub(super) async fn propose_or_preview(
        &self,
        command: Command,
        validate_only: bool,
        within: Duration,
    ) -> Result<(), ControlError> {
        if validate_only {
            return self.shared.parts.controller.preview(command).map(drop);
        }
        self.propose(&command, within).await.map(drop)
    }
}

/// There is no authentication yet: everybody is who Kafka calls those that did not.
fn identity(client_id: &str) -> ClientIdentity {
    ClientIdentity {
        user: "ANONYMOUS".into(),
        client_id: client_id.into(),
    }
}

/// Names that are longer than a quota's can be count as one if they begin alike: they are remembered.
fn shortened(client_id: &str) -> &str {
    &client_id[..client_id.floor_char_boundary(NAME_BYTES_MAX)]
}
