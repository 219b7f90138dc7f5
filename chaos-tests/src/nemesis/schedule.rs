//! From options to a list of steps, one independent timeline per fault class.
//!
//! Crashes take at most one broker more than a minority down by themselves, and that one not for long
//! (`PowerLoss` takes all); all else may overlap.

mod rot;

use std::ops::Range;

use rand::Rng;
use rand::rngs::StdRng;

use super::{Action, Farewell, Host, Step, Tail};
use crate::faults::FaultClass;
use crate::seed::{DISK_RESERVE_BYTES, Options, Stream, stream};

/// Faults start this long after the run does: the cluster forms and the topic is created.
pub const QUIET_START_MS: u32 = 4_000;
const FAULT_LENGTH_MS_MIN: u32 = 100;
const POWER_LOSSES_MAX: usize = 2;
/// Share of crashes after which a second broker goes down, just when the others elect.
const AFTERSHOCK_PERCENT: u32 = 40;
/// When that is, after a crash that resets connections and after one that the others must notice
/// by silence (their session timeout is a second).
const AFTERSHOCK_MS: [Range<u32>; 2] = [2..150, 1_000..1_200];
const AFTERSHOCK_LENGTH_MS: Range<u32> = 20..300;

/// How long a flapping link stays broken, and how long whole.
const FLAP_MS: Range<u32> = 20..200;
/// Syncs of a hung disk; a session lasts a second.
const HUNG_SYNC_MS: Range<u32> = 1_500..5_000;
/// How long a broker stands still; a session lasts a second.
const PAUSE_MS: Range<u32> = 500..5_000;
/// A little more than what is tolerated, an hour, a day.
const CLOCK_JUMPS_MS: [i64; 3] = [11_000, 3_600_000, 86_400_000];

/// The steps in the order of time; the last one is [`Action::HealAll`] at the end of the
/// safety phase, and no step comes later.
#[must_use]
pub fn schedule(options: &Options) -> Vec<Step> {
    if let Some(scenario) = options.scenario {
        return scenario.steps(options);
    }
    let mut steps = Vec::new();
    for class in &options.faults {
        let mut rng = stream(options.seed, Stream::Nemesis, *class as u64);
        let mut timeline = Timeline {
            options,
            rng: &mut rng,
            steps: &mut steps,
        };
        match class {
            FaultClass::Crash => timeline.crashes(),
            FaultClass::PowerLoss => timeline.power_losses(),
            FaultClass::Partition => timeline.each(Timeline::partition),
            FaultClass::OneWay => timeline.each(Timeline::one_way),
            FaultClass::SlowLink => timeline.each(Timeline::slow_link),
            FaultClass::SlowDisk => timeline.each(Timeline::slow_disk),
            FaultClass::Bridge => timeline.each(Timeline::bridge),
            FaultClass::Flapping => timeline.each(Timeline::flapping),
            FaultClass::HungDisk => timeline.each(Timeline::hung_disk),
            FaultClass::ClockJump => timeline.each(Timeline::clock_jump),
            FaultClass::Reassignment => timeline.each(Timeline::reassignment),
            FaultClass::Leave => timeline.each(Timeline::leave),
            FaultClass::DiskFull => timeline.each(Timeline::disk_full),
            FaultClass::BitRot => timeline.each(Timeline::bit_rot),
            FaultClass::Pause => timeline.each(Timeline::pause),
            // The workload deletes by itself, as fast as it writes, and uses queues.
            FaultClass::Cleanup | FaultClass::Amqp | FaultClass::AmqpLimits => {}
        }
    }
    steps.push(Step {
        at_ms: options.safety_ms,
        action: Action::HealAll,
    });
    // Stable: steps of one instant keep the order of the classes.
    steps.sort_by_key(|step| step.at_ms);
    steps
}

/// The stream of the aftershocks' randomness: after those of the classes, which keep theirs.
const AFTERSHOCKS: u64 = 1_000;

/// A crash that may be followed by an aftershock.
struct Shock {
    broker: u32,
    begin: u32,
    end: u32,
    farewell: Farewell,
}

struct Timeline<'a> {
    options: &'a Options,
    rng: &'a mut StdRng,
    steps: &'a mut Vec<Step>,
}

impl Timeline<'_> {
    /// When the next fault after `now_ms` begins and ends, if there is room for one.
    fn next_window(&mut self, now_ms: u32) -> Option<(u32, u32)> {
        let mean = self.options.fault_interval_ms;
        let begin = now_ms + self.rng.random_range(mean / 4..=mean * 7 / 4);
        let length = self
            .rng
            .random_range(FAULT_LENGTH_MS_MIN..=self.options.fault_length_ms_max);
        (begin + length < self.options.safety_ms).then_some((begin, begin + length))
    }

    fn push(&mut self, at_ms: u32, action: Action) {
        self.steps.push(Step { at_ms, action });
    }

    fn each(&mut self, fault: fn(&mut Self, u32, u32)) {
        let mut now_ms = QUIET_START_MS;
        while let Some((begin, end)) = self.next_window(now_ms) {
            fault(self, begin, end);
            now_ms = end;
        }
    }

    fn broker(&mut self) -> u32 {
        self.rng.random_range(1..=self.options.brokers_count)
    }

    fn tail(&mut self) -> Tail {
        if !self
            .rng
            .random_bool(f64::from(self.options.torn_percent) / 100.0)
        {
            Tail::Gone
        } else if self.rng.random_bool(0.5) {
            Tail::Prefix
        } else {
            Tail::Torn
        }
    }

    fn farewell(&mut self) -> Farewell {
        if self.rng.random_bool(0.5) {
            Farewell::Reset
        } else {
            Farewell::Silence
        }
    }

    /// Several brokers may be down together, but never a majority of them.
    fn crashes(&mut self) {
        let mut down: Vec<(u32, u32)> = Vec::new();
        let mut aftershocks = stream(self.options.seed, Stream::Nemesis, AFTERSHOCKS);
        let mut now_ms = QUIET_START_MS;
        let minority = (self.options.brokers_count as usize - 1) / 2;
        while let Some((begin, end)) = self.next_window(now_ms) {
            down.retain(|(_, until)| *until >= begin);
            let broker = self.broker();
            if down.len() < minority && down.iter().all(|(other, _)| *other != broker) {
                let (tail, farewell) = (self.tail(), self.farewell());
                self.push(
                    begin,
                    Action::Crash {
                        broker,
                        tail,
                        farewell,
                    },
                );
                self.push(end, Action::Restart { broker });
                down.push((broker, end));
                let shock = Shock {
                    broker,
                    begin,
                    end,
                    farewell,
                };
                let after = self.aftershock(&shock, &mut aftershocks);
                if let Some((broker, from, until)) = after
                    && down.iter().all(|(other, _)| *other != broker)
                {
                    self.crash_for_a_moment(broker, from, until);
                    down.push((broker, until));
                }
            }
            now_ms = begin;
        }
    }

    /// While a broker is down and its leaderships are being moved, another one may lose power: votes
    /// that it has just given must not be forgotten. Says who, from when until when; over before the
    /// first one is back.
    fn aftershock(&self, shock: &Shock, rng: &mut StdRng) -> Option<(u32, u32, u32)> {
        let happens = rng.random_ratio(AFTERSHOCK_PERCENT, 100);
        let step = rng.random_range(1..self.options.brokers_count.max(2));
        let [after_reset, after_silence] = AFTERSHOCK_MS;
        let after = rng.random_range(match shock.farewell {
            Farewell::Reset => after_reset,
            Farewell::Silence => after_silence,
        });
        let from = shock.begin + after;
        let until = from + rng.random_range(AFTERSHOCK_LENGTH_MS);
        let broker = (shock.broker - 1 + step) % self.options.brokers_count + 1;
        (happens && self.options.brokers_count > 2 && until < shock.end)
            .then_some((broker, from, until))
    }

    fn crash_for_a_moment(&mut self, broker: u32, from: u32, until: u32) {
        let crash = Action::Crash {
            broker,
            tail: Tail::Gone,
            farewell: Farewell::Reset,
        };
        self.push(from, crash);
        self.push(until, Action::Restart { broker });
    }

    fn power_losses(&mut self) {
        let mut now_ms = QUIET_START_MS;
        for _ in 0..POWER_LOSSES_MAX {
            let Some((begin, end)) = self.next_window(now_ms) else {
                return;
            };
            let tail = self.tail();
            self.push(begin, Action::PowerLoss { tail });
            self.push(end, Action::RestartAll);
            now_ms = end + self.options.fault_interval_ms;
        }
    }

    fn partition(&mut self, begin: u32, end: u32) {
        let (left, right) = self.halves();
        self.cut_both_ways(FaultClass::Partition, (begin, end), (&left, &right));
    }

    fn cut_both_ways(
        &mut self,
        class: FaultClass,
        (begin, end): (u32, u32),
        (left, right): (&[Host], &[Host]),
    ) {
        for (from, to) in [(left, right), (right, left)] {
            let (from, to) = (from.to_vec(), to.to_vec());
            let cut = Action::Cut {
                class,
                from: from.clone(),
                to: to.clone(),
            };
            self.push(begin, cut);
            self.push(end, Action::Mend { from, to });
        }
    }

    /// Two parts that do not hear each other, and one broker that hears both; so do the clients.
    fn bridge(&mut self, begin: u32, end: u32) {
        let mut brokers = self.shuffled();
        brokers.pop();
        let size = self.rng.random_range(1..brokers.len().max(2));
        let (left, right) = brokers.split_at(size);
        let window = (begin, end);
        self.cut_both_ways(FaultClass::Bridge, window, (&hosts(left), &hosts(right)));
    }

    fn flapping(&mut self, begin: u32, end: u32) {
        let (a, b) = self.link();
        let mut now_ms = begin;
        while now_ms < end {
            let until = (now_ms + self.rng.random_range(FLAP_MS)).min(end);
            self.cut_both_ways(FaultClass::Flapping, (now_ms, until), (&[a], &[b]));
            now_ms = until + self.rng.random_range(FLAP_MS);
        }
    }

    fn clock_jump(&mut self, begin: u32, end: u32) {
        let broker = self.broker();
        let far_ms = CLOCK_JUMPS_MS[self.rng.random_range(0..CLOCK_JUMPS_MS.len())];
        let offset_ms = if self.rng.random_bool(0.5) {
            far_ms
        } else {
            -far_ms
        };
        self.push(begin, Action::JumpClock { broker, offset_ms });
        let offset_ms = 0;
        self.push(end, Action::JumpClock { broker, offset_ms });
    }

    /// To two or three brokers; the next one may come before this one has ended. Two of which one is
    /// damaged are no majority: where disks rot it is always three.
    fn reassignment(&mut self, begin: u32, _end: u32) {
        let mut replicas = self.shuffled();
        let count = self.rng.random_range(2..=3);
        let may_rot = self.options.faults.contains(&FaultClass::BitRot);
        replicas.truncate(if may_rot { 3 } else { count });
        let partition = self.rng.random_range(0..self.options.partitions_count);
        self.push(
            begin,
            Action::Reassign {
                partition,
                replicas,
            },
        );
    }

    /// The brokers in a random order.
    fn shuffled(&mut self) -> Vec<u32> {
        let mut brokers: Vec<u32> = (1..=self.options.brokers_count).collect();
        for last in (1..brokers.len()).rev() {
            let other = self.rng.random_range(0..=last);
            brokers.swap(last, other);
        }
        brokers
    }

    /// Two halves with at least one broker each; the clients join one, or half of the time keep
    /// reaching everybody.
    fn halves(&mut self) -> (Vec<Host>, Vec<Host>) {
        let brokers = self.shuffled();
        let size = self.rng.random_range(1..brokers.len());
        let (left, right) = brokers.split_at(size);
        let (mut left, mut right) = (hosts(left), hosts(right));
        if self.rng.random_bool(0.5) {
            let half = if self.rng.random_bool(0.5) {
                &mut left
            } else {
                &mut right
            };
            half.push(Host::Clients);
        }
        (left, right)
    }

    /// Mostly between brokers, at times between the clients and a broker.
    fn link(&mut self) -> (Host, Host) {
        let from = self.broker();
        if self.rng.random_bool(0.2) {
            return (Host::Clients, Host::Broker(from));
        }
        let step = self.rng.random_range(1..self.options.brokers_count);
        let to = (from - 1 + step) % self.options.brokers_count + 1;
        (Host::Broker(from), Host::Broker(to))
    }

    fn one_way(&mut self, begin: u32, end: u32) {
        let (mut from, mut to) = self.link();
        if self.rng.random_bool(0.5) {
            std::mem::swap(&mut from, &mut to);
        }
        let (from, to) = (vec![from], vec![to]);
        let class = FaultClass::OneWay;
        self.push(
            begin,
            Action::Cut {
                class,
                from: from.clone(),
                to: to.clone(),
            },
        );
        self.push(end, Action::Mend { from, to });
    }

    fn slow_link(&mut self, begin: u32, end: u32) {
        let (a, b) = self.link();
        let latency_ms = [50, 200, 1_000][self.rng.random_range(0..3)];
        self.push(begin, Action::SlowLink { a, b, latency_ms });
        self.push(end, Action::RestoreLink { a, b });
    }

    fn slow_disk(&mut self, begin: u32, end: u32) {
        let broker = self.broker();
        let latency_ms = [20, 100, 800][self.rng.random_range(0..3)];
        self.slow_down(FaultClass::SlowDisk, broker, latency_ms, (begin, end));
    }

    fn hung_disk(&mut self, begin: u32, end: u32) {
        let broker = self.broker();
        let latency_ms = self.rng.random_range(HUNG_SYNC_MS);
        self.slow_down(FaultClass::HungDisk, broker, latency_ms, (begin, end));
    }

    fn slow_down(
        &mut self,
        class: FaultClass,
        broker: u32,
        latency_ms: u32,
        (begin, end): (u32, u32),
    ) {
        let slow = Action::SlowDisk {
            class,
            broker,
            latency_ms,
        };
        self.push(begin, slow);
        self.push(end, Action::RestoreDisk { broker });
    }

    /// From the room that a broker still takes records with to less than a follower takes them with.
    fn disk_full(&mut self, begin: u32, end: u32) {
        let eighths = [9, 6, 3][self.rng.random_range(0..3)];
        let free_bytes = DISK_RESERVE_BYTES / 8 * eighths;
        let all = 1..=self.options.brokers_count;
        let one = self.broker();
        let is_everywhere = self.rng.random_bool(0.3);
        for broker in all.filter(|broker| is_everywhere || *broker == one) {
            self.push(begin, Action::FillDisk { broker, free_bytes });
            self.push(end, Action::WidenDisk { broker });
        }
    }

    fn pause(&mut self, begin: u32, _end: u32) {
        let broker = self.broker();
        let length_ms = self.rng.random_range(PAUSE_MS);
        let end = (begin + length_ms).min(self.options.safety_ms);
        self.push(begin, Action::Pause { broker });
        self.push(end, Action::Resume { broker });
    }

    fn leave(&mut self, begin: u32, end: u32) {
        let broker = self.broker();
        self.push(begin, Action::Leave { broker });
        self.push(end, Action::Restart { broker });
    }
}

fn hosts(brokers: &[u32]) -> Vec<Host> {
    brokers.iter().map(|id| Host::Broker(*id)).collect()
}

#[cfg(test)]
mod tests;
