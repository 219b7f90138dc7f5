//! The data plane's methods; each one's work stands in its own file.

use std::pin::Pin;

use futures_util::Stream;
use raftmq_proto::into_status;
use raftmq_proto::v1::broker_server::Broker;
use raftmq_proto::v1::{
    FetchRequest, FetchResponse, InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{error, fetch, metadata, produce};
use crate::node::Parts;

/// Responses that wait for a slow client; then its requests wait.
const RESPONSES_IN_FLIGHT: usize = 64;

/// The data plane of one broker.
#[derive(Debug, Clone)]
pub struct BrokerFrontEnd {
    parts: Parts,
}

impl BrokerFrontEnd {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts }
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Broker for BrokerFrontEnd {
    type ProduceStream = Responses<ProduceResponse>;
    type FetchStream = Responses<FetchResponse>;

    async fn produce(
        &self,
        request: Request<Streaming<ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStream>, Status> {
        let (responses, receiver) = mpsc::channel(RESPONSES_IN_FLIGHT);
        tokio::spawn(produce::serve(
            self.parts.clone(),
            request.into_inner(),
            responses,
        ));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn fetch(
        &self,
        request: Request<Streaming<FetchRequest>>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        // One at a time: a response holds records.
        let (responses, receiver) = mpsc::channel(1);
        tokio::spawn(fetch::serve(
            self.parts.clone(),
            request.into_inner(),
            responses,
        ));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list_offsets(
        &self,
        request: Request<ListOffsetsRequest>,
    ) -> Result<Response<ListOffsetsResponse>, Status> {
        Ok(Response::new(
            fetch::list_offsets(&self.parts, request.into_inner()).await,
        ))
    }

    async fn metadata(
        &self,
        request: Request<MetadataRequest>,
    ) -> Result<Response<MetadataResponse>, Status> {
        Ok(Response::new(metadata::serve(
            &self.parts,
            &request.into_inner(),
        )))
    }

    async fn init_producer_id(
        &self,
        _request: Request<InitProducerIdRequest>,
    ) -> Result<Response<InitProducerIdResponse>, Status> {
        let id = self.parts.producer_ids.next().await;
        let producer_id = id.map_err(|refused| into_status(error::of_control(&refused)))?;
        Ok(Response::new(InitProducerIdResponse {
            producer_id,
            producer_epoch: 0,
        }))
    }
}
