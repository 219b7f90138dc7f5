//! The token bucket that moves of replicas are slowed by.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::Duration;

use raftmq_core::throttle::{BURSTS_PER_SECOND, TokenBucket, concerns};

const SECOND: Duration = Duration::from_secs(1);

fn limited(bytes_per_s: u64) -> TokenBucket {
    let mut bucket = TokenBucket::default();
    bucket.set_rate(NonZeroU64::new(bytes_per_s), Duration::ZERO);
    bucket
}

/// Sends pieces as fast as the bucket lets them through; gives the bytes that got through before `until`.
fn send_greedily(bucket: &mut TokenBucket, piece: u64, from: Duration, until: Duration) -> u64 {
    let (mut now, mut sent) = (from, 0);
    while now < until {
        match bucket.take(piece, now) {
            Ok(()) => sent += piece,
            Err(wait) => now += wait,
        }
    }
    sent
}

#[test]
fn without_a_limit_everything_passes() {
    let mut bucket = TokenBucket::default();
    for _ in 0..1_000 {
        assert_eq!(bucket.take(u64::MAX, Duration::ZERO), Ok(()));
    }
    assert_eq!(bucket.rate(), None);
}

#[test]
fn the_rate_holds_for_pieces_of_any_size() {
    let rate = 1_000_000;
    for piece in [100_u64, 1_000, 333_333, 5_000_000] {
        let mut bucket = limited(rate);
        let sent = send_greedily(&mut bucket, piece, Duration::ZERO, 20 * SECOND);
        let burst = rate / BURSTS_PER_SECOND;
        assert!(sent <= 20 * rate + burst + piece, "{piece}: {sent}");
        assert!(sent + piece >= 20 * rate, "{piece}: {sent}");
    }
}

#[test]
fn a_refusal_takes_nothing_and_names_the_time_that_is_enough() {
    let mut bucket = limited(1_000);
    assert_eq!(bucket.take(1_249, Duration::ZERO), Ok(()));
    let before = bucket.clone();
    // 250 were there, 1,249 went: a thousand must come in, a second is how long they take.
    assert_eq!(bucket.take(1, Duration::ZERO), Err(SECOND));
    assert_eq!(bucket, before);
    let early = SECOND - Duration::from_nanos(1);
    assert!(bucket.take(1, early).is_err());
    assert_eq!(bucket.take(1, SECOND), Ok(()));
}

#[test]
fn a_pause_is_worth_no_more_than_one_burst() {
    let mut bucket = limited(1_000_000);
    let day = Duration::from_secs(86_400);
    let sent = send_greedily(&mut bucket, 1_000, day, day + SECOND);
    assert!(sent <= 1_000_000 + 250_000 + 1_000, "{sent}");
}

#[test]
fn a_new_rate_counts_at_once_and_what_was_sent_is_paid_for_at_it() {
    let mut bucket = limited(1_000);
    assert_eq!(bucket.take(1_000_000, Duration::ZERO), Ok(()));
    bucket.set_rate(NonZeroU64::new(1_000_000), SECOND);
    let wait = bucket.take(1, SECOND).unwrap_err();
    assert!(wait < SECOND, "{wait:?}");
    bucket.set_rate(None, SECOND);
    assert_eq!(bucket.take(u64::MAX, SECOND), Ok(()));
}

#[test]
fn a_clock_that_stands_still_or_goes_back_earns_nothing() {
    let mut bucket = limited(1_000);
    assert_eq!(bucket.take(10_000, SECOND), Ok(()));
    let wait = bucket.take(1, SECOND).unwrap_err();
    assert_eq!(bucket.take(1, Duration::ZERO), Err(wait));
    assert_eq!(bucket.take(1, SECOND), Err(wait));
}

#[test]
fn extreme_rates_and_pieces_do_not_overflow() {
    let mut bucket = limited(u64::MAX);
    assert_eq!(bucket.take(u64::MAX, Duration::MAX), Ok(()));
    let mut bucket = limited(1);
    assert_eq!(bucket.take(u64::MAX, Duration::ZERO), Ok(()));
    assert_eq!(
        bucket.take(u64::MAX, SECOND).map_err(|wait| wait > SECOND),
        Err(true)
    );
    bucket.set_rate(NonZeroU64::new(u64::MAX), Duration::MAX);
    let _ = bucket.take(u64::MAX, Duration::MAX);
}

#[test]
fn only_members_that_do_not_vote_are_slowed() {
    let set = |ids: &[u64]| BTreeSet::from_iter(ids.iter().copied());
    let stable = [set(&[1, 2, 3])];
    assert!(concerns(&stable, &4), "a learner, or nobody yet");
    assert!(!concerns(&stable, &3));
    // While the membership changes, both halves commit.
    let joint = [set(&[1, 2, 3]), set(&[2, 3, 4])];
    for voter in 1..=4 {
        assert!(!concerns(&joint, &voter), "{voter}");
    }
    assert!(concerns(&joint, &5));
    assert!(!concerns::<u64>(&[], &1), "the membership is not known yet");
}
