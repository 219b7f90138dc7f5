//! The data plane of one broker, faults included.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use raftmq_proto::v1::broker_server::Broker;
use raftmq_proto::v1::{
    Acks, BrokerInfo, Error, ErrorCode, FetchRequest, FetchResponse, FetchResult,
    InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataRequest, MetadataResponse, PartitionBatch, ProduceRequest, ProduceResponse,
    ProduceResult,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::state::State;
use super::{Fault, Server};

type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Server {
    async fn serve_produce(
        self,
        mut requests: Streaming<ProduceRequest>,
        answers: mpsc::Sender<Result<ProduceResponse, Status>>,
    ) {
        while let Ok(Some(request)) = requests.message().await {
            let (fault, results) = self.handle_produce(&request);
            self.cluster.appended.notify_waiters();
            match fault {
                Some(Fault::Break | Fault::WriteThenBreak) => {
                    let _ = answers.send(Err(Status::unavailable("scripted"))).await;
                    return;
                }
                Some(Fault::WriteThenSilence) => continue,
                Some(Fault::Refuse(_)) | None => {}
            }
            if request.acks() == Acks::None {
                continue;
            }
            let response = ProduceResponse {
                correlation_id: request.correlation_id,
                results,
            };
            if answers.send(Ok(response)).await.is_err() {
                return;
            }
        }
    }

    fn handle_produce(&self, request: &ProduceRequest) -> (Option<Fault>, Vec<ProduceResult>) {
        let mut state = self.cluster.state.lock();
        state.produce_requests += 1;
        let fault = state.faults.pop_front();
        let produce = |state: &mut State, batch| match fault {
            Some(Fault::Refuse(code)) => {
                let batch: &PartitionBatch = batch;
                ProduceResult {
                    topic: batch.topic.clone(),
                    partition: batch.partition,
                    error: Some(Error::new(code, "scripted")),
                    base_offset: -1,
                    ..ProduceResult::default()
                }
            }
            Some(Fault::Break) => ProduceResult::default(),
            Some(Fault::WriteThenBreak | Fault::WriteThenSilence) | None => {
                state.produce(self.broker_id, batch)
            }
        };
        let batches = request.batches.iter();
        let results = batches.map(|batch| produce(&mut state, batch)).collect();
        (fault, results)
    }

    async fn serve_fetch(
        self,
        mut requests: Streaming<FetchRequest>,
        answers: mpsc::Sender<Result<FetchResponse, Status>>,
    ) {
        while let Ok(Some(request)) = requests.message().await {
            let is_broken = {
                let mut state = self.cluster.state.lock();
                let is_broken = state.fetch_breaks > 0;
                state.fetch_breaks = state.fetch_breaks.saturating_sub(1);
                is_broken
            };
            if is_broken {
                let _ = answers.send(Err(Status::unavailable("scripted"))).await;
                return;
            }
            let wait = Duration::from_millis(request.max_wait_ms.into());
            let deadline = tokio::time::Instant::now() + wait;
            let results = loop {
                let appended = self.cluster.appended.notified();
                let results = self.handle_fetch(&request);
                let is_enough = results
                    .iter()
                    .any(|result| result.error.is_some() || !result.record_batches.is_empty());
                let is_over = tokio::time::timeout_at(deadline, appended);
                if is_enough || is_over.await.is_err() {
                    break results;
                }
            };
            let response = FetchResponse {
                correlation_id: request.correlation_id,
                results,
            };
            if answers.send(Ok(response)).await.is_err() {
                return;
            }
        }
    }

    fn handle_fetch(&self, request: &FetchRequest) -> Vec<FetchResult> {
        let mut state = self.cluster.state.lock();
        let wanted = request.partitions.iter();
        wanted
            .map(|wanted| state.fetch(self.broker_id, wanted))
            .collect()
    }
}
#[tonic::async_trait]
impl Broker for Server {
    type ProduceStream = ResponseStream<ProduceResponse>;
    type FetchStream = ResponseStream<FetchResponse>;

    async fn produce(
        &self,
        request: Request<Streaming<ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStream>, Status> {
        let (sender, answers) = mpsc::channel(64);
        tokio::spawn(self.clone().serve_produce(request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn fetch(
        &self,
        request: Request<Streaming<FetchRequest>>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let (sender, answers) = mpsc::channel(64);
        tokio::spawn(self.clone().serve_fetch(request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn list_offsets(
        &self,
        request: Request<ListOffsetsRequest>,
    ) -> Result<Response<ListOffsetsResponse>, Status> {
        let mut state = self.cluster.state.lock();
        let queries = request.get_ref().queries.iter();
        let results = queries.map(|query| state.list_offset(self.broker_id, query));
        let results = results.collect();
        Ok(Response::new(ListOffsetsResponse { results }))
    }

    async fn metadata(
        &self,
        request: Request<MetadataRequest>,
    ) -> Result<Response<MetadataResponse>, Status> {
        let mut state = self.cluster.state.lock();
        state.metadata_requests += 1;
        if state.refuses_metadata {
            let refusal = Error::new(ErrorCode::InvalidRequest, "refused");
            return Err(raftmq_proto::into_status(refusal));
        }
        let request = request.into_inner();
        let names = match (request.topics.is_empty(), request.brokers_only) {
            (true, true) => Vec::new(),
            (true, false) => state.topics.keys().cloned().collect(),
            (false, _) => request.topics,
        };
        let brokers = state
            .endpoints
            .iter()
            .zip(1..)
            .map(|(endpoint, broker_id)| BrokerInfo {
                broker_id,
                grpc_endpoint: endpoint.clone(),
                ..BrokerInfo::default()
            });
        Ok(Response::new(MetadataResponse {
            cluster_id: "fake".to_owned(),
            controller_broker_id: state.controller,
            brokers: brokers.collect(),
            topics: names.iter().map(|name| state.topic_info(name)).collect(),
            version: state.version,
        }))
    }

    async fn init_producer_id(
        &self,
        _: Request<InitProducerIdRequest>,
    ) -> Result<Response<InitProducerIdResponse>, Status> {
        let mut state = self.cluster.state.lock();
        state.producer_ids += 1;
        Ok(Response::new(InitProducerIdResponse {
            producer_id: state.producer_ids,
            producer_epoch: 0,
        }))
    }
}
