//! Queues, exchanges and bindings to be made: what AMQP clients declare themselves.
//!
//! What is declared, this client's next requests find at whichever broker they go to.

use raftmq_proto::v1::amqp_argument::Value;
use raftmq_proto::v1::{
    AmqpArgument, BindRequest, BindingInfo, DeclareExchangeRequest, DeclareQueueRequest,
    DeleteExchangeRequest, UnbindRequest,
};

use super::Admin;
use crate::connection::amqp_admin_client;
use crate::error::Result;

const TO_QUEUE: &str = "queue";

impl Admin {
    /// Starts to declare a queue: one that outlives its consumers. Declaring it again the same way changes
    /// nothing.
    ///
    /// ```no_run
    /// # async fn example(client: raftmq_client::Client) -> raftmq_client::Result<()> {
    /// let admin = client.admin();
    /// admin
    ///     .declare_queue("/", "orders")
    ///     .argument("x-max-length", 100_000)
    ///     .argument("x-message-deduplication", true)
    ///     .send()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn declare_queue(&self, vhost: impl Into<String>, name: impl Into<String>) -> DeclareQueue {
        DeclareQueue {
            admin: self.clone(),
            request: DeclareQueueRequest {
                vhost: vhost.into(),
                name: name.into(),
                ..DeclareQueueRequest::default()
            },
        }
    }

    /// Starts to declare an exchange of a kind: `direct`, `fanout`, `topic`, `headers`. Declaring it again the
    /// same way changes nothing.
    pub fn declare_exchange(
        &self,
        vhost: impl Into<String>,
        name: impl Into<String>,
        kind: impl Into<String>,
    ) -> DeclareExchange {
        DeclareExchange {
            admin: self.clone(),
            request: DeclareExchangeRequest {
                vhost: vhost.into(),
                name: name.into(),
                kind: kind.into(),
                ..DeclareExchangeRequest::default()
            },
        }
    }

    /// Deletes an exchange with its bindings, if there is one.
    ///
    /// # Errors
    /// `UNKNOWN_VHOST`, `INVALID_REQUEST` for one that every virtual host has; those of every call.
    pub async fn delete_exchange(&self, vhost: &str, name: &str) -> Result<()> {
        let request = DeleteExchangeRequest {
            vhost: vhost.to_owned(),
            name: name.to_owned(),
            if_unused: false,
        };
        let call = |channel| {
            let request = request.clone();
            async move { amqp_admin_client(channel).delete_exchange(request).await }
        };
        let deleted = self.shared.call("delete exchange", call).await?;
        self.shared.see_metadata(deleted.metadata_version);
        Ok(())
    }

    /// Has an exchange bring messages to a queue: those whose routing key fits `key`, as the kind of the exchange
    /// understands it. Repetition changes nothing.
    ///
    /// # Errors
    /// `UNKNOWN_VHOST`, `UNKNOWN_QUEUE`; `INVALID_REQUEST` without such an exchange; those of every call.
    pub async fn bind_queue(
        &self,
        vhost: &str,
        queue: &str,
        exchange: &str,
        key: &str,
    ) -> Result<()> {
        let request = BindRequest {
            vhost: vhost.to_owned(),
            binding: Some(to_queue(queue, exchange, key)),
        };
        let call = |channel| {
            let request = request.clone();
            async move { amqp_admin_client(channel).bind(request).await }
        };
        let bound = self.shared.call("bind", call).await?;
        self.shared.see_metadata(bound.metadata_version);
        Ok(())
    }

    /// Takes a binding back, if there is one.
    ///
    /// # Errors
    /// As [`bind_queue`](Self::bind_queue).
    pub async fn unbind_queue(
        &self,
        vhost: &str,
        queue: &str,
        exchange: &str,
        key: &str,
    ) -> Result<()> {
        let request = UnbindRequest {
            vhost: vhost.to_owned(),
            binding: Some(to_queue(queue, exchange, key)),
        };
        let call = |channel| {
            let request = request.clone();
            async move { amqp_admin_client(channel).unbind(request).await }
        };
        let unbound = self.shared.call("unbind", call).await?;
        self.shared.see_metadata(unbound.metadata_version);
        Ok(())
    }
}

fn to_queue(queue: &str, exchange: &str, key: &str) -> BindingInfo {
    BindingInfo {
        source: exchange.to_owned(),
        destination_kind: TO_QUEUE.to_owned(),
        destination: queue.to_owned(),
        routing_key: key.to_owned().into(),
        arguments: Vec::new(),
    }
}

/// The value of an argument: a truth value, a whole number, or text.
#[derive(Debug, Clone)]
pub struct Argument(Value);

impl From<bool> for Argument {
    fn from(flag: bool) -> Self {
        Self(Value::Flag(flag))
    }
}

impl From<i64> for Argument {
    fn from(number: i64) -> Self {
        Self(Value::Integer(number))
    }
}

impl From<i32> for Argument {
    fn from(number: i32) -> Self {
        Self(Value::Integer(number.into()))
    }
}

impl From<&str> for Argument {
    fn from(text: &str) -> Self {
        Self(Value::Text(text.to_owned()))
    }
}

fn argument(name: impl Into<String>, value: Argument) -> AmqpArgument {
    AmqpArgument {
        name: name.into(),
        value: Some(value.0),
    }
}

/// A queue about to be declared; [`send`](DeclareQueue::send) does it.
#[derive(Debug, Clone)]
#[must_use]
pub struct DeclareQueue {
    admin: Admin,
    request: DeclareQueueRequest,
}

impl DeclareQueue {
    /// It goes with its last consumer.
    pub const fn auto_delete(mut self) -> Self {
        self.request.auto_delete = true;
        self
    }

    /// Adds an argument: `x-max-length`, `x-message-ttl`, `x-dead-letter-exchange`, …
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Argument>) -> Self {
        self.request.arguments.push(argument(name, value.into()));
        self
    }

    /// Declares the queue.
    ///
    /// # Errors
    /// `UNKNOWN_VHOST`; `INVALID_REQUEST` when it is there and was declared differently, or an argument is wrong;
    /// those of every call.
    pub async fn send(self) -> Result<()> {
        let request = self.request;
        let call = |channel| {
            let request = request.clone();
            async move { amqp_admin_client(channel).declare_queue(request).await }
        };
        let declared = self.admin.shared.call("declare queue", call).await?;
        self.admin.shared.see_metadata(declared.metadata_version);
        Ok(())
    }
}

/// An exchange about to be declared; [`send`](DeclareExchange::send) does it.
#[derive(Debug, Clone)]
#[must_use]
pub struct DeclareExchange {
    admin: Admin,
    request: DeclareExchangeRequest,
}

impl DeclareExchange {
    /// It goes with its last binding.
    pub const fn auto_delete(mut self) -> Self {
        self.request.auto_delete = true;
        self
    }

    /// Only bindings may publish to it.
    pub const fn internal(mut self) -> Self {
        self.request.internal = true;
        self
    }

    /// Adds an argument: `alternate-exchange`, …
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Argument>) -> Self {
        self.request.arguments.push(argument(name, value.into()));
        self
    }

    /// Declares the exchange.
    ///
    /// # Errors
    /// As [`DeclareQueue::send`].
    pub async fn send(self) -> Result<()> {
        let request = self.request;
        let call = |channel| {
            let request = request.clone();
            async move { amqp_admin_client(channel).declare_exchange(request).await }
        };
        let declared = self.admin.shared.call("declare exchange", call).await?;
        self.admin.shared.see_metadata(declared.metadata_version);
        Ok(())
    }
}
