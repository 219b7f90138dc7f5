//! `Append`: what it changes, and when it is void.

use bytes::{BufMut, Bytes, BytesMut};
use raftmq_core::limits::EPOCHS_COUNT_MAX;
use raftmq_core::partition::{Append, Command, Reply, VoidReason};
use raftmq_core::{Effect, LogIndex, Offset, ProducerId, Term};

use crate::support::batch::{HEADER_BYTES, from_producer, plain};
use crate::support::partition::{Harness, entry_of};

fn assert_void(harness: &mut Harness, entry: Bytes, reason: VoidReason) {
    let before = harness.partition.clone();
    let log_index = LogIndex(harness.next_log_index());

    let applied = harness.commit(entry);

    assert_eq!(applied.reply, Reply::Void(reason));
    assert_eq!(applied.effects, vec![Effect::Voided { log_index, reason }]);
    assert_eq!(harness.partition.log_end(), before.log_end());
    assert_eq!(harness.partition.log_start(), before.log_start());
    assert_eq!(harness.partition.size_bytes(), before.size_bytes());
    assert_eq!(
        harness.partition.producers_count(),
        before.producers_count()
    );
    assert_eq!(harness.partition.latest_epoch(), before.latest_epoch());
    assert_eq!(
        harness.partition.applied(),
        log_index,
        "a void entry is applied nonetheless"
    );
}

#[test]
fn the_first_append_gets_offset_zero() {
    let mut harness = Harness::default();

    let applied = harness.append(&[plain(3)]);

    assert_eq!(
        applied.reply,
        Reply::Appended {
            base_offset: Offset(0),
            log_end: Offset(3)
        }
    );
    assert_eq!(
        applied.effects,
        vec![Effect::Committed { log_end: Offset(3) }]
    );
    assert_eq!(harness.partition.log_end(), Offset(3));
    assert_eq!(harness.partition.log_start(), Offset(0));
    assert_eq!(harness.partition.applied(), LogIndex(1));
    assert_eq!(
        harness.partition.max_timestamp_ms(),
        Some(crate::support::NOW_MS)
    );
    assert_eq!(harness.partition.size_bytes(), (HEADER_BYTES + 100) as u64);
}

#[test]
fn appends_follow_each_other_without_a_gap() {
    let mut harness = Harness::default();
    harness.append(&[plain(3)]);

    let applied = harness.append(&[plain(2)]);

    assert_eq!(
        applied.reply,
        Reply::Appended {
            base_offset: Offset(3),
            log_end: Offset(5)
        }
    );
    assert_eq!(
        applied.effects,
        vec![Effect::Committed { log_end: Offset(5) }]
    );
    assert_eq!(harness.partition.log_end(), Offset(5));
}

#[test]
fn several_batches_in_one_entry_get_consecutive_offsets() {
    let mut harness = Harness::default();

    let applied = harness.append(&[plain(3), from_producer(7, 0, 2), plain(1)]);

    assert_eq!(
        applied.reply,
        Reply::Appended {
            base_offset: Offset(0),
            log_end: Offset(6)
        }
    );
    let producer = harness.partition.producer(ProducerId(7)).unwrap();
    let batches: Vec<Offset> = producer.batches().map(|batch| batch.base_offset).collect();
    assert_eq!(batches, vec![Offset(3)]);
    assert_eq!(producer.next_sequence(), 2);
}

#[test]
fn raft_entries_in_between_take_no_offset() {
    let mut harness = Harness::default();
    harness.append(&[plain(1)]);
    harness.commit_blank();
    harness.commit_blank();

    let applied = harness.append(&[plain(1)]);

    assert_eq!(
        applied.reply,
        Reply::Appended {
            base_offset: Offset(1),
            log_end: Offset(2)
        }
    );
    assert_eq!(harness.partition.applied(), LogIndex(4));
}

#[test]
fn an_entry_decided_in_another_term_is_void() {
    let mut harness = Harness {
        term: 5,
        ..Harness::default()
    };
    harness.append(&[plain(1)]);
    let late = entry_of(4, Offset(1), 0, &[plain(1)]);
    let reason = VoidReason::WrongTerm {
        stamped: Term(4),
        actual: Term(5),
    };

    assert_void(&mut harness, late, reason);
}

#[test]
fn an_entry_decided_in_a_later_term_is_void_too() {
    let mut harness = Harness {
        term: 5,
        ..Harness::default()
    };
    let early = entry_of(6, Offset(0), 0, &[plain(1)]);
    let reason = VoidReason::WrongTerm {
        stamped: Term(6),
        actual: Term(5),
    };

    assert_void(&mut harness, early, reason);
}

#[test]
fn an_entry_decided_for_a_used_offset_is_void() {
    let mut harness = Harness::default();
    harness.append(&[plain(4)]);
    let twice = entry_of(1, Offset(2), 0, &[plain(1)]);
    let reason = VoidReason::WrongBaseOffset {
        stamped: Offset(2),
        expected: Offset(4),
    };

    assert_void(&mut harness, twice, reason);
}

#[test]
fn an_entry_that_would_leave_a_gap_is_void() {
    let mut harness = Harness::default();
    harness.append(&[plain(4)]);
    let gap = entry_of(1, Offset(9), 0, &[plain(1)]);
    let reason = VoidReason::WrongBaseOffset {
        stamped: Offset(9),
        expected: Offset(4),
    };

    assert_void(&mut harness, gap, reason);
}

#[test]
fn an_append_after_a_void_entry_goes_on_where_the_log_ended() {
    let mut harness = Harness::default();
    harness.append(&[plain(4)]);
    let gap = entry_of(1, Offset(9), 0, &[plain(1)]);
    harness.commit(gap);

    let applied = harness.append(&[plain(1)]);

    assert_eq!(
        applied.reply,
        Reply::Appended {
            base_offset: Offset(4),
            log_end: Offset(5)
        }
    );
}

#[test]
fn an_entry_without_batches_is_void() {
    let mut harness = Harness::default();
    let empty = entry_of(1, Offset(0), 0, &[]);

    assert_void(&mut harness, empty, VoidReason::Malformed);
}

#[test]
fn an_entry_whose_second_batch_is_cut_off_is_void_as_a_whole() {
    let mut harness = Harness::default();
    let whole = harness.entry(Offset(0), &[from_producer(1, 0, 1), plain(1)]);
    let cut = whole.slice(..whole.len() - 1);

    assert_void(&mut harness, cut, VoidReason::Malformed);
}

#[test]
fn an_entry_with_bytes_that_are_no_batch_is_void() {
    let mut harness = Harness::default();
    let mut bytes = BytesMut::from(&harness.entry(Offset(0), &[plain(1)])[..]);
    bytes.put_bytes(0xff, HEADER_BYTES);

    assert_void(&mut harness, bytes.freeze(), VoidReason::Malformed);
}

#[test]
fn batches_that_are_not_stamped_in_sequence_are_void() {
    let mut harness = Harness::default();
    let first = harness.entry(Offset(0), &[plain(2)]);
    let stray = harness.entry(Offset(3), &[plain(1)]);
    let mut bytes = BytesMut::from(&first[..]);
    bytes.put_slice(&stray[raftmq_core::partition::command::APPEND_HEADER_BYTES..]);

    assert_void(&mut harness, bytes.freeze(), VoidReason::Malformed);
}

#[test]
fn batches_that_nobody_stamped_are_void() {
    let mut harness = Harness::default();
    let append = Append {
        leader_epoch: Term(1),
        base_offset: Offset(0),
        segment_bytes: 0,
        batches: plain(1).bytes(),
    };

    assert_void(
        &mut harness,
        Command::Append(append).encode(),
        VoidReason::Malformed,
    );
}

#[test]
fn a_batch_with_a_negative_count_is_void() {
    let mut harness = Harness::default();
    let negative = harness.entry(Offset(0), &[plain(-5)]);

    assert_void(&mut harness, negative, VoidReason::Malformed);
}

#[test]
fn each_term_with_records_begins_an_epoch() {
    let mut harness = Harness::default();
    harness.append(&[plain(3)]);
    harness.term = 4;
    harness.append(&[plain(2)]);
    harness.append(&[plain(2)]);
    harness.term = 6;
    harness.append(&[plain(1)]);

    let partition = &harness.partition;
    assert_eq!(partition.latest_epoch(), Some(Term(6)));
    let epochs: Vec<Option<Term>> = [0, 2, 3, 6, 7, 8]
        .map(|offset| partition.epoch_at(Offset(offset)))
        .to_vec();
    let expected = [Some(1), Some(1), Some(4), Some(4), Some(6), None];
    assert_eq!(epochs, expected.map(|term| term.map(Term)).to_vec());
}

#[test]
fn a_term_without_records_begins_no_epoch() {
    let mut harness = Harness::default();
    harness.append(&[plain(1)]);
    harness.term = 2;
    harness.commit_blank();
    harness.advance_log_start(0);

    assert_eq!(harness.partition.latest_epoch(), Some(Term(1)));
}

#[test]
fn the_end_of_an_epoch_is_the_start_of_the_next() {
    let mut harness = Harness {
        term: 2,
        ..Harness::default()
    };
    harness.append(&[plain(3)]);
    harness.term = 5;
    harness.append(&[plain(4)]);

    let end_of = |epoch| harness.partition.end_offset_for_epoch(Term(epoch));
    assert_eq!(end_of(1), None, "older than everything");
    assert_eq!(end_of(2), Some((Term(2), Offset(3))));
    assert_eq!(
        end_of(4),
        Some((Term(2), Offset(3))),
        "the largest epoch at or below"
    );
    assert_eq!(end_of(5), Some((Term(5), Offset(7))));
    assert_eq!(end_of(9), Some((Term(5), Offset(7))));
}

#[test]
fn replicated_time_never_goes_back() {
    let mut harness = Harness::default();
    harness.append(&[plain(1)]);
    harness.now_ms -= 10_000;

    harness.append(&[from_producer(1, 0, 1)]);

    assert_eq!(harness.partition.now_ms(), crate::support::NOW_MS);
}

#[test]
fn records_without_a_timestamp_count_as_appended_now() {
    let mut harness = Harness::default();

    harness.append(&[plain(1).at_time(-1)]);

    assert_eq!(
        harness.partition.max_timestamp_ms(),
        Some(crate::support::NOW_MS)
    );
}

#[test]
fn of_very_many_epochs_the_oldest_are_forgotten() {
    let mut harness = Harness::default();
    let count = EPOCHS_COUNT_MAX as u64 + 5;
    for term in 1..=count {
        harness.term = term;
        harness.append(&[plain(1)]);
    }

    let partition = &harness.partition;
    assert_eq!(partition.latest_epoch(), Some(Term(count)));
    assert_eq!(partition.epoch_at(Offset(4)), None, "forgotten");
    assert_eq!(partition.epoch_at(Offset(5)), Some(Term(6)));
}
