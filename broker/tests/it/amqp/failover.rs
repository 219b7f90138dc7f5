//! The leader of a queue is killed while its clients, who are on the other brokers, publish and consume.

use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::process::Command;
use std::time::Duration;

use lapin::options::{BasicAckOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Consumer, PublisherConfirm};
use rustix::process::Signal;
use tokio::time::Instant;

use super::client::{
    Client, confirmation, consume, declare_with, next, publish, send, table, take, text,
};
use super::cluster::{endpoint, until_known};
use crate::clients::programs::start;
use crate::support::{Dev, PATIENCE, others_than, signal};

/// Messages that are published before the leader is killed, and after it.
const BEFORE_KILL: u32 = 300;
const AFTER_KILL: u32 = 300;
/// Publishes that wait for their confirms at once.
const IN_FLIGHT_MAX: usize = 64;
/// Longest time without a confirm: far above what an election takes, far below a client's patience.
const GAP_MAX: Duration = Duration::from_secs(3);
const END: &str = "end";

/// A publisher with some publishes in flight, and what it was told.
struct Publisher {
    client: Client,
    queue: &'static str,
    in_flight: VecDeque<(u32, PublisherConfirm)>,
    confirmed: BTreeSet<u32>,
    /// Nacked: may have arrived or not.
    unsure: Vec<u32>,
    confirmed_at: Instant,
    longest_gap: Duration,
}

impl Publisher {
    async fn connect(dev: &Dev, broker: u64, queue: &'static str) -> Self {
        let client = Client::confirming(&endpoint(dev, broker)).await;
        until_known(&client, queue).await;
        Self {
            client,
            queue,
            in_flight: VecDeque::new(),
            confirmed: BTreeSet::new(),
            unsure: Vec::new(),
            confirmed_at: Instant::now(),
            longest_gap: Duration::ZERO,
        }
    }

    async fn publish(&mut self, number: u32) {
        if self.in_flight.len() == IN_FLIGHT_MAX {
            self.settle_oldest().await;
        }
        let body = number.to_string();
        let properties = BasicProperties::default().with_message_id(body.as_str().into());
        let channel = &self.client.channel;
        let sent = send(channel, "", self.queue, body.as_bytes(), properties).await;
        self.in_flight.push_back((number, sent));
    }

    async fn settle_oldest(&mut self) {
        let (number, sent) = self.in_flight.pop_front().expect("one is in flight");
        if confirmation(sent).await.is_ack() {
            self.confirmed.insert(number);
            self.longest_gap = self.longest_gap.max(self.confirmed_at.elapsed());
            self.confirmed_at = Instant::now();
        } else {
            self.unsure.push(number);
        }
    }

    async fn settle_all(&mut self) {
        while !self.in_flight.is_empty() {
            self.settle_oldest().await;
        }
    }

    /// Publishes before and after a broker is killed. Gives what was in flight at that moment.
    async fn publish_through_the_death_of(&mut self, dev: &Dev, leader: u64) -> Vec<u32> {
        self.confirmed_at = Instant::now();
        for number in 0..BEFORE_KILL {
            self.publish(number).await;
        }
        let in_flight: Vec<u32> = self.in_flight.iter().map(|(number, _)| *number).collect();
        assert!(!in_flight.is_empty(), "everything was confirmed too soon");
        signal(dev.pid(leader), Signal::KILL);
        for number in BEFORE_KILL..BEFORE_KILL + AFTER_KILL {
            self.publish(number).await;
        }
        self.settle_all().await;
        println!(
            "{}: {} confirmed, {} nacked, longest time without a confirm {:?}",
            self.queue,
            self.confirmed.len(),
            self.unsure.len(),
            self.longest_gap
        );
        assert!(self.longest_gap < GAP_MAX, "{:?}", self.longest_gap);
        in_flight
    }

    async fn end(self) {
        publish(&self.client.channel, "", self.queue, END.as_bytes()).await;
        self.client.close().await;
    }
}

/// Takes everything up to the last message.
async fn take_all(mut consumer: Consumer) -> Vec<String> {
    let mut taken = Vec::new();
    loop {
        let body = take(&mut consumer).await;
        if body == END {
            return taken;
        }
        taken.push(body);
    }
}

/// A cluster with a queue, who leads it, and the two others.
async fn led(queue: &'static str, arguments: FieldTable) -> (Dev, u64, [u64; 2]) {
    let dev = Dev::start(&[]);
    let client = Client::connect(&endpoint(&dev, 1)).await;
    declare_with(&client.channel, queue, arguments).await;
    client.close().await;
    let leader = dev.queue_leader(queue);
    (dev, leader, others_than(leader))
}

/// Gives a program of another language the two brokers that do not lead a queue, kills the leader as soon as
/// the program says that it publishes, and reads what arrived.
pub(super) async fn program_goes_on(queue: &'static str, mut program: Command) {
    let deduplicated = table(&[("x-message-deduplication", AMQPValue::Boolean(true))]);
    let (dev, leader, others) = led(queue, deduplicated).await;
    for other in others {
        let client = Client::connect(&endpoint(&dev, other)).await;
        until_known(&client, queue).await;
    }
    let brokers = others.map(|other| endpoint(&dev, other)).join(",");
    program.args([&brokers, queue]);
    let mut child = start(program);
    let mut said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let sent = said.next().expect("a line").expect("text");
    assert!(sent.starts_with("sent "), "{sent}");
    dev.kill(leader);
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(b"killed\n").expect("it reads");
    let found = said.next().expect("a line").expect("text");
    println!("{found}");
    assert!(found.starts_with("lost 0 duplicated 0 of "), "{found}");
    assert!(child.wait().expect("it ends").success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_missing_after_the_leader_of_a_queue_was_killed() {
    let (dev, leader, [publishing, consuming]) = led("orphaned", FieldTable::default()).await;
    let reader = Client::connect(&endpoint(&dev, consuming)).await;
    until_known(&reader, "orphaned").await;
    let taking = tokio::spawn(take_all(consume(&reader.channel, "orphaned", "c").await));
    let mut publisher = Publisher::connect(&dev, publishing, "orphaned").await;

    publisher.publish_through_the_death_of(&dev, leader).await;

    let confirmed = publisher.confirmed.clone();
    assert!(confirmed.contains(&(BEFORE_KILL + AFTER_KILL - 1)));
    publisher.end().await;
    let taken = taking.await.expect("it takes to the end");
    let arrived: BTreeSet<u32> = taken.iter().map(|body| body.parse().unwrap()).collect();
    assert_eq!(arrived.len(), taken.len(), "something came twice");
    let missing: Vec<&u32> = confirmed.difference(&arrived).collect();
    assert!(missing.is_empty(), "confirmed and missing: {missing:?}");
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_again_after_the_leader_was_killed_arrives_once() {
    let deduplicated = table(&[("x-message-deduplication", AMQPValue::Boolean(true))]);
    let (dev, leader, [publishing, consuming]) = led("once", deduplicated).await;
    let reader = Client::connect(&endpoint(&dev, consuming)).await;
    until_known(&reader, "once").await;
    let taking = tokio::spawn(take_all(consume(&reader.channel, "once", "c").await));
    let mut publisher = Publisher::connect(&dev, publishing, "once").await;

    let in_flight = publisher.publish_through_the_death_of(&dev, leader).await;
    // As a client does that cannot wait: what it did not know to be there goes again.
    for number in in_flight {
        publisher.publish(number).await;
    }
    publisher.settle_all().await;
    while let Some(number) = publisher.unsure.pop() {
        publisher.publish(number).await;
        publisher.settle_all().await;
    }

    publisher.end().await;
    let mut taken: Vec<u32> = taking
        .await
        .expect("it takes to the end")
        .iter()
        .map(|body| body.parse().unwrap())
        .collect();
    taken.sort_unstable();
    let all: Vec<u32> = (0..BEFORE_KILL + AFTER_KILL).collect();
    assert_eq!(taken, all, "each message once");
    reader.close().await;
}

/// What is ready once the queue has heard that its consumer is gone: whatever was not settled is ready again.
async fn left_behind(client: &Client, queue: &str) -> u32 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "the consumer stays");
        let passive = QueueDeclareOptions::default().passive();
        let declare = client
            .channel
            .queue_declare(queue.into(), passive, FieldTable::default());
        let left = declare.await.expect("it is there");
        if left.consumer_count() == 0 {
            return left.message_count();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_that_are_held_while_the_leader_is_killed_can_be_acknowledged_and_stay_away() {
    const HELD: usize = 20;
    let (dev, leader, [publishing, consuming]) = led("held", FieldTable::default()).await;
    let writer = Client::confirming(&endpoint(&dev, publishing)).await;
    let reader = Client::connect(&endpoint(&dev, consuming)).await;
    for client in [&writer, &reader] {
        until_known(client, "held").await;
    }
    let mut consumer = consume(&reader.channel, "held", "c").await;
    for number in 0..HELD {
        publish(&writer.channel, "", "held", number.to_string().as_bytes()).await;
    }
    let mut held = Vec::new();
    for number in 0..HELD {
        let delivery = next(&mut consumer).await;
        assert_eq!(text(&delivery), number.to_string());
        held.push(delivery);
    }

    dev.kill(leader);

    // The new leader goes on where the old one was.
    let mut sent = send(
        &writer.channel,
        "",
        "held",
        b"more",
        BasicProperties::default(),
    )
    .await;
    while !confirmation(sent).await.is_ack() {
        sent = send(
            &writer.channel,
            "",
            "held",
            b"more",
            BasicProperties::default(),
        )
        .await;
    }
    let more = next(&mut consumer).await;
    assert_eq!((text(&more).as_str(), more.redelivered), ("more", false));
    held.push(more);
    for delivery in &held {
        let acked = delivery.ack(BasicAckOptions::default());
        assert!(acked.await.expect("the channel is open"));
    }
    publish(&writer.channel, "", "held", b"last").await;
    let last = loop {
        // A nack may have been of a message that arrived.
        let delivery = next(&mut consumer).await;
        if text(&delivery) != "more" {
            break delivery;
        }
        delivery
            .ack(BasicAckOptions::default())
            .await
            .expect("an ack");
    };
    assert_eq!((text(&last).as_str(), last.redelivered), ("last", false));
    last.ack(BasicAckOptions::default()).await.expect("an ack");
    let closed = reader.channel.close(200, "bye".into());
    closed.await.expect("it closes");
    assert_eq!(left_behind(&writer, "held").await, 0);
    reader.close().await;
    writer.close().await;
}
