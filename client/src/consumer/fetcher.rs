//! A long-lived Fetch stream to one leader, with at most one request under way.
//!
//! Owns the connection and what the open request asked for. It does not know what an answer means.

use std::sync::Arc;

use raftmq_proto::v1::{FetchRequest, FetchResponse};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::Shared;
use crate::connection::broker_client;
use crate::error::{Error, Result};

/// What the stream's task tells the driver.
#[derive(Debug)]
pub(crate) enum FetchEvent {
    /// An answer came.
    Response(FetchResponse),
    /// The stream is over.
    Broken(Error),
}

/// A partition that the open request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) slot: usize,
    pub(crate) generation: u64,
    pub(crate) offset: i64,
}

/// The open request.
#[derive(Debug)]
pub(crate) struct OpenFetch {
    pub(crate) asked: Vec<Asked>,
    /// Bytes of the buffer that its answer may take.
    pub(crate) max_bytes: usize,
    /// When the client looks whether the leaders have moved.
    pub(crate) stalls_at: Instant,
    /// When its answer is too late.
    pub(crate) deadline: Instant,
    pub(crate) correlation_id: u64,
}

/// The driver's end of a stream; dropping it ends the stream.
#[derive(Debug)]
pub(crate) struct Fetcher {
    /// Tells answers of this stream from those of an earlier one to the same leader.
    pub(crate) id: u64,
    pub(crate) open: Option<OpenFetch>,
    requests: mpsc::Sender<FetchRequest>,
    task: AbortHandle,
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fetcher {
    pub(crate) fn open(
        shared: &Arc<Shared>,
        tasks: &mut JoinSet<()>,
        (id, endpoint): (u64, Arc<str>),
        events: mpsc::Sender<(u64, Arc<str>, FetchEvent)>,
    ) -> Self {
        let (requests, queue) = mpsc::channel(1);
        let shared = Arc::clone(shared);
        let task = tasks.spawn(async move {
            let exchanged = exchange(&shared, (id, &endpoint), queue, &events).await;
            let error = exchanged.err().unwrap_or_else(|| Error::ConnectionLost {
                endpoint: endpoint.to_string(),
                reason: "the broker ended the stream".to_owned(),
            });
            // The driver is gone only when the consumer is.
            let _ = events.send((id, endpoint, FetchEvent::Broken(error))).await;
        });
        Self {
            id,
            open: None,
            requests,
            task,
        }
    }

    /// Sends a request; nothing happens when the stream is gone, its end is reported anyway.
    pub(crate) fn send(&mut self, request: FetchRequest, open: OpenFetch) {
        if self.requests.try_send(request).is_ok() {
            self.open = Some(open);
        }
    }
}

async fn exchange(
    shared: &Shared,
    (id, endpoint): (u64, &Arc<str>),
    queue: mpsc::Receiver<FetchRequest>,
    events: &mpsc::Sender<(u64, Arc<str>, FetchEvent)>,
) -> Result<()> {
    let failed = |status| Error::from_status(endpoint, &status);
    let channel = shared.connections.open(endpoint).await?;
    let mut client = broker_client(channel);
    let outgoing = ReceiverStream::new(queue);
    let answers = client.fetch(outgoing).await.map_err(failed)?;
    let mut answers = answers.into_inner();
    while let Some(response) = answers.message().await.map_err(failed)? {
        let event = (id, Arc::clone(endpoint), FetchEvent::Response(response));
        if events.send(event).await.is_err() {
            break;
        }
    }
    Ok(())
}
