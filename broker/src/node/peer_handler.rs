//! Admission and dispatch of other brokers' calls.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use raftmq_core::ids::{BrokerEpoch, BrokerId};
use raftmq_store::GroupId;

use super::Parts;
use crate::controller::{Hello, decode, encode};
use crate::raft::handover::decode_hand_overs;
use crate::raft::transport::codec::Reader;
use crate::raft::transport::{Inbound, Method, PeerHandler, Refusal, Served};

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct NodePeerHandler {
    pub(super) parts: Parts,
}

impl PeerHandler for NodePeerHandler {
    fn handle(&self, call: Inbound) -> BoxFuture<'static, Served> {
        let parts = self.parts.clone();
        Box::pin(async move {
            let method = Method::from_number(call.method);
            let method = method.ok_or_else(|| malformed("unknown method".to_owned()))?;
            admit(&parts, method, &call)?;
            match method {
                Method::Hello => serve_hello(&parts, &call),
                Method::Heartbeat => serve_heartbeat(&parts, &call.body),
                Method::Propose => parts.controller.serve_propose(call.body).await,
                Method::Join => parts.controller.serve_join(&call.body).await,
                Method::DeleteRecords => serve_delete_records(&parts, call).await,
                Method::HandOver => serve_hand_over(&parts, call.body),
                Method::MoveReplicas => {
                    let group = GroupId(call.group_id);
                    parts.controller.serve_move(group, &call.body).await
                }
                Method::MovesProgress => parts.controller.serve_moves_progress(),
                Method::Loads => parts.controller.serve_loads(),
                Method::QueueSubmit => parts.queues.serve_submit(call).await,
                Method::QueuePush => parts.queues.serve_push(&call),
                Method::DirectReply => parts.replies.serve(call.body),
                Method::Append
                | Method::Vote
                | Method::PreVote
                | Method::Snapshot
                | Method::StageSurvivors
                | Method::SnapshotWithSurvivors
                | Method::GroupStates
                | Method::DropLeases
                | Method::Campaign
                | Method::FlushedMarks
                | Method::TakeLeadership => parts.host.serve(method, call).await,
            }
        })
    }
}

/// Refuses brokers of other clusters, and what fenced brokers send to partition groups: a fenced
/// leader must not renew its hold on its followers.
fn admit(parts: &Parts, method: Method, call: &Inbound) -> Result<(), (Refusal, String)> {
    if method == Method::Hello {
        return Ok(());
    }
    let ours = parts.host.transport().identity().cluster_id;
    if !ours.is_empty() && !call.cluster_id.is_empty() && ours != call.cluster_id {
        return Err((Refusal::ForeignCluster, format!("this is cluster {ours}")));
    }
    if call.group_id == 0 {
        return Ok(());
    }
    let image = parts.controller.images().current();
    let is_fenced = image.broker(BrokerId(call.sender)).is_some_and(|broker| {
        let epoch = broker.epoch.get();
        epoch > call.sender_epoch || (epoch == call.sender_epoch && broker.is_fenced)
    });
    // The image may lag behind what this broker was ordered.
    if is_fenced || !vouch(parts, call) {
        return Err((Refusal::Fenced, String::new()));
    }
    Ok(())
}

fn malformed(reason: String) -> (Refusal, String) {
    (Refusal::Malformed, reason)
}

fn serve_hello(parts: &Parts, call: &Inbound) -> Served {
    let hello: Hello = decode(&call.body).map_err(malformed)?;
    let mut reply = parts.controller.serve_hello(&hello);
    if reply.knows_asker && !reply.takes_asker_for_fenced {
        reply.takes_asker_for_fenced = !vouch(parts, call);
    }
    Ok(encode(&reply))
}

/// Whether the sender may be answered as one in service, by what this broker was ordered.
fn vouch(parts: &Parts, call: &Inbound) -> bool {
    let (sender, epoch) = (BrokerId(call.sender), BrokerEpoch(call.sender_epoch));
    parts.host.vouch(sender, epoch)
}

fn serve_heartbeat(parts: &Parts, body: &Bytes) -> Served {
    let heartbeat = decode(body).map_err(malformed)?;
    let reply = parts.controller.take_heartbeat(&heartbeat);
    reply
        .map(|reply| encode(&reply))
        .ok_or((Refusal::NotController, String::new()))
}

/// Takes the orders in; whether they came about is seen in the image.
fn serve_hand_over(parts: &Parts, body: Bytes) -> Served {
    let orders = decode_hand_overs(body).map_err(|error| malformed(error.to_string()))?;
    parts.controller.hand_overs().order(orders);
    Ok(Bytes::new())
}

/// Deletes records of a partition that this broker leads, for a broker that does not.
async fn serve_delete_records(parts: &Parts, call: Inbound) -> Served {
    let mut reader = Reader::new(call.body);
    let before_offset = reader.u64().map_err(|error| malformed(error.to_string()))?;
    let before_offset = i64::from_be_bytes(before_offset.to_be_bytes());
    let replica = parts.replicas.of_group(GroupId(call.group_id));
    let replica = replica.ok_or((Refusal::UnknownGroup, String::new()))?;
    let deleted = replica.delete_records(before_offset).await;
    let log_start = deleted.map_err(|error| (Refusal::Failed, error.to_string()))?;
    Ok(Bytes::copy_from_slice(&log_start.to_be_bytes()))
}
