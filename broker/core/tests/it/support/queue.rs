//! One queue as its leader and its log see it.

use bytes::Bytes;
use raftmq_core::queue::{
    AckMode, Attach, Attempt, ChannelId, Command, DeadLetter, Delivery, Message, MessageRef,
    Outcome, Published, Queue, QueueEvent, Reply, Settings, Span,
};
use raftmq_core::{
    BrokerEpoch, BrokerId, ConsumerId, DeliveryId, Effect, Effects, EntryMeta, LogIndex, Machine,
};

use super::{NOW_MS, Rows, meta};

/// A queue with its log, in which every entry is committed as soon as it is proposed.
#[derive(Debug, Clone)]
pub(crate) struct Harness {
    pub(crate) queue: Queue,
    pub(crate) log: Vec<(EntryMeta, Bytes)>,
    pub(crate) rows: Rows,
    pub(crate) now_ms: i64,
    /// The checkpoints that effects asked for, the newest last.
    pub(crate) checkpoints: Vec<(LogIndex, Bytes)>,
}

/// What one entry did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Applied {
    pub(crate) reply: Reply,
    pub(crate) events: Vec<QueueEvent>,
}

impl Applied {
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        let deliveries = self.events.iter().filter_map(|event| {
            if let QueueEvent::Delivered(delivery) = event {
                return Some(*delivery);
            }
            None
        });
        deliveries.collect()
    }

    pub(crate) fn dead_letters(&self) -> Vec<DeadLetter> {
        let letters = self.events.iter().filter_map(|event| {
            if let QueueEvent::DeadLettered(letter) = event {
                return Some(*letter);
            }
            None
        });
        letters.collect()
    }

    pub(crate) fn published(&self) -> Published {
        let Reply::Published(published) = &self.reply else {
            panic!("not published: {:?}", self.reply);
        };
        published.clone()
    }

    pub(crate) fn consumer(&self) -> ConsumerId {
        let Reply::Attached { consumer } = self.reply else {
            panic!("not attached: {:?}", self.reply);
        };
        consumer
    }
}

/// Applies one entry to any queue.
pub(crate) fn apply(queue: &mut Queue, meta: &EntryMeta, bytes: &Bytes) -> (Reply, Vec<Effect>) {
    let mut effects = Effects::new();
    let command = Queue::decode(bytes).unwrap();
    let reply = queue.apply(meta, command, &mut effects);
    (reply, effects.drain().collect())
}

impl Harness {
    pub(crate) fn new(settings: Settings) -> Self {
        let mut harness = Self {
            queue: Queue::default(),
            log: Vec::new(),
            rows: Rows::default(),
            now_ms: NOW_MS,
            checkpoints: Vec::new(),
        };
        harness.commit(&Command::Configure(settings));
        harness
    }

    pub(crate) fn commit(&mut self, command: &Command) -> Applied {
        let mut meta = meta(self.log.len() as u64 + 1, 1);
        meta.proposed_at_ms = self.now_ms;
        let bytes = command.encode();
        assert_eq!(Command::decode(&bytes).as_ref(), Ok(command));
        self.log.push((meta, bytes.clone()));
        let (reply, effects) = apply(&mut self.queue, &meta, &bytes);
        let mut events = Vec::new();
        for effect in effects {
            if let Effect::Queue(event) = effect {
                events.push(event);
                continue;
            }
            let Effect::Checkpoint { log_index, .. } = effect else {
                panic!("not an effect of a queue: {effect:?}");
            };
            self.checkpoints.push((log_index, self.queue.checkpoint()));
        }
        Applied { reply, events }
    }

    pub(crate) fn save(&mut self) {
        self.rows.update(self.queue.dirty_rows());
    }

    pub(crate) fn publish(&mut self, bodies: &[&'static str]) -> Applied {
        let messages = bodies.iter().map(|body| message(body));
        self.commit(&Command::Publish(messages.collect()))
    }

    pub(crate) fn publish_one(&mut self, message: Message) -> Applied {
        self.commit(&Command::Publish(vec![message]))
    }

    /// Attaches a consumer with a prefetch to a channel; its tag is `tag`.
    pub(crate) fn attach(&mut self, number: u64, tag: &str, prefetch: u32) -> Applied {
        let attach = consumer(number, tag, prefetch);
        self.commit(&Command::Attach(attach))
    }

    pub(crate) fn settle(&mut self, number: u64, id: DeliveryId, outcome: Outcome) -> Applied {
        self.commit(&Command::Settle {
            channel: channel(number),
            spans: vec![Span::one(id)],
            outcome,
        })
    }

    pub(crate) fn close(&mut self, number: u64) -> Applied {
        self.commit(&Command::CloseChannel {
            channel: channel(number),
            attempt: Attempt::Counts,
        })
    }

    pub(crate) fn get(&mut self, number: u64) -> Option<Delivery> {
        let command = Command::Get {
            channel: channel(number),
            ack_mode: AckMode::Manual,
        };
        let Reply::Got { delivery, .. } = self.commit(&command).reply else {
            panic!("not got");
        };
        delivery
    }

    pub(crate) fn pass(&mut self, ms: i64) -> Applied {
        self.now_ms += ms;
        self.commit(&Command::Tick)
    }

    /// The body of a message, out of the log.
    pub(crate) fn body(&self, message: MessageRef) -> Bytes {
        let at = usize::try_from(message.log_index.0).unwrap() - 1;
        let found = raftmq_core::queue::message_in_entry(&self.log[at].1, message);
        found.unwrap().unwrap().body
    }

    pub(crate) fn ready(&self) -> Vec<Bytes> {
        let ready = self.queue.ready_messages(usize::MAX);
        ready.into_iter().map(|one| self.body(one)).collect()
    }
}

pub(crate) fn channel(number: u64) -> ChannelId {
    ChannelId {
        broker: BrokerId(u32::try_from(number % 3).unwrap()),
        broker_epoch: BrokerEpoch(1),
        number,
    }
}

pub(crate) fn message(body: &'static str) -> Message {
    Message {
        body: Bytes::from_static(body.as_bytes()),
        ..Message::default()
    }
}

pub(crate) fn consumer(number: u64, tag: &str, prefetch: u32) -> Attach {
    Attach {
        channel: channel(number),
        tag: tag.to_owned(),
        priority: 0,
        is_exclusive: false,
        ack_mode: AckMode::Manual,
        prefetch,
        granted: u64::MAX,
    }
}
