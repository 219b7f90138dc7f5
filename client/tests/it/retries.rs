//! The producer under faults: nothing lost, nothing twice, order kept, or a loud error.

use std::collections::BTreeSet;
use std::time::Duration;

use raftmq_client::{Client, Error, ErrorCode, ErrorKind, Producer, Record};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::fake::{Cluster, Fault};
use crate::{client, settings};

/// A producer whose every record is a batch of its own.
async fn one_by_one(client: &Client) -> Producer {
    let builder = client.producer().batch_size_bytes(1).linger(Duration::ZERO);
    builder.build().await.expect("built")
}

/// Sends 0, 1, 2 … and waits for all.
async fn send_numbers(producer: &Producer, count: u32) -> Vec<Result<Option<i64>, Error>> {
    let mut deliveries = Vec::new();
    for index in 0..count {
        let record = Record::to("t").value(index.to_string());
        deliveries.push(producer.send(record).await.expect("taken"));
    }
    let mut outcomes = Vec::new();
    for delivery in deliveries {
        outcomes.push(delivery.await.map(|delivered| delivered.offset));
    }
    outcomes
}

fn numbers(count: u32) -> Vec<String> {
    (0..count).map(|index| index.to_string()).collect()
}

/// Sends 30 single-record batches while these faults happen; all must arrive, once, in order.
async fn check_survives(faults: impl IntoIterator<Item = Fault>) {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    cluster.fail_produce(faults);
    let client = client(&cluster).await;

    let outcomes = send_numbers(&one_by_one(&client).await, 30).await;

    assert_eq!(cluster.values("t", 0), numbers(30));
    let expected: Vec<_> = (0..30).map(|offset| Ok(Some(offset))).collect();
    assert_eq!(outcomes, expected);
}

#[tokio::test]
async fn retriable_refusals_are_retried_in_order() {
    check_survives([
        Fault::Refuse(ErrorCode::NotEnoughReplicas),
        Fault::Refuse(ErrorCode::Unavailable),
        Fault::Refuse(ErrorCode::NotEnoughReplicas),
    ])
    .await;
}

#[tokio::test]
async fn streams_that_break_before_the_write_are_retried_in_order() {
    check_survives([Fault::Break, Fault::Break, Fault::Break]).await;
}

#[tokio::test]
async fn streams_that_break_after_the_write_duplicate_nothing() {
    check_survives([Fault::WriteThenBreak, Fault::Break, Fault::WriteThenBreak]).await;
}

#[tokio::test]
async fn a_gap_behind_an_unanswered_batch_is_no_failure() {
    // The second batch comes to a broker that has not got the first: Kafka's rule refuses it.
    check_survives([
        Fault::Refuse(ErrorCode::NotLeader),
        Fault::Refuse(ErrorCode::OutOfOrderSequence),
    ])
    .await;
}

#[tokio::test]
async fn a_broker_that_never_answers_is_left_for_a_new_stream() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    cluster.fail_produce([Fault::WriteThenSilence]);
    let builder = settings(&cluster).request_timeout(Duration::from_millis(200));
    let client = builder.build().await.expect("built");

    let outcomes = send_numbers(&one_by_one(&client).await, 3).await;

    assert_eq!(outcomes, [Ok(Some(0)), Ok(Some(1)), Ok(Some(2))]);
    assert_eq!(cluster.values("t", 0), numbers(3));
}

#[tokio::test]
async fn a_leader_that_moved_is_followed_by_its_hint() {
    let cluster = Cluster::start(2).await;
    cluster.create_topic("t", 1);
    let client = client(&cluster).await;
    let producer = one_by_one(&client).await;
    send_numbers(&producer, 2).await;
    cluster.move_leader("t", 0, 2, false);

    let outcomes = send_numbers(&producer, 20).await;

    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(cluster.values("t", 0), [numbers(2), numbers(20)].concat());
}

#[tokio::test]
async fn a_hanging_leader_is_left_as_soon_as_metadata_names_another() {
    let cluster = Cluster::start(2).await;
    cluster.create_topic("t", 1);
    cluster.fail_produce([Fault::WriteThenSilence]);
    let builder = settings(&cluster).request_timeout(Duration::from_secs(600));
    let client = builder.build().await.expect("built");
    let producer = one_by_one(&client).await;
    let delivery = producer
        .send(Record::to("t").value("0"))
        .await
        .expect("taken");
    producer
        .send(Record::to("t").value("1"))
        .await
        .map(drop)
        .expect("taken");

    cluster.move_leader("t", 0, 2, true);

    assert_eq!(
        delivery.await.expect("acknowledged by broker 2").offset,
        Some(0)
    );
    producer.flush().await.expect("the second one, too");
    assert_eq!(cluster.values("t", 0), numbers(2));
}

#[tokio::test]
async fn a_record_that_is_too_large_fails_alone() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let client = client(&cluster).await;
    let producer = one_by_one(&client).await;

    let mut deliveries = Vec::new();
    for index in 0..6_usize {
        let size = if index == 2 { 2 << 20 } else { 10 };
        let record = Record::to("t").value(vec![b'a'; size]);
        deliveries.push(producer.send(record).await.expect("taken"));
    }
    let mut outcomes = Vec::new();
    for delivery in deliveries {
        outcomes.push(delivery.await.map_err(|error| error.kind()).map(drop));
    }

    let too_large = Err(ErrorKind::TooLarge);
    assert_eq!(
        outcomes,
        [Ok(()), Ok(()), too_large, Ok(()), Ok(()), Ok(())]
    );
    assert_eq!(cluster.records("t", 0).len(), 5);
    let ids: BTreeSet<_> = cluster
        .headers("t", 0)
        .iter()
        .map(|h| h.producer_id)
        .collect();
    assert_eq!(ids.len(), 2, "what follows the gap has another producer id");
}

#[tokio::test]
async fn a_lost_sequence_fails_loudly_and_the_next_record_arrives() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let client = client(&cluster).await;
    let producer = one_by_one(&client).await;
    send_numbers(&producer, 2).await;
    cluster.forget_producers();

    let failed = send_numbers(&producer, 1)
        .await
        .remove(0)
        .expect_err("a gap");

    assert_eq!(failed.kind(), ErrorKind::Sequence);
    assert_eq!(send_numbers(&producer, 1).await, [Ok(Some(2))]);
}

#[tokio::test]
async fn what_cannot_be_delivered_in_time_fails_with_the_reason() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    cluster.fail_produce([Fault::Refuse(ErrorCode::NotEnoughReplicas); 200]);
    let client = client(&cluster).await;
    let builder = client
        .producer()
        .delivery_timeout(Duration::from_millis(150));
    let producer = builder.build().await.expect("built");

    let failed = send_numbers(&producer, 1)
        .await
        .remove(0)
        .expect_err("too late");

    assert_eq!(failed.kind(), ErrorKind::TimedOut);
    assert!(
        failed.to_string().contains("last error: scripted"),
        "{failed}"
    );
    assert_eq!(cluster.batches_count("t", 0), 0);
}

#[tokio::test]
async fn without_idempotence_and_retries_a_record_is_written_at_most_once() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    cluster.fail_produce([Fault::WriteThenBreak]);
    let client = client(&cluster).await;
    let builder = client.producer().idempotence(false).retries(0);
    let producer = builder.build().await.expect("built");

    let failed = send_numbers(&producer, 1)
        .await
        .remove(0)
        .expect_err("no answer came");

    assert_eq!(failed.kind(), ErrorKind::Unavailable);
    assert_eq!(cluster.values("t", 0), numbers(1));
}

/// Random faults and moving leaders, several seeds: the log ends up as if nothing had happened.
#[tokio::test]
async fn any_mixture_of_faults_loses_repeats_and_reorders_nothing() {
    const FAULTS: [Fault; 5] = [
        Fault::Refuse(ErrorCode::NotEnoughReplicas),
        Fault::Refuse(ErrorCode::TimedOut),
        Fault::Refuse(ErrorCode::NotLeader),
        Fault::Break,
        Fault::WriteThenBreak,
    ];
    for seed in 0..6 {
        let mut random = SmallRng::seed_from_u64(seed);
        let cluster = Cluster::start(2).await;
        cluster.create_topic("t", 1);
        let client = client(&cluster).await;
        let producer = one_by_one(&client).await;
        let mut deliveries = Vec::new();
        for index in 0..200 {
            if random.random_ratio(1, 10) {
                cluster.fail_produce([FAULTS[random.random_range(0..FAULTS.len())]]);
            }
            if random.random_ratio(1, 40) {
                let (leader, is_shown) = (random.random_range(1..=2), random.random());
                cluster.move_leader("t", 0, leader, is_shown);
            }
            if random.random_ratio(1, 5) {
                tokio::task::yield_now().await;
            }
            let record = Record::to("t").value(index.to_string());
            deliveries.push((index, producer.send(record).await.expect("taken")));
            // Now and then all are waited for, so that the faults spread over the run.
            if index % 20 < 19 {
                continue;
            }
            for (index, delivery) in deliveries.drain(..) {
                let delivered = delivery.await.expect("acknowledged in the end");
                assert_eq!(delivered.offset, Some(index), "seed {seed}");
            }
        }
        assert_eq!(cluster.values("t", 0), numbers(200), "seed {seed}");
    }
}

#[tokio::test]
async fn refused_metadata_is_asked_for_again_with_pauses() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let client = settings(&cluster).metadata_age_max(Duration::from_millis(1));
    let client = client.build().await.expect("the cluster answers");
    let producer = one_by_one(&client).await;
    send_numbers(&producer, 1).await;

    cluster.refuse_metadata();
    let asked = cluster.metadata_requests();
    // Every one of these wakes the producer, which finds its metadata too old.
    for _ in 0..100 {
        send_numbers(&producer, 1).await;
    }

    assert!(cluster.metadata_requests() > asked, "it does ask");
    let repeated = cluster.metadata_requests() - asked;
    assert!(
        repeated < 50,
        "{repeated} requests while 100 records were sent"
    );
}
