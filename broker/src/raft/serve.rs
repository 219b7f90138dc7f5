//! Carries out the calls of peers that concern Raft groups: appends, votes, snapshots, and the
//! orders of an election.
//!
//! An election (ARCHITECTURE.md, "Leader election"): the controller reads vote and log of each survivor,
//! then every survivor drops the lease of the vote that the order names, then the chosen one
//! campaigns with a pre-vote. Who is asked, and when, is not known here.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::{AppendEntriesResponse, TransferLeaderRequest, VoteResponse};
use raftmq_store::{GroupHealth, GroupId, Vote};

use super::group::Group;
use super::handover::{Ready, take_leadership};
use super::host::RaftHost;
use super::space::{DiskSpace, must_refuse};
use super::state_machine::{Snapshot, SnapshotData, SnapshotSurvivors};
use super::survivors;
use super::transport::codec::{self, Malformed, Reader};
use super::transport::{Inbound, Method, Refusal, Served};
use super::types::LogId;
use super::vouching::{LeaseDrop, LeaseDrops, decode_lease_drops};

/// Vote, log and health of one replica, for an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupState {
    /// The group.
    pub group: GroupId,
    /// The replica's vote.
    pub vote: Vote,
    /// The last entry of its log; `None` for an empty log.
    pub last_log: Option<LogId>,
    /// It must not lead: it misses entries that it once acknowledged, or does not vote in its group.
    pub is_recovering: bool,
    /// It leads, by its own lights.
    pub is_leading: bool,
}

/// One group of an election order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CampaignOrder {
    /// The group.
    pub group: GroupId,
    /// The vote that is to be replaced: an order for an older one is ignored.
    pub replaces: Vote,
}

const GROUP_STATE_BYTES: usize = 8 + 17 + 1 + 1 + 1;
const CAMPAIGN_BYTES: usize = 8 + 17;
/// Groups whose order is carried out at the same time.
const ORDERS_AT_ONCE: usize = 64;

fn malformed(error: Malformed) -> (Refusal, String) {
    (Refusal::Malformed, error.to_string())
}

fn stopped(error: impl std::fmt::Display) -> (Refusal, String) {
    (Refusal::Stopped, error.to_string())
}

impl RaftHost {
    /// Carries out one call of a method that concerns groups. Admission (cluster, epoch) has been
    /// checked by the caller.
    ///
    /// # Errors
    ///
    /// The refusal to send back.
    pub async fn serve(&self, method: Method, call: Inbound) -> Served {
        match method {
            Method::GroupStates => self.serve_group_states(call.body),
            Method::DropLeases => self.serve_drop_leases(call.body).await,
            Method::Campaign => self.serve_campaign(call.body).await,
            Method::FlushedMarks => self.serve_flushed_marks(call.sender, call.body),
            Method::Append
            | Method::Vote
            | Method::PreVote
            | Method::Snapshot
            | Method::StageSurvivors
            | Method::SnapshotWithSurvivors
            | Method::TakeLeadership => {
                let group = self.get(GroupId(call.group_id));
                let group = group.ok_or((Refusal::UnknownGroup, String::new()))?;
                serve_group(&group, self.space(), method, call.body).await
            }
            Method::Propose
            | Method::Heartbeat
            | Method::Hello
            | Method::DeleteRecords
            | Method::QueueSubmit
            | Method::QueuePush
            | Method::MoveReplicas
            | Method::MovesProgress
            | Method::Loads
            | Method::Join
            | Method::DirectReply
            | Method::HandOver => Err((Refusal::Malformed, "not a method of groups".to_owned())),
        }
    }

    /// Vote, log and health of the named groups that are open here. A group that has stopped can
    /// neither vote nor lead, and counts as not recovered.
    #[must_use]
    pub fn group_states(&self, groups: &[GroupId]) -> Vec<GroupState> {
        let open = groups.iter().filter_map(|id| self.get(*id));
        open.map(|group| group_state(&group)).collect()
    }

    fn serve_group_states(&self, body: Bytes) -> Served {
        let groups = decode_groups(body).map_err(malformed)?;
        Ok(encode_group_states(&self.group_states(&groups)))
    }

    async fn serve_drop_leases(&self, body: Bytes) -> Served {
        let order = decode_lease_drops(body).map_err(malformed)?;
        Ok(encode_groups(&self.drop_leases(order).await))
    }

    /// [`Self::drop_lease`] for many groups. Returns those whose lease stays for now: this broker has just
    /// answered their leader, who may count on that.
    pub async fn drop_leases(&self, order: LeaseDrops) -> Vec<GroupId> {
        let may_drop = |drop: &LeaseDrop| {
            let replaced = drop.replaced;
            replaced.is_none_or(|replaced| self.may_replace(replaced, order.session_ms))
        };
        let (dropped, kept): (Vec<LeaseDrop>, Vec<LeaseDrop>) =
            order.drops.into_iter().partition(may_drop);
        let drop = |one: LeaseDrop| self.drop_lease(one.group, one.vote);
        let drops = stream::iter(dropped);
        drops.for_each_concurrent(ORDERS_AT_ONCE, drop).await;
        kept.into_iter().map(|one| one.group).collect()
    }

    /// Lets the named group grant votes although `replaced` may still have a lease. Does nothing
    /// when the replica's vote is a newer one.
    pub async fn drop_lease(&self, group: GroupId, replaced: Vote) {
        let Some(group) = self.get(group) else { return };
        let own = current_vote(&group);
        if own.leader_id.term > replaced.leader_id.term {
            return;
        }
        // openraft drops the lease only of exactly the vote it holds, and campaigns by itself only
        // when the target is this node: no broker has this id.
        let nobody = u64::MAX;
        let request = TransferLeaderRequest::new(own, nobody, None);
        let _ = group.raft().handle_transfer_leader(request).await;
    }

    async fn serve_campaign(&self, body: Bytes) -> Served {
        self.campaigns(decode_campaigns(body).map_err(malformed)?)
            .await;
        Ok(Bytes::new())
    }

    /// [`Self::campaign`] for many groups.
    pub async fn campaigns(&self, orders: Vec<CampaignOrder>) {
        let orders = stream::iter(orders);
        orders
            .for_each_concurrent(ORDERS_AT_ONCE, |order| self.campaign(order))
            .await;
    }

    /// Starts an election in a group, with this replica as the candidate; where it leads already, has
    /// that confirmed. Returns before an election is decided. Does nothing when the replica's vote is newer than the order's, or when it misses
    /// entries that it acknowledged: such a replica leads nothing.
    pub async fn campaign(&self, order: CampaignOrder) {
        let Some(group) = self.get(order.group) else {
            return;
        };
        if current_vote(&group).leader_id.term > order.replaces.leader_id.term {
            return;
        }
        if missing_mark(&group).is_some() {
            tracing::warn!(
                raft_group = group.id().0,
                "group is recovering, no campaign"
            );
            return;
        }
        if let Some(term) = group.confirm_leadership().await {
            self.events().leads(group.id(), term);
        }
        // Does nothing in a leader.
        if let Err(error) = group.raft().trigger().elect(true).await {
            tracing::error!(raft_group = group.id().0, %error, "group has stopped, no campaign");
        }
    }
}

async fn serve_group(group: &Group, space: &DiskSpace, method: Method, body: Bytes) -> Served {
    match method {
        Method::Append => {
            let request = codec::decode_append(body).map_err(malformed)?;
            if must_refuse(space, group.kind(), &request.entries) {
                tracing::trace!(target: "raftmq::mark", name = "full_follower_refused_records");
                return Err((Refusal::DiskFull, "the disk is full".to_owned()));
            }
            let last = request.entries.last().map(|entry| entry.log_id);
            let response = group
                .raft()
                .append_entries(request)
                .await
                .map_err(stopped)?;
            if let (AppendEntriesResponse::Success, Some(last)) = (&response, last) {
                group.store().note_acknowledged(last);
            }
            Ok(codec::encode_append_response(&response))
        }
        Method::Vote => serve_vote(group, false, body).await,
        Method::PreVote => serve_vote(group, true, body).await,
        Method::Snapshot => {
            let (vote, meta, body) = codec::decode_snapshot(body).map_err(malformed)?;
            let survivors = SnapshotSurvivors::None;
            let snapshot = SnapshotData { body, survivors };
            install(group, vote, Snapshot { meta, snapshot }).await
        }
        Method::StageSurvivors => survivors::serve_stage(group.store(), body).await,
        Method::SnapshotWithSurvivors => {
            let (vote, snapshot) = survivors::decode_staged(group.store(), body)?;
            install(group, vote, snapshot).await
        }
        Method::TakeLeadership => {
            let ready = Ready::decode(body).map_err(malformed)?;
            let taken = take_leadership(group, ready).await;
            taken
                .map(|()| Bytes::new())
                .map_err(|reason| (Refusal::Failed, reason))
        }
        Method::GroupStates
        | Method::FlushedMarks
        | Method::DropLeases
        | Method::Campaign
        | Method::Propose
        | Method::Heartbeat
        | Method::Hello
        | Method::DeleteRecords
        | Method::QueueSubmit
        | Method::QueuePush
        | Method::MoveReplicas
        | Method::MovesProgress
        | Method::Loads
        | Method::Join
        | Method::DirectReply
        | Method::HandOver => Err((Refusal::Malformed, "not a method of one group".to_owned())),
    }
}

async fn install(group: &Group, vote: Vote, snapshot: Snapshot) -> Served {
    let installed = group.raft().install_full_snapshot(vote, snapshot).await;
    let response = installed.map_err(stopped)?;
    let mut buffer = BytesMut::new();
    codec::put_vote(&mut buffer, &response.vote);
    Ok(buffer.freeze())
}

async fn serve_vote(group: &Group, is_pre_vote: bool, body: Bytes) -> Served {
    let request = codec::decode_vote(body).map_err(malformed)?;
    if let Some(acknowledged) = missing_mark(group)
        && (acknowledged.is_none() || request.last_log_id < acknowledged)
    {
        // This replica lost entries it acknowledged: it may only help someone who has them.
        let own = current_vote(group);
        return Ok(codec::encode_vote_response(&VoteResponse::new(
            own, None, false,
        )));
    }
    let response = if is_pre_vote {
        group.raft().pre_vote(request).await
    } else {
        group.raft().vote(request).await
    };
    Ok(codec::encode_vote_response(&response.map_err(stopped)?))
}

/// The acknowledged mark of a replica that is below it; `Some(None)` when even that is not known.
pub(super) fn missing_mark(group: &Group) -> Option<Option<LogId>> {
    let is_recovering = !matches!(group.store().health(), GroupHealth::Ok);
    is_recovering.then(|| group.store().acknowledged())
}

/// Whether this replica is a voter of its group, as far as it knows: a learner, or one that was
/// removed, would campaign in vain. One whose removal is not committed may have to lead once more.
fn may_vote(group: &Group) -> bool {
    let metrics = group.raft().metrics();
    let metrics = metrics.borrow_watched();
    let id = metrics.id;
    let newest = metrics.membership_config.voter_ids();
    let committed = metrics.committed_membership_config.voter_ids();
    newest.chain(committed).any(|voter| voter == id)
}

pub(super) fn current_vote(group: &Group) -> Vote {
    group.raft().metrics().borrow_watched().vote
}

fn group_state(group: &Group) -> GroupState {
    let metrics = group.raft().data_metrics();
    let last_log = metrics.borrow_watched().last_log;
    GroupState {
        group: group.id(),
        vote: current_vote(group),
        last_log,
        is_recovering: missing_mark(group).is_some() || group.has_stopped() || !may_vote(group),
        is_leading: group.is_leader(),
    }
}

pub(super) fn put_count(buffer: &mut BytesMut, count: usize) {
    buffer.put_u32(u32::try_from(count).expect("fewer groups than 2^32"));
}

/// Encodes the question of [`Method::GroupStates`], and the answer of [`Method::DropLeases`].
#[must_use]
pub fn encode_groups(groups: &[GroupId]) -> Bytes {
    let mut buffer = BytesMut::with_capacity(4 + groups.len() * 8);
    put_count(&mut buffer, groups.len());
    groups.iter().for_each(|group| buffer.put_u64(group.0));
    buffer.freeze()
}

/// Decodes the answer of [`Method::DropLeases`], and the question of [`Method::GroupStates`].
///
/// # Errors
///
/// See [`Malformed`].
pub fn decode_groups(body: Bytes) -> Result<Vec<GroupId>, Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.count(8)?;
    (0..count).map(|_| reader.u64().map(GroupId)).collect()
}

fn encode_group_states(states: &[GroupState]) -> Bytes {
    let mut buffer = BytesMut::with_capacity(4 + states.len() * (GROUP_STATE_BYTES + 16));
    put_count(&mut buffer, states.len());
    for state in states {
        buffer.put_u64(state.group.0);
        codec::put_vote(&mut buffer, &state.vote);
        codec::put_log_id(&mut buffer, state.last_log.as_ref());
        buffer.put_u8(u8::from(state.is_recovering));
        buffer.put_u8(u8::from(state.is_leading));
    }
    buffer.freeze()
}

/// Decodes the answer of [`Method::GroupStates`].
///
/// # Errors
///
/// See [`Malformed`].
pub fn decode_group_states(body: Bytes) -> Result<Vec<GroupState>, Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.count(GROUP_STATE_BYTES)?;
    let read = |reader: &mut Reader| {
        Ok(GroupState {
            group: GroupId(reader.u64()?),
            vote: reader.vote()?,
            last_log: reader.log_id()?,
            is_recovering: reader.u8()? != 0,
            is_leading: reader.u8()? != 0,
        })
    };
    (0..count).map(|_| read(&mut reader)).collect()
}

/// Encodes the order of [`Method::Campaign`].
#[must_use]
pub fn encode_campaigns(orders: &[CampaignOrder]) -> Bytes {
    let mut buffer = BytesMut::with_capacity(4 + orders.len() * CAMPAIGN_BYTES);
    put_count(&mut buffer, orders.len());
    for order in orders {
        buffer.put_u64(order.group.0);
        codec::put_vote(&mut buffer, &order.replaces);
    }
    buffer.freeze()
}

fn decode_campaigns(body: Bytes) -> Result<Vec<CampaignOrder>, Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.count(CAMPAIGN_BYTES)?;
    let read = |reader: &mut Reader| {
        Ok(CampaignOrder {
            group: GroupId(reader.u64()?),
            replaces: reader.vote()?,
        })
    };
    (0..count).map(|_| read(&mut reader)).collect()
}
