//! The part of the control plane that accepts losses: plans first, and acts only when told to.

use raftmq_core::cluster::loss::{AcceptLoss, Loss};
use raftmq_core::ids::{BrokerId, GroupNumber, LogIndex, Term};
use raftmq_proto::into_status;
use raftmq_proto::v1::{AcceptedLoss, RecoverPartitionRequest, RecoverPartitionResponse};
use tonic::{Response, Status};

use super::admin::AdminFrontEnd;
use super::error::of_not_accepted;

impl AdminFrontEnd {
    pub(super) async fn recover(
        &self,
        request: RecoverPartitionRequest,
    ) -> Result<Response<RecoverPartitionResponse>, Status> {
        let info = self.partition(&request.topic, request.partition)?;
        let keep = Some(BrokerId(request.keep_broker_id)).filter(|id| id.get() != 0);
        let controller = &self.parts.controller;
        let failed = |error| into_status(of_not_accepted(&error));
        let planned = controller.plan_loss(info.group, keep, request.accepted_by);
        let plan = planned.await.map_err(failed)?;
        if !request.accept_loss {
            let loss = Some(planned_loss(&plan));
            return Ok(Response::new(RecoverPartitionResponse {
                loss,
                group_id: 0,
            }));
        }
        let group = controller.accept_loss(plan.clone()).await.map_err(failed)?;
        let image = self.image();
        let loss = image.loss(group).map(|loss| accepted_loss(loss));
        Ok(Response::new(RecoverPartitionResponse {
            loss: loss.or_else(|| Some(planned_loss(&plan))),
            group_id: group.get(),
        }))
    }
}

/// A loss as clients see it.
pub(super) fn accepted_loss(loss: &Loss) -> AcceptedLoss {
    AcceptedLoss {
        accepted_at_ms: loss.accepted_at_ms,
        ..message((loss.of_group, loss.kept), loss.last_log, &loss.accepted_by)
    }
}

fn planned_loss(plan: &AcceptLoss) -> AcceptedLoss {
    message((plan.group, plan.kept), plan.last_log, &plan.accepted_by)
}

fn message(
    (of_group, kept): (GroupNumber, BrokerId),
    last_log: Option<(Term, LogIndex)>,
    accepted_by: &str,
) -> AcceptedLoss {
    let (term, index) = last_log.unwrap_or_default();
    AcceptedLoss {
        of_group_id: of_group.get(),
        kept_broker_id: kept.get(),
        is_empty: last_log.is_none(),
        last_log_term: term.get(),
        last_log_index: index.get(),
        accepted_at_ms: 0,
        accepted_by: accepted_by.to_owned(),
    }
}
