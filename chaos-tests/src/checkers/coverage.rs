//! What a run covered, and whether it counts at all.
//!
//! A run counts only with enough acknowledged operations, enough fault classes that really took
//! effect, and acknowledged sends after the healing: anything else proves nothing and is rejected
//! with the reasons. Coverage never excuses an anomaly.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::at_most_once::AtMostOnceLosses;
use super::order::VersionOrder;
use crate::faults::FaultClass;
use crate::history::{Event, History, Outcome};

pub use super::queues::QueueCoverage;

/// Acknowledged operations that a run of 60 simulated seconds must have.
pub const ACKNOWLEDGED_MIN: u64 = 1_000;
/// Fault classes that must have taken effect.
pub const EFFECTIVE_CLASSES_MIN: usize = 3;

/// Of the acknowledged operations that are needed, as many must be confirmed messages of queues, where
/// there are some: a tenth.
const QUEUES_SHARE: u64 = 10;

/// What was covered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Sends that ended `ok`, except `acks=0`, which nobody acknowledges.
    pub acknowledged: u64,
    /// Acknowledged sends that began after the healing.
    pub acknowledged_after_healing: u64,
    /// Sends that ended `info` or never ended.
    pub unknown: u64,
    /// Sends that ended `fail`.
    pub failed: u64,
    /// Records that polls returned, repetitions included.
    pub records_read: u64,
    /// How often each class took effect.
    pub effects: BTreeMap<FaultClass, u64>,
    /// Terms in which some group had a leader.
    pub leaderships: u64,
    /// What at-most-once clients lost.
    pub losses: AtMostOnceLosses,
    /// What was done with queues, where there were some.
    #[serde(default)]
    pub queues: Option<QueueCoverage>,
    /// Coverage marks of the brokers and how often each was hit.
    pub marks: BTreeMap<String, u64>,
}

/// Why a run does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// Too few operations were acknowledged.
    Acknowledged {
        /// Found.
        count: u64,
        /// Needed.
        needed: u64,
    },
    /// Too few fault classes took effect.
    Faults {
        /// Those that did.
        effective: BTreeSet<FaultClass>,
        /// Needed.
        needed: usize,
    },
    /// Nothing was acknowledged after the healing.
    NoProgressAfterHealing,
    /// There were queues, and too few messages were confirmed or settled for certain.
    Queues {
        /// Confirmed.
        confirmed: u64,
        /// Settled for certain.
        settled: u64,
        /// Needed of both.
        needed: u64,
    },
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acknowledged { count, needed } => {
                write!(
                    f,
                    "{count} operations were acknowledged, {needed} are needed"
                )
            }
            Self::Faults { effective, needed } => {
                write!(
                    f,
                    "only {effective:?} took effect, {needed} classes are needed"
                )
            }
            Self::NoProgressAfterHealing => {
                f.write_str("nothing was acknowledged after the healing")
            }
            Self::Queues {
                confirmed,
                settled,
                needed,
            } => {
                write!(
                    f,
                    "queues: {confirmed} confirmed, {settled} settled, {needed} are needed"
                )
            }
        }
    }
}

impl Coverage {
    /// Measures a history; `marks` come from the trace.
    #[must_use]
    pub fn of(history: &History, marks: BTreeMap<String, u64>) -> Self {
        let order = VersionOrder::of(history);
        let mut coverage = Self {
            losses: AtMostOnceLosses::of(history, &order),
            marks,
            ..Self::default()
        };
        let healed_at_us = history.healed_at_us().unwrap_or(u64::MAX);
        for (operation, send) in history.sends() {
            match operation.outcome {
                Outcome::Ok if send.acks != crate::history::Acks::None => {
                    coverage.acknowledged += 1;
                    if operation.invoked_at_us >= healed_at_us {
                        coverage.acknowledged_after_healing += 1;
                    }
                }
                Outcome::Ok | Outcome::Info => coverage.unknown += 1,
                Outcome::Fail => coverage.failed += 1,
            }
        }
        for (_, poll) in history.polls() {
            coverage.records_read += poll
                .reads
                .values()
                .map(|reads| reads.len() as u64)
                .sum::<u64>();
        }
        let mut leaderships: BTreeSet<(u64, u64)> = BTreeSet::new();
        for timed in &history.events {
            match &timed.event {
                Event::FaultTookEffect { class, times } => {
                    *coverage.effects.entry(*class).or_default() += times;
                }
                Event::Leader { group, term, .. } => {
                    leaderships.insert((*group, *term));
                }
                Event::FaultStarted { .. } | Event::Healed | Event::Converged | Event::Drained => {}
            }
        }
        coverage.leaderships = leaderships.len() as u64;
        coverage
    }

    /// Why the run does not count; empty = it counts. `acknowledged_min` is
    /// [`ACKNOWLEDGED_MIN`] for a full run, in proportion for a shorter one.
    #[must_use]
    pub fn rejections(&self, acknowledged_min: u64) -> Vec<Rejection> {
        let mut rejections = Vec::new();
        if self.acknowledged < acknowledged_min {
            rejections.push(Rejection::Acknowledged {
                count: self.acknowledged,
                needed: acknowledged_min,
            });
        }
        let effective: BTreeSet<FaultClass> = self.effects.keys().copied().collect();
        if effective.len() < EFFECTIVE_CLASSES_MIN {
            rejections.push(Rejection::Faults {
                effective,
                needed: EFFECTIVE_CLASSES_MIN,
            });
        }
        if self.acknowledged_after_healing == 0 {
            rejections.push(Rejection::NoProgressAfterHealing);
        }
        let queues_min = acknowledged_min / QUEUES_SHARE;
        let too_few = |queues: &&QueueCoverage| queues.confirmed.min(queues.settled) < queues_min;
        if let Some(queues) = self.queues.as_ref().filter(too_few) {
            rejections.push(Rejection::Queues {
                confirmed: queues.confirmed,
                settled: queues.settled,
                needed: queues_min,
            });
        }
        rejections
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;
    use crate::history::Acks;

    fn effect(script: &mut Script, class: FaultClass) {
        script.event(Event::FaultTookEffect { class, times: 1 });
    }

    fn coverage(script: Script) -> Coverage {
        Coverage::of(&script.history(), BTreeMap::new())
    }

    fn good() -> Script {
        let mut script = Script::new();
        for class in [FaultClass::Crash, FaultClass::OneWay, FaultClass::SlowDisk] {
            effect(&mut script, class);
        }
        script.send_ok(0, 1, 0);
        script.event(Event::Healed);
        script.send_ok(0, 2, 1);
        script
    }

    #[test]
    fn a_run_with_enough_of_everything_counts() {
        assert_eq!(coverage(good()).rejections(2), []);
    }

    #[test]
    fn too_few_acknowledgements_are_rejected_with_the_numbers() {
        let expected = [Rejection::Acknowledged {
            count: 2,
            needed: 1_000,
        }];

        assert_eq!(coverage(good()).rejections(ACKNOWLEDGED_MIN), expected);
    }

    #[test]
    fn unanswered_sends_are_not_acknowledged() {
        let mut script = good();
        script.send_with(Outcome::Info, 0, 3, |_| ());
        script.send(0, 4, |send| send.acks = Acks::None);
        script.send_with(Outcome::Fail, 0, 5, |_| ());
        let coverage = coverage(script);

        assert_eq!(
            (coverage.acknowledged, coverage.unknown, coverage.failed),
            (2, 2, 1)
        );
    }

    #[test]
    fn queues_in_which_little_happened_are_rejected_with_the_numbers() {
        let mut coverage = coverage(good());
        coverage.acknowledged = 100;
        coverage.queues = Some(QueueCoverage {
            confirmed: 30,
            settled: 9,
            ..QueueCoverage::default()
        });
        let expected = Rejection::Queues {
            confirmed: 30,
            settled: 9,
            needed: 10,
        };

        assert_eq!(coverage.rejections(95), []);
        assert_eq!(coverage.rejections(100), [expected]);
    }

    #[test]
    fn faults_without_effect_do_not_count() {
        let mut script = Script::new();
        effect(&mut script, FaultClass::Crash);
        effect(&mut script, FaultClass::Crash);
        for class in [FaultClass::OneWay, FaultClass::Partition] {
            script.event(Event::FaultStarted {
                class,
                detail: String::new(),
            });
        }
        script.event(Event::Healed);
        script.send_ok(0, 1, 0);

        let expected = [Rejection::Faults {
            effective: [FaultClass::Crash].into(),
            needed: 3,
        }];
        assert_eq!(coverage(script).rejections(1), expected);
    }

    #[test]
    fn a_run_that_stands_still_after_the_healing_is_rejected() {
        let mut script = good();
        script.event(Event::Converged);
        let mut history = script.history();
        history.operations.pop();
        let coverage = Coverage::of(&history, BTreeMap::new());

        assert_eq!(coverage.rejections(1), [Rejection::NoProgressAfterHealing]);
    }
}
