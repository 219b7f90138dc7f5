//! Tests of what is decided before anything is written.

use std::collections::BTreeMap;

use bytes::Bytes;
use raftmq_core::Effects;
use raftmq_core::machine::{EntryMeta, Machine};
use raftmq_core::queue::{AckMode, Attach, DedupSettings, Overflow, Settings};

use super::*;
use crate::hosting::GroupView;

const BROKER: BrokerId = BrokerId(1);
const EPOCH: BrokerEpoch = BrokerEpoch(5);

fn apply(queue: &mut Queue, command: Command) {
    let meta = EntryMeta {
        log_index: queue.applied().get() + 1,
        term: 1,
        proposed_at_ms: 1,
        machine_version: 1,
    };
    queue.apply(&meta, command, &mut Effects::default());
}

fn queue(settings: Settings) -> Queue {
    let mut queue = Queue::default();
    apply(&mut queue, Command::Configure(settings));
    queue
}

fn publish(id: Option<&'static [u8]>) -> Ask {
    Ask::Run(Command::Publish(vec![Message {
        dedup_id: id.map(Bytes::from_static),
        body: Bytes::from_static(b"body"),
        ..Message::default()
    }]))
}

fn view(epoch: BrokerEpoch) -> QueueView {
    QueueView {
        group: GroupView::default(),
        lag_time_max_ms: 1,
        settings: None,
        brokers: BTreeMap::from([(BROKER, epoch)]),
    }
}

fn decide_by(queue: &Queue, pending: &mut Pending, full: Option<&[u32]>, ask: Ask) -> Decided {
    let view = view(EPOCH);
    let rules = Rules {
        state: queue,
        view: &view,
        now_ms: 2,
        full,
    };
    decide(ask, Some((BROKER, EPOCH)), &rules, pending)
}

#[test]
fn messages_in_flight_count_against_a_length_limit() {
    let queue = queue(Settings {
        length_max: Some(1),
        overflow: Overflow::RejectPublish,
        ..Settings::default()
    });
    let mut pending = Pending::new();

    let first = decide_by(&queue, &mut pending, None, publish(None));
    let second = decide_by(&queue, &mut pending, None, publish(None));

    assert_eq!(
        (first.slot, first.ticket),
        (Slot::Enqueued, Some(Ticket(0)))
    );
    assert!(first.command.is_some());
    assert_eq!(second.slot, Slot::Decided(published(Vec::new(), vec![0])));
    assert!(second.command.is_none());
    assert_eq!(pending.in_flight_count(), 1);
}

#[test]
fn a_duplicate_of_a_message_in_flight_is_not_proposed() {
    let dedup = DedupSettings {
        window_ms: 1_000,
        ids_count_max: 10,
    };
    let queue = queue(Settings {
        dedup: Some(dedup),
        ..Settings::default()
    });
    let mut pending = Pending::new();
    decide_by(&queue, &mut pending, None, publish(Some(b"a")));

    let again = decide_by(&queue, &mut pending, None, publish(Some(b"a")));

    assert_eq!(again.slot, Slot::Decided(published(vec![0], Vec::new())));
    assert!(again.command.is_none());
}

#[test]
fn full_disks_keep_messages_out_and_nothing_else() {
    let queue = queue(Settings::default());
    let mut pending = Pending::new();
    let full = [3];

    let refused = decide_by(&queue, &mut pending, Some(&full), publish(None));
    let purge = Ask::Run(Command::Purge);
    let taken = decide_by(&queue, &mut pending, Some(&full), purge);

    assert_eq!(refused.slot, Slot::Decided(Answer::Full(vec![3])));
    assert_eq!(taken.slot, Slot::Proposed);
    assert_eq!(pending.in_flight_count(), 0);
}

/// What gives messages to a channel.
fn takers(channel: ChannelId) -> [Ask; 2] {
    let attach = Attach {
        channel,
        tag: "tag".to_owned(),
        priority: 0,
        is_exclusive: false,
        ack_mode: AckMode::Manual,
        prefetch: 0,
        granted: 1,
    };
    let ack_mode = AckMode::Manual;
    [
        Ask::Run(Command::Attach(attach)),
        Ask::Run(Command::Get { channel, ack_mode }),
    ]
}

#[test]
fn only_channels_of_the_registration_that_asks_and_that_is_in_force_are_given_messages() {
    let queue = queue(Settings::default());
    let mut pending = Pending::new();
    let mut slots = |channel: (u32, u64), asker: u64, in_force: u64| {
        let view = view(BrokerEpoch(in_force));
        let rules = Rules {
            state: &queue,
            view: &view,
            now_ms: 2,
            full: None,
        };
        let channel = ChannelId {
            broker: BrokerId(channel.0),
            broker_epoch: BrokerEpoch(channel.1),
            number: 1,
        };
        let asker = Some((BROKER, BrokerEpoch(asker)));
        takers(channel).map(|ask| {
            let decided = decide(ask, asker, &rules, &mut pending);
            assert_eq!(decided.command.is_some(), decided.slot == Slot::Proposed);
            decided.slot
        })
    };
    let taken = [Slot::Proposed, Slot::Proposed];
    let gone = || Slot::Decided(Answer::Reply(Reply::Refused(Refusal::Gone)));
    let refused = [gone(), gone()];

    assert_eq!(slots((1, 5), 5, 5), taken);
    assert_eq!(slots((1, 6), 6, 5), taken, "the image lags");
    assert_eq!(slots((1, 4), 5, 5), refused, "left over from before");
    assert_eq!(slots((1, 5), 5, 6), refused, "its closing is on the way");
    assert_eq!(slots((2, 5), 5, 5), refused, "another broker's");
}

#[test]
fn a_queue_that_has_ended_is_gone_for_who_counts_and_who_waits_for_deliveries_is_answered() {
    let mut queue = queue(Settings::default());
    let mut pending = Pending::new();
    let delete = Command::Delete {
        if_unused: false,
        if_empty: false,
    };
    assert_eq!(
        decide_by(&queue, &mut pending, None, Ask::Counts).slot,
        Slot::Counts
    );

    apply(&mut queue, delete);

    let counts = decide_by(&queue, &mut pending, None, Ask::Counts);
    let gone = Answer::Reply(Reply::Refused(Refusal::Gone));
    assert_eq!(counts.slot, Slot::Decided(gone));
    let consumer = ConsumerId(3);
    let drained = decide_by(&queue, &mut pending, None, Ask::Drained(consumer));
    assert_eq!(drained.slot, Slot::Drained(consumer));
    let detach = Ask::Run(Command::Detach { consumer });
    let detached = decide_by(&queue, &mut pending, None, detach);
    assert_eq!(detached.slot, Slot::Detached(consumer));
    assert!(detached.command.is_some());
}
