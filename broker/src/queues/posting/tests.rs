//! Tests of which letter goes where, and when.

use raftmq_core::queue::{DeathReason, MessageRef};

use super::*;

const FINE: GroupNumber = GroupNumber(1);
const FULL: GroupNumber = GroupNumber(2);

fn letter(id: u64, size: u32) -> DeadLetter {
    DeadLetter {
        id: DeadLetterId(id),
        message: MessageRef::default(),
        size,
        reason: DeathReason::Expired,
        attempts: 0,
    }
}

fn ids(letters: &[DeadLetter]) -> Vec<DeadLetterId> {
    letters.iter().map(|letter| letter.id).collect()
}

fn posting(count: u64) -> Posting {
    let mut posting = Posting::default();
    posting.begin(
        DeadLetterId(0),
        (0..count).map(|id| letter(id, 1)).collect(),
    );
    posting
}

/// Routes all that is due to some targets; gives what is sent.
fn route(posting: &mut Posting, targets: &[GroupNumber], now: Instant) -> Vec<(u64, GroupNumber)> {
    let targets: BTreeSet<GroupNumber> = targets.iter().copied().collect();
    let mut sent = Vec::new();
    for letter in posting.due(now) {
        let to = posting.route(letter.id, &targets, now);
        sent.extend(to.into_iter().map(|target| (letter.id.0, target)));
    }
    sent
}

fn outcome(posting: &mut Posting, id: u64, target: GroupNumber, is_there: bool, now: Instant) {
    posting.outcome((DeadLetterId(id), target), is_there, now);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_has_a_letter_does_not_get_it_again() {
    let mut now = Instant::now();
    let mut posting = posting(1);
    assert_eq!(
        route(&mut posting, &[FINE, FULL], now),
        [(0, FINE), (0, FULL)]
    );
    outcome(&mut posting, 0, FINE, true, now);
    outcome(&mut posting, 0, FULL, false, now);
    assert_eq!(posting.take_done(), []);

    let mut rests = Vec::new();
    for _ in 0..6 {
        assert_eq!(route(&mut posting, &[FINE, FULL], now), []);
        let wakes_at = posting.wakes_at().expect("it is tried again");
        rests.push(wakes_at - now);
        now = wakes_at;
        assert_eq!(route(&mut posting, &[FINE, FULL], now), [(0, FULL)]);
        outcome(&mut posting, 0, FULL, false, now);
    }
    assert!(rests.is_sorted());
    assert_eq!((rests[0], rests[5]), (REST_MIN, REST_MAX));

    now += REST_MAX;
    assert_eq!(route(&mut posting, &[FINE, FULL], now), [(0, FULL)]);
    outcome(&mut posting, 0, FULL, true, now);
    assert_eq!(posting.take_done(), [DeadLetterId(0)]);
    assert!(posting.targets.is_empty());
    posting.told(vec![DeadLetterId(0)], true);
    assert!(posting.letters.is_empty());
}

#[tokio::test(start_paused = true)]
async fn letters_for_a_full_target_do_not_hide_those_for_others() {
    let now = Instant::now();
    let mut posting = Posting::default();
    let first = DeadLetterId(0);
    // As many as the queue has, of which the last ones are for another target.
    let (mut begun, mut sent) = (0, Vec::new());
    while begun < 1_000 {
        let (from, count) = posting.room(first);
        assert_eq!((from.0, count), (begun, LETTERS_AT_ONCE));
        let end = begun + count as u64;
        posting.begin(first, (begun..end).map(|id| letter(id, 1)).collect());
        begun = end;
        for letter in posting.due(now) {
            let target = if letter.id.0 < 1_000 { FULL } else { FINE };
            for to in posting.route(letter.id, &BTreeSet::from([target]), now) {
                sent.push((letter.id.0, to));
            }
        }
    }

    let to_full = sent.iter().filter(|(_, target)| *target == FULL);
    assert_eq!(to_full.count(), TARGET_LETTERS_MAX, "the others wait");
    let to_fine = sent.iter().filter(|(_, target)| *target == FINE);
    assert_eq!(to_fine.count(), 24);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_begun_than_the_queue_remembers() {
    let now = Instant::now();
    let mut posting = Posting::default();
    let first = DeadLetterId(10);
    let mut count = 0;
    loop {
        let (from, more) = posting.room(first);
        if more == 0 {
            break;
        }
        let letters = (from.0..).take(more).map(|id| letter(id, 1));
        posting.begin(first, letters.collect());
        count += more as u64;
        route(&mut posting, &[FULL], now);
    }

    assert_eq!(count, DEAD_LETTERS_AHEAD_COUNT_MAX);
    let end = 10 + DEAD_LETTERS_AHEAD_COUNT_MAX;
    posting.begin(first, vec![letter(end, 1)]);
    assert!(posting.unrouted.is_empty(), "it would be forgotten");
    let (from, more) = posting.room(DeadLetterId(11));
    assert_eq!((from.0, more), (end, 1));
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_nobody_wants_is_done_with_until_the_queue_is_told() {
    let now = Instant::now();
    let mut posting = posting(2);

    assert_eq!(route(&mut posting, &[], now), []);
    let done = posting.take_done();
    assert_eq!(done, [DeadLetterId(0), DeadLetterId(1)]);
    posting.told(done.clone(), false);

    assert_eq!(posting.take_done(), done);
    assert_eq!(ids(&posting.due(now)), []);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_a_letter_need_not_reach_any_more_is_not_waited_for() {
    let now = Instant::now();
    let mut posting = posting(1);
    route(&mut posting, &[FULL], now);
    outcome(&mut posting, 0, FULL, false, now);
    let later = now + REST_MIN;

    // Its binding is gone.
    assert_eq!(route(&mut posting, &[], later), []);

    assert_eq!(posting.take_done(), [DeadLetterId(0)]);
}

#[tokio::test(start_paused = true)]
async fn few_bytes_are_under_way_and_a_large_letter_goes_alone() {
    let now = Instant::now();
    let mut posting = Posting::default();
    let large = 64 << 20;
    posting.begin(DeadLetterId(0), vec![letter(0, large), letter(1, 1)]);

    assert_eq!(route(&mut posting, &[FINE], now), [(0, FINE)]);
    assert_eq!(ids(&posting.due(now)), []);

    outcome(&mut posting, 0, FINE, true, now);
    assert_eq!(route(&mut posting, &[FINE], now), [(1, FINE)]);
}

#[tokio::test(start_paused = true)]
async fn a_letter_whose_body_was_not_read_is_due_again_a_moment_later() {
    let now = Instant::now();
    let mut posting = posting(1);

    posting.put_off(now);

    assert_eq!(ids(&posting.due(now)), []);
    assert_eq!(posting.wakes_at(), Some(now + REST_MIN));
    assert_eq!(ids(&posting.due(now + REST_MIN)), [DeadLetterId(0)]);
}
