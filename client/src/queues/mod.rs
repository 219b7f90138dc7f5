//! Queues and exchanges: publishing, consuming, calling; what AMQP clients do, too, with the same messages.
//!
//! Owns the handles. One task for each virtual host publishes and gets for all of a client's handles
//! (`driver`), and each consumer has one of its own.

mod channel;
mod consumer;
mod consuming;
mod deduplicator;
mod delivery;
mod driver;
mod flight;
mod message;
mod rpc;
mod session;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use raftmq_proto::v1::GetMessage;
use tokio::sync::oneshot;

pub use consumer::{ConsumeOptions, QueueConsumer};
pub use deduplicator::Deduplicator;
pub use delivery::QueueDelivery;
pub use message::{HeaderValue, Message};
pub use rpc::{QueueRequest, RpcClient, RpcServer};

use self::session::Session;
use crate::client::Shared;
use crate::error::{Error, Result};

/// The virtual host that every cluster has.
pub(crate) const DEFAULT_VHOST: &str = "/";

/// The sessions that publish and get, by virtual host.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_vhost: Mutex<BTreeMap<String, Session>>,
}

impl Sessions {
    fn of(&self, shared: &Arc<Shared>, vhost: &str) -> Session {
        let mut sessions = self.by_vhost.lock();
        if let Some(session) = sessions.get(vhost) {
            return session.clone();
        }
        let session = Session::start(Arc::clone(shared), vhost);
        sessions.insert(vhost.to_owned(), session.clone());
        session
    }
}

/// A virtual host: its queues and exchanges. Made by [`Client::vhost`](crate::Client::vhost), cheap to clone.
#[derive(Debug, Clone)]
pub struct Vhost {
    shared: Arc<Shared>,
    name: Arc<str>,
    session: Session,
}

impl Vhost {
    pub(crate) fn new(shared: &Arc<Shared>, sessions: &Sessions, name: &str) -> Self {
        Self {
            shared: Arc::clone(shared),
            name: name.into(),
            session: sessions.of(shared, name),
        }
    }

    /// Returns a handle of a queue, which is looked for when it is used.
    pub fn queue(&self, name: impl Into<String>) -> Queue {
        Queue {
            vhost: self.clone(),
            name: name.into(),
        }
    }

    /// Returns a handle of an exchange, which is looked for when it is used.
    pub fn exchange(&self, name: impl Into<String>) -> Exchange {
        Exchange {
            vhost: self.clone(),
            name: name.into(),
        }
    }

    /// Makes a caller: sends requests to queues and waits for their replies.
    ///
    /// # Errors
    /// As [`Queue::consume`].
    pub async fn rpc_client(&self) -> Result<RpcClient> {
        RpcClient::start(&self.shared, &self.name).await
    }

    /// Serves the requests in a queue: publishes what `handler` makes of each to where the request wants it, and
    /// acknowledges the request then. Up to 16 requests are handled at the same time.
    ///
    /// # Errors
    /// As [`Queue::consume`].
    pub async fn rpc_server<H, F, M>(&self, queue: &str, handler: H) -> Result<RpcServer>
    where
        H: Fn(QueueRequest) -> F + Send + Sync + 'static,
        F: Future<Output = M> + Send + 'static,
        M: Into<Message> + Send,
    {
        RpcServer::start(self, queue, handler).await
    }
}

/// A queue, by its name; cheap to clone. Declared with
/// [`Admin::declare_queue`](crate::Admin::declare_queue), or by an AMQP client.
#[derive(Debug, Clone)]
pub struct Queue {
    vhost: Vhost,
    name: String,
}

impl Queue {
    /// Publishes a message to this queue.
    ///
    /// Waits until there is room for it: 1,024 messages, or 32 MiB, of a virtual host may be under way. The
    /// [`Confirmation`] is a future; awaiting it later lets messages go out without waiting for each other. They
    /// stay in order as long as none has to be repeated. Dropping it does not take the message back.
    ///
    /// # Errors
    /// `RecordTooLarge` above 16 MiB. The confirmation gives: `Unroutable` when there is no such queue;
    /// `MessageRefused` by a full one; `OutcomeUnknown` when a connection is lost before the answer, unless the
    /// message [may be repeated](Message::deduplicated_by); `TimedOut` when no broker took it within the request
    /// timeout; and what the broker refuses.
    pub async fn publish(&self, message: impl Into<Message>) -> Result<Confirmation> {
        let session = &self.vhost.session;
        let outcome = session.publish("", &self.name, message.into()).await?;
        Ok(Confirmation { outcome })
    }

    /// Starts a consumer, and returns when the queue has it.
    ///
    /// # Errors
    /// `UNKNOWN_VHOST`, `UNKNOWN_QUEUE` when it is not there after the client's topic wait; `INVALID_REQUEST`
    /// when an exclusive consumer stands in the way; `TimedOut`.
    pub async fn consume(&self, options: ConsumeOptions) -> Result<QueueConsumer> {
        let shared = &self.vhost.shared;
        let request = options.request(shared, &self.name);
        QueueConsumer::start(shared, &self.vhost.name, request).await
    }

    /// Takes one message, if one is ready; it is to be settled like any delivery. Asking again and again costs
    /// more than a consumer.
    ///
    /// # Errors
    /// `UNKNOWN_VHOST`, `UNKNOWN_QUEUE`; `TimedOut`; what the broker refuses.
    pub async fn get(&self) -> Result<Option<QueueDelivery>> {
        let get = GetMessage {
            number: 0,
            queue: self.name.clone(),
            no_ack: false,
        };
        self.vhost.session.get(get).await
    }
}

/// An exchange, by its name; cheap to clone. Declared with
/// [`Admin::declare_exchange`](crate::Admin::declare_exchange), or by an AMQP client.
#[derive(Debug, Clone)]
pub struct Exchange {
    vhost: Vhost,
    name: String,
}

impl Exchange {
    /// Publishes a message to this exchange, which brings it to the queues that its bindings and the routing key
    /// say. See [`Queue::publish`].
    ///
    /// # Errors
    /// As [`Queue::publish`]; `Unroutable` only if the message is [mandatory](Message::mandatory); what reaches
    /// no queue is otherwise confirmed, and gone.
    pub async fn publish(
        &self,
        routing_key: &str,
        message: impl Into<Message>,
    ) -> Result<Confirmation> {
        let session = &self.vhost.session;
        let message = message.into();
        let outcome = session.publish(&self.name, routing_key, message).await?;
        Ok(Confirmation { outcome })
    }
}

/// What becomes of a published message; a future, which gives `Ok` once every queue that it reached has it, on a
/// majority of its replicas.
#[derive(Debug)]
#[must_use = "without awaiting it nobody knows whether the message is stored"]
pub struct Confirmation {
    outcome: oneshot::Receiver<Result<()>>,
}

impl Future for Confirmation {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let outcome = std::task::ready!(Pin::new(&mut self.outcome).poll(context));
        Poll::Ready(outcome.unwrap_or(Err(Error::Closed)))
    }
}
