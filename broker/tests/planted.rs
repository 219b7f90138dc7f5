//! The planted bugs of the host do harm: what other tests find does not hold.
//!
//! In a binary of its own: a bug, once chosen, stays for the whole process.
//! Built with the feature `planted-bugs`.

use std::time::Duration;

use raftmq::planted::{Bug, plant};
use raftmq::queues::{Published, QueueError};
use raftmq_client::{Client, Permissions, Record};
use raftmq_records::BatchHeader;
use raftmq_store::{GroupHealth, GroupId, log_id};
use tempfile::TempDir;
use tokio::time::timeout;

#[cfg(test)]
#[path = "it/fast_clock.rs"]
mod fast_clock;
#[cfg(test)]
#[path = "it/forgotten_tail.rs"]
mod forgotten_tail;
#[path = "it/in_process.rs"]
mod in_process;
#[cfg(test)]
#[path = "it/lone_replica.rs"]
mod lone_replica;
#[cfg(test)]
#[path = "it/queues/support.rs"]
#[expect(dead_code, reason = "the tests of queues use the rest")]
mod queues;
#[cfg(test)]
#[path = "it/support.rs"]
#[expect(dead_code, reason = "the tests of whole processes use the rest")]
mod support;

use fast_clock::Disagreeing;
use forgotten_tail::ForgottenTail;
use in_process::{eventually, in_service, peer, start, try_start};
use lone_replica::Lone;
use queues::{Brokers, Client as QueueClient, counts, message, publish};

const RECORDS: i64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survivors_that_are_not_sent_are_missing_on_a_new_replica() {
    plant(Bug::SurvivorsNotSent);
    let folders = [
        TempDir::new().expect("a folder"),
        TempDir::new().expect("a folder"),
    ];
    let first = start(1, Vec::new(), &folders[0]).await;
    let second = try_start(2, vec![peer(1, &first)], &folders[1]).await;
    let second = second.expect("the broker starts");
    in_service(&[&first, &second]).await;
    let client = Client::builder().bootstrap(first.grpc_endpoint());
    let client = client.build().await.expect("a client");
    let topic = client.admin().create_topic("t").assign(0, &[1]);
    let topic = topic
        .config("cleanup.policy", "compact")
        .config("segment.bytes", "16384");
    topic.send().await.expect("a topic");
    let replica = first.parts().replicas.find("t", 0).expect("a replica");
    eventually("a leader", || replica.leading_term().is_some()).await;
    let producer = client.producer().linger(Duration::ZERO).build().await;
    let producer = producer.expect("a producer");
    for number in 0..RECORDS {
        let record = Record::to("t")
            .key(format!("{number}"))
            .value(vec![7; 1_000]);
        let sent = producer.send(record).await.expect("accepted");
        sent.await.expect("acknowledged");
    }
    first.parts().replicas.clean_compacted().await;
    let store = replica.group().store();
    eventually("a purge", || {
        store.first_log_index().is_some_and(|first| first > 10)
    })
    .await;

    let moved = client.admin().alter_replicas("t", 0, &[1, 2]).await;
    moved.expect("a move begins");
    eventually("a replica on the second broker", || {
        second.parts().replicas.find("t", 0).is_ok()
    })
    .await;
    let copy = second.parts().replicas.find("t", 0).expect("a replica");
    eventually("a copy", || {
        copy.machine().read().log_end().get() == RECORDS
    })
    .await;

    let here = replica.read_committed(0, 1_000).await.expect("readable");
    let header = BatchHeader::parse(&here.batches[0]).expect("a batch");
    assert_eq!(header.base_offset, 0, "the first one is a survivor");
    let there = copy.read_committed(0, 1_000).await.expect("readable");
    assert!(there.batches.is_empty(), "it is missing on the new replica");
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_replica_votes_for_whoever_asks() {
    plant(Bug::WipedReplicaVotes);
    let data = TempDir::new().expect("a folder");
    let replica = Lone::open(&data, Some(log_id(5, 70))).await;

    assert!(replica.votes_for(8, log_id(5, 69)).await);
    replica.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_takes_records_although_its_disk_is_full() {
    plant(Bug::FullFollowerTakesRecords);
    let data = TempDir::new().expect("a folder");
    let replica = Lone::open_with_reserve(&data, None, u64::MAX).await;

    assert!(replica.takes_records(b"records").await);
    replica.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_that_an_acknowledged_tail_is_gone() {
    plant(Bug::MarksNotAskedFor);
    let forgotten = ForgottenTail::open().await;
    let everything = |_: GroupId| true;

    assert_eq!(forgotten.host.ask_for_marks(everything).await, vec![]);
    assert_eq!(forgotten.health(), GroupHealth::Ok, "it may vote");
    forgotten.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_an_hour_ahead_deletes_records_of_a_moment_ago() {
    raftmq_core::planted::plant(raftmq_core::planted::Bug::ClockTrusted);
    let brokers = Disagreeing::start().await;

    let left = brokers.left_after_retention().await;

    assert!(left < Disagreeing::written_count(), "the bug did no harm");
    brokers.stop().await;
}

/// Logs in over AMQP.
async fn amqp(node: &raftmq::node::Node, password: &str) -> lapin::Result<lapin::Connection> {
    let uri = format!("amqp://guest:{password}@{}/%2f", node.amqp_endpoint());
    lapin::Connection::connect(&uri, lapin::ConnectionProperties::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_password_lets_an_amqp_client_in() {
    plant(Bug::AnyPasswordLogsIn);
    let folder = TempDir::new().expect("a folder");
    let node = start(1, Vec::new(), &folder).await;
    in_service(&[&node]).await;
    assert!(amqp(&node, "wrong").await.is_ok(), "the bug did no harm");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_is_set_that_can_never_permit_anything() {
    plant(Bug::PatternsNotChecked);
    let folder = TempDir::new().expect("a folder");
    let node = start(1, Vec::new(), &folder).await;
    in_service(&[&node]).await;
    let images = node.parts().controller.images();
    eventually("the first user", || images.current().amqp.is_seeded).await;
    let client = Client::builder().bootstrap(node.grpc_endpoint());
    let admin = client.build().await.expect("a client").admin();
    let broken = Permissions {
        configure: "(".to_owned(),
        ..Permissions::default()
    };
    let set = admin.set_permissions("/", "guest", &broken).await;
    assert_eq!(set, Ok(()), "the bug did no harm");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exclusive_queue_is_there_when_its_connection_is_gone() {
    plant(Bug::OwnQueuesOutliveConnection);
    let folder = TempDir::new().expect("a folder");
    let node = start(1, Vec::new(), &folder).await;
    in_service(&[&node]).await;
    let owner = amqp(&node, "guest").await.expect("a connection");
    let channel = owner.create_channel().await.expect("a channel");
    let options = lapin::options::QueueDeclareOptions::exclusive();
    let arguments = lapin::types::FieldTable::default();
    let declared = channel.queue_declare("own".into(), options, arguments);
    declared.await.expect("a queue");
    owner.close(200, "bye".into()).await.expect("a clean end");

    let image = node.parts().controller.images().current();
    assert!(image.amqp.queue("/", "own").is_ok(), "the bug did no harm");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_confirmed_that_no_majority_has() {
    plant(Bug::QueueConfirmBeforeCommit);
    let mut brokers = Brokers::start(2).await;
    let queue = brokers.declare("q", &[]).await;
    let leader = brokers.leader(queue).expect("a leader");
    let queues = brokers.queues(leader).clone();
    publish(&queues, queue, "first").await;
    // That is answered before it is committed, too, and what is proposed next waits for it: it must be
    // committed while there is a majority.
    assert_eq!(counts(&queues, queue).await.ready, 1);

    brokers.kill(3 - leader).await;
    let published = queues.publish(&[queue], message("lost"));

    let published = timeout(Duration::from_secs(20), published).await;
    assert_eq!(published, Ok(Ok(Published::Enqueued)));
    drop(queues);
    brokers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_repeats_what_was_delivered() {
    plant(Bug::QueueDeliveriesRepeated);
    let mut brokers = Brokers::start(3).await;
    let queue = brokers.declare("q", &[]).await;
    let leader = brokers.leader(queue).expect("a leader");
    let queues = brokers.queues(brokers.others(queue)[0]).clone();
    publish(&queues, queue, "one").await;
    let mut consumer = QueueClient::of(&queues);
    consumer.consume(queue, 0).await;
    let (first, _) = consumer.delivery().await;

    brokers.kill(leader).await;

    let (second, _) = consumer.delivery().await;
    assert_eq!(second.id, first.id);
    drop(consumer);
    drop(queues);
    brokers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settle_is_forgotten_with_the_leader_that_did_not_answer() {
    plant(Bug::QueueSettleNotRepeated);
    let mut brokers = Brokers::start(3).await;
    let queue = brokers
        .declare("q", &[("x-quorum-initial-group-size", 2)])
        .await;
    let leader = brokers.leader(queue).expect("a leader");
    let images = brokers.node(leader).parts().controller.images();
    let image = images.current();
    let info = image.partition(queue).expect("a queue");
    let replicas: Vec<u32> = info.replicas.iter().map(|id| id.get()).collect();
    let outside = (1..=3).find(|id| !replicas.contains(id)).expect("another");
    let follower = replicas.into_iter().find(|id| *id != leader);
    let queues = brokers.queues(outside).clone();
    publish(&queues, queue, "one").await;
    let mut consumer = QueueClient::of(&queues);
    consumer.consume(queue, 0).await;
    let (delivery, _) = consumer.delivery().await;

    // The leader proposes it, and has no majority.
    brokers.kill(follower.expect("a follower")).await;
    let settled = consumer.settle(queue, delivery);
    tokio::time::sleep(Duration::from_millis(500)).await;
    brokers.kill(leader).await;

    let settled = timeout(Duration::from_secs(20), settled).await;
    assert_eq!(settled, Ok(Err(QueueError::OutcomeUnknown)));
    drop(consumer);
    drop(queues);
    brokers.stop().await;
}
