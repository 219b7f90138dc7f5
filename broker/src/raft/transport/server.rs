//! The receiving side of peer calls: takes frames of a lane, starts its calls in order, and sends
//! answers back as they come, batched per wake-up.
//!
//! Knows neither groups nor methods; a [`PeerHandler`] does.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use raftmq_proto::internal_v1::peer_server::{Peer, PeerServer as GeneratedServer};
use raftmq_proto::internal_v1::{PeerCall, PeerReply, PeerRequest, PeerResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{FRAME_BYTES_MAX, FRAME_BYTES_TARGET, Refusal};

/// Calls of one connection being carried out; further frames wait.
const CALLS_IN_FLIGHT_MAX: usize = 32_768;
const RESPONSES_IN_FLIGHT: usize = 16;
const REPLIES_PER_RESPONSE: usize = 4_096;

/// The answer to one call.
pub type Served = Result<Bytes, (Refusal, String)>;

/// One call and who sent it.
#[derive(Debug, Clone)]
pub struct Inbound {
    /// Sender's broker id.
    pub sender: u32,
    /// Sender's broker epoch; 0 = not registered.
    pub sender_epoch: u64,
    /// Sender's cluster; empty = it does not know one yet.
    pub cluster_id: String,
    /// Raft group.
    pub group_id: u64,
    /// Method number.
    pub method: u32,
    /// Arguments.
    pub body: Bytes,
}

/// Carries out calls.
pub trait PeerHandler: Send + Sync + 'static {
    /// Starts a call. The future's first poll, which happens in the order of arrival, must hand
    /// an append to its group: later polls of different calls come in any order.
    fn handle(&self, call: Inbound) -> BoxFuture<'static, Served>;
}

/// tonic's service over a handler.
pub struct PeerServer {
    handler: Arc<dyn PeerHandler>,
}

impl std::fmt::Debug for PeerServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PeerServer").finish_non_exhaustive()
    }
}

impl PeerServer {
    /// A service that can be given to a tonic server.
    pub fn service(handler: Arc<dyn PeerHandler>) -> GeneratedServer<Self> {
        GeneratedServer::new(Self { handler })
            .max_decoding_message_size(FRAME_BYTES_MAX)
            .max_encoding_message_size(FRAME_BYTES_MAX)
    }

    fn lane(&self, request: Request<Streaming<PeerRequest>>) -> Response<ResponseStream> {
        let (responses, receiver) = mpsc::channel(RESPONSES_IN_FLIGHT);
        let lane = LaneServer {
            handler: self.handler.clone(),
            frames: request.into_inner(),
            responses,
            running: FuturesUnordered::new(),
            finished: Vec::new(),
        };
        tokio::spawn(lane.run());
        Response::new(ReceiverStream::new(receiver).boxed())
    }
}

type ResponseStream = BoxStream<'static, Result<PeerResponse, Status>>;

#[tonic::async_trait]
impl Peer for PeerServer {
    type ControlStream = ResponseStream;
    type AppendStream = ResponseStream;
    type BulkStream = ResponseStream;
    type QueuesStream = ResponseStream;

    async fn control(
        &self,
        request: Request<Streaming<PeerRequest>>,
    ) -> Result<Response<ResponseStream>, Status> {
        Ok(self.lane(request))
    }

    async fn append(
        &self,
        request: Request<Streaming<PeerRequest>>,
    ) -> Result<Response<ResponseStream>, Status> {
        Ok(self.lane(request))
    }

    async fn queues(
        &self,
        request: Request<Streaming<PeerRequest>>,
    ) -> Result<Response<ResponseStream>, Status> {
        Ok(self.lane(request))
    }

    async fn bulk(
        &self,
        request: Request<Streaming<PeerRequest>>,
    ) -> Result<Response<ResponseStream>, Status> {
        Ok(self.lane(request))
    }
}

type Running = Pin<Box<dyn Future<Output = PeerReply> + Send>>;

struct LaneServer {
    handler: Arc<dyn PeerHandler>,
    frames: Streaming<PeerRequest>,
    responses: mpsc::Sender<Result<PeerResponse, Status>>,
    running: FuturesUnordered<Running>,
    finished: Vec<PeerReply>,
}

impl LaneServer {
    async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                Some(reply) = self.running.next(), if !self.running.is_empty() => {
                    self.finished.push(reply);
                    self.collect_finished();
                }
                frame = self.frames.message(), if self.running.len() < CALLS_IN_FLIGHT_MAX => {
                    match frame {
                        Ok(Some(frame)) => self.start_all(frame).await,
                        Ok(None) | Err(_) => return,
                    }
                }
            }
            if !self.finished.is_empty() && self.flush().await.is_err() {
                return;
            }
        }
    }

    async fn start_all(&mut self, frame: PeerRequest) {
        let PeerRequest {
            sender_broker_id,
            sender_broker_epoch,
            cluster_id,
            calls,
        } = frame;
        for call in calls {
            let PeerCall {
                call_id,
                group_id,
                method,
                body,
            } = call;
            let inbound = Inbound {
                sender: sender_broker_id,
                sender_epoch: sender_broker_epoch,
                cluster_id: cluster_id.clone(),
                group_id,
                method,
                body,
            };
            let served = self.handler.handle(inbound);
            let mut running: Running = Box::pin(served.map(move |served| reply(call_id, served)));
            // The first poll in order of arrival keeps appends of a group in order.
            match futures_util::poll!(running.as_mut()) {
                Poll::Ready(reply) => self.finished.push(reply),
                Poll::Pending => self.running.push(running),
            }
        }
    }

    fn collect_finished(&mut self) {
        while self.finished.len() < REPLIES_PER_RESPONSE {
            match self.running.next().now_or_never() {
                Some(Some(reply)) => self.finished.push(reply),
                Some(None) | None => return,
            }
        }
    }

    async fn flush(&mut self) -> Result<(), ()> {
        for replies in frames_of(std::mem::take(&mut self.finished)) {
            let sent = self.responses.send(Ok(PeerResponse { replies })).await;
            sent.map_err(|_| ())?;
        }
        Ok(())
    }
}

/// Puts replies together so that no frame is too large: a reply above the target goes alone.
fn frames_of(replies: Vec<PeerReply>) -> Vec<Vec<PeerReply>> {
    let mut frames: Vec<Vec<PeerReply>> = Vec::new();
    let mut bytes = 0_usize;
    for reply in replies {
        bytes = bytes.saturating_add(reply.body.len());
        match frames.last_mut() {
            Some(frame) if bytes <= FRAME_BYTES_TARGET => frame.push(reply),
            Some(_) | None => {
                bytes = reply.body.len();
                frames.push(vec![reply]);
            }
        }
    }
    frames
}

fn reply(call_id: u64, served: Served) -> PeerReply {
    match served {
        Ok(body) => PeerReply {
            call_id,
            status: 0,
            body,
        },
        Err((refusal, reason)) => PeerReply {
            call_id,
            status: refusal as u32,
            body: Bytes::from(reason),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(bodies: &[usize]) -> Vec<Vec<usize>> {
        let replies = bodies.iter().map(|bytes| PeerReply {
            call_id: 1,
            status: 0,
            body: Bytes::from(vec![0; *bytes]),
        });
        let frames = frames_of(replies.collect()).into_iter();
        let sizes = |frame: Vec<PeerReply>| frame.iter().map(|reply| reply.body.len()).collect();
        frames.map(sizes).collect()
    }

    #[test]
    fn replies_share_a_frame_until_it_is_large_and_a_large_one_goes_alone() {
        const LARGE: usize = FRAME_BYTES_TARGET * 2;
        const HALF: usize = FRAME_BYTES_TARGET / 2;

        assert!(sizes(&[]).is_empty());
        assert_eq!(sizes(&[1, 2, 3]), [[1, 2, 3]]);
        assert_eq!(
            sizes(&[1, LARGE, LARGE, HALF, HALF, 1, 2]),
            [
                vec![1],
                vec![LARGE],
                vec![LARGE],
                vec![HALF, HALF],
                vec![1, 2]
            ]
        );
    }
}
