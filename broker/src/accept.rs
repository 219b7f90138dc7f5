//! Accepts the clients of one listener, up to a limit, and owns their tasks: what all front ends that
//! read their sockets themselves have in common.
//!
//! Does not know a protocol.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::env::{BoxedIo, Listener};

/// Pause after a failed accept: out of descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Serves the clients of a listener, each in a task of its own, as long as there is a permit for it;
/// others are closed at once, and `refused` is told their address. Runs for ever; dropped, it ends the
/// connections with it.
pub(crate) async fn accept_clients<F>(
    mut listener: Box<dyn Listener>,
    permits: Arc<Semaphore>,
    refused: impl Fn(&str) + Send,
    serve: impl Fn(BoxedIo, String) -> F + Send,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            Some(_ended) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((io, client)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            refused(&client);
            continue;
        };
        let serving = serve(io, client);
        connections.spawn(async move {
            serving.await;
            drop(permit);
        });
    }
}
