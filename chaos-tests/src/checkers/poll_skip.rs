//! `poll-skip`: a consumer that jumps over a record, between two polls or inside one.
//!
//! Two records that follow each other in a session must be neighbours in the version order; gaps
//! between *offsets* are legal. A jump over offsets that only a send's acknowledgement knows counts.
//!
//! Source: `jepsen.tests.kafka/poll-skip+nonmonotonic-cases`. Consumers here assign, so never.

use std::collections::BTreeMap;

use super::order::VersionOrder;
use super::{Anomaly, Property};
use crate::history::History;

pub(super) fn check(history: &History, order: &VersionOrder) -> Vec<Anomaly> {
    let mut last_indexes: BTreeMap<(u64, u32), usize> = BTreeMap::new();
    let mut anomalies = Vec::new();
    for (operation, poll) in history.polls() {
        for (number, reads) in &poll.reads {
            let Some(partition) = order.partition(*number) else {
                continue;
            };
            for read in reads {
                let Some(index) = partition.index_of(read.offset) else {
                    continue;
                };
                let last = last_indexes.insert((poll.session, *number), index);
                if let Some(last) = last.filter(|last| index > *last + 1) {
                    anomalies.push(Anomaly::new(
                        Property::PollSkip,
                        format!(
                            "session {} jumped over {} records to offset {} of partition {number} \
                             (operation {})",
                            poll.session,
                            index - last - 1,
                            read.offset,
                            operation.id
                        ),
                    ));
                }
            }
        }
    }
    anomalies
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;

    fn found(script: Script) -> usize {
        let history = script.history();
        check(&history, &VersionOrder::of(&history)).len()
    }

    #[test]
    fn a_jump_over_a_record_that_another_session_read_is_a_skip() {
        let mut script = Script::new();
        script.poll(1, 0, &[(0, 10), (1, 11), (2, 12)]);
        script.poll(2, 0, &[(0, 10)]);
        script.poll(2, 0, &[(2, 12)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn a_jump_over_an_acknowledged_record_inside_a_poll_is_a_skip() {
        let mut script = Script::new();
        script.send_ok(0, 11, 1);
        script.poll(1, 0, &[(0, 10), (2, 12)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn a_gap_that_nobody_ever_saw_filled_is_no_skip() {
        let mut script = Script::new();
        script.poll(1, 0, &[(0, 10), (5, 11)]);
        script.poll(2, 0, &[(0, 10), (5, 11)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn a_new_session_may_start_in_the_middle() {
        let mut script = Script::new();
        script.poll(1, 0, &[(0, 10), (1, 11), (2, 12)]);
        script.poll(2, 0, &[(2, 12)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn going_back_is_not_a_skip() {
        let mut script = Script::new();
        script.poll(1, 0, &[(0, 10), (1, 11), (2, 12)]);
        script.poll(1, 0, &[(0, 10)]);
        assert_eq!(found(script), 0);
    }
}
