//! Where the brokers spent the time of produces during a run: what their `/metrics` say before and
//! after it. Produces of others in that time are counted with them.
//!
//! Does not know what a stage is: docs/metrics.md does.

use std::collections::BTreeMap;

use raftmq_client::Client;
use serde::Serialize;

use crate::cli::probe::read_text;

/// How a line with the sum of one stage begins.
const LINE_START: &str = "raftmq_partition_stage_seconds_sum{stage=\"";

/// Seconds in each stage, over all entries of all brokers.
#[derive(Debug, Default)]
pub(super) struct Stages(BTreeMap<String, f64>);

/// One stage's share of the time in all of them.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Share {
    pub(super) stage: String,
    pub(super) percent: f64,
}

impl Stages {
    /// What the brokers in service have spent so far. `None` when one of them does not tell: the
    /// others' shares would mislead.
    pub(super) async fn read(client: &Client) -> Option<Self> {
        let described = client.admin().describe_cluster().await.ok()?;
        let mut stages = Self::default();
        for broker in described.brokers.iter().filter(|broker| !broker.fenced) {
            stages.add(&read_text(&broker.http_endpoint, "/metrics").await?);
        }
        Some(stages)
    }

    fn add(&mut self, metrics: &str) {
        for line in metrics.lines() {
            let rest = line.strip_prefix(LINE_START);
            let Some((stage, seconds)) = rest.and_then(|rest| rest.split_once("\"} ")) else {
                continue;
            };
            *self.0.entry(stage.to_owned()).or_default() += seconds.parse().unwrap_or(0.0);
        }
    }

    /// The shares of what came on top of `before`, the largest first; none when nothing did.
    pub(super) fn shares_since(&self, before: &Self) -> Vec<Share> {
        let spent = |(stage, seconds): (&String, &f64)| {
            let earlier = before.0.get(stage).copied().unwrap_or(0.0);
            // A broker that was started again begins at 0.
            (stage.clone(), (seconds - earlier).max(0.0))
        };
        let spent: Vec<(String, f64)> = self.0.iter().map(spent).collect();
        let total: f64 = spent.iter().map(|(_, seconds)| seconds).sum();
        if total <= 0.0 {
            return Vec::new();
        }
        let share = |(stage, seconds): (String, f64)| Share {
            stage,
            percent: seconds / total * 100.0,
        };
        let mut shares: Vec<Share> = spent.into_iter().map(share).collect();
        shares.sort_by(|one, other| other.percent.total_cmp(&one.percent));
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(brokers: &[&str]) -> Stages {
        let mut stages = Stages::default();
        brokers.iter().for_each(|metrics| stages.add(metrics));
        stages
    }

    #[test]
    fn shares_are_those_of_what_all_brokers_spent_during_the_run() {
        let line = |stage: &str, seconds: &str| format!("{LINE_START}{stage}\"}} {seconds}\n");
        let other = "raftmq_partition_stage_seconds_count{stage=\"wait\"} 7\n# a comment\n";
        let first = line("wait", "1") + other + &line("commit", "10");
        let before = stages(&[&first]);
        let after = stages(&[
            &(line("wait", "1.5") + other + &line("commit", "11")),
            &(line("commit", "0.5") + &line("wait", "0")),
        ]);

        let share = |stage: &str, percent| Share {
            stage: stage.to_owned(),
            percent,
        };
        let expected = vec![share("commit", 75.0), share("wait", 25.0)];
        assert_eq!(after.shares_since(&before), expected);
        assert_eq!(after.shares_since(&after), vec![], "nothing was produced");
    }
}
