//! Sends what this broker's leaders report: that they lead, and who is in sync.
//!
//! Whatever waits travels as one command, and the next one goes when that is applied: after the death
//! of a broker hundreds of groups report at the same time. Does not know what is done with a report.

use std::collections::BTreeMap;
use std::time::Duration;

use raftmq_core::cluster::{Command, LeaderReport, Outcome};
use raftmq_core::ids::{BrokerId, Term};
use raftmq_core::limits::REPORTS_COUNT_MAX;
use raftmq_store::GroupId;

use super::{ControlError, Controller};
use crate::hosting::{Report, Reports};

const REPORT_WITHIN: Duration = Duration::from_millis(1_000);
/// A group may say two things.
const GROUPS_AT_ONCE: usize = REPORTS_COUNT_MAX / 2;

impl Controller {
    /// Sends reports as they come. Runs for ever.
    pub async fn run_reports(&self, reports: Reports) {
        let me = BrokerId(self.shared.host.broker_id());
        loop {
            let taken = reports.next(GROUPS_AT_ONCE).await;
            let command = Command::Report {
                reports: in_order(me, &taken),
            };
            match self.propose(&command, REPORT_WITHIN).await {
                Ok(Outcome::Reported { refused }) => {
                    for error in refused {
                        // A stale report: somebody else leads by now, or this broker is fenced.
                        tracing::debug!(%error, "report refused");
                    }
                }
                Ok(outcome) => tracing::error!(?outcome, "reports have a strange outcome"),
                Err(ControlError::Refused(error)) => {
                    tracing::debug!(%error, reports_count = taken.len(), "reports refused");
                }
                Err(ControlError::NoController) => {
                    reports.put_back(taken);
                    tokio::time::sleep(super::RETRY_PAUSE).await;
                }
            }
        }
    }
}

/// Who leads comes first: in-sync replicas of a leader that is not known yet would be refused.
fn in_order(leader: BrokerId, taken: &BTreeMap<GroupId, Report>) -> Vec<LeaderReport> {
    let leads = taken.iter().filter_map(|(group, report)| {
        let term = report.leading_term?;
        Some(LeaderReport::Leads {
            group: group.0.into(),
            leader,
            leader_epoch: Term(term),
        })
    });
    let in_sync = taken.iter().filter_map(|(group, report)| {
        let (term, isr) = report.isr.as_ref()?;
        Some(LeaderReport::InSync {
            group: group.0.into(),
            leader_epoch: Term(*term),
            isr: isr.iter().copied().map(BrokerId).collect(),
        })
    });
    leads.chain(in_sync).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leads_is_said_before_who_is_in_sync() {
        let report = |leading_term, isr| Report { leading_term, isr };
        let taken = BTreeMap::from([
            (GroupId(1), report(None, Some((3, vec![2, 4])))),
            (GroupId(2), report(Some(7), Some((7, vec![4])))),
        ]);

        let reports = in_order(BrokerId(4), &taken);

        let in_sync = |group: u64, term, isr: &[u32]| LeaderReport::InSync {
            group: group.into(),
            leader_epoch: Term(term),
            isr: isr.iter().copied().map(BrokerId).collect(),
        };
        let leads = LeaderReport::Leads {
            group: 2.into(),
            leader: BrokerId(4),
            leader_epoch: Term(7),
        };
        assert_eq!(
            reports,
            [leads, in_sync(1, 3, &[2, 4]), in_sync(2, 7, &[4])]
        );
    }
}
