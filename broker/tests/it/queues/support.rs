//! Brokers with queues on them, and clients of the service.

use std::time::Duration;

use bytes::Bytes;
use raftmq::node::Node;
use raftmq::queues::{
    ChannelEvent, ChannelEvents, Counts, Published, QueueChannel, QueueError, Queues,
};
use raftmq_core::cluster::amqp::{CreateVhost, DeclareQueue};
use raftmq_core::cluster::{AmqpCommand, Command as ClusterCommand, Outcome as Declared};
use raftmq_core::exchange::{Argument, Arguments, HeaderValue};
use raftmq_core::queue::{AckMode, Attach, Command, Delivery, Message, Outcome, Reply, Span};
use raftmq_core::{ConsumerId, GroupNumber};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::in_process::{eventually, in_service, peer, start, try_start};

const VHOST: &str = "v";
const WITHIN: Duration = Duration::from_secs(30);

/// Brokers, the first with id 1.
pub(crate) struct Brokers {
    pub(crate) nodes: Vec<Option<Node>>,
    folders: Vec<TempDir>,
}

impl Brokers {
    pub(crate) async fn start(count: u32) -> Self {
        let folder = || TempDir::new().expect("a folder");
        let folders: Vec<TempDir> = (0..count).map(|_| folder()).collect();
        let first = start(1, Vec::new(), &folders[0]).await;
        let mut nodes = vec![Some(first)];
        for id in 2..=count {
            let known = nodes[0].as_ref().expect("it runs");
            let peers = vec![peer(1, known)];
            let data = &folders[id as usize - 1];
            let started = try_start(id, peers, data).await;
            nodes.push(Some(started.expect("the broker starts")));
        }
        let brokers = Self { nodes, folders };
        let running: Vec<&Node> = brokers.nodes.iter().flatten().collect();
        in_service(&running).await;
        if count >= 3 {
            // One of them may be killed from now on.
            let controller = &brokers.node(1).parts().controller;
            eventually("three voters of the metadata group", || {
                let voters = controller.group().membership().voters;
                voters.len() == 1 && voters.iter().all(|voters| voters.len() == 3)
            })
            .await;
        }
        let create = AmqpCommand::CreateVhost(CreateVhost {
            name: VHOST.to_owned(),
            description: String::new(),
            default_queue_type: String::new(),
        });
        brokers.propose(1, create).await;
        brokers
    }

    pub(crate) fn node(&self, id: u32) -> &Node {
        self.nodes[id as usize - 1].as_ref().expect("it runs")
    }

    pub(crate) fn queues(&self, id: u32) -> &Queues {
        &self.node(id).parts().queues
    }

    /// Stops a broker without telling the others.
    pub(crate) async fn kill(&mut self, id: u32) {
        let node = self.nodes[id as usize - 1].take();
        node.expect("it runs").stop().await;
    }

    /// Starts a broker that was stopped.
    pub(crate) async fn start_again(&mut self, id: u32) {
        let other = self.nodes.iter().flatten().next();
        let peers = other.map(|node| peer(node.broker_id(), node));
        let peers = peers.into_iter().collect();
        let started = try_start(id, peers, &self.folders[id as usize - 1]).await;
        self.nodes[id as usize - 1] = Some(started.expect("the broker starts"));
    }

    async fn propose(&self, id: u32, command: AmqpCommand) -> Declared {
        let controller = &self.node(id).parts().controller;
        let command = ClusterCommand::Amqp(command);
        let proposed = controller.propose(&command, WITHIN).await;
        proposed.expect("it is done")
    }

    /// Declares a queue; returns it once some broker leads it.
    pub(crate) async fn declare(
        &self,
        name: &str,
        arguments: &[(&'static str, i64)],
    ) -> GroupNumber {
        let arguments = arguments.iter().map(|(name, value)| Argument {
            name: Bytes::from_static(name.as_bytes()),
            tag: b'l',
            value: HeaderValue::Integer(*value),
        });
        self.declare_with(name, arguments.collect()).await
    }

    pub(crate) async fn declare_with(&self, name: &str, arguments: Vec<Argument>) -> GroupNumber {
        let declare = AmqpCommand::DeclareQueue(DeclareQueue {
            vhost: VHOST.to_owned(),
            name: name.to_owned(),
            is_server_named: false,
            is_durable: true,
            is_auto_delete: false,
            owner: None,
            arguments: Arguments::new(arguments),
        });
        let some = self.nodes.iter().flatten().next().expect("one runs");
        let id = some.broker_id();
        let Declared::QueueDeclared { group, .. } = self.propose(id, declare).await else {
            panic!("another outcome");
        };
        eventually("a leader", || self.leader(group).is_some()).await;
        group
    }

    /// Who leads a queue, as a running broker knows it.
    pub(crate) fn leader(&self, queue: GroupNumber) -> Option<u32> {
        let node = self.nodes.iter().flatten().next().expect("one runs");
        let image = node.parts().controller.images().current();
        let leader = image.partition(queue)?.leader?;
        Some(leader.get())
    }

    /// Brokers that run and do not lead a queue.
    pub(crate) fn others(&self, queue: GroupNumber) -> Vec<u32> {
        let leader = self.leader(queue);
        let running = self.nodes.iter().flatten().map(Node::broker_id);
        running.filter(|id| Some(*id) != leader).collect()
    }

    pub(crate) async fn stop(self) {
        for node in self.nodes.into_iter().flatten() {
            node.stop().await;
        }
    }
}

pub(crate) fn message(text: &str) -> Message {
    Message {
        body: Bytes::copy_from_slice(text.as_bytes()),
        ..Message::default()
    }
}

pub(crate) async fn publish(queues: &Queues, queue: GroupNumber, text: &str) {
    let published = queues.publish(&[queue], message(text)).await;
    assert_eq!(published, Ok(Published::Enqueued), "{text}");
}

/// A channel with its events.
pub(crate) struct Client {
    pub(crate) queues: Queues,
    pub(crate) channel: QueueChannel,
    pub(crate) events: ChannelEvents,
}

impl Client {
    pub(crate) fn of(queues: &Queues) -> Self {
        let (channel, events) = queues.open_channel().expect("in service");
        Self {
            queues: queues.clone(),
            channel,
            events,
        }
    }

    pub(crate) async fn consume(&self, queue: GroupNumber, prefetch: u32) -> ConsumerId {
        let attach = Command::Attach(Attach {
            channel: self.channel.id(),
            tag: "consumer".to_owned(),
            priority: 0,
            is_exclusive: false,
            ack_mode: AckMode::Manual,
            prefetch,
            granted: 1_000_000,
        });
        match self.queues.run(queue, attach).await {
            Ok(Reply::Attached { consumer }) => consumer,
            other => panic!("not attached: {other:?}"),
        }
    }

    pub(crate) async fn next(&mut self) -> ChannelEvent {
        let event = timeout(WITHIN, self.events.recv()).await;
        event.expect("an event in time").expect("an open channel")
    }

    pub(crate) async fn delivery(&mut self) -> (Delivery, String) {
        let event = self.next().await;
        let ChannelEvent::Delivered { delivery, body, .. } = &event else {
            panic!("no delivery: {event:?}");
        };
        (*delivery, String::from_utf8_lossy(body).into_owned())
    }

    pub(crate) fn settle(
        &self,
        queue: GroupNumber,
        delivery: Delivery,
    ) -> impl Future<Output = Result<Reply, QueueError>> + use<> {
        let settle = Command::Settle {
            channel: self.channel.id(),
            spans: vec![Span::one(delivery.id)],
            outcome: Outcome::Acked,
        };
        self.queues.run(queue, settle)
    }
}

pub(crate) async fn counts(queues: &Queues, queue: GroupNumber) -> Counts {
    queues.counts(queue).await.expect("counts")
}

/// Waits until a queue has so many ready messages.
pub(crate) async fn until_ready(queues: &Queues, queue: GroupNumber, ready: u64) {
    let deadline = tokio::time::Instant::now() + WITHIN;
    loop {
        let now = counts(queues, queue).await;
        if now.ready == ready {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{ready} expected: {now:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
