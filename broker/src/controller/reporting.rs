//! Sends what this broker's partition leaders report: that they lead, and who is in sync.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use raftmq_core::cluster::Command;
use raftmq_core::ids::{BrokerId, Term};
use raftmq_store::GroupId;

use super::{ControlError, Controller};
use crate::hosting::{Report, Reports};

/// Reports under way at once; the metadata group batches them into few syncs.
const REPORTS_IN_FLIGHT: usize = 512;
const REPORT_WITHIN: Duration = Duration::from_millis(1_000);

impl Controller {
    /// Sends reports as they come. Runs for ever.
    pub async fn run_reports(&self, reports: Reports) {
        loop {
            let taken = reports.next().await;
            let sent = stream::iter(taken).map(|(group, report)| self.send_report(group, report));
            let failed: BTreeMap<GroupId, Report> = sent
                .buffer_unordered(REPORTS_IN_FLIGHT)
                .filter_map(std::future::ready)
                .collect()
                .await;
            if !failed.is_empty() {
                reports.put_back(failed);
                tokio::time::sleep(super::RETRY_PAUSE).await;
            }
        }
    }

    /// Returns what must be sent again.
    async fn send_report(&self, group: GroupId, report: Report) -> Option<(GroupId, Report)> {
        let mut again = Report::default();
        if let Some(term) = report.leading_term {
            let command = Command::ReportLeader {
                group: group.0.into(),
                leader: BrokerId(self.shared.host.broker_id()),
                leader_epoch: Term(term),
            };
            if self.is_to_be_repeated(&command).await {
                again.leading_term = Some(term);
            }
        }
        if again.leading_term.is_some() {
            // In-sync replicas of a leader that is not known yet would be refused.
            again.isr = report.isr;
            return Some((group, again));
        }
        if let Some((term, isr)) = report.isr {
            let command = Command::ReportIsr {
                group: group.0.into(),
                leader_epoch: Term(term),
                isr: isr.iter().copied().map(BrokerId).collect(),
            };
            if self.is_to_be_repeated(&command).await {
                again.isr = Some((term, isr));
            }
        }
        (again != Report::default()).then_some((group, again))
    }

    async fn is_to_be_repeated(&self, command: &Command) -> bool {
        match self.propose(command, REPORT_WITHIN).await {
            Ok(_) => false,
            Err(ControlError::NoController) => true,
            Err(ControlError::Refused(error)) => {
                // A stale report: somebody else leads by now, or this broker is fenced.
                tracing::debug!(%error, "report refused");
                false
            }
        }
    }
}
