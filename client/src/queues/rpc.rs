//! Calls over queues: a request with an address for the reply, and a reply with the request's id; as AMQP clients
//! do it.
//!
//! A caller's replies come without a queue (direct reply-to), over its own stream. Owns correlation ids. Does not
//! know what requests and replies say.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use raftmq_proto::v1::ConsumeQueue;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::Vhost;
use super::consumer::{ConsumeOptions, QueueConsumer};
use super::delivery::QueueDelivery;
use super::message::Message;
use super::session::{Event, Session};
use crate::client::Shared;
use crate::error::{Error, Result};
use crate::limits::RPC_REQUESTS_AT_ONCE;

/// Where replies come without a queue; a broker replaces it by the address of the stream.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// Calls that wait for their replies, by correlation id.
type Calls = Arc<Mutex<BTreeMap<Bytes, Call>>>;

#[derive(Debug)]
struct Call {
    reply: oneshot::Sender<Result<Message>>,
    /// Whether the request is in its queue: a reply that does not come then will not.
    is_confirmed: bool,
}

/// Sends requests to queues and waits for their replies; made by
/// [`Client::rpc_client`](crate::Client::rpc_client). Cheap to clone; all clones share a stream.
///
/// Its servers may be AMQP clients, and those of AMQP callers may be [`RpcServer`]s.
#[derive(Debug, Clone)]
pub struct RpcClient {
    shared: Arc<Shared>,
    session: Session,
    calls: Calls,
    _taking: Arc<Taking>,
}

/// The task that takes replies; it ends with the last handle.
#[derive(Debug)]
struct Taking(AbortHandle);

impl Drop for Taking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RpcClient {
    pub(super) async fn start(shared: &Arc<Shared>, vhost: &str) -> Result<Self> {
        let consume = ConsumeQueue {
            queue: REPLY_TO.to_owned(),
            consumer_tag: "replies".to_owned(),
            no_ack: true,
            ..ConsumeQueue::default()
        };
        let (session, replies) = Session::consume(Arc::clone(shared), vhost, consume).await?;
        let calls = Calls::default();
        let taking = tokio::spawn(take_replies(replies, Arc::clone(&calls)));
        Ok(Self {
            shared: Arc::clone(shared),
            session,
            calls,
            _taking: Arc::new(Taking(taking.abort_handle())),
        })
    }

    /// Sends a request to a queue and waits for its reply. The request leaves the queue when nobody has taken it
    /// within `timeout`. Dropping the future stops waiting, not the server.
    ///
    /// # Errors
    /// `TimedOut`; `OutcomeUnknown` when the connection is lost, over which the reply would have come; those of
    /// [`Queue::publish`](crate::Queue::publish).
    pub async fn call(
        &self,
        queue: &str,
        request: impl Into<Message>,
        timeout: Duration,
    ) -> Result<Message> {
        let id = Bytes::from(self.shared.random.id());
        let (reply, replied) = oneshot::channel();
        let call = Call {
            reply,
            is_confirmed: false,
        };
        self.calls.lock().insert(id.clone(), call);
        let _forget = Forget(&self.calls, &id);
        let mut request = request.into();
        request.expiration.get_or_insert(timeout);
        let request = request.correlation_id(id.clone()).reply_to(REPLY_TO);
        let calling = async {
            let outcome = self.session.publish("", queue, request).await?;
            outcome.await.unwrap_or(Err(Error::Closed))?;
            if let Some(call) = self.calls.lock().get_mut(&id) {
                call.is_confirmed = true;
            }
            replied.await.unwrap_or(Err(Error::Closed))
        };
        match tokio::time::timeout(timeout, calling).await {
            Ok(replied) => replied,
            Err(_) => Err(Error::TimedOut {
                operation: "call",
                timeout,
                last_error: None,
            }),
        }
    }
}

/// Takes a call out that nobody waits for any more.
struct Forget<'a>(&'a Calls, &'a Bytes);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(self.1);
    }
}

async fn take_replies(mut events: mpsc::Receiver<Event>, calls: Calls) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Delivered(reply) => {
                let id = reply.message.correlation_id.clone().unwrap_or_default();
                // A late reply has nobody who waits for it.
                if let Some(call) = calls.lock().remove(&id) {
                    let _ = call.reply.send(Ok(reply.message));
                }
            }
            Event::Lost(error) => fail(&calls, &error, |call| call.is_confirmed),
            Event::Ended(error) => fail(&calls, &error, |_| true),
        }
    }
}

fn fail(calls: &Calls, error: &Error, is_concerned: impl Fn(&Call) -> bool) {
    let mut calls = calls.lock();
    for (id, call) in std::mem::take(&mut *calls) {
        if is_concerned(&call) {
            let cause = Box::new(error.clone());
            let _ = call.reply.send(Err(Error::OutcomeUnknown { cause }));
        } else {
            calls.insert(id, call);
        }
    }
}

/// A request that a handler answers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct QueueRequest {
    /// The request.
    pub message: Message,
    /// Whether it was delivered before: perhaps it was handled, and its reply was lost.
    pub is_redelivered: bool,
    /// See [`QueueDelivery::raftmq_id`](crate::QueueDelivery::raftmq_id).
    pub raftmq_id: String,
}

impl QueueRequest {
    /// The body as text; bytes that are no text are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.message.body).into_owned()
    }
}

/// Serves the requests in a queue until it is dropped; made by
/// [`Client::rpc_server`](crate::Client::rpc_server). Several may serve one queue.
pub struct RpcServer {
    task: AbortHandle,
    ended: oneshot::Receiver<Error>,
}

impl fmt::Debug for RpcServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcServer").finish_non_exhaustive()
    }
}

impl Drop for RpcServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RpcServer {
    pub(super) async fn start<H, F, M>(vhost: &Vhost, queue: &str, handler: H) -> Result<Self>
    where
        H: Fn(QueueRequest) -> F + Send + Sync + 'static,
        F: Future<Output = M> + Send + 'static,
        M: Into<Message> + Send,
    {
        let prefetch = u32::try_from(RPC_REQUESTS_AT_ONCE).unwrap_or(u32::MAX);
        let options = ConsumeOptions::new().prefetch(prefetch);
        let requests = vhost.queue(queue).consume(options).await?;
        let (told, ended) = oneshot::channel();
        let vhost = vhost.clone();
        let task = tokio::spawn(async move {
            let error = serve(vhost, requests, handler).await;
            let _ = told.send(error);
        });
        Ok(Self {
            task: task.abort_handle(),
            ended,
        })
    }

    /// Waits until it can serve no more: the queue is gone, say.
    pub async fn ended(mut self) -> Error {
        (&mut self.ended).await.unwrap_or(Error::Closed)
    }
}

async fn serve<H, F, M>(vhost: Vhost, mut requests: QueueConsumer, handler: H) -> Error
where
    H: Fn(QueueRequest) -> F + Send + Sync,
    F: Future<Output = M> + Send,
    M: Into<Message> + Send,
{
    let mut answering = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = answering.next() => {}
            request = requests.next(), if answering.len() < RPC_REQUESTS_AT_ONCE => match request {
                Some(Ok(request)) => answering.push(answer(&vhost, request, &handler)),
                Some(Err(error)) => return error,
                None => return Error::Closed,
            },
        }
    }
}

async fn answer<H, F, M>(vhost: &Vhost, request: QueueDelivery, handler: &H)
where
    H: Fn(QueueRequest) -> F + Send + Sync,
    F: Future<Output = M> + Send,
    M: Into<Message> + Send,
{
    let Some(reply_to) = request.message.reply_to.clone() else {
        tracing::debug!("a request without an address for its reply was dropped");
        let _ = request.reject().await;
        return;
    };
    let asked = QueueRequest {
        message: request.message.clone(),
        is_redelivered: request.is_redelivered,
        raftmq_id: request.raftmq_id.clone(),
    };
    let mut reply: Message = handler(asked).await.into();
    reply.correlation_id = request.message.correlation_id.clone();
    let told = match vhost.queue(reply_to).publish(reply.at_least_once()).await {
        Ok(confirmation) => confirmation.await,
        Err(error) => Err(error),
    };
    if let Err(error) = told {
        // Whoever asked is gone, mostly; asking again is theirs.
        tracing::debug!(%error, "a reply was not taken");
    }
    // A stream that is lost brings the request again.
    let _ = request.ack().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lost_stream_fails_what_was_sent_over_it_and_nothing_else() {
        let calls = Calls::default();
        let call = |id: &'static str, is_confirmed| {
            let (reply, replied) = oneshot::channel();
            let call = Call {
                reply,
                is_confirmed,
            };
            calls.lock().insert(Bytes::from(id), call);
            replied
        };
        let mut confirmed = call("1", true);
        let mut unsent = call("2", false);

        fail(&calls, &Error::Closed, |call| call.is_confirmed);

        let told = confirmed.try_recv().expect("told");
        assert!(matches!(told, Err(Error::OutcomeUnknown { .. })));
        assert!(unsent.try_recv().is_err());
        assert!(calls.lock().contains_key(&Bytes::from("2")));
    }
}
