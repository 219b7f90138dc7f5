//! One number expands into every option of a run.
//!
//! Owns the distributions. Each purpose draws from a stream of its own, so that turning a fault
//! class off (shrinking) changes nothing else. It knows no broker and no simulator.

use std::collections::BTreeSet;
use std::fmt;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::faults::FaultClass;
use crate::history::{Acks, Queue};
use crate::nemesis::Scenario;

/// Shortest run in simulated seconds that has room for both phases.
pub const RUN_SECONDS_MIN: u32 = 10;
/// Room below which a simulated broker takes no records. Housekeeping moves survivors by the megabyte: half
/// of this must hold that, as half of the real reserve does.
pub const DISK_RESERVE_BYTES: u64 = 8 * 1024 * 1024;
/// A seed draws fault classes until it has at least this many.
pub const FAULT_CLASSES_MIN: usize = 3;

/// The first so many of [`FaultClass::ALL`]; the others are rare.
const COMMON_FAULT_CLASSES: usize = 6;
const RARE_FAULT_PROBABILITY: f64 = 0.2;
/// Share of the seeds that have clients which speak Kafka's protocol.
const KAFKA_PROBABILITY: f64 = 0.4;
/// Part of the options' stream that says who speaks what.
const PROTOCOLS_PART: u64 = 8;
/// Classes that came later are rarer still: they are drawn last, and leave the seeds before them as they were.
const LATER_FAULT_CLASSES: usize = 3;
const LATER_FAULT_PROBABILITY: f64 = 0.12;
/// Share of the seeds that have clients which speak AMQP; drawn behind all others.
const AMQP_PROBABILITY: f64 = 0.25;
/// The same of queues with limits, behind that.
const AMQP_LIMITS_PROBABILITY: f64 = 0.12;
/// The classes of which clients speak AMQP; the last ones.
const AMQP_CLASSES: usize = 2;

/// What a stream of random numbers is for; numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// [`Options::expand`].
    Options = 1,
    /// The simulated network.
    Network = 2,
    /// The schedule of one fault class; the class's position is added.
    Nemesis = 16,
    /// The clients.
    Workload = 3,
    /// The brokers.
    Brokers = 4,
}

/// A generator for one purpose of one seed.
#[must_use]
pub fn stream(seed: u64, stream: Stream, part: u64) -> StdRng {
    StdRng::seed_from_u64(derive(seed, stream, part))
}

/// The seed of a purpose: SplitMix64 over seed, purpose and part.
#[must_use]
pub fn derive(seed: u64, stream: Stream, part: u64) -> u64 {
    let mut state = seed ^ ((stream as u64) << 56) ^ part.rotate_left(32);
    for _ in 0..2 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
    }
    state
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// That of the client crate.
    #[default]
    Grpc,
    /// Kafka's.
    Kafka,
}

/// One producer of the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerOptions {
    /// What its sends wait for.
    pub acks: Acks,
    /// Whether it deduplicates.
    pub idempotent: bool,
    /// Whether its client library sends again by itself.
    pub retries: bool,
    /// Mean rate.
    pub sends_per_second: u32,
    /// How long its client library waits for more records.
    pub linger_ms: u32,
    /// What it speaks.
    #[serde(default)]
    pub protocol: Protocol,
}

/// Everything that a run depends on, besides the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Where it came from.
    pub seed: u64,
    /// 3 or 5.
    pub brokers_count: u32,
    /// Partitions of the one topic, 1 to 8; its replication factor is 3.
    pub partitions_count: u32,
    /// At least one with `acks=-1` and idempotence, one with `acks=0` and no retries.
    pub producers: Vec<ProducerOptions>,
    /// Consumers that follow all partitions, 1 to 3.
    pub consumers_count: u32,
    /// Those of them, from 0, that speak Kafka's protocol.
    #[serde(default)]
    pub kafka_consumers: BTreeSet<u32>,
    /// Size of a record's value in bytes.
    pub value_bytes: u32,
    /// Payload of a partition between two checkpoints.
    pub segment_bytes: u32,
    /// A schedule that is not drawn.
    pub scenario: Option<Scenario>,
    /// Classes that are on.
    pub faults: BTreeSet<FaultClass>,
    /// Mean time between two faults of one class.
    pub fault_interval_ms: u32,
    /// Longest fault.
    pub fault_length_ms_max: u32,
    /// Chance that a crash leaves a torn tail instead of none.
    pub torn_percent: u32,
    /// Latency of a healthy link, both bounds inclusive.
    pub latency_ms_min: u32,
    /// See `latency_ms_min`.
    pub latency_ms_max: u32,
    /// Latency of a healthy disk's sync, in microseconds.
    pub sync_latency_us: u32,
    /// Granularity of the simulation.
    pub tick_ms: u32,
    /// Length of the phase with faults.
    pub safety_ms: u32,
    /// Length of the phase after healing: converge, serve, drain.
    pub liveness_ms: u32,
}

impl Options {
    /// Expands `seed` into a run of `seconds` simulated seconds (at least [`RUN_SECONDS_MIN`]).
    #[must_use]
    pub fn expand(seed: u64, seconds: u32) -> Self {
        let mut rng = stream(seed, Stream::Options, 0);
        let total_ms = seconds.max(RUN_SECONDS_MIN) * 1_000;
        let latency_ms_min = rng.random_range(0..=2);
        let mut options = Self {
            seed,
            brokers_count: if rng.random_bool(0.75) { 3 } else { 5 },
            partitions_count: rng.random_range(1..=8),
            producers: producers(&mut rng),
            consumers_count: rng.random_range(1..=3),
            kafka_consumers: BTreeSet::new(),
            value_bytes: [16, 256, 1024, 4096][rng.random_range(0..4)],
            segment_bytes: [16 << 10, 64 << 10, 64 << 20][rng.random_range(0..3)],
            scenario: None,
            faults: fault_classes(&mut rng, &mut stream(seed, Stream::Options, 1)),
            fault_interval_ms: rng.random_range(2_000..=8_000),
            fault_length_ms_max: [500, 2_000, 6_000][rng.random_range(0..3)],
            torn_percent: [0, 50, 100][rng.random_range(0..3)],
            latency_ms_min,
            latency_ms_max: latency_ms_min + rng.random_range(1..=10),
            sync_latency_us: [200, 1_000, 5_000][rng.random_range(0..3)],
            tick_ms: [2, 5][rng.random_range(0..2)],
            safety_ms: total_ms * 2 / 3,
            liveness_ms: total_ms / 3,
        };
        options.choose_protocols(&mut stream(seed, Stream::Options, PROTOCOLS_PART));
        options
    }

    /// Half of the clients of some seeds speak Kafka's protocol; of the others, nobody does.
    fn choose_protocols(&mut self, rng: &mut StdRng) {
        if !rng.random_bool(KAFKA_PROBABILITY) {
            return;
        }
        for producer in &mut self.producers {
            if rng.random_bool(0.5) {
                producer.protocol = Protocol::Kafka;
            }
        }
        let consumers = 0..self.consumers_count;
        self.kafka_consumers = consumers.filter(|_| rng.random_bool(0.5)).collect();
    }

    /// Whether any client speaks Kafka's protocol.
    #[must_use]
    pub fn has_kafka_clients(&self) -> bool {
        let mut producers = self.producers.iter();
        let is_kafka = |producer: &ProducerOptions| producer.protocol == Protocol::Kafka;
        producers.any(is_kafka) || !self.kafka_consumers.is_empty()
    }

    /// Whether there are queues, and clients that speak AMQP.
    #[must_use]
    pub fn has_amqp_clients(&self) -> bool {
        !self.queues().is_empty()
    }

    /// The queues of the run.
    #[must_use]
    pub fn queues(&self) -> Vec<Queue> {
        let is_used = |queue: &Queue| match queue {
            Queue::Work
            | Queue::Copies
            | Queue::Single
            | Queue::Limited
            | Queue::Expiring
            | Queue::Deduplicated => self.faults.contains(&FaultClass::Amqp),
            Queue::Delayed
            | Queue::Purged
            | Queue::Prioritized
            | Queue::Capped
            | Queue::Refusing => self.faults.contains(&FaultClass::AmqpLimits),
            Queue::Dead => {
                self.faults.contains(&FaultClass::Amqp)
                    || self.faults.contains(&FaultClass::AmqpLimits)
            }
        };
        Queue::ALL.into_iter().filter(is_used).collect()
    }

    /// What the consumer with this process number speaks; producers have the numbers before.
    #[must_use]
    pub fn protocol_of_consumer(&self, process: u32) -> Protocol {
        let first = u32::try_from(self.producers.len()).unwrap_or(u32::MAX);
        match self
            .kafka_consumers
            .contains(&process.saturating_sub(first))
        {
            true => Protocol::Kafka,
            false => Protocol::Grpc,
        }
    }
}

fn producers(rng: &mut StdRng) -> Vec<ProducerOptions> {
    let mut producers = vec![
        producer(rng, Acks::All, true, true),
        producer(rng, Acks::None, false, false),
    ];
    if rng.random_bool(0.7) {
        producers.push(producer(rng, Acks::Leader, false, true));
    }
    if rng.random_bool(0.7) {
        let idempotent = rng.random_bool(0.7);
        producers.push(producer(rng, Acks::All, idempotent, true));
    }
    producers
}

fn producer(rng: &mut StdRng, acks: Acks, idempotent: bool, retries: bool) -> ProducerOptions {
    let (low, high) = if acks == Acks::None {
        (5, 10)
    } else {
        (20, 36)
    };
    ProducerOptions {
        acks,
        idempotent,
        retries,
        sends_per_second: rng.random_range(low..=high),
        linger_ms: [0, 5, 20][rng.random_range(0..3)],
        protocol: Protocol::Grpc,
    }
}

/// Each common class with probability one half, then more of them until there are enough; each rare
/// one with a smaller probability, because a run in which everything fails at once does nothing.
fn fault_classes(rng: &mut StdRng, rare: &mut StdRng) -> BTreeSet<FaultClass> {
    let (common, rest) = FaultClass::ALL.split_at(COMMON_FAULT_CLASSES);
    let (uncommon, newest) = rest.split_at(rest.len() - AMQP_CLASSES);
    let (amqp, amqp_limits) = newest.split_at(1);
    let mut classes: BTreeSet<FaultClass> = common
        .iter()
        .copied()
        .filter(|_| rng.random_bool(0.5))
        .collect();
    while classes.len() < FAULT_CLASSES_MIN {
        classes.insert(common[rng.random_range(0..common.len())]);
    }
    let (uncommon, later) = uncommon.split_at(uncommon.len() - LATER_FAULT_CLASSES);
    for (some, probability) in [
        (uncommon, RARE_FAULT_PROBABILITY),
        (later, LATER_FAULT_PROBABILITY),
        (amqp, AMQP_PROBABILITY),
        (amqp_limits, AMQP_LIMITS_PROBABILITY),
    ] {
        let some = some.iter().copied();
        classes.extend(some.filter(|_| rare.random_bool(probability)));
    }
    classes
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<&str> = self.faults.iter().map(|class| class.name()).collect();
        writeln!(
            f,
            "seed {}: {} brokers, {} partitions, {} consumers, values of {} bytes",
            self.seed,
            self.brokers_count,
            self.partitions_count,
            self.consumers_count,
            self.value_bytes
        )?;
        for producer in &self.producers {
            writeln!(
                f,
                "  producer: acks {:?}, idempotent {}, retries {}, {}/s, linger {} ms, {:?}",
                producer.acks,
                producer.idempotent,
                producer.retries,
                producer.sends_per_second,
                producer.linger_ms,
                producer.protocol
            )?;
        }
        if !self.kafka_consumers.is_empty() {
            writeln!(
                f,
                "  consumers of Kafka's protocol: {:?}",
                self.kafka_consumers
            )?;
        }
        writeln!(
            f,
            "  faults: {} every {} ms up to {} ms each, torn tails {} %",
            faults.join(", "),
            self.fault_interval_ms,
            self.fault_length_ms_max,
            self.torn_percent
        )?;
        write!(
            f,
            "  links {} to {} ms, syncs {} us, tick {} ms, safety {} ms, liveness {} ms",
            self.latency_ms_min,
            self.latency_ms_max,
            self.sync_latency_us,
            self.tick_ms,
            self.safety_ms,
            self.liveness_ms
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_expands_to_the_same_options() {
        assert_eq!(Options::expand(7, 60), Options::expand(7, 60));
        assert_ne!(Options::expand(7, 60), Options::expand(8, 60));
    }

    #[test]
    fn every_seed_has_enough_faults_and_both_kinds_of_producer() {
        for seed in 0..200 {
            let options = Options::expand(seed, 60);

            assert!(options.faults.len() >= FAULT_CLASSES_MIN);
            assert!(options.brokers_count == 3 || options.brokers_count == 5);
            assert!(options.latency_ms_min < options.latency_ms_max);
            assert!(
                options
                    .producers
                    .iter()
                    .any(|p| p.acks == Acks::All && p.idempotent)
            );
            assert!(
                options
                    .producers
                    .iter()
                    .any(|p| p.acks == Acks::None && !p.retries)
            );
            assert_eq!(options.safety_ms + options.liveness_ms, 60_000);
        }
    }

    #[test]
    fn over_many_seeds_common_classes_are_on_half_of_the_time_and_later_ones_most_seldom() {
        let rare = COMMON_FAULT_CLASSES..FaultClass::ALL.len() - LATER_FAULT_CLASSES - AMQP_CLASSES;
        for (position, class) in FaultClass::ALL.into_iter().enumerate() {
            let on = (0..400).filter(|seed| Options::expand(*seed, 60).faults.contains(&class));
            let count = on.count();

            let expected = if position < rare.start {
                180..=290
            } else if rare.contains(&position) {
                60..=105
            } else if class == FaultClass::Amqp {
                80..=120
            } else {
                30..=70
            };
            assert!(expected.contains(&count), "{class}: {count} of 400");
        }
    }

    #[test]
    fn two_seeds_of_five_have_clients_of_both_protocols() {
        let options = || (0..400).map(|seed| Options::expand(seed, 60));

        let with_kafka = options().filter(Options::has_kafka_clients).count();
        assert!((120..=190).contains(&with_kafka), "{with_kafka} of 400");
        let is_grpc = |producer: &ProducerOptions| producer.protocol == Protocol::Grpc;
        assert!(
            options().any(|one| { one.has_kafka_clients() && one.producers.iter().any(is_grpc) })
        );
    }

    #[test]
    fn streams_are_independent() {
        assert_ne!(
            derive(1, Stream::Network, 0),
            derive(1, Stream::Workload, 0)
        );
        assert_ne!(derive(1, Stream::Nemesis, 0), derive(1, Stream::Nemesis, 1));
    }

    #[test]
    fn the_options_are_printed_with_their_numbers() {
        let text = Options::expand(7, 60).to_string();

        assert!(text.starts_with("seed 7: "), "{text}");
        assert!(text.contains("acks All, idempotent true"), "{text}");
    }
}
