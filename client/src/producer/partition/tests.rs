//! The partition's state machine: order, numbers and what a failure does to the batches behind it.

use std::time::Duration;

use raftmq_proto::v1;
use raftmq_records::{BatchHeader, Compression, validate_batch};

use super::*;
use crate::error::ErrorKind;

const ID: Identity = Identity {
    producer_id: 70,
    epoch: 0,
};
const FRESH_ID: Identity = Identity {
    producer_id: 71,
    epoch: 0,
};
const RETRIES: u32 = 10;

fn gathered(id: u64) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    for _ in 0..2 {
        builder
            .append(1, None, Some(id.to_string().as_bytes()), &[])
            .expect("fits");
    }
    Batch::from(GatheredBatch {
        builder,
        state: Arc::new(BatchState::new(id, 0)),
        created_at: Instant::now(),
        reserved_bytes: 10,
    })
}

fn ack(base_offset: i64) -> Result<BatchAck> {
    Ok(BatchAck {
        base_offset,
        log_append_time_ms: -1,
    })
}

fn refused(code: ErrorCode) -> Result<BatchAck> {
    Err(v1::Error::new(code, "refused").into())
}

/// The broker refuses a batch that is under way.
fn refuse(partition: &mut Partition, id: u64, code: ErrorCode, finished: &mut Finished) {
    partition.settle(id, refused(code), RETRIES, finished);
}

fn ids(finished: &Finished) -> Vec<(u64, bool)> {
    let finished = finished.iter();
    finished
        .map(|(batch, outcome)| (batch.state.id, outcome.is_ok()))
        .collect()
}

/// An idempotent partition with batches 0, 1, 2 … under way; returns their bytes, too.
fn with_in_flight(count: u64) -> (Partition, Vec<Bytes>) {
    let mut partition = Partition::new(Arc::from("t"), 0, true);
    assert_eq!(partition.readiness(5), Readiness::NeedsIdentity);
    assert!(partition.set_identity(ID));
    let mut finished = Finished::new();
    let sent = (0..count)
        .map(|id| {
            partition
                .send(gathered(id), &mut finished)
                .expect("encodes")
        })
        .collect();
    assert!(finished.is_empty());
    (partition, sent)
}

fn header(bytes: &Bytes) -> BatchHeader {
    validate_batch(bytes, 1 << 20).expect("what is sent is valid")
}

fn resend_all(partition: &mut Partition) -> Vec<Bytes> {
    let mut sent = Vec::new();
    while partition.readiness(5) == Readiness::Resend {
        let batch = partition.take_resend().expect("there is one to resend");
        sent.extend(partition.send(batch, &mut Finished::new()));
    }
    sent
}

#[tokio::test]
async fn batches_are_numbered_one_after_the_other() {
    let (partition, sent) = with_in_flight(3);

    let sequences: Vec<_> = sent
        .iter()
        .map(|bytes| header(bytes).base_sequence)
        .collect();

    assert_eq!(sequences, [0, 2, 4]);
    assert!(sent.iter().all(|bytes| header(bytes).producer_id == 70));
    assert_eq!(partition.readiness(5), Readiness::New);
    assert_eq!(partition.readiness(3), Readiness::Held);
}

#[tokio::test]
async fn a_failed_batch_holds_all_and_they_are_sent_again_in_order_and_unchanged() {
    let (mut partition, sent) = with_in_flight(3);
    let mut finished = Finished::new();

    let started = partition.settle(0, refused(ErrorCode::NotLeader), RETRIES, &mut finished);
    assert!(started.is_some());
    assert_eq!(partition.readiness(5), Readiness::Held);
    // The broker sees a gap: that is no error of theirs, and no second failure.
    for id in [1, 2] {
        let gap = refused(ErrorCode::OutOfOrderSequence);
        assert_eq!(partition.settle(id, gap, RETRIES, &mut finished), None);
    }

    assert_eq!(partition.failures, 1);
    assert_eq!(resend_all(&mut partition), sent);
    for id in 0..3 {
        partition.settle(id, ack(0), RETRIES, &mut finished);
    }
    assert_eq!(ids(&finished), [(0, true), (1, true), (2, true)]);
    assert_eq!(partition.failures, 0);
    assert!(partition.is_idle());
}

#[tokio::test]
async fn an_acknowledgement_behind_a_failure_counts() {
    let (mut partition, sent) = with_in_flight(2);
    let mut finished = Finished::new();

    refuse(&mut partition, 0, ErrorCode::TimedOut, &mut finished);
    partition.settle(1, ack(2), RETRIES, &mut finished);

    assert_eq!(ids(&finished), [(1, true)]);
    assert_eq!(resend_all(&mut partition), sent[..1]);
}

#[tokio::test]
async fn a_gap_before_the_first_batch_fails_all_that_are_under_way_and_renews_the_identity() {
    let (mut partition, _) = with_in_flight(3);
    let mut finished = Finished::new();

    let gap = refused(ErrorCode::OutOfOrderSequence);
    assert_eq!(partition.settle(0, gap, RETRIES, &mut finished), None);

    assert_eq!(ids(&finished), [(0, false), (1, false), (2, false)]);
    assert_eq!(partition.readiness(5), Readiness::NeedsIdentity);
    assert!(!partition.set_identity(ID), "the old one is used up");
    assert!(partition.set_identity(FRESH_ID));
    let next = partition.send(gathered(9), &mut finished).expect("encodes");
    assert_eq!(
        (header(&next).producer_id, header(&next).base_sequence),
        (71, 0)
    );
}

#[tokio::test]
async fn a_refused_batch_fails_alone_and_those_behind_it_get_new_numbers() {
    let (mut partition, _) = with_in_flight(3);
    let mut finished = Finished::new();

    refuse(&mut partition, 0, ErrorCode::RecordTooLarge, &mut finished);
    refuse(
        &mut partition,
        1,
        ErrorCode::OutOfOrderSequence,
        &mut finished,
    );
    assert_eq!(partition.readiness(5), Readiness::Held);
    refuse(
        &mut partition,
        2,
        ErrorCode::OutOfOrderSequence,
        &mut finished,
    );

    assert_eq!(ids(&finished), [(0, false)]);
    assert_eq!(partition.readiness(5), Readiness::NeedsIdentity);
    assert!(partition.set_identity(FRESH_ID));
    let again: Vec<_> = resend_all(&mut partition).iter().map(header).collect();
    let numbers: Vec<_> = again
        .iter()
        .map(|header| (header.producer_id, header.base_sequence))
        .collect();
    assert_eq!(numbers, [(71, 0), (71, 2)]);
}

/// A broker that does not know the producer begins with whatever sequence comes first: what is
/// behind a refused batch may be written.
#[tokio::test]
async fn a_batch_behind_a_refused_one_keeps_its_number_until_its_fate_is_known() {
    let (mut partition, sent) = with_in_flight(3);
    let mut finished = Finished::new();

    refuse(&mut partition, 0, ErrorCode::RecordTooLarge, &mut finished);
    refuse(&mut partition, 1, ErrorCode::NotLeader, &mut finished);
    refuse(&mut partition, 2, ErrorCode::NotLeader, &mut finished);

    assert_eq!(resend_all(&mut partition), sent[1..]);
    partition.settle(1, ack(0), RETRIES, &mut finished);
    refuse(
        &mut partition,
        2,
        ErrorCode::OutOfOrderSequence,
        &mut finished,
    );
    assert_eq!(ids(&finished), [(0, false), (1, true)]);
    assert!(partition.set_identity(FRESH_ID));
    let again = resend_all(&mut partition);
    assert_eq!(header(&again[0]).base_sequence, 0);
    assert_eq!(header(&again[0]).producer_id, 71);
}

#[tokio::test]
async fn what_is_before_a_refused_batch_keeps_its_number_until_it_is_settled() {
    let (mut partition, sent) = with_in_flight(3);
    let mut finished = Finished::new();

    refuse(&mut partition, 1, ErrorCode::RecordTooLarge, &mut finished);
    refuse(&mut partition, 0, ErrorCode::NotLeader, &mut finished);
    refuse(
        &mut partition,
        2,
        ErrorCode::OutOfOrderSequence,
        &mut finished,
    );

    let again = resend_all(&mut partition);
    assert_eq!(again, [sent[0].clone(), sent[2].clone()]);
    assert_eq!(partition.readiness(5), Readiness::Held);
    partition.settle(0, ack(0), RETRIES, &mut finished);
    refuse(
        &mut partition,
        2,
        ErrorCode::OutOfOrderSequence,
        &mut finished,
    );
    assert_eq!(ids(&finished), [(1, false), (0, true)]);
    assert!(partition.set_identity(FRESH_ID));
    let last = resend_all(&mut partition);
    assert_eq!(header(&last[0]).producer_id, 71);
}

#[tokio::test]
async fn a_batch_that_may_have_been_written_takes_those_behind_it_along_when_it_fails() {
    let (mut partition, _) = with_in_flight(2);
    let mut finished = Finished::new();
    let lost = || {
        Err(Error::ConnectionLost {
            endpoint: "a:1".to_owned(),
            reason: "reset".to_owned(),
        })
    };
    partition.settle(0, lost(), RETRIES, &mut finished);
    partition.settle(1, lost(), RETRIES, &mut finished);
    resend_all(&mut partition);

    refuse(&mut partition, 0, ErrorCode::RecordTooLarge, &mut finished);

    assert_eq!(ids(&finished), [(0, false), (1, false)]);
    for (_, result) in &finished {
        let error = result.as_ref().expect_err("it failed");
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
        assert_eq!(
            error.to_string(),
            "outcome unknown, perhaps written: refused"
        );
    }
}

#[tokio::test]
async fn a_repetition_that_the_broker_has_forgotten_is_a_success_without_offset() {
    let (mut partition, _) = with_in_flight(1);
    let mut finished = Finished::new();

    refuse(
        &mut partition,
        0,
        ErrorCode::DuplicateSequence,
        &mut finished,
    );

    assert!(matches!(&finished[..], [(_, Ok(ack))] if ack.base_offset == UNKNOWN_OFFSET));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_fails_with_the_error_that_held_it_up() {
    let (mut partition, _) = with_in_flight(2);
    let mut finished = Finished::new();
    refuse(&mut partition, 0, ErrorCode::Unavailable, &mut finished);
    let timed_out = |last_error| Error::TimedOut {
        operation: "delivery",
        timeout: Duration::from_secs(1),
        last_error,
    };

    let before = Instant::now() - Duration::from_millis(1);
    partition.expire(before, timed_out, &mut finished);
    assert!(finished.is_empty());
    partition.expire(Instant::now(), timed_out, &mut finished);

    assert_eq!(ids(&finished), [(0, false), (1, false)]);
    let text = finished[0].1.as_ref().expect_err("it failed").to_string();
    assert!(text.ends_with("last error: refused"), "{text}");
}

#[tokio::test]
async fn an_answer_to_a_settled_batch_changes_nothing() {
    let (mut partition, _) = with_in_flight(1);
    let mut finished = Finished::new();
    partition.settle(0, ack(5), RETRIES, &mut finished);

    assert_eq!(
        partition.settle(0, refused(ErrorCode::Internal), RETRIES, &mut finished),
        None
    );

    assert_eq!(ids(&finished), [(0, true)]);
}

#[tokio::test]
async fn without_retries_a_plain_batch_fails_at_once_and_alone() {
    let mut partition = Partition::new(Arc::from("t"), 0, false);
    let mut finished = Finished::new();
    assert_eq!(partition.readiness(5), Readiness::New);
    for id in 0..2 {
        let bytes = partition
            .send(gathered(id), &mut finished)
            .expect("encodes");
        assert!(!header(&bytes).has_producer());
    }

    partition.settle(0, refused(ErrorCode::Unavailable), 0, &mut finished);

    assert_eq!(ids(&finished), [(0, false)]);
    assert_eq!(partition.readiness(5), Readiness::New);
}

#[test]
fn sequences_wrap_to_zero_as_kafkas_do() {
    assert_eq!(sequence_after(0, 3), 3);
    assert_eq!(sequence_after(i32::MAX, 1), 0);
    assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
}
