//! A broker whose clock is an hour ahead of the others' deletes nothing early.

use crate::fast_clock::Disagreeing;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_by_time_waits_for_a_clock_that_agrees_with_the_others() {
    let brokers = Disagreeing::start().await;

    let left = brokers.left_after_retention().await;

    assert_eq!(left, Disagreeing::written_count());
    brokers.stop().await;
}
