//! The planted bugs of queues do harm.

use bytes::Bytes;
use raftmq_core::planted::{Bug, plant};
use raftmq_core::queue::{
    self, AckMode, Attach, Attempt, ChannelId, DedupSettings, Message, Outcome, Queue, Settings,
    Span,
};
use raftmq_core::{DeliveryId, Effects, EntryMeta, Machine};

/// A queue of two messages, both delivered to channel 1, and what was delivered.
fn delivered_queue() -> (Queue, Vec<DeliveryId>) {
    let mut queue = Queue::default();
    let settings = Settings {
        has_dead_letters: true,
        dedup: Some(DedupSettings {
            window_ms: 1_000,
            ids_count_max: 10,
        }),
        ..Settings::default()
    };
    run(&mut queue, queue::Command::Configure(settings));
    let named = |id: &'static str| Message {
        dedup_id: Some(Bytes::from_static(id.as_bytes())),
        ..Message::default()
    };
    let messages = vec![named("a"), named("b"), named("c")];
    run(&mut queue, queue::Command::Publish(messages));
    for _ in 0..2 {
        run(&mut queue, get());
    }
    let held = queue.deliveries(ChannelId::default());
    (queue, held.iter().map(|one| one.id).collect())
}

fn get() -> queue::Command {
    queue::Command::Get {
        channel: ChannelId::default(),
        ack_mode: AckMode::Manual,
    }
}

fn run(queue: &mut Queue, command: queue::Command) -> queue::Reply {
    let meta = EntryMeta {
        log_index: queue.applied().0 + 1,
        term: 1,
        proposed_at_ms: 1,
        machine_version: 1,
    };
    queue.apply(&meta, command, &mut Effects::new())
}

fn settle(queue: &mut Queue, id: DeliveryId, outcome: Outcome) -> queue::Reply {
    let command = queue::Command::Settle {
        channel: ChannelId::default(),
        spans: vec![Span::one(id)],
        outcome,
    };
    run(queue, command)
}

/// Whether what comes back is at the head, and says that it was delivered before.
fn returns_in_order() -> (bool, bool) {
    let (mut queue, held) = delivered_queue();
    settle(&mut queue, held[0], Outcome::Returned(Attempt::Counts));
    let first = queue.ready_messages(1)[0].position == 0;
    let reply = run(&mut queue, get());
    let queue::Reply::Got { delivery, .. } = reply else {
        return (first, false);
    };
    (first, delivery.is_some_and(|one| one.is_redelivered))
}

/// How much the second of two single active consumers is given while the first one, which has ended, still
/// holds a message.
fn given_to_the_next_consumer() -> usize {
    let mut queue = Queue::default();
    let settings = Settings {
        is_single_active_consumer: true,
        ..Settings::default()
    };
    run(&mut queue, queue::Command::Configure(settings));
    let channel = |number| ChannelId {
        number,
        ..ChannelId::default()
    };
    let mut attach = |number| {
        let attach = Attach {
            channel: channel(number),
            tag: "c".to_owned(),
            priority: 0,
            is_exclusive: false,
            ack_mode: AckMode::Manual,
            prefetch: 1,
            granted: 100,
        };
        run(&mut queue, queue::Command::Attach(attach))
    };
    let queue::Reply::Attached { consumer } = attach(1) else {
        return 0;
    };
    attach(2);
    let messages = vec![Message::default(), Message::default()];
    run(&mut queue, queue::Command::Publish(messages));
    run(&mut queue, queue::Command::Detach { consumer });
    queue.deliveries(channel(2)).len()
}

pub(super) fn each_bug_of_queues_breaks_its_promise() {
    let close = || {
        let (mut queue, _) = delivered_queue();
        let channel = ChannelId::default();
        let attempt = Attempt::Counts;
        run(
            &mut queue,
            queue::Command::CloseChannel { channel, attempt },
        );
        queue.ready_count()
    };
    assert_eq!(close(), 3);
    plant(Bug::QueueRequeueLost);
    assert_eq!(close(), 1, "two messages are lost with their channel");

    let settle_twice = || {
        let (mut queue, held) = delivered_queue();
        settle(&mut queue, held[0], Outcome::Acked);
        settle(&mut queue, held[0], Outcome::Acked);
        queue.unsettled_count()
    };
    assert_eq!(settle_twice(), 1);
    plant(Bug::QueueDoubleAckSettlesNext);
    assert_eq!(settle_twice(), 0, "the neighbour is settled, too");

    let reject = || {
        let (mut queue, held) = delivered_queue();
        settle(&mut queue, held[0], Outcome::Rejected);
        queue.dead_letters_count()
    };
    assert_eq!(reject(), 1);
    plant(Bug::QueueDeadLetterLost);
    assert_eq!(reject(), 0, "nobody will publish it");

    let restored = || {
        let (queue, _) = delivered_queue();
        let queue = Queue::restore_checkpoint(&queue.checkpoint()).unwrap();
        queue.dedup_ids_count()
    };
    assert_eq!(restored(), 3);
    plant(Bug::QueueDedupForgotten);
    assert_eq!(restored(), 0, "duplicates are enqueued after a snapshot");

    assert_eq!(returns_in_order(), (true, true));
    plant(Bug::QueueRedeliveredMissing);
    assert_eq!(returns_in_order(), (true, false));
    plant(Bug::QueueRequeueLosesOrder);
    assert!(!returns_in_order().0, "it is behind the others");

    assert_eq!(given_to_the_next_consumer(), 0);
    plant(Bug::QueueActiveConsumersOverlap);
    assert_eq!(given_to_the_next_consumer(), 1, "two consumers are active");
}
