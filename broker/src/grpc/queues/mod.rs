//! `raftmq.v1.Queues`: messages through exchanges and queues, for clients that do not speak AMQP.
//!
//! A stream is what an AMQP channel is, and its host is one task (`stream`). Messages are stored as AMQP's
//! (`crate::messages`), so that each reads what the other's clients wrote. Who may do what is not asked yet, as
//! everywhere in gRPC. Holds no messages; knows neither Raft nor storage.

mod consumers;
mod limits;
mod outbox;
mod outcomes;
mod requests;
mod responses;
mod stream;
mod translate;
mod unsettled;
mod work;

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use raftmq_proto::v1::queues_server::Queues;
use raftmq_proto::v1::{ChannelRequest, ChannelResponse};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use self::limits::PUBLISHED_BYTES_MAX;
use crate::node::Parts;

/// Queues and exchanges on one broker, as gRPC clients use them.
#[derive(Debug, Clone)]
pub struct QueuesFrontEnd {
    parts: Parts,
    /// Bytes that publishes of all streams may still take.
    budget: Arc<Semaphore>,
}

impl QueuesFrontEnd {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            budget: Arc::new(Semaphore::new(PUBLISHED_BYTES_MAX)),
        }
    }
}

#[tonic::async_trait]
impl Queues for QueuesFrontEnd {
    type ChannelStream = Pin<Box<dyn Stream<Item = Result<ChannelResponse, Status>> + Send>>;

    async fn channel(
        &self,
        request: Request<Streaming<ChannelRequest>>,
    ) -> Result<Response<Self::ChannelStream>, Status> {
        let (responses, stream) = responses::responses();
        let (parts, budget) = (self.parts.clone(), Arc::clone(&self.budget));
        tokio::spawn(stream::serve(
            parts,
            budget,
            request.into_inner(),
            responses,
        ));
        Ok(Response::new(Box::pin(stream)))
    }
}
