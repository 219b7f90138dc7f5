//! Accepts connections of one listener, up to the limit, and owns their tasks.
//!
//! Dropping what [`FrontEnd::serve`] returns ends the connections with it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::connection::Connection;
use super::context::{Context, OwnConfig, Shared};
use super::limits::REQUEST_BYTES_UNIT;
use super::metrics::Metrics;
use super::quotas::ClientQuotas;
use super::sessions::Sessions;
use crate::accept::accept_clients;
use crate::config::NodeConfig;
use crate::env::Listener;
use crate::node::Parts;

/// The Kafka front end of one broker, for all of its listeners. Cheap to clone.
#[derive(Clone)]
pub struct FrontEnd {
    shared: Arc<Shared>,
}

impl fmt::Debug for FrontEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontEnd").finish_non_exhaustive()
    }
}

impl FrontEnd {
    /// A front end over a broker's parts, which accepts nobody yet.
    #[must_use]
    pub fn new(parts: Parts, config: &NodeConfig) -> Self {
        let listeners = config.kafka.listeners.iter().map(ToString::to_string);
        let own = OwnConfig {
            listeners: listeners.collect::<Vec<_>>().join(","),
            data_dir: config.data_dir.display().to_string(),
        };
        let config = &config.kafka;
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let connections_max = number(config.connections_max).min(Semaphore::MAX_PERMITS);
        let units = number(config.queued_bytes_max).div_ceil(REQUEST_BYTES_UNIT);
        let request_units_max = units.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self {
            shared: Arc::new(Shared {
                parts,
                own,
                sessions: Mutex::new(Sessions::new(number(config.fetch_sessions_max))),
                metrics: Metrics::new(),
                quotas: ClientQuotas::new(),
                connections: Arc::new(Semaphore::new(connections_max)),
                request_bytes: Arc::new(Semaphore::new(request_units_max)),
                request_units_max,
                request_bytes_max: number(config.request_bytes_max),
                idle_max: Duration::from_millis(config.connection_idle_ms_max),
            }),
        }
    }

    /// Serves the clients of one listener, for ever.
    pub async fn serve(self, name: String, listener: Box<dyn Listener>) {
        let name: Arc<str> = name.into();
        let (refusing, listening) = (self.shared.clone(), name.clone());
        let refused = move |client: &str| {
            refusing.metrics.connection_refused();
            tracing::debug!(listener = &*listening, client, "too many Kafka connections");
        };
        let permits = self.shared.connections.clone();
        let serve = move |io, client| {
            let context = Context::new(self.shared.clone(), name.clone());
            Connection::new(context, io, client).run()
        };
        accept_clients(listener, permits, refused, serve).await;
    }
}
