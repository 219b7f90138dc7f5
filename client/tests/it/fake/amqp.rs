//! AMQP's control plane of one broker: virtual hosts and users; lists that break off.

use std::pin::Pin;

use futures_util::Stream;
use raftmq_client::ErrorCode;
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
    SetPermissionsRequest, SetPermissionsResponse, UnbindRequest, UnbindResponse, UserInfo,
    VhostInfo,
};
use tonic::{Request, Response, Status};

use super::Server;

type Listed<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// What this broker does not do.
fn unsupported<T>() -> Result<Response<T>, Status> {
    Err(Error::new(ErrorCode::Unsupported, "not in this fake").into())
}

fn listed<M: Send + 'static>(parts: Vec<Result<M, Status>>) -> Response<Listed<M>> {
    Response::new(Box::pin(futures_util::stream::iter(parts)))
}

#[tonic::async_trait]
impl AmqpAdmin for Server {
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
        let name = request.into_inner().name;
        self.cluster.state.lock().vhosts.push(name);
        Ok(Response::new(CreateVhostResponse {}))
    }

    async fn delete_vhost(
        &self,
        _: Request<DeleteVhostRequest>,
    ) -> Result<Response<DeleteVhostResponse>, Status> {
        Err(Error::new(ErrorCode::UnknownVhost, "no such vhost").into())
    }

    /// One virtual host in each part. A list that breaks off does so behind the first part.
    async fn list_vhosts(
        &self,
        _: Request<ListVhostsRequest>,
    ) -> Result<Response<Self::ListVhostsStream>, Status> {
        let mut state = self.cluster.state.lock();
        let part = |name: &String| {
            let vhost = VhostInfo {
                name: name.clone(),
                ..VhostInfo::default()
            };
            let vhosts = vec![vhost];
            Ok(ListVhostsResponse { vhosts })
        };
        let mut parts: Vec<_> = state.vhosts.iter().map(part).collect();
        if state.list_breaks > 0 {
            state.list_breaks -= 1;
            parts.truncate(1);
            parts.push(Err(Error::unavailable("stopping").into()));
        }
        Ok(listed(parts))
    }

    async fn put_user(
        &self,
        request: Request<PutUserRequest>,
    ) -> Result<Response<PutUserResponse>, Status> {
        let PutUserRequest {
            name,
            password,
            tags,
        } = request.into_inner();
        let mut state = self.cluster.state.lock();
        if password.is_none() && !state.users.contains_key(&name) {
            return Err(Error::new(ErrorCode::UnknownUser, "no such user").into());
        }
        let user = state.users.entry(name).or_default();
        if let Some(tags) = tags {
            *user = tags.tags;
        }
        Ok(Response::new(PutUserResponse {}))
    }

    async fn delete_user(
        &self,
        _: Request<DeleteUserRequest>,
    ) -> Result<Response<DeleteUserResponse>, Status> {
        unsupported()
    }

    async fn list_users(
        &self,
        _: Request<ListUsersRequest>,
    ) -> Result<Response<Self::ListUsersStream>, Status> {
        let users = self.cluster.state.lock().users.clone().into_iter();
        let users = users.map(|(name, tags)| UserInfo { name, tags }).collect();
        Ok(listed(vec![Ok(ListUsersResponse { users })]))
    }

    async fn set_permissions(
        &self,
        _: Request<SetPermissionsRequest>,
    ) -> Result<Response<SetPermissionsResponse>, Status> {
        unsupported()
    }

    async fn clear_permissions(
        &self,
        _: Request<ClearPermissionsRequest>,
    ) -> Result<Response<ClearPermissionsResponse>, Status> {
        unsupported()
    }

    async fn list_permissions(
        &self,
        _: Request<ListPermissionsRequest>,
    ) -> Result<Response<Self::ListPermissionsStream>, Status> {
        unsupported()
    }

    async fn list_queues(
        &self,
        _: Request<ListQueuesRequest>,
    ) -> Result<Response<Self::ListQueuesStream>, Status> {
        Ok(listed(Vec::new()))
    }

    async fn delete_queue(
        &self,
        request: Request<DeleteQueueRequest>,
    ) -> Result<Response<DeleteQueueResponse>, Status> {
        if request.into_inner().if_empty {
            return Err(Error::new(ErrorCode::PreconditionFailed, "not empty").into());
        }
        Ok(Response::new(DeleteQueueResponse::default()))
    }

    async fn purge_queue(
        &self,
        _: Request<PurgeQueueRequest>,
    ) -> Result<Response<PurgeQueueResponse>, Status> {
        unsupported()
    }

    async fn declare_queue(
        &self,
        request: Request<DeclareQueueRequest>,
    ) -> Result<Response<DeclareQueueResponse>, Status> {
        let mut state = self.cluster.state.lock();
        state.queues.entry(request.into_inner().name).or_default();
        state.version += 1;
        let metadata_version = state.version;
        Ok(Response::new(DeclareQueueResponse { metadata_version }))
    }

    async fn declare_exchange(
        &self,
        _: Request<DeclareExchangeRequest>,
    ) -> Result<Response<DeclareExchangeResponse>, Status> {
        unsupported()
    }

    async fn delete_exchange(
        &self,
        _: Request<DeleteExchangeRequest>,
    ) -> Result<Response<DeleteExchangeResponse>, Status> {
        unsupported()
    }

    async fn bind(&self, _: Request<BindRequest>) -> Result<Response<BindResponse>, Status> {
        unsupported()
    }

    async fn unbind(&self, _: Request<UnbindRequest>) -> Result<Response<UnbindResponse>, Status> {
        unsupported()
    }

    async fn list_exchanges(
        &self,
        _: Request<ListExchangesRequest>,
    ) -> Result<Response<Self::ListExchangesStream>, Status> {
        unsupported()
    }

    async fn list_bindings(
        &self,
        _: Request<ListBindingsRequest>,
    ) -> Result<Response<Self::ListBindingsStream>, Status> {
        unsupported()
    }
}
