//! AMQP's virtual hosts.

use raftmq_proto::v1::{CreateVhostRequest, DeleteVhostRequest, ListVhostsRequest, VhostInfo};

use super::Admin;
use super::parts::together;
use crate::connection::amqp_admin_client;
use crate::error::Result;

impl Admin {
    /// Starts to create a virtual host with the exchanges that each one has. Nobody may enter it before
    /// [`set_permissions`](Self::set_permissions).
    ///
    /// ```no_run
    /// # use raftmq_client::Permissions;
    /// # async fn example(client: raftmq_client::Client) -> raftmq_client::Result<()> {
    /// let admin = client.admin();
    /// admin.create_vhost("shop").description("orders").send().await?;
    /// admin.put_user("till").password("secret").send().await?;
    /// admin.set_permissions("shop", "till", &Permissions::everything()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_vhost(&self, name: impl Into<String>) -> CreateVhost {
        CreateVhost {
            admin: self.clone(),
            request: CreateVhostRequest {
                name: name.into(),
                ..CreateVhostRequest::default()
            },
        }
    }

    /// Deletes a virtual host with everything in it: exchanges, bindings, queues, their messages, and what
    /// users may do there.
    ///
    /// # Errors
    /// `UNKNOWN_VHOST`, and those of every call.
    pub async fn delete_vhost(&self, name: &str) -> Result<()> {
        let request = DeleteVhostRequest {
            name: name.to_owned(),
        };
        let call = |channel| {
            let request = request.clone();
            async move { amqp_admin_client(channel).delete_vhost(request).await }
        };
        self.shared
            .call("delete virtual host", call)
            .await
            .map(drop)
    }

    /// Lists all virtual hosts, by name.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn list_vhosts(&self) -> Result<Vec<VhostInfo>> {
        let call = |channel| async move {
            let mut client = amqp_admin_client(channel);
            let listed = client.list_vhosts(ListVhostsRequest {}).await?;
            together(listed, |part| part.vhosts).await
        };
        self.shared.call("list virtual hosts", call).await
    }
}

/// A virtual host about to be created; [`send`](CreateVhost::send) does it.
#[derive(Debug, Clone)]
#[must_use]
pub struct CreateVhost {
    admin: Admin,
    request: CreateVhostRequest,
}

impl CreateVhost {
    /// Says what it is for.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.request.description = description.into();
        self
    }

    /// Sets the `x-queue-type` of queues that are declared without one: `classic` or `quorum`, which are the
    /// same here.
    pub fn default_queue_type(mut self, queue_type: impl Into<String>) -> Self {
        self.request.default_queue_type = queue_type.into();
        self
    }

    /// Creates the virtual host. If it is there, description and default queue type become those of this
    /// call, and nothing else changes.
    ///
    /// # Errors
    /// `INVALID_REQUEST` for a name that is empty or longer than 255 bytes, an unknown queue type, and more
    /// virtual hosts than there may be; those of every call.
    pub async fn send(self) -> Result<()> {
        let request = self.request;
        let call = |channel| {
            let request = request.clone();
            async move { amqp_admin_client(channel).create_vhost(request).await }
        };
        let created = self.admin.shared.call("create virtual host", call);
        created.await.map(drop)
    }
}
