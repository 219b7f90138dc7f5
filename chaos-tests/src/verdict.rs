//! What a run came to, as one line of JSON: for the parent process and for the ledger.
//!
//! Owns the decision between clean, rejected and anomalous. It knows no simulator.

use serde::{Deserialize, Serialize};

use crate::checkers::coverage::{Coverage, QueueCoverage, Rejection};
use crate::checkers::{Anomaly, check_all, kept as kept_topics, queues as queue_checkers};
use crate::history::{Cleanup, Event, History, KeptTopic, QueueHistory};
use crate::invariants::Violation;

/// How a run is to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It counts and nothing was wrong.
    Clean,
    /// Nothing was wrong, but too little happened.
    Rejected,
    /// Something was wrong.
    Anomalous,
}

/// Everything that is said about a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The planted bug, if there was one.
    pub planted: Option<String>,
    /// The count.
    pub verdict: Verdict,
    /// Anomalies of the history.
    pub anomalies: Vec<Anomaly>,
    /// Violated invariants; the first ones, with the simulated time in microseconds.
    pub violations: Vec<(u64, Violation)>,
    /// What else failed: a panic, no convergence, no end of the drain.
    pub failures: Vec<String>,
    /// Why it does not count.
    pub rejections: Vec<Rejection>,
    /// What was covered.
    pub coverage: Coverage,
    /// Hash over every event of the brokers and its simulated time; equal for equal runs.
    pub trace_hash: String,
    /// Events that were hashed.
    pub trace_events: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Processor time of the process so far, in milliseconds.
    pub cpu_ms: u64,
}

/// What a run leaves behind.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// What clients saw.
    pub history: History,
    /// What clients saw of topics from which records go.
    pub kept: std::collections::BTreeMap<Cleanup, KeptTopic>,
    /// What clients of queues saw, where there were some.
    pub queues: Option<QueueHistory>,
    /// Violated invariants and when.
    pub violations: Vec<(u64, Violation)>,
    /// What else failed.
    pub failures: Vec<String>,
    /// Coverage marks.
    pub marks: std::collections::BTreeMap<String, u64>,
}

impl Report {
    /// Judges a run. `acknowledged_min` as for [`Coverage::rejections`].
    #[must_use]
    pub fn judge(seed: u64, findings: Findings, acknowledged_min: u64) -> Self {
        let Findings {
            history,
            kept,
            queues,
            violations,
            mut failures,
            marks,
        } = findings;
        let mut anomalies = check_all(&history);
        anomalies.extend(kept_topics::check(&kept));
        let mut coverage = Coverage::of(&history, marks);
        if let Some(queues) = &queues {
            anomalies.extend(queue_checkers::check(queues));
            coverage.queues = Some(QueueCoverage::of(queues));
        }
        if failures.is_empty() {
            failures.extend(unreached(&history, queues.as_ref()));
        }
        let rejections = coverage.rejections(acknowledged_min);
        let is_good = anomalies.is_empty() && violations.is_empty() && failures.is_empty();
        let verdict = match (is_good, rejections.is_empty()) {
            (false, _) => Verdict::Anomalous,
            (true, false) => Verdict::Rejected,
            (true, true) => Verdict::Clean,
        };
        Self {
            seed,
            planted: None,
            verdict,
            anomalies,
            violations,
            failures,
            rejections,
            coverage,
            trace_hash: String::new(),
            trace_events: 0,
            simulated_ms: 0,
            cpu_ms: 0,
        }
    }

    /// The report of a run whose process ended without one.
    #[must_use]
    pub fn without_run(seed: u64, failure: String) -> Self {
        Self::judge(
            seed,
            Findings {
                failures: vec![failure],
                ..Findings::default()
            },
            0,
        )
    }

    /// Everything that was wrong, one line each.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let anomalies = self.anomalies.iter().map(ToString::to_string);
        let violations = self
            .violations
            .iter()
            .map(|(at_us, violation)| format!("at {at_us} us: {violation}"));
        anomalies
            .chain(violations)
            .chain(self.failures.iter().cloned())
            .collect()
    }
}

/// What a healed cluster must come to, and did not.
fn unreached(history: &History, queues: Option<&QueueHistory>) -> Vec<String> {
    let mut failures = Vec::new();
    for (event, what) in [
        (
            Event::Converged,
            "the cluster did not converge after the healing",
        ),
        (
            Event::Drained,
            "the final drain did not reach the end of every partition",
        ),
    ] {
        if !history.has_event(&event) {
            failures.push(what.to_owned());
        }
    }
    if let Some(queues) = queues.filter(|queues| !queues.is_drained) {
        failures.push(format!(
            "the queues were not drained; ready messages and consumers: {:?}",
            queues.counts
        ));
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::Property;
    use crate::checkers::testing::Script;
    use crate::faults::FaultClass;
    use crate::invariants::Invariant;

    fn findings() -> Findings {
        let mut script = Script::new();
        for class in [FaultClass::Crash, FaultClass::OneWay, FaultClass::SlowDisk] {
            script.event(Event::FaultTookEffect { class, times: 1 });
        }
        script.event(Event::Healed);
        script.send_ok(0, 1, 0);
        script.poll(1, 0, &[(0, 1)]);
        script.event(Event::Converged);
        script.drained();
        Findings {
            history: script.history(),
            ..Findings::default()
        }
    }

    #[test]
    fn a_good_run_is_clean() {
        let report = Report::judge(1, findings(), 1);

        assert_eq!(report.verdict, Verdict::Clean, "{:?}", report.complaints());
    }

    #[test]
    fn a_good_run_in_which_too_little_happened_is_rejected() {
        let report = Report::judge(1, findings(), 2);

        assert_eq!(report.verdict, Verdict::Rejected);
        assert_eq!(report.complaints(), Vec::<String>::new());
    }

    #[test]
    fn an_anomaly_counts_even_where_the_run_does_not() {
        let mut findings = findings();
        findings.history.operations.pop();
        let report = Report::judge(1, findings, 2);

        assert_eq!(report.verdict, Verdict::Anomalous);
        assert_eq!(report.anomalies[0].property, Property::Unseen);
    }

    #[test]
    fn a_violated_invariant_is_an_anomaly() {
        let violation = Violation {
            invariant: Invariant::LogMatching,
            group: 3,
            detail: "here".to_owned(),
        };
        let findings = Findings {
            violations: vec![(5, violation)],
            ..findings()
        };
        let report = Report::judge(1, findings, 1);

        assert_eq!(report.verdict, Verdict::Anomalous);
        assert_eq!(report.complaints(), ["at 5 us: LogMatching: group 3: here"]);
    }

    #[test]
    fn a_cluster_that_does_not_converge_is_an_anomaly() {
        let mut findings = findings();
        findings
            .history
            .events
            .retain(|timed| timed.event != Event::Converged);
        let report = Report::judge(1, findings, 1);

        assert_eq!(report.verdict, Verdict::Anomalous);
        assert_eq!(
            report.complaints(),
            ["the cluster did not converge after the healing"]
        );
    }

    #[test]
    fn queues_that_are_not_drained_are_an_anomaly() {
        for (is_drained, verdict) in [(true, Verdict::Clean), (false, Verdict::Anomalous)] {
            let queues = QueueHistory {
                is_drained,
                ..QueueHistory::default()
            };
            let findings = Findings {
                queues: Some(queues),
                ..findings()
            };

            assert_eq!(Report::judge(1, findings, 1).verdict, verdict);
        }
    }

    #[test]
    fn a_process_that_died_is_an_anomaly() {
        let report = Report::without_run(9, "killed by signal 6".to_owned());

        assert_eq!(report.verdict, Verdict::Anomalous);
        assert_eq!(report.complaints(), ["killed by signal 6"]);
    }

    #[test]
    fn a_report_survives_being_written_and_read() {
        let report = Report::judge(1, findings(), 1);
        let text = serde_json::to_string(&report).unwrap();

        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
