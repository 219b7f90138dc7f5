//! The control plane of AMQP's world: virtual hosts, users and permissions; queues, exchanges and bindings.
//!
//! Lists show this broker's own image. Whatever is changed goes to the metadata group, but for the messages of
//! a queue, which its leader drops. Who may do what is not asked yet: operators may do everything.

mod declared;
mod declaring;
mod listing;
mod queues;
mod users;
mod vhosts;

use std::sync::Arc;

use raftmq_core::cluster::amqp::{AmqpCommand, Vhost};
use raftmq_core::cluster::{AmqpError, Command, Image};
use raftmq_proto::into_status;
use raftmq_proto::v1::amqp_admin_server::AmqpAdmin;
use raftmq_proto::v1::{
    BindRequest, BindResponse, ClearPermissionsRequest, ClearPermissionsResponse,
    CreateVhostRequest, CreateVhostResponse, DeclareExchangeRequest, DeclareExchangeResponse,
    DeclareQueueRequest, DeclareQueueResponse, DeleteExchangeRequest, DeleteExchangeResponse,
    DeleteQueueRequest, DeleteQueueResponse, DeleteUserRequest, DeleteUserResponse,
    DeleteVhostRequest, DeleteVhostResponse, Error, ListBindingsRequest, ListBindingsResponse,
    ListExchangesRequest, ListExchangesResponse, ListPermissionsRequest, ListPermissionsResponse,
    ListQueuesRequest, ListQueuesResponse, ListUsersRequest, ListUsersResponse, ListVhostsRequest,
    ListVhostsResponse, PurgeQueueRequest, PurgeQueueResponse, PutUserRequest, PutUserResponse,
    SetPermissionsRequest, SetPermissionsResponse, UnbindRequest, UnbindResponse,
};
use tonic::{Request, Response, Status};

use self::listing::Listed;
use super::admin::AdminFrontEnd;
use super::error::of_amqp;
use crate::node::Parts;

/// The control plane of AMQP's world on one broker.
#[derive(Debug, Clone)]
pub struct AmqpAdminFrontEnd {
    admin: AdminFrontEnd,
}

impl AmqpAdminFrontEnd {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            admin: AdminFrontEnd::new(parts),
        }
    }

    fn parts(&self) -> &Parts {
        &self.admin.parts
    }

    fn image(&self) -> Arc<Image> {
        self.admin.image()
    }

    /// Proposes a command and waits until this broker's image shows its outcome.
    async fn propose(&self, command: AmqpCommand) -> Result<(), Status> {
        let command = Command::Amqp(command);
        // What is too long for the machine to read must not get into its log.
        Command::decode(&command.encode())
            .map_err(|error| into_status(Error::invalid_request(error.to_string())))?;
        self.admin.propose(&command).await
    }
}

/// A virtual host, as far as this broker knows it.
fn vhost(image: &Image, name: &str) -> Result<Arc<Vhost>, Status> {
    image
        .amqp
        .vhost(name)
        .cloned()
        .map_err(|error| told(&error))
}

fn told(error: &AmqpError) -> Status {
    into_status(of_amqp(error))
}

#[tonic::async_trait]
impl AmqpAdmin for AmqpAdminFrontEnd {
    type ListVhostsStream = Listed<ListVhostsResponse>;
    type ListUsersStream = Listed<ListUsersResponse>;
    type ListPermissionsStream = Listed<ListPermissionsResponse>;
    type ListQueuesStream = Listed<ListQueuesResponse>;
    type ListExchangesStream = Listed<ListExchangesResponse>;
    type ListBindingsStream = Listed<ListBindingsResponse>;

    async fn create_vhost(
        &self,
        request: Request<CreateVhostRequest>,
    ) -> Result<Response<CreateVhostResponse>, Status> {
        self.make_vhost(request.into_inner()).await?;
        Ok(Response::new(CreateVhostResponse {}))
    }

    async fn delete_vhost(
        &self,
        request: Request<DeleteVhostRequest>,
    ) -> Result<Response<DeleteVhostResponse>, Status> {
        let vhost = request.into_inner().name;
        self.propose(AmqpCommand::DeleteVhost { vhost }).await?;
        Ok(Response::new(DeleteVhostResponse {}))
    }

    async fn list_vhosts(
        &self,
        _request: Request<ListVhostsRequest>,
    ) -> Result<Response<Self::ListVhostsStream>, Status> {
        Ok(vhosts::list(&self.image()))
    }

    async fn put_user(
        &self,
        request: Request<PutUserRequest>,
    ) -> Result<Response<PutUserResponse>, Status> {
        self.change_user(request.into_inner()).await?;
        Ok(Response::new(PutUserResponse {}))
    }

    async fn delete_user(
        &self,
        request: Request<DeleteUserRequest>,
    ) -> Result<Response<DeleteUserResponse>, Status> {
        let name = request.into_inner().name;
        self.propose(AmqpCommand::DeleteUser { name }).await?;
        Ok(Response::new(DeleteUserResponse {}))
    }

    async fn list_users(
        &self,
        _request: Request<ListUsersRequest>,
    ) -> Result<Response<Self::ListUsersStream>, Status> {
        Ok(users::list(&self.image()))
    }

    async fn set_permissions(
        &self,
        request: Request<SetPermissionsRequest>,
    ) -> Result<Response<SetPermissionsResponse>, Status> {
        self.permit(request.into_inner()).await?;
        Ok(Response::new(SetPermissionsResponse {}))
    }

    async fn clear_permissions(
        &self,
        request: Request<ClearPermissionsRequest>,
    ) -> Result<Response<ClearPermissionsResponse>, Status> {
        let ClearPermissionsRequest { vhost, user } = request.into_inner();
        self.propose(AmqpCommand::ClearPermissions { vhost, user })
            .await?;
        Ok(Response::new(ClearPermissionsResponse {}))
    }

    async fn list_permissions(
        &self,
        request: Request<ListPermissionsRequest>,
    ) -> Result<Response<Self::ListPermissionsStream>, Status> {
        users::list_permissions(&self.image(), request.get_ref())
    }

    async fn list_queues(
        &self,
        request: Request<ListQueuesRequest>,
    ) -> Result<Response<Self::ListQueuesStream>, Status> {
        self.queues_listed(request.get_ref())
    }

    async fn delete_queue(
        &self,
        request: Request<DeleteQueueRequest>,
    ) -> Result<Response<DeleteQueueResponse>, Status> {
        let messages_count = self.remove_queue(request.get_ref()).await?;
        Ok(Response::new(DeleteQueueResponse { messages_count }))
    }

    async fn purge_queue(
        &self,
        request: Request<PurgeQueueRequest>,
    ) -> Result<Response<PurgeQueueResponse>, Status> {
        let messages_count = self.empty_queue(request.get_ref()).await?;
        Ok(Response::new(PurgeQueueResponse { messages_count }))
    }

    async fn declare_queue(
        &self,
        request: Request<DeclareQueueRequest>,
    ) -> Result<Response<DeclareQueueResponse>, Status> {
        self.make_queue(request.into_inner()).await?;
        let metadata_version = self.image().version;
        Ok(Response::new(DeclareQueueResponse { metadata_version }))
    }

    async fn declare_exchange(
        &self,
        request: Request<DeclareExchangeRequest>,
    ) -> Result<Response<DeclareExchangeResponse>, Status> {
        self.make_exchange(request.into_inner()).await?;
        let metadata_version = self.image().version;
        Ok(Response::new(DeclareExchangeResponse { metadata_version }))
    }

    async fn delete_exchange(
        &self,
        request: Request<DeleteExchangeRequest>,
    ) -> Result<Response<DeleteExchangeResponse>, Status> {
        let DeleteExchangeRequest {
            vhost,
            name,
            if_unused,
        } = request.into_inner();
        self.propose(AmqpCommand::DeleteExchange {
            vhost,
            name,
            if_unused,
        })
        .await?;
        let metadata_version = self.image().version;
        Ok(Response::new(DeleteExchangeResponse { metadata_version }))
    }

    async fn bind(&self, request: Request<BindRequest>) -> Result<Response<BindResponse>, Status> {
        let BindRequest { vhost, binding } = request.into_inner();
        let change = declaring::binding_change(vhost, binding)?;
        self.propose(AmqpCommand::Bind(change)).await?;
        let metadata_version = self.image().version;
        Ok(Response::new(BindResponse { metadata_version }))
    }

    async fn unbind(
        &self,
        request: Request<UnbindRequest>,
    ) -> Result<Response<UnbindResponse>, Status> {
        let UnbindRequest { vhost, binding } = request.into_inner();
        let change = declaring::binding_change(vhost, binding)?;
        self.propose(AmqpCommand::Unbind(change)).await?;
        let metadata_version = self.image().version;
        Ok(Response::new(UnbindResponse { metadata_version }))
    }

    async fn list_exchanges(
        &self,
        request: Request<ListExchangesRequest>,
    ) -> Result<Response<Self::ListExchangesStream>, Status> {
        let vhost = vhost(&self.image(), &request.get_ref().vhost)?;
        Ok(declared::list_exchanges(vhost))
    }

    async fn list_bindings(
        &self,
        request: Request<ListBindingsRequest>,
    ) -> Result<Response<Self::ListBindingsStream>, Status> {
        let image = self.image();
        let vhost = vhost(&image, &request.get_ref().vhost)?;
        Ok(declared::list_bindings(image, vhost))
    }
}
