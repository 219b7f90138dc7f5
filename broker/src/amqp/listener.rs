//! The AMQP front end of one broker: its listener, and what runs beside it.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::connection::Connection;
use super::context::Shared;
use super::metrics::Metrics;
use super::standing::{self, Standing};
use crate::accept::accept_clients;
use crate::config::AmqpConfig;
use crate::env::Listener;
use crate::node::Parts;

/// The AMQP front end of one broker. Cheap to clone.
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
    pub fn new(parts: Parts, config: &AmqpConfig) -> Self {
        let connections_max = usize::try_from(config.connections_max).unwrap_or(usize::MAX);
        Self {
            shared: Arc::new(Shared {
                parts,
                config: config.clone(),
                metrics: Metrics::new(),
                load: Arc::default(),
                connections: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
                standing: watch::Sender::new(Standing::default()),
            }),
        }
    }

    /// Follows the broker's standing, and sees to the first virtual host and user. Runs for ever.
    pub async fn run(self) {
        let seeding = standing::seed(self.shared.clone());
        let following = standing::run(self.shared.clone());
        futures_util::future::join(seeding, following).await;
    }

    /// Serves the clients of a listener, for ever.
    pub async fn serve(self, listener: Box<dyn Listener>) {
        let refusing = self.shared.clone();
        let refused = move |client: &str| {
            refusing.metrics.refused_connections.increment(1);
            tracing::debug!(client, "too many AMQP connections");
        };
        let permits = self.shared.connections.clone();
        let serve = move |io, client| {
            let number = self.shared.parts.replies.next_number();
            Connection::new(self.shared.clone(), number, client).run(io)
        };
        accept_clients(listener, permits, refused, serve).await;
    }

    /// Tells every client that the broker stops (320 CONNECTION_FORCED).
    pub fn say_farewell(&self) {
        let stop = |standing: &mut Standing| standing.is_stopping = true;
        self.shared.standing.send_modify(stop);
    }
}
