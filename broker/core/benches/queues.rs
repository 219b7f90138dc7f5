//! Messages per second through one queue on one core (publish, deliver, settle), and the memory that
//! waiting messages take.
//!
//! `cargo bench -p raftmq-core --bench queues --profile dev`. Target: 1,000,000 messages/s; ten
//! million ready messages well under 1 GiB.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark measures wall-clock time"
)]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::expect_used, reason = "a benchmark stops at any error")]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

use std::time::Instant;

use bytes::Bytes;
use raftmq_core::queue::{
    AckMode, Attach, ChannelId, Command, DedupSettings, Message, Outcome, Queue, QueueEvent,
    Settings, Span,
};
use raftmq_core::{DeliveryId, Effect, Effects, EntryMeta, Machine};

const MESSAGES_COUNT: usize = 1_000_000;
const READY_COUNT: usize = 10_000_000;

struct Run {
    queue: Queue,
    effects: Effects,
    log_index: u64,
}

impl Run {
    fn new(settings: Settings) -> Self {
        let mut run = Self {
            queue: Queue::default(),
            effects: Effects::new(),
            log_index: 0,
        };
        run.apply(&Command::Configure(settings));
        run
    }

    /// Applies a command as it comes out of the log: decoding counts.
    fn apply(&mut self, command: &Command) -> Vec<DeliveryId> {
        self.apply_bytes(&command.encode())
    }

    fn apply_bytes(&mut self, bytes: &Bytes) -> Vec<DeliveryId> {
        self.log_index += 1;
        let meta = EntryMeta {
            log_index: self.log_index,
            term: 1,
            proposed_at_ms: 1,
            machine_version: 1,
        };
        let command = Queue::decode(bytes).expect("a command");
        self.queue.apply(&meta, command, &mut self.effects);
        let delivered = self.effects.drain().filter_map(|effect| {
            if let Effect::Queue(QueueEvent::Delivered(delivery)) = effect {
                return Some(delivery.id);
            }
            None
        });
        delivered.collect()
    }
}

fn attach(number: u64, prefetch: u32) -> Command {
    Command::Attach(Attach {
        channel: ChannelId {
            number,
            ..ChannelId::default()
        },
        tag: "c".to_owned(),
        priority: 0,
        is_exclusive: false,
        ack_mode: AckMode::Manual,
        prefetch,
        granted: u64::MAX,
    })
}

fn messages(count: usize, from: usize, has_ids: bool) -> Command {
    let body = Bytes::from_static(&[b'x'; 100]);
    let messages = (from..from + count).map(|number| Message {
        dedup_id: has_ids.then(|| Bytes::from(format!("message-{number:012}"))),
        body: body.slice(..number * 7_919 % 100),
        ..Message::default()
    });
    Command::Publish(messages.collect())
}

/// Publishes, and settles what is delivered; state rows are taken now and then, as the host does.
fn through(name: &str, in_entry: usize, settings: &Settings) {
    let has_ids = settings.dedup.is_some();
    let publishes: Vec<Bytes> = (0..MESSAGES_COUNT / in_entry)
        .map(|entry| messages(in_entry, entry * in_entry, has_ids).encode())
        .collect();
    let best = (0..3)
        .map(|_| {
            let mut run = Run::new(settings.clone());
            run.apply(&attach(0, 0));
            let mut settled = 0;
            let started = Instant::now();
            for (number, publish) in publishes.iter().enumerate() {
                let delivered = run.apply_bytes(publish);
                settled += delivered.len();
                let spans = delivered.into_iter().map(Span::one).collect();
                run.apply(&Command::Settle {
                    channel: ChannelId::default(),
                    spans,
                    outcome: Outcome::Acked,
                });
                if number % 4_096 == 0 {
                    run.queue.dirty_rows();
                }
            }
            let seconds = started.elapsed().as_secs_f64();
            assert_eq!(settled, MESSAGES_COUNT, "every message is delivered once");
            seconds
        })
        .fold(f64::INFINITY, f64::min);
    println!(
        "{name:<48} {:>6.2} M messages/s",
        MESSAGES_COUNT as f64 / best / 1e6
    );
}

fn waiting(in_entry: usize) {
    let mut run = Run::new(Settings::default());
    let started = Instant::now();
    for entry in 0..READY_COUNT / in_entry {
        run.apply(&messages(in_entry, entry * in_entry, false));
    }
    let filled = started.elapsed().as_secs_f64();
    let bytes = run.queue.ready_memory_bytes();
    println!(
        "{READY_COUNT} ready, {in_entry:>3} an entry: {:>5.1} MB, {:.2} bytes each, {:.2} M/s",
        bytes as f64 / 1e6,
        bytes as f64 / READY_COUNT as f64,
        READY_COUNT as f64 / filled / 1e6
    );
    let started = Instant::now();
    let checkpoint = run.queue.checkpoint();
    println!(
        "  checkpoint of {:.1} MB in {:.2} s",
        checkpoint.len() as f64 / 1e6,
        started.elapsed().as_secs_f64()
    );
}

fn main() {
    let dedup = Settings {
        dedup: Some(DedupSettings {
            window_ms: 60_000,
            ids_count_max: 100_000,
        }),
        ..Settings::default()
    };
    through("one message an entry", 1, &Settings::default());
    through("50 messages an entry", 50, &Settings::default());
    through("50 messages an entry, deduplicated", 50, &dedup);
    waiting(1);
    waiting(50);
}
