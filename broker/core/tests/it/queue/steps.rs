//! Random lives of queues: steps that are made into commands when their turn comes.

use bytes::Bytes;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use raftmq_core::queue::{
    AckMode, Arrival, Attach, Attempt, Command, DedupSettings, Message, Outcome, Overflow,
    Settings, Span,
};
use raftmq_core::{BrokerEpoch, BrokerId, DeliveryId};

use super::model::Model;
use crate::support::queue::{channel, consumer};

/// What happens to a queue.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Publish(Vec<Message>),
    Attach(Attach),
    Credit {
        which: usize,
        prefetch: u32,
        granted: u64,
    },
    Detach {
        which: usize,
    },
    Close {
        channel: u64,
        attempt: Attempt,
    },
    CloseBroker {
        broker: u32,
        attempt: Attempt,
    },
    Settle {
        which: usize,
        multiple: bool,
        outcome: Outcome,
        channel: Option<u64>,
    },
    Get {
        channel: u64,
        ack_mode: AckMode,
    },
    Purge,
    Delete {
        if_unused: bool,
        if_empty: bool,
    },
    Touch,
    TimePasses(i64),
    Published {
        which: usize,
    },
    Together(Vec<Self>),
}

fn pick<T: Copy>(items: &[T], which: usize) -> Option<T> {
    let count = items.len().max(1);
    items.get(which % count).copied()
}

impl Step {
    /// The command, against what there is; `None` when time only passes.
    pub(super) fn command(&self, model: &Model) -> Command {
        match self {
            Self::Publish(messages) => Command::Publish(messages.clone()),
            Self::Attach(attach) => Command::Attach(attach.clone()),
            Self::Credit {
                which,
                prefetch,
                granted,
            } => Command::Credit {
                consumer: pick(&model.taker_ids(), *which).unwrap_or_default(),
                prefetch: *prefetch,
                granted: *granted,
            },
            Self::Detach { which } => Command::Detach {
                consumer: pick(&model.taker_ids(), *which).unwrap_or_default(),
            },
            Self::Close {
                channel: number,
                attempt,
            } => Command::CloseChannel {
                channel: channel(*number),
                attempt: *attempt,
            },
            Self::CloseBroker { broker, attempt } => Command::CloseBroker {
                broker: BrokerId(*broker),
                broker_epoch: BrokerEpoch(1),
                attempt: *attempt,
            },
            Self::Settle {
                which,
                multiple,
                outcome,
                channel: stray,
            } => {
                let chosen = pick(&model.held_ids(), *which);
                let (owner, id) = chosen.unwrap_or_else(|| (channel(1), DeliveryId(1)));
                let reach = if *multiple { Span::up_to } else { Span::one };
                let span = reach(id);
                Command::Settle {
                    channel: stray.map_or(owner, channel),
                    // The second one is settled already.
                    spans: vec![span, Span::one(id)],
                    outcome: *outcome,
                }
            }
            Self::Get {
                channel: number,
                ack_mode,
            } => Command::Get {
                channel: channel(*number),
                ack_mode: *ack_mode,
            },
            Self::Purge => Command::Purge,
            Self::Delete {
                if_unused,
                if_empty,
            } => Command::Delete {
                if_unused: *if_unused,
                if_empty: *if_empty,
            },
            Self::Touch => Command::Touch,
            Self::TimePasses(_) => Command::Tick,
            Self::Published { which } => {
                let chosen = pick(&model.letters, *which).map(|one| one.id);
                Command::DeadLettersPublished(chosen.into_iter().collect())
            }
            Self::Together(steps) => {
                Command::Batch(steps.iter().map(|step| step.command(model)).collect())
            }
        }
    }

    pub(super) fn passes_ms(&self) -> i64 {
        if let Self::TimePasses(ms) = self {
            return *ms;
        }
        0
    }
}

fn any_message() -> impl Strategy<Value = Message> {
    (
        0..4_u8,
        prop::option::weighted(0.2, 0..400_u64),
        prop::option::weighted(0.1, 0..400_u64),
        prop::option::weighted(0.5, 0..12_u8),
        1..200_usize,
        prop::bool::weighted(0.03),
    )
        .prop_map(
            |(priority, ttl_ms, delay_ms, id, size, is_refused)| Message {
                priority,
                ttl_ms,
                delay_ms,
                dedup_id: id.map(|id| Bytes::from(format!("id-{id}"))),
                arrival: if is_refused {
                    Arrival::DeadLetter
                } else {
                    Arrival::Enqueue
                },
                body: Bytes::from(vec![b'x'; size]),
            },
        )
}

fn any_attempt() -> impl Strategy<Value = Attempt> {
    prop_oneof![Just(Attempt::Counts), Just(Attempt::CountsNot)]
}

fn any_attach() -> impl Strategy<Value = Attach> {
    (
        0..5_u64,
        0..3_u8,
        0..4_u32,
        prop_oneof![3 => Just(0), 1 => -1..3_i32],
        prop::bool::weighted(0.05),
        prop::bool::weighted(0.2),
        prop_oneof![3 => Just(u64::MAX), 1 => 0..6_u64],
    )
        .prop_map(
            |(number, tag, prefetch, priority, is_exclusive, is_automatic, granted)| Attach {
                priority,
                is_exclusive,
                ack_mode: if is_automatic {
                    AckMode::Automatic
                } else {
                    AckMode::Manual
                },
                granted,
                ..consumer(number, &format!("c{tag}"), prefetch)
            },
        )
}

fn any_settle() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Acked),
        1 => Just(Outcome::Rejected),
        3 => any_attempt().prop_map(Outcome::Returned),
    ];
    let stray = prop::option::weighted(0.1, 0..5_u64);
    (any::<usize>(), prop::bool::weighted(0.3), outcome, stray).prop_map(
        |(which, multiple, outcome, channel)| Step::Settle {
            which,
            multiple,
            outcome,
            channel,
        },
    )
}

fn simple_step() -> impl Strategy<Value = Step> {
    let get = (0..5_u64, prop::bool::weighted(0.3)).prop_map(|(channel, is_automatic)| Step::Get {
        channel,
        ack_mode: if is_automatic {
            AckMode::Automatic
        } else {
            AckMode::Manual
        },
    });
    let credit =
        (any::<usize>(), 0..4_u32, 0..20_u64).prop_map(|(which, prefetch, granted)| Step::Credit {
            which,
            prefetch,
            granted,
        });
    prop_oneof![
        10 => prop::collection::vec(any_message(), 1..6).prop_map(Step::Publish),
        4 => any_attach().prop_map(Step::Attach),
        2 => credit,
        1 => any::<usize>().prop_map(|which| Step::Detach { which }),
        1 => (0..5_u64, any_attempt())
            .prop_map(|(channel, attempt)| Step::Close { channel, attempt }),
        1 => (0..3_u32, any_attempt())
            .prop_map(|(broker, attempt)| Step::CloseBroker { broker, attempt }),
        10 => any_settle(),
        2 => get,
        1 => Just(Step::Touch),
        3 => any::<usize>().prop_map(|which| Step::Published { which }),
    ]
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => simple_step(),
        5 => (-100..500_i64).prop_map(Step::TimePasses),
        5 => prop::collection::vec(simple_step(), 0..4).prop_map(Step::Together),
        1 => Just(Step::Purge),
    ]
}

/// Sometimes the end comes last.
pub(super) fn any_life() -> impl Strategy<Value = Vec<Step>> {
    let end = (any::<bool>(), any::<bool>()).prop_map(|(if_unused, if_empty)| Step::Delete {
        if_unused,
        if_empty,
    });
    let steps = prop::collection::vec(any_step(), 1..80);
    (steps, prop::option::weighted(0.2, end), any_step()).prop_map(|(mut steps, end, last)| {
        steps.extend(end);
        steps.push(last);
        steps
    })
}

pub(super) fn any_settings() -> impl Strategy<Value = Settings> {
    let overflow = prop_oneof![
        2 => Just(Overflow::DropHead),
        1 => Just(Overflow::RejectPublish),
        1 => Just(Overflow::RejectPublishDlx),
    ];
    let limits = (
        prop::option::weighted(0.3, 1..400_u64),
        prop::option::weighted(0.1, 200..2_000_u64),
        prop::option::weighted(0.3, 0..12_u64),
        prop::option::weighted(0.2, 0..1_500_u64),
        prop::option::weighted(0.3, 0..3_u32),
        prop::option::weighted(0.2, 1..600_u64),
    );
    let dedup = prop::option::weighted(0.6, (1..600_u64, 1..10_u32));
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.1),
    );
    (limits, overflow, dedup, flags, 0..4_u8).prop_map(
        |((ttl, expires, length, bytes, limit, timeout), overflow, dedup, flags, priority_max)| {
            Settings {
                message_ttl_ms: ttl,
                expires_ms: expires,
                length_max: length,
                length_bytes_max: bytes,
                overflow,
                has_dead_letters: flags.0,
                delivery_limit: limit,
                priority_max,
                is_single_active_consumer: flags.1,
                consumer_timeout_ms: timeout,
                is_auto_delete: flags.2,
                dedup: dedup.map(|(window_ms, ids_count_max)| DedupSettings {
                    window_ms,
                    ids_count_max,
                }),
                segment_bytes: 1,
            }
        },
    )
}
