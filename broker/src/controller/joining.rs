//! How a member takes a new broker in: it registers it, and says what the new one must know.
//!
//! Whether it may come in is the metadata machine's decision. How a broker asks stands in
//! `node::joining`.

use std::time::Duration;

use bytes::Bytes;
use raftmq_core::cluster::{ClusterError, Command, Outcome, RegisterBroker};
use raftmq_core::ids::BrokerId;

use super::messages::{JoinRequest, Joined, decode, encode};
use super::{ControlError, Controller};
use crate::raft::transport::{Refusal, Served};

/// Less than the deadline of the call.
const REGISTER_WITHIN: Duration = Duration::from_millis(1_500);

impl Controller {
    /// Registers the sender, fenced. Repeating it for the same folder gives the same id.
    ///
    /// # Errors
    ///
    /// No controller took it in time, or there is no cluster yet: the sender tries again. What the
    /// metadata machine refuses is in the answer.
    pub async fn serve_join(&self, body: &Bytes) -> Served {
        let request: JoinRequest = decode(body).map_err(|reason| (Refusal::Malformed, reason))?;
        let cluster_id = self.shared.images.current().cluster_id.clone();
        let Some(cluster_id) = cluster_id.as_deref().map(str::to_owned) else {
            let reason = "there is no cluster here yet".to_owned();
            return Err((Refusal::NotController, reason));
        };
        let asked_for = request.broker_id;
        let command = Command::RegisterBroker(RegisterBroker {
            cluster_id: cluster_id.clone(),
            id: BrokerId(asked_for),
            incarnation: request.incarnation,
            endpoints: request.endpoints,
            rack: request.rack,
            directory_id: request.directory_id,
        });
        let outcome = match self.propose(&command, REGISTER_WITHIN).await {
            Ok(outcome) => outcome,
            Err(ControlError::Refused(error)) => {
                return Ok(encode(&Err::<Joined, ClusterError>(error)));
            }
            Err(ControlError::NoController) => {
                let reason = ControlError::NoController.to_string();
                return Err((Refusal::NotController, reason));
            }
        };
        let broker_id = match outcome {
            Outcome::IdAllotted { id, .. } => id.get(),
            Outcome::Done
            | Outcome::Registered { .. }
            | Outcome::TopicCreated { .. }
            | Outcome::PartitionsAdded { .. }
            | Outcome::Reported { .. }
            | Outcome::LeadersCleared { .. }
            | Outcome::LossAccepted { .. }
            | Outcome::ProducerIds { .. }
            | Outcome::QueueDeclared { .. } => asked_for,
        };
        tracing::info!(broker_id, "joins the cluster");
        let image = self.shared.images.current();
        let brokers = image.brokers.values();
        let brokers = brokers.map(|one| (one.id.get(), one.endpoints.peer.clone()));
        let joined = Joined {
            broker_id,
            cluster_id,
            brokers: brokers.collect(),
        };
        Ok(encode(&Ok::<Joined, ClusterError>(joined)))
    }
}
