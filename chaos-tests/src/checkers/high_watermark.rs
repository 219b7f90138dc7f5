//! The high watermark never goes back, and nothing at or above it is shown.
//!
//! Inside a session always, also over a change of leader. Across clients by real time, but only for
//! probes: a consumer fetches in advance, so what it reports may be older than its poll. A probe may
//! not report less than any poll that ended before it began (a new leader answers
//! OFFSET_NOT_AVAILABLE until it has caught up). ARCHITECTURE.md, "Mechanisms".

use std::collections::BTreeMap;

use super::{Anomaly, Property};
use crate::history::{History, Operation, Poll, PollMode};

pub(super) fn check(history: &History) -> Vec<Anomaly> {
    let mut anomalies = sessions_go_back(history);
    anomalies.extend(probes_go_back(history));
    anomalies.extend(records_above(history));
    anomalies
}

fn probes_go_back(history: &History) -> Vec<Anomaly> {
    let mut by_end: Vec<(&Operation, &Poll)> = history
        .polls()
        .filter(|(operation, _)| operation.completed_at_us.is_some())
        .collect();
    by_end.sort_by_key(|(operation, _)| operation.completed_at_us);
    let mut ended = by_end.into_iter().peekable();
    let mut highest: BTreeMap<u32, (i64, u64)> = BTreeMap::new();
    let mut anomalies = Vec::new();
    for (operation, poll) in history.polls() {
        while let Some((earlier, poll)) = ended.next_if(|(end, _)| end.precedes(operation)) {
            for (partition, offset) in &poll.high_watermarks {
                let known = highest.entry(*partition).or_insert((*offset, earlier.id));
                if *offset > known.0 {
                    *known = (*offset, earlier.id);
                }
            }
        }
        if poll.mode != PollMode::Probe {
            continue;
        }
        for (partition, offset) in &poll.high_watermarks {
            let Some((known, by)) = highest.get(partition).filter(|(known, _)| offset < known)
            else {
                continue;
            };
            anomalies.push(Anomaly::new(
                Property::HighWatermark,
                format!(
                    "partition {partition}: operation {} saw high watermark {offset} after \
                     operation {by} had seen {known}",
                    operation.id
                ),
            ));
        }
    }
    anomalies
}

fn records_above(history: &History) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    for (operation, poll) in history.polls() {
        for (partition, high_watermark) in &poll.high_watermarks {
            let last = poll.reads.get(partition).and_then(|reads| reads.last());
            if let Some(last) = last.filter(|last| last.offset >= *high_watermark) {
                anomalies.push(Anomaly::new(
                    Property::HighWatermark,
                    format!(
                        "partition {partition}: operation {} was given offset {} at high \
                         watermark {high_watermark}",
                        operation.id, last.offset
                    ),
                ));
            }
        }
    }
    anomalies
}

fn sessions_go_back(history: &History) -> Vec<Anomaly> {
    let mut last: BTreeMap<(u64, u32), i64> = BTreeMap::new();
    let mut anomalies = Vec::new();
    for (operation, poll) in history.polls() {
        for (partition, offset) in &poll.high_watermarks {
            let before = last.insert((poll.session, *partition), *offset);
            if let Some(before) = before.filter(|before| offset < before) {
                anomalies.push(Anomaly::new(
                    Property::HighWatermark,
                    format!(
                        "partition {partition}: session {} saw the high watermark go from {before} \
                         to {offset} (operation {})",
                        poll.session, operation.id
                    ),
                ));
            }
        }
    }
    anomalies
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;
    use crate::history::Outcome;

    fn found(script: Script) -> usize {
        check(&script.history()).len()
    }

    fn poll(script: &mut Script, session: u64, reads: &[(i64, u64)], high_watermark: i64) {
        script.poll_with(Outcome::Ok, session, 0, reads, |poll| {
            poll.high_watermarks.insert(0, high_watermark);
        });
    }

    fn probe(script: &mut Script, session: u64, high_watermark: i64) {
        script.poll_with(Outcome::Ok, session, 0, &[], |poll| {
            poll.mode = PollMode::Probe;
            poll.high_watermarks.insert(0, high_watermark);
        });
    }

    #[test]
    fn a_session_whose_high_watermark_falls_is_found() {
        let mut script = Script::new();
        poll(&mut script, 1, &[], 9);
        poll(&mut script, 1, &[], 8);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn a_probe_below_an_earlier_poll_is_found() {
        let mut script = Script::new();
        poll(&mut script, 1, &[], 9);
        probe(&mut script, 2, 8);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn a_record_at_the_high_watermark_is_found() {
        let mut script = Script::new();
        poll(&mut script, 1, &[(8, 1), (9, 2)], 9);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn a_high_watermark_that_rises_or_stays_is_good() {
        let mut script = Script::new();
        poll(&mut script, 1, &[(3, 1)], 4);
        probe(&mut script, 2, 4);
        poll(&mut script, 1, &[(8, 2)], 9);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn overlapping_polls_and_probes_may_disagree() {
        let mut script = Script::new();
        poll(&mut script, 1, &[], 9);
        probe(&mut script, 2, 8);
        script.overlap_last(2);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn a_consumer_that_fetched_in_advance_may_be_behind_another_one() {
        let mut script = Script::new();
        poll(&mut script, 1, &[], 9);
        poll(&mut script, 2, &[], 5);
        assert_eq!(found(script), 0);
    }
}
