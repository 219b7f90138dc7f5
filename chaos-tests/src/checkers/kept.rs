//! Topics from which records go: what must not go does not, and offsets stay what they were.
//!
//! `retained`: a record at or above the log start is there, at its offset. `log-start`: the log start
//! never goes back, nor further than somebody asked. `newest-of-key`: of a compacted topic the newest
//! acknowledged record of each key is there, unless one of a higher offset is.
//!
//! Source: KIP-107 (DeleteRecords), Kafka's documentation of log compaction.

use std::collections::BTreeMap;

use super::{Anomaly, Property};
use crate::history::{Cleanup, KeptRecord, KeptSend, KeptTopic, Outcome, StartEvent};

/// Judges every topic.
pub(crate) fn check(topics: &BTreeMap<Cleanup, KeptTopic>) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    for (cleanup, topic) in topics {
        let mut note = |property: Property, detail: String| {
            let detail = format!("topic {}: {detail}", cleanup.topic());
            anomalies.push(Anomaly::new(property, detail));
        };
        check_offsets(topic, &mut note);
        match cleanup {
            Cleanup::Delete => {
                check_starts(&topic.starts, &mut note);
                check_retained(topic, &mut note);
            }
            Cleanup::Compact => check_newest(topic, &mut note),
        }
    }
    anomalies
}

type Note<'a> = &'a mut dyn FnMut(Property, String);

/// Each record read was sent, offsets rise, and an offset holds one value for ever.
fn check_offsets(topic: &KeptTopic, note: Note<'_>) {
    let sends: BTreeMap<u64, &KeptSend> =
        topic.sends.iter().map(|send| (send.value, send)).collect();
    let mut values: BTreeMap<i64, u64> = BTreeMap::new();
    let last = topic.drained.iter().map(|(_, records)| records);
    for records in topic.reads.iter().chain(last) {
        for pair in records.windows(2) {
            if pair[1].offset <= pair[0].offset {
                let (first, second) = (pair[0].offset, pair[1].offset);
                let detail = format!("offset {second} was read after {first}");
                note(Property::NonmonotonicPoll, detail);
            }
        }
        for record in records {
            let known = *values.entry(record.offset).or_insert(record.value);
            let (offset, value) = (record.offset, record.value);
            if known != value {
                let detail = format!("offset {offset} holds {known} and {value}");
                note(Property::InconsistentOffsets, detail);
            }
            match sends.get(&value) {
                Some(send) if send.key != record.key => {
                    let detail = format!(
                        "value {value} has key {} instead of {}",
                        record.key, send.key
                    );
                    note(Property::PhantomRead, detail);
                }
                Some(send) if send.offset.is_some_and(|known| known != offset) => {
                    let detail = format!("value {value} is at {offset}, not at {:?}", send.offset);
                    note(Property::Duplicate, detail);
                }
                Some(_) => {}
                None => note(
                    Property::PhantomRead,
                    format!("value {value} at {offset} was never sent"),
                ),
            }
        }
    }
}

fn check_starts(starts: &[StartEvent], note: Note<'_>) {
    let (mut asked, mut reached) = (0, 0);
    for event in starts {
        match *event {
            StartEvent::Asked(before) => asked = asked.max(before),
            StartEvent::Deleted(start) | StartEvent::Seen(start) => {
                if start < reached {
                    note(
                        Property::LogStart,
                        format!("went back from {reached} to {start}"),
                    );
                }
                if start > asked {
                    note(
                        Property::LogStart,
                        format!("is {start}, {asked} was asked for"),
                    );
                }
                reached = reached.max(start);
            }
        }
    }
}

/// Everything acknowledged from the log start on was read at the end, and nothing is missing between.
fn check_retained(topic: &KeptTopic, note: Note<'_>) {
    let Some((log_start, records)) = &topic.drained else {
        return;
    };
    let at: BTreeMap<i64, u64> = records
        .iter()
        .map(|record| (record.offset, record.value))
        .collect();
    for send in acknowledged(topic) {
        let Some(offset) = send.offset.filter(|offset| offset >= log_start) else {
            continue;
        };
        if at.get(&offset) != Some(&send.value) {
            let found = at.get(&offset);
            let value = send.value;
            let detail =
                format!("value {value} of offset {offset}, log start {log_start}: {found:?}");
            note(Property::Retained, detail);
        }
    }
    let first = records.first().map_or(*log_start, |record| record.offset);
    let gap = (first..)
        .zip(records)
        .find(|(offset, record)| record.offset != *offset);
    if first != *log_start {
        note(
            Property::Retained,
            format!("the log starts at {log_start}, its first record at {first}"),
        );
    } else if let Some((offset, _)) = gap {
        note(Property::Retained, format!("nothing is at offset {offset}"));
    }
}

fn check_newest(topic: &KeptTopic, note: Note<'_>) {
    let Some((_, records)) = &topic.drained else {
        return;
    };
    let mut newest: BTreeMap<u32, (i64, u64)> = BTreeMap::new();
    for send in acknowledged(topic) {
        if let Some(offset) = send.offset {
            let known = newest.entry(send.key).or_insert((offset, send.value));
            *known = (*known).max((offset, send.value));
        }
    }
    for (key, (offset, value)) in newest {
        let stands_for_it = |record: &KeptRecord| {
            let is_itself = record.offset == offset && record.value == value;
            record.key == key && (is_itself || record.offset > offset)
        };
        if !records.iter().any(stands_for_it) {
            let detail = format!("key {key}: value {value} of offset {offset} is gone");
            note(Property::NewestOfKey, detail);
        }
    }
}

fn acknowledged(topic: &KeptTopic) -> impl Iterator<Item = &KeptSend> {
    topic
        .sends
        .iter()
        .filter(|send| send.outcome == Outcome::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A topic to which values 10, 11, 12… of these keys were sent and acknowledged, from offset 0.
    fn topic(keys: &[u32]) -> KeptTopic {
        let sends = (0_u8..).zip(keys).map(|(offset, key)| KeptSend {
            key: *key,
            value: 10 + u64::from(offset),
            outcome: Outcome::Ok,
            offset: Some(i64::from(offset)),
        });
        KeptTopic {
            sends: sends.collect(),
            ..KeptTopic::default()
        }
    }

    fn read(topic: &KeptTopic, offsets: &[usize]) -> Vec<KeptRecord> {
        let record = |offset: &usize| KeptRecord {
            offset: i64::try_from(*offset).unwrap(),
            key: topic.sends[*offset].key,
            value: topic.sends[*offset].value,
        };
        offsets.iter().map(record).collect()
    }

    fn found(cleanup: Cleanup, topic: KeptTopic) -> Vec<Property> {
        let anomalies = check(&[(cleanup, topic)].into());
        anomalies.iter().map(|anomaly| anomaly.property).collect()
    }

    #[test]
    fn what_was_deleted_may_be_gone_and_nothing_else() {
        for (offsets, expected) in [
            (&[2, 3][..], Vec::new()),
            (&[2], vec![Property::Retained]),
            (&[3], vec![Property::Retained, Property::Retained]),
        ] {
            let mut topic = topic(&[1, 1, 1, 1]);
            topic.starts = vec![StartEvent::Asked(2), StartEvent::Deleted(2)];
            topic.drained = Some((2, read(&topic, offsets)));

            assert_eq!(found(Cleanup::Delete, topic), expected, "{offsets:?}");
        }
    }

    #[test]
    fn a_log_start_that_goes_back_or_too_far_is_found() {
        for (starts, expected) in [
            (
                &[
                    StartEvent::Asked(3),
                    StartEvent::Seen(0),
                    StartEvent::Seen(3),
                ][..],
                0,
            ),
            (
                &[
                    StartEvent::Asked(3),
                    StartEvent::Deleted(3),
                    StartEvent::Seen(2),
                ],
                1,
            ),
            (&[StartEvent::Asked(3), StartEvent::Seen(4)], 1),
        ] {
            let mut topic = topic(&[1, 1, 1, 1]);
            topic.starts = starts.to_vec();

            let expected = vec![Property::LogStart; expected];
            assert_eq!(found(Cleanup::Delete, topic), expected, "{starts:?}");
        }
    }

    #[test]
    fn only_the_newest_of_each_key_must_be_there() {
        for (offsets, expected) in [
            (&[2, 3][..], 0),
            (&[0, 1, 2, 3], 0),
            (&[0, 3], 1),
            (&[0, 1], 2),
        ] {
            let mut topic = topic(&[1, 2, 1, 2]);
            topic.drained = Some((0, read(&topic, offsets)));

            let expected = vec![Property::NewestOfKey; expected];
            assert_eq!(found(Cleanup::Compact, topic), expected, "{offsets:?}");
        }
    }

    #[test]
    fn a_later_record_that_nobody_acknowledged_stands_for_the_key_as_well() {
        let mut topic = topic(&[1, 1]);
        topic.sends[1].outcome = Outcome::Info;
        topic.sends[1].offset = None;
        topic.drained = Some((0, read(&topic, &[1])));

        assert_eq!(found(Cleanup::Compact, topic), Vec::new());
    }

    #[test]
    fn values_that_move_or_come_from_nowhere_are_found() {
        let mut topic = topic(&[1, 1]);
        let mut records = read(&topic, &[0, 1]);
        records[1].value = 99;
        topic.reads = vec![read(&topic, &[0, 1]), records];

        let expected = vec![Property::InconsistentOffsets, Property::PhantomRead];
        assert_eq!(found(Cleanup::Compact, topic), expected);
    }
}
