//! Tests of what a purge must not drop.

use raftmq_core::effect::{Effect, Effects};
use raftmq_core::ids::BrokerId;
use raftmq_core::machine::{EntryMeta, Machine};
use raftmq_core::queue::{AckMode, Attach, ChannelId, Command, Message, Reply};
use raftmq_store::{CommitDriver, MemoryDisk, MemoryEngine, Store, StoreConfig};
use tokio::time::Instant;

use super::super::lines::Took;
use super::*;

const TERM: u64 = 1;
const END: LogIndex = LogIndex(99);
const CHANNEL: ChannelId = ChannelId {
    broker: BrokerId(1),
    broker_epoch: raftmq_core::ids::BrokerEpoch(1),
    number: 1,
};

/// A queue that is led here.
struct Led {
    queue: Queue,
    outgoing: Outgoing,
    bodies: Bodies,
    log_index: u64,
}

impl Led {
    fn new() -> Self {
        let engine = MemoryEngine::open(&MemoryDisk::new()).expect("memory");
        let engine = Arc::new(engine);
        let store = Store::open(engine, CommitDriver::Task, StoreConfig::default());
        let store = store.expect("it opens");
        let outgoing = Outgoing::default();
        outgoing.begin(TERM, &Queue::default());
        Self {
            queue: Queue::default(),
            outgoing,
            bodies: Bodies::new(store.group(GroupId(5))),
            log_index: 0,
        }
    }

    /// Applies an entry as the host does.
    fn apply(&mut self, command: Command) -> Reply {
        self.log_index += 1;
        let meta = EntryMeta {
            log_index: self.log_index,
            term: TERM,
            proposed_at_ms: 1,
            machine_version: 1,
        };
        let mut effects = Effects::default();
        let reply = self.queue.apply(&meta, command, &mut effects);
        for effect in effects.drain() {
            if let Effect::Queue(event) = effect {
                self.outgoing.take(event);
            }
        }
        self.outgoing.take_got(&reply);
        reply
    }

    fn publish(&mut self) {
        self.apply(Command::Publish(vec![Message {
            body: Bytes::from_static(b"body"),
            ..Message::default()
        }]));
    }

    /// Log indexes of what must stay.
    fn needed(&self) -> Vec<u64> {
        let unread = unread(&self.outgoing, &self.bodies);
        let needed = needed(&self.queue, &unread, END).into_iter();
        needed.map(|message| message.log_index.get()).collect()
    }
}

#[tokio::test]
async fn what_was_delivered_for_good_stays_until_it_is_sent() {
    let mut led = Led::new();
    led.publish();
    led.publish();
    assert_eq!(led.needed(), [1, 2], "they are ready");

    led.apply(Command::Attach(Attach {
        channel: CHANNEL,
        tag: String::new(),
        priority: 0,
        is_exclusive: false,
        ack_mode: AckMode::Automatic,
        prefetch: 0,
        granted: 9,
    }));
    assert!(
        led.queue.needed_up_to(END).is_empty(),
        "the state knows them no more"
    );
    assert_eq!(led.needed(), [1, 2]);

    let one = Took {
        count: 1,
        is_full: false,
    };
    led.outgoing.done(TERM, &[(CHANNEL, one)], Instant::now());
    assert_eq!(led.needed(), [2]);
}

#[tokio::test]
async fn what_a_get_took_for_good_stays_until_it_is_answered() {
    let mut led = Led::new();
    led.publish();

    let got = led.apply(Command::Get {
        channel: CHANNEL,
        ack_mode: AckMode::Automatic,
    });
    assert!(
        led.queue.needed_up_to(END).is_empty(),
        "the state knows it no more"
    );
    assert_eq!(led.needed(), [1]);

    // As the session does it.
    let Reply::Got {
        delivery: Some(taken),
        ..
    } = got
    else {
        panic!("nothing was taken");
    };
    led.bodies.hold(taken.message);
    led.outgoing.release_got(&[got]);
    assert_eq!(led.needed(), [1]);
    led.bodies.release(taken.message);
    assert!(led.needed().is_empty());
}
