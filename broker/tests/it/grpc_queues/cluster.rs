//! Three brokers, and the leader of a queue that is killed: publishers and consumers go on by themselves.

use std::collections::BTreeSet;

use raftmq_client::{Client, ConsumeOptions, Deduplicator, Message};

use super::support::{VHOST, next, until_ready};
use crate::support::Dev;

const MESSAGES_COUNT: u32 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_missing_and_nothing_is_twice_after_the_leader_of_a_queue_was_killed()
{
    let dev = Dev::start(&["--brokers", "3"]);
    let client = Client::builder().bootstrap(&dev.bootstrap());
    let client = client.build().await.expect("the cluster answers");
    until_ready(&client).await;
    let declared = client.admin().declare_queue(VHOST, "killed");
    let declared = declared.argument("x-message-deduplication", true).send();
    declared.await.expect("a queue");
    let queue = client.queue("killed");
    let consumer = queue.consume(ConsumeOptions::new()).await;
    let mut consumer = consumer.expect("a consumer");

    let publishing = tokio::spawn(async move {
        let mut confirmations = Vec::new();
        for number in 0..MESSAGES_COUNT {
            let message = Message::new(number.to_string()).deduplicated();
            confirmations.push(queue.publish(message).await.expect("it is sent"));
        }
        for confirmation in confirmations {
            confirmation.await.expect("a confirm");
        }
    });
    let mut seen = Deduplicator::new(MESSAGES_COUNT as usize);
    let mut bodies = BTreeSet::new();
    let mut is_killed = false;
    while bodies.len() < MESSAGES_COUNT as usize {
        if !is_killed && bodies.len() >= MESSAGES_COUNT as usize / 3 {
            dev.kill(dev.queue_leader("killed"));
            is_killed = true;
        }
        let delivery = next(&mut consumer).await;
        if seen.first_time(&delivery.raftmq_id) {
            assert!(bodies.insert(delivery.text()), "{delivery:?} is twice");
        }
        // One that is lost with its stream comes again.
        let _ = delivery.ack().await;
    }
    publishing.await.expect("everything is confirmed");
}
