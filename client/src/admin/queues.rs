//! What AMQP clients have declared: queues, exchanges, bindings.

use raftmq_proto::v1::{
    BindingInfo, DeleteQueueRequest, ExchangeInfo, ListBindingsRequest, ListExchangesRequest,
    ListQueuesRequest, PurgeQueueRequest, QueueInfo,
};

use super::Admin;
use super::parts::together;
use crate::connection::amqp_admin_client;
use crate::error::Result;

/// Whether a list of queues comes with counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// The leader of each queue is asked for them.
    AskLeaders,
    /// Nobody is asked.
    Skip,
}

impl Admin {
    /// Lists the queues of a virtual host, by name. A queue has no counts where its leader is out of reach or
    /// does not answer within about two seconds.
    ///
    /// # Errors
    /// `UNKNOWN_VHOST`, and those of every call.
    pub async fn list_queues(&self, vhost: &str, counting: Counting) -> Result<Vec<QueueInfo>> {
        let request = ListQueuesRequest {
            vhost: vhost.to_owned(),
            without_counts: counting == Counting::Skip,
        };
        let call = |channel| {
            let request = request.clone();
            async move {
                let mut client = amqp_admin_client(channel);
                let listed = client.list_queues(request).await?;
                together(listed, |part| part.queues).await
            }
        };
        self.shared.call("list queues", call).await
    }

    /// Starts to delete a queue with its messages and bindings, also another connection's exclusive one.
    pub fn delete_queue(&self, vhost: impl Into<String>, name: impl Into<String>) -> DeleteQueue {
        DeleteQueue {
            admin: self.clone(),
            request: DeleteQueueRequest {
                vhost: vhost.into(),
                name: name.into(),
                ..DeleteQueueRequest::default()
            },
        }
    }

    /// Drops the ready messages of a queue and gives their number; messages that consumers hold stay.
    ///
    /// # Errors
    /// `UNKNOWN_VHOST`, `UNKNOWN_QUEUE`; `UNAVAILABLE` or `TIMED_OUT` while the queue has no leader, and it may
    /// happen all the same after the latter; those of every call.
    pub async fn purge_queue(&self, vhost: &str, name: &str) -> Result<u64> {
        let request = PurgeQueueRequest {
            vhost: vhost.to_owned(),
            name: name.to_owned(),
        };
        let call = |channel| {
            let request = request.clone();
            async move { amqp_admin_client(channel).purge_queue(request).await }
        };
        let purged = self.shared.call("purge queue", call).await?;
        Ok(purged.messages_count)
    }

    /// Lists the exchanges of a virtual host, by name; the default one, whose name is empty, comes first.
    ///
    /// # Errors
    /// `UNKNOWN_VHOST`, and those of every call.
    pub async fn list_exchanges(&self, vhost: &str) -> Result<Vec<ExchangeInfo>> {
        let request = ListExchangesRequest {
            vhost: vhost.to_owned(),
        };
        let call = |channel| {
            let request = request.clone();
            async move {
                let mut client = amqp_admin_client(channel);
                let listed = client.list_exchanges(request).await?;
                together(listed, |part| part.exchanges).await
            }
        };
        self.shared.call("list exchanges", call).await
    }

    /// Lists the bindings of a virtual host, by their source; first those of the default exchange, which every
    /// queue has.
    ///
    /// # Errors
    /// `UNKNOWN_VHOST`, and those of every call.
    pub async fn list_bindings(&self, vhost: &str) -> Result<Vec<BindingInfo>> {
        let request = ListBindingsRequest {
            vhost: vhost.to_owned(),
        };
        let call = |channel| {
            let request = request.clone();
            async move {
                let mut client = amqp_admin_client(channel);
                let listed = client.list_bindings(request).await?;
                together(listed, |part| part.bindings).await
            }
        };
        self.shared.call("list bindings", call).await
    }
}

/// A queue about to be deleted; [`send`](DeleteQueue::send) does it.
#[derive(Debug, Clone)]
#[must_use]
pub struct DeleteQueue {
    admin: Admin,
    request: DeleteQueueRequest,
}

impl DeleteQueue {
    /// Only if it has no consumers.
    pub const fn if_unused(mut self) -> Self {
        self.request.if_unused = true;
        self
    }

    /// Only if no message is ready.
    pub const fn if_empty(mut self) -> Self {
        self.request.if_empty = true;
        self
    }

    /// Deletes the queue and gives the number of messages that went with it; `None` when its leader is out of
    /// reach, so that nobody could count them.
    ///
    /// # Errors
    /// `UNKNOWN_VHOST`, `UNKNOWN_QUEUE`, `PRECONDITION_FAILED`; with a condition `UNAVAILABLE` or `TIMED_OUT`
    /// while the queue has no leader; those of every call.
    pub async fn send(self) -> Result<Option<u64>> {
        let request = self.request;
        let call = |channel| {
            let request = request.clone();
            async move { amqp_admin_client(channel).delete_queue(request).await }
        };
        let deleted = self.admin.shared.call("delete queue", call).await?;
        Ok(deleted.messages_count)
    }
}
