//! From an empty folder to a member of a cluster that is there: asks one of its brokers.
//!
//! Writes nothing before the cluster has said yes. How the other side decides stands in
//! `controller::joining`.

use std::time::Duration;

use raftmq_core::cluster::ClusterError;
use raftmq_store::{GroupId, Store};
use tokio::time::sleep;

use super::NodeError;
use super::bootstrap::{Folder, keep_membership};
use crate::controller::{JoinRequest, Joined, Registration, decode, encode};
use crate::raft::transport::{Lane, Method, PeerError, Refusal, Transport};

/// The number under which the seed has its address, until it has said who it is. Ids begin with 1.
pub(super) const SEED: u32 = 0;
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Asks the seed until it answers; gives this broker's id, which is in the folder from then on, as is
/// the cluster's.
pub(super) async fn join(
    seed: &str,
    folder: &Folder,
    store: &Store,
    transport: &Transport,
    registration: &Registration,
) -> Result<Joined, NodeError> {
    let request = JoinRequest {
        broker_id: folder.broker_id,
        directory_id: folder.directory_id,
        incarnation: registration.incarnation,
        endpoints: registration.endpoints.clone(),
        rack: registration.rack.clone(),
    };
    let mut told = String::new();
    let joined = loop {
        let reason = match ask(seed, transport, &request).await? {
            Asked::Joined(joined) => break joined,
            Asked::Later(reason) => reason,
        };
        if reason != told {
            tracing::info!(seed, reason, "waits to join");
            told = reason;
        }
        sleep(ASK_AGAIN_AFTER).await;
    };
    keep_membership(store, joined.broker_id, &joined.cluster_id).await?;
    for (id, endpoint) in &joined.brokers {
        if *id != joined.broker_id {
            transport.set_address(*id, endpoint);
        }
    }
    tracing::info!(
        broker_id = joined.broker_id,
        cluster_id = joined.cluster_id,
        "joined"
    );
    tracing::trace!(target: "raftmq::mark", name = "broker_joined_by_seed");
    Ok(joined)
}

enum Asked {
    Joined(Joined),
    /// Not now.
    Later(String),
}

async fn ask(seed: &str, transport: &Transport, request: &JoinRequest) -> Result<Asked, NodeError> {
    let call = transport.call(
        SEED,
        Lane::Control,
        GroupId(0),
        Method::Join,
        encode(request),
    );
    let refused = |reason: String| NodeError::JoinRefused {
        seed: seed.to_owned(),
        reason,
    };
    let body = match call.await {
        Ok(body) => body,
        Err(PeerError::Refused {
            refusal: refusal @ (Refusal::ForeignCluster | Refusal::Malformed),
            reason,
            ..
        }) => return Err(refused(format!("{refusal:?}: {reason}"))),
        Err(error) => return Ok(Asked::Later(error.to_string())),
    };
    let answer: Result<Joined, ClusterError> = decode(&body).map_err(refused)?;
    match answer {
        Ok(joined) => Ok(Asked::Joined(joined)),
        // This very folder's last process: its session is about to end.
        Err(error @ ClusterError::BrokerIdInUse { .. }) => Ok(Asked::Later(error.to_string())),
        Err(error) => Err(refused(error.to_string())),
    }
}
