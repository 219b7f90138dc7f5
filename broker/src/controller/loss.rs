//! Accepts the loss of what only dead or damaged replicas had, when an operator says so: asks who is left,
//! decides, proposes. Any broker can.
//!
//! Whether a loss has to be accepted is decided in `raftmq_core::cluster::loss`.

use std::time::Duration;

use raftmq_core::cluster::loss::{AcceptLoss, LossError, plan_loss};
use raftmq_core::cluster::{ClusterError, Command, Outcome};
use raftmq_core::ids::{BrokerId, GroupNumber};
use thiserror::Error;

use super::{ControlError, Controller};

const ACCEPT_WITHIN: Duration = Duration::from_secs(10);

/// Why no loss was accepted.
#[derive(Debug, Error)]
pub enum NotAccepted {
    /// It need not be, or cannot.
    #[error(transparent)]
    Refused(#[from] LossError),
    /// The metadata group has not taken it.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl Controller {
    /// Says from which replica a partition could go on; nothing is changed.
    ///
    /// # Errors
    ///
    /// See [`NotAccepted`].
    pub async fn plan_loss(
        &self,
        group: GroupNumber,
        keep: Option<BrokerId>,
        accepted_by: String,
    ) -> Result<AcceptLoss, NotAccepted> {
        let image = self.shared.images.current();
        let Some(partition) = image.partition(group) else {
            let unknown = ClusterError::UnknownGroup { group };
            return Err(ControlError::Refused(unknown).into());
        };
        let survivors = self.ask_survivors(&image, &[group]).await;
        let survivors = survivors.get(&group).map(Vec::as_slice);
        let survivors = survivors.unwrap_or_default();
        Ok(plan_loss(&image, partition, survivors, keep, accepted_by)?)
    }

    /// Lets a partition go on from one replica. Returns the group in which it does.
    ///
    /// # Errors
    ///
    /// See [`NotAccepted`]; nothing was changed, unless no controller answered in time.
    pub async fn accept_loss(&self, accept: AcceptLoss) -> Result<GroupNumber, NotAccepted> {
        tracing::warn!(?accept, "a loss is accepted");
        let command = Command::AcceptLoss(accept);
        match self.propose(&command, ACCEPT_WITHIN).await? {
            Outcome::LossAccepted { group } => Ok(group),
            Outcome::Done
            | Outcome::Registered { .. }
            | Outcome::TopicCreated { .. }
            | Outcome::PartitionsAdded { .. }
            | Outcome::Reported { .. }
            | Outcome::LeadersCleared { .. }
            | Outcome::IdAllotted { .. }
            | Outcome::QueueDeclared { .. }
            | Outcome::ProducerIds { .. } => Err(ControlError::NoController.into()),
        }
    }
}
