//! openraft's network over the peer transport: one value per group and target.
//!
//! Appends are pipelined: as many as the transport takes are under way, answered in order.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, VoteRequest,
    VoteResponse,
};
use openraft::{EmptyNode, EntryPayload, RaftNetworkV2};
use raftmq_store::{Entry, GroupId, GroupStore, Vote};

use super::coalesce::coalesce;
use super::group::GroupKind;
use super::state_machine::{Snapshot, SnapshotData};
use super::survivors::Target;
use super::throttle::{CatchUpThrottle, Pace, Voters};
use super::transport::codec::{self, Malformed};
use super::transport::{Lane, Method, PeerError, Refusal, Transport};
use super::types::{LogId, TypeConfig};

/// Appends of one group to one follower that are under way at once.
const APPENDS_IN_FLIGHT: usize = 64;
/// What an entry takes on the wire beside its command, about.
const ENTRY_BYTES: usize = 32;
/// How much later a follower hears of a commit when no entries follow.
const COMMIT_PAUSE: Duration = Duration::from_millis(20);
/// Pause before a follower whose disk is full is offered records again, unless it is heard of before.
const REFUSED_BACKOFF: Duration = Duration::from_secs(10);

/// Makes the network of one group.
#[derive(Debug, Clone)]
pub struct NetworkFactory {
    transport: Transport,
    store: GroupStore,
    throttle: Option<CatchUpThrottle>,
    voters: Voters,
    commit_pause: Duration,
}

impl NetworkFactory {
    /// The network of the group of `store` over `transport`. What a partition sends to members that do not
    /// vote is slowed as the transport's throttle says.
    #[must_use]
    pub fn new(transport: Transport, store: GroupStore, kind: GroupKind) -> Self {
        let voters = Voters::default();
        let throttle = (kind != GroupKind::Metadata).then(|| transport.throttle().clone());
        let commit_pause = match kind {
            // Its followers are what every broker knows of the cluster.
            GroupKind::Metadata => Duration::ZERO,
            GroupKind::Partition | GroupKind::Queue => COMMIT_PAUSE,
        };
        Self {
            transport,
            store,
            throttle,
            voters,
            commit_pause,
        }
    }

    /// What is told who votes, once openraft runs.
    pub(super) fn voters(&self) -> Voters {
        self.voters.clone()
    }
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Network {
        let target = u32::try_from(target).expect("raft node ids are broker ids");
        Network {
            transport: self.transport.clone(),
            group: self.store.id(),
            store: self.store.clone(),
            pace: Pace::new(
                self.throttle.clone(),
                self.voters.clone(),
                u64::from(target),
            ),
            commit_pause: self.commit_pause,
            target,
        }
    }
}

/// The way from this replica to one other.
#[derive(Debug, Clone)]
pub struct Network {
    transport: Transport,
    group: GroupId,
    store: GroupStore,
    pace: Pace,
    commit_pause: Duration,
    target: u32,
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn unreachable(error: PeerError) -> RPCError<TypeConfig> {
    match error {
        PeerError::Refused {
            refusal: Refusal::Malformed,
            ..
        } => RPCError::Network(NetworkError::new(&error)),
        PeerError::Refused { .. }
        | PeerError::UnknownBroker(_)
        | PeerError::NoConnection { .. }
        | PeerError::Unreachable { .. }
        | PeerError::TimedOut(_)
        | PeerError::Overloaded(_) => RPCError::Unreachable(Unreachable::new(&error)),
    }
}

fn malformed(error: Malformed) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::new(&error))
}

impl Network {
    fn call(
        &self,
        lane: Lane,
        method: Method,
        body: Bytes,
    ) -> impl Future<Output = Result<Bytes, PeerError>> + Send + use<> {
        self.transport
            .call(self.target, lane, self.group, method, body)
    }

    fn append(
        &self,
        request: &AppendEntriesRequest<TypeConfig>,
    ) -> impl Future<Output = Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>>>
    + Send
    + use<> {
        let (transport, target, group) = (self.transport.clone(), self.target, self.group);
        let body = codec::encode_append(request);
        let answer = transport.call_in_pieces(target, Lane::Append, group, Method::Append, body);
        async move {
            let answered = answer.await.inspect_err(|error| {
                // Whom a full disk keeps from taking records is looked at again when it has room.
                if !error.is_refusal(Refusal::DiskFull) {
                    transport.note_lost_append(target, group);
                }
            });
            codec::decode_append_response(answered.map_err(unreachable)?).map_err(malformed)
        }
    }
}

fn last_of(request: &AppendEntriesRequest<TypeConfig>) -> Option<LogId> {
    request
        .entries
        .last()
        .map(|entry| entry.log_id)
        .or(request.prev_log_id)
}

/// What the entries of a request take, about; 0 for one that carries none.
fn bytes_of(request: &AppendEntriesRequest<TypeConfig>) -> u64 {
    let bytes_of_one = |entry: &Entry| match &entry.payload {
        EntryPayload::Normal(command) => ENTRY_BYTES + command.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => ENTRY_BYTES,
    };
    let bytes: usize = request.entries.iter().map(bytes_of_one).sum();
    bytes as u64
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.append(&request).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendResults<'s>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let network = &*self;
        let answers = coalesce(input, self.commit_pause)
            // Nothing waits for a member that is slowed: what stands behind this is for it, too.
            .then(move |request| async move {
                network.pace.admit(bytes_of(&request)).await;
                request
            })
            .map(move |request| {
                let (previous, last) = (request.prev_log_id, last_of(&request));
                // Queued here, in order; the future below only waits.
                let answer = network.append(&request);
                async move { Ok(answer.await?.into_stream_result(previous, last)) }
            })
            .buffered(APPENDS_IN_FLIGHT);
        // After an error openraft expects nothing more from this stream.
        let until_error = answers.scan(false, |failed, result| {
            let stop = *failed;
            *failed = !matches!(result, Ok(Ok(_)));
            std::future::ready((!stop).then_some(result))
        });
        Box::pin(std::future::ready(Ok(until_error.boxed())))
    }

    fn backoff(&self) -> Option<Backoff> {
        let refuses = self.transport.refuses_records(self.target);
        refuses.then(|| Backoff::new(std::iter::repeat(REFUSED_BACKOFF)))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.call(Lane::Control, Method::Vote, codec::encode_vote(&request));
        codec::decode_vote_response(answer.await.map_err(unreachable)?).map_err(malformed)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.call(Lane::Control, Method::PreVote, codec::encode_vote(&request));
        codec::decode_vote_response(answer.await.map_err(unreachable)?).map_err(malformed)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let target = Target {
            transport: self.transport.clone(),
            broker_id: self.target,
            group: self.group,
            pace: self.pace.clone(),
        };
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = target.send(&self.store, vote, snapshot) => {
                answer.map(SnapshotResponse::new).map_err(StreamingError::from)
            }
        }
    }
}

type AppendResults<'s> =
    BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>;
