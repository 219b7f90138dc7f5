//! One lane to one peer: a task that connects when there is something to send, batches what waits
//! into frames, and matches answers to calls.
//!
//! Reconnects by itself. When the connection breaks, every call on it fails; none is sent twice.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use hyper_util::rt::TokioIo;
use raftmq_proto::internal_v1::peer_client::PeerClient;
use raftmq_proto::internal_v1::{PeerCall, PeerReply, PeerRequest, PeerResponse};
use raftmq_store::GroupId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint, Uri};

use super::frame::{self, Outgoing};
use super::rope::Rope;
use super::{
    CONNECTION_WINDOW_BYTES, Call, FRAME_BYTES_MAX, FRAME_BYTES_TARGET, Lane, PeerError,
    QUEUE_CALLS_MAX, Refusal, STREAM_WINDOW_BYTES, Shared,
};
use crate::env::BoxedIo;
use crate::raft::METADATA_GROUP;

const CONNECT_DEADLINE: Duration = Duration::from_millis(1_000);
/// After a failed connection, calls fail at once for this long.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);
/// Frames handed to tonic and not yet written.
const FRAMES_IN_FLIGHT: usize = 4;
const CALLS_PER_WAKE_UP: usize = 1_024;

type ReplySender = oneshot::Sender<Result<Bytes, PeerError>>;

/// The sending end of a lane; dropping it ends the task.
pub(super) struct Link {
    calls: mpsc::Sender<Call>,
}

impl Link {
    pub(super) fn spawn(shared: Weak<Shared>, broker: u32, lane: Lane) -> Self {
        let (calls, queue) = mpsc::channel(QUEUE_CALLS_MAX);
        let worker = Worker {
            shared,
            broker,
            lane,
            queue,
        };
        tokio::spawn(worker.run());
        Self { calls }
    }

    pub(super) fn send(&self, call: Call) -> Result<(), Call> {
        self.calls.try_send(call).map_err(|error| match error {
            mpsc::error::TrySendError::Full(call) | mpsc::error::TrySendError::Closed(call) => call,
        })
    }
}

struct Worker {
    shared: Weak<Shared>,
    broker: u32,
    lane: Lane,
    queue: mpsc::Receiver<Call>,
}

/// A call without an answer yet.
struct Pending {
    reply: ReplySender,
    sent_at: Instant,
    group: GroupId,
}

struct Session {
    frames: mpsc::Sender<Rope>,
    answers: Streaming<PeerResponse>,
    /// By call id; the oldest comes first.
    pending: BTreeMap<u64, Pending>,
    next_call_id: u64,
}

impl Worker {
    async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            let Some(shared) = self.shared.upgrade() else {
                return;
            };
            match self.connect(&shared).await {
                Ok(session) => {
                    self.set_connected(&shared, true);
                    drop(shared);
                    self.serve(session, first).await;
                    let Some(shared) = self.shared.upgrade() else {
                        return;
                    };
                    self.set_connected(&shared, false);
                }
                Err(error) => {
                    let lane = self.lane;
                    tracing::debug!(broker = self.broker, ?lane, %error, "peer unreachable");
                    drop(shared);
                    let _ = first.reply.send(Err(error.clone()));
                    self.refuse_for(PAUSE_AFTER_FAILURE, &error).await;
                }
            }
        }
    }

    fn set_connected(&self, shared: &Shared, is_connected: bool) {
        if self.lane == Lane::Append {
            shared.set_connected(self.broker, is_connected);
        }
    }

    async fn connect(&self, shared: &Arc<Shared>) -> Result<Session, PeerError> {
        let broker = self.broker;
        let address = shared
            .address(broker)
            .ok_or(PeerError::UnknownBroker(broker))?;
        let unreachable = |reason: String| PeerError::NoConnection { broker, reason };
        let opened = timeout(
            CONNECT_DEADLINE,
            open(shared.clone(), address, self.lane).boxed(),
        )
        .await;
        let (frames, answers) = match opened {
            Err(_elapsed) => return Err(unreachable("no connection in time".to_owned())),
            Ok(Err(OpenError::Refused { reason, is_gone })) => {
                shared.set_gone(broker, is_gone);
                shared.tell_refused(broker);
                return Err(unreachable(reason));
            }
            Ok(Err(OpenError::Other(reason))) => return Err(unreachable(reason)),
            Ok(Ok(opened)) => opened,
        };
        shared.set_gone(broker, false);
        Ok(Session {
            frames,
            answers,
            pending: BTreeMap::new(),
            next_call_id: 0,
        })
    }

    /// Fails what comes in for a while, so that a dead peer is not asked without a pause.
    async fn refuse_for(&mut self, pause: Duration, error: &PeerError) {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(until) => return,
                call = self.queue.recv() => match call {
                    Some(call) => drop(call.reply.send(Err(error.clone()))),
                    None => return,
                },
            }
        }
    }

    async fn serve(&mut self, mut session: Session, first: Call) {
        let error = match self.send_frame(&mut session, vec![first]).await {
            Ok(()) => self.exchange(&mut session).await,
            Err(error) => error,
        };
        if let Some(shared) = self.shared.upgrade()
            && matches!(error, PeerError::Unreachable { .. })
        {
            shared.tell_refused(self.broker);
        }
        tracing::debug!(broker = self.broker, lane = ?self.lane, %error, "peer connection lost");
        for call in std::mem::take(&mut session.pending).into_values() {
            let _ = call.reply.send(Err(error.clone()));
        }
    }

    /// Sends and receives until the connection is no more; returns why.
    async fn exchange(&mut self, session: &mut Session) -> PeerError {
        let broker = self.broker;
        let mut waiting = Vec::new();
        loop {
            let oldest = session.pending.first_key_value();
            let overdue = oldest.map(|(_, call)| call.sent_at + self.lane.deadline());
            tokio::select! {
                biased;
                answer = session.answers.message() => match answer {
                    Ok(Some(response)) => self.settle(session, response.replies),
                    Ok(None) => return lost(broker, "closed by the peer"),
                    Err(status) => return lost(broker, status.message()),
                },
                () = sleep_until_some(overdue) => return PeerError::TimedOut(broker),
                count = self.queue.recv_many(&mut waiting, CALLS_PER_WAKE_UP) => {
                    if count == 0 {
                        return lost(broker, "link dropped");
                    }
                    let calls = std::mem::take(&mut waiting);
                    if let Err(error) = self.send_frame(session, calls).await {
                        return error;
                    }
                }
            }
        }
    }

    async fn send_frame(&self, session: &mut Session, calls: Vec<Call>) -> Result<(), PeerError> {
        let sent_at = Instant::now();
        let deadline = sent_at + self.lane.deadline();
        let mut frame = Vec::with_capacity(calls.len());
        let mut frame_bytes = 0;
        for call in calls {
            if call.reply.is_closed() {
                continue;
            }
            let call_id = session.next_call_id;
            session.next_call_id += 1;
            let pending = Pending {
                reply: call.reply,
                sent_at,
                group: call.group,
            };
            session.pending.insert(call_id, pending);
            frame_bytes += call.body.len();
            let head = PeerCall {
                call_id,
                group_id: call.group.0,
                method: call.method as u32,
                body: Bytes::new(),
            };
            frame.push((head, call.body));
            if frame_bytes >= FRAME_BYTES_TARGET {
                self.send_calls(session, std::mem::take(&mut frame), deadline)
                    .await?;
                frame_bytes = 0;
            }
        }
        self.send_calls(session, frame, deadline).await
    }

    async fn send_calls(
        &self,
        session: &mut Session,
        calls: Vec<(PeerCall, Rope)>,
        deadline: Instant,
    ) -> Result<(), PeerError> {
        let broker = self.broker;
        if calls.is_empty() {
            return Ok(());
        }
        let Some(shared) = self.shared.upgrade() else {
            return Err(lost(broker, "stopping"));
        };
        let identity = shared.identity.read().clone();
        let head = PeerRequest {
            sender_broker_id: identity.broker_id,
            sender_broker_epoch: identity.broker_epoch,
            cluster_id: identity.cluster_id,
            calls: Vec::new(),
        };
        drop(shared);
        let frame = frame::encode(&head, calls);
        // While the peer takes no more frames its answers must still be read: it may be waiting
        // for room itself.
        let frames = session.frames.clone();
        loop {
            tokio::select! {
                biased;
                permit = frames.clone().reserve_owned() => {
                    let permit = permit.map_err(|_| lost(broker, "closed"))?;
                    permit.send(frame);
                    return Ok(());
                }
                answer = session.answers.message() => match answer {
                    Ok(Some(response)) => self.settle(session, response.replies),
                    Ok(None) => return Err(lost(broker, "closed by the peer")),
                    Err(status) => return Err(lost(broker, status.message())),
                },
                () = sleep_until(deadline) => return Err(PeerError::TimedOut(broker)),
            }
        }
    }

    /// Hands answers to those who wait, and notes the peer as heard of: as of the time that the
    /// question was sent, because the answer may have been long under way. Only what concerns a partition
    /// group counts: peers refuse that to a broker they take for fenced. Everything else is answered
    /// to fenced brokers, too; after a `Hello` its body says so, and the asker judges.
    fn settle(&self, session: &mut Session, replies: Vec<PeerReply>) {
        let broker = self.broker;
        let mut heard_at = None;
        for reply in replies {
            let Some(call) = session.pending.remove(&reply.call_id) else {
                continue;
            };
            let refusal = refusal_of(&reply);
            if refusal != Some(Refusal::Fenced) && call.group != METADATA_GROUP {
                heard_at = heard_at.max(Some(call.sent_at));
            }
            let answer = match refusal {
                None => Ok(reply.body),
                Some(refusal) => Err(PeerError::Refused {
                    broker,
                    refusal,
                    reason: String::from_utf8_lossy(&reply.body).into_owned(),
                }),
            };
            let _ = call.reply.send(answer);
        }
        if let (Some(heard_at), Some(shared)) = (heard_at, self.shared.upgrade()) {
            shared.note_heard(broker, heard_at);
        }
    }
}

/// The refusal of a call; `None` = it was carried out.
fn refusal_of(reply: &PeerReply) -> Option<Refusal> {
    (reply.status != 0).then(|| Refusal::from_number(reply.status))
}

fn lost(broker: u32, reason: &str) -> PeerError {
    PeerError::Unreachable {
        broker,
        reason: reason.to_owned(),
    }
}

async fn sleep_until_some(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A connector that hands out one open connection.
struct Once {
    io: Option<BoxedIo>,
}

impl tower::Service<Uri> for Once {
    type Response = TokioIo<BoxedIo>;
    type Error = std::io::Error;
    type Future = std::future::Ready<std::io::Result<TokioIo<BoxedIo>>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let used_up = || std::io::Error::other("connection used up");
        std::future::ready(self.io.take().map(TokioIo::new).ok_or_else(used_up))
    }
}

enum OpenError {
    /// Refused or reset; gone: nobody listens.
    Refused {
        reason: String,
        is_gone: bool,
    },
    Other(String),
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn other(error: tonic::transport::Error) -> OpenError {
    OpenError::Other(error.to_string())
}

async fn open(
    shared: Arc<Shared>,
    address: String,
    lane: Lane,
) -> Result<(mpsc::Sender<Rope>, Streaming<PeerResponse>), OpenError> {
    // The socket is opened here and not inside the connector, so that a refusal keeps its kind.
    let io = shared.env.net.connect(address).await.map_err(|error| {
        let kind = error.kind();
        let (is_gone, reason) = (kind == ErrorKind::ConnectionRefused, error.to_string());
        if is_gone || kind == ErrorKind::ConnectionReset {
            OpenError::Refused { reason, is_gone }
        } else {
            OpenError::Other(reason)
        }
    })?;
    let connector = Once { io: Some(io) };
    let endpoint = Endpoint::from_static("http://peer")
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let channel: Channel = endpoint
        .connect_with_connector(connector)
        .await
        .map_err(other)?;
    let (frames, receiver) = mpsc::channel(FRAMES_IN_FLIGHT);
    let outgoing = Outgoing::new(channel, receiver);
    let mut client = PeerClient::new(outgoing).max_decoding_message_size(FRAME_BYTES_MAX);
    // The requests are what `outgoing` puts in the place of these.
    let nothing = tokio_stream::empty();
    let response = match lane {
        Lane::Control => client.control(nothing).await,
        Lane::Append => client.append(nothing).await,
        Lane::Bulk => client.bulk(nothing).await,
        Lane::Queues => client.queues(nothing).await,
    };
    let answers = response.map_err(|status| OpenError::Other(status.message().to_owned()))?;
    Ok((frames, answers.into_inner()))
}
