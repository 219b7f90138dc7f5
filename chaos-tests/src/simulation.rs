//! One run: hosts, clock, faults, invariants and phases, for any [`System`].
//!
//! Owns the loop over ticks. First the safety phase with faults, then everything is healed and the
//! liveness phase demands that the cluster goes on, converges and can be read to its end.

mod damage;
mod progress;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use turmoil::Sim;

use crate::faults::{Effects, FaultClass};
use crate::history::{Event, Recorder};
use crate::invariants::{Invariants, RaftStatus, Violation};
use crate::liveness::{NotConverged, converged};
use crate::nemesis::{Action, Farewell, Host, Step, Tail, schedule};
use crate::net::{Links, SimNet};
use crate::seed::{Options, Stream, derive};
use crate::system::{BrokerContext, Stop, System};
use crate::verdict::Findings;
use crate::workload::{Phase, Workload};
use damage::Damage;

/// When simulated time begins: 2026-01-01 00:00:00 UTC.
const EPOCH_SECONDS: u64 = 1_767_225_600;
/// Violations that are kept; later ones only follow from the first.
const VIOLATIONS_MAX: usize = 20;
/// Bursts of small segments must fit, turmoil panics otherwise.
const TCP_CAPACITY: usize = 65_536;
/// Share of the liveness phase in which producers still send: one quarter.
const LOAD_SHARE: u32 = 4;

/// Runs `options` on `system`.
#[must_use]
pub fn simulate(options: &Options, system: &Rc<dyn System>) -> Findings {
    let mut run = Run::new(options, system);
    // A panicked simulation must not be dropped: its runtimes would panic again.
    let mut sim = ManuallyDrop::new(build(options));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        run.add_hosts(&mut sim);
        run.drive(&mut sim);
    }));
    if ended.is_err() {
        run.failures
            .borrow_mut()
            .push("a simulated host panicked".to_owned());
    }
    run.findings()
}

fn build(options: &Options) -> Sim<'static> {
    let millis = |ms: u32| Duration::from_millis(u64::from(ms));
    turmoil::Builder::new()
        .rng_seed(derive(options.seed, Stream::Network, 0))
        .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS))
        .simulation_duration(millis(options.safety_ms + options.liveness_ms) * 2)
        .tick_duration(millis(options.tick_ms))
        .min_message_latency(millis(options.latency_ms_min))
        .max_message_latency(millis(options.latency_ms_max))
        .tcp_capacity(TCP_CAPACITY)
        .enable_random_order()
        .build()
}

/// A broker that stopped by itself, and how.
type Fallen = (u32, Result<(), Stop>);

struct Run {
    options: Options,
    system: Rc<dyn System>,
    workload: Workload,
    recorder: Recorder,
    effects: Effects,
    links: Arc<Links>,
    steps: std::vec::IntoIter<Step>,
    /// What was looked at last.
    statuses: Vec<Rc<RaftStatus>>,
    invariants: Invariants,
    violations: Vec<(u64, Violation)>,
    failures: Rc<RefCell<Vec<String>>>,
    leaders: BTreeSet<(u64, u64, u32)>,
    down: BTreeSet<u32>,
    /// Brokers that were asked to stop, whether they have or not.
    leaving: BTreeSet<u32>,
    silenced: BTreeSet<u32>,
    power_losses: u64,
    slow_disks: BTreeMap<u32, (FaultClass, Duration)>,
    full_disks: BTreeSet<u32>,
    /// Brokers that stopped by themselves since it was looked last.
    fallen: Rc<RefCell<Vec<Fallen>>>,
    damage: Damage,
    has_converged: bool,
    not_converged: Option<NotConverged>,
}

impl Run {
    fn new(options: &Options, system: &Rc<dyn System>) -> Self {
        let recorder = Recorder::default();
        let effects = Effects::default();
        Self {
            options: options.clone(),
            system: Rc::clone(system),
            workload: Workload::new(options.clone(), recorder.clone(), effects.clone()),
            recorder,
            links: Arc::new(Links::new(effects.clone())),
            effects,
            steps: schedule(options).into_iter(),
            statuses: Vec::new(),
            invariants: Invariants::default(),
            violations: Vec::new(),
            failures: Rc::default(),
            leaders: BTreeSet::new(),
            down: BTreeSet::new(),
            leaving: BTreeSet::new(),
            silenced: BTreeSet::new(),
            power_losses: 0,
            slow_disks: BTreeMap::new(),
            full_disks: BTreeSet::new(),
            fallen: Rc::default(),
            damage: Damage::default(),
            has_converged: false,
            not_converged: None,
        }
    }

    fn add_hosts(&self, sim: &mut Sim<'static>) {
        for id in 1..=self.options.brokers_count {
            self.system
                .set_sync_latency_us(id, u64::from(self.options.sync_latency_us));
            self.add_broker(sim, id);
        }
        let (workload, system) = (self.workload.clone(), Rc::clone(&self.system));
        let net = SimNet::new(Arc::clone(&self.links), Host::Clients);
        sim.host(Host::Clients.to_string(), move || {
            workload.clone().run(Rc::clone(&system), net.clone())
        });
    }

    fn add_broker(&self, sim: &mut Sim<'static>, id: u32) {
        let system = Rc::clone(&self.system);
        let fallen = Rc::clone(&self.fallen);
        let links = Arc::clone(&self.links);
        let seed = self.options.seed;
        let starts = std::cell::Cell::new(0);
        sim.host(Host::Broker(id).to_string(), move || {
            starts.set(starts.get() + 1);
            let incarnation = starts.get();
            let net = SimNet::new(Arc::clone(&links), Host::Broker(id));
            let part = (u64::from(id) << 32) | incarnation;
            let rng_seed = derive(seed, Stream::Brokers, part);
            let context = BrokerContext {
                id,
                incarnation,
                net: net.clone(),
                rng_seed,
            };
            let broker = system.run_broker(context);
            let fallen = Rc::clone(&fallen);
            async move {
                tokio::task::spawn_local(net.close_buried());
                let ended = broker.await;
                fallen.borrow_mut().push((id, ended));
                // Its host crashes, or the run ends.
                std::future::pending().await
            }
        });
    }

    /// Ticks until the drain is done, the time is up or something failed.
    fn drive(&mut self, sim: &mut Sim<'static>) {
        let end_ms = self.options.safety_ms + self.options.liveness_ms;
        let load_end_ms = self.options.safety_ms + self.options.liveness_ms / LOAD_SHARE;
        let mut next = self.steps.next();
        loop {
            let now_ms = u32::try_from(sim.elapsed().as_millis()).unwrap_or(u32::MAX);
            while let Some(step) = next.take_if(|step| step.at_ms <= now_ms) {
                self.apply(sim, step.action);
                next = self.steps.next();
            }
            if now_ms >= load_end_ms {
                self.workload.advance(Phase::Quiesce);
            }
            if let Err(error) = sim.step() {
                self.failures
                    .borrow_mut()
                    .push(format!("the simulation stopped: {error}"));
            }
            self.raise_fallen(sim, now_ms);
            self.observe(sim);
            let is_done = self.has_converged && self.workload.has_reached(Phase::Done);
            if is_done || now_ms >= end_ms || !self.failures.borrow().is_empty() {
                break;
            }
        }
        if let Some(reason) = self.not_converged.take().filter(|_| !self.has_converged) {
            let mut failures = self.failures.borrow_mut();
            if failures.is_empty() {
                failures.push(format!("not converged at the end: {reason}"));
            }
        }
    }

    fn observe(&mut self, sim: &Sim<'static>) {
        let now_us = micros(sim);
        for (broker, (class, latency)) in &self.slow_disks {
            // Somebody waits for longer than a healthy disk would let him.
            if self.system.sync_wait(*broker) * 2 > *latency {
                self.effects.add(*class, 1);
            }
        }
        let is_felt = |broker: &&u32| self.system.is_short_of_space(**broker);
        let felt_count = self.full_disks.iter().filter(is_felt).count() as u64;
        self.effects.add(FaultClass::DiskFull, felt_count);
        let statuses = self.system.statuses();
        if statuses != self.statuses {
            self.judge(&statuses, now_us);
            self.statuses.clone_from(&statuses);
        }
        // Producers still write before the drain; equality is only demanded after it began.
        if !self.has_converged && self.workload.has_reached(Phase::Drain) {
            let converged = converged(&statuses, self.options.brokers_count as usize);
            match converged.and_then(|()| self.has_recovered()) {
                Ok(()) => {
                    self.has_converged = true;
                    self.recorder.event(Event::Converged, now_us);
                }
                Err(reason) => self.not_converged = Some(reason),
            }
        }
    }

    /// Notes who leads, and checks the invariants.
    fn judge(&mut self, statuses: &[Rc<RaftStatus>], now_us: u64) {
        for status in statuses.iter().filter(|status| status.is_leader) {
            let (group, term, broker) = (status.group, status.vote.term, status.broker);
            if self.leaders.insert((group, term, broker)) {
                self.recorder.event(
                    Event::Leader {
                        group,
                        term,
                        broker,
                    },
                    now_us,
                );
            }
        }
        for violation in self.invariants.check(statuses) {
            if self.violations.len() < VIOLATIONS_MAX {
                self.violations.push((now_us, violation));
            }
        }
    }

    fn apply(&mut self, sim: &mut Sim<'static>, action: Action) {
        let now_us = micros(sim);
        if let Some(class) = action.begins() {
            self.recorder.event(
                Event::FaultStarted {
                    class,
                    detail: format!("{action:?}"),
                },
                now_us,
            );
        }
        tracing::info!(target: "raftmq_chaos::nemesis", ?action, "nemesis");
        match action {
            Action::Crash {
                broker,
                tail,
                farewell,
            } => {
                if farewell == Farewell::Silence && !self.down.contains(&broker) {
                    self.silence(broker);
                }
                self.crash(sim, broker, tail, FaultClass::Crash);
            }
            Action::Leave { broker } => self.leave(broker),
            Action::Restart { broker } => self.restart(sim, broker),
            Action::PowerLoss { tail } => {
                for broker in 1..=self.options.brokers_count {
                    self.crash(sim, broker, tail, FaultClass::PowerLoss);
                }
            }
            Action::RestartAll => self.restart_all(sim),
            Action::Cut { class, from, to } => self.links.cut(Some(class), &from, &to),
            Action::Mend { from, to } => self.links.mend(&from, &to),
            Action::SlowLink { a, b, latency_ms } => {
                let latency = Duration::from_millis(u64::from(latency_ms));
                sim.set_link_latency(a.to_string(), b.to_string(), latency);
                self.links.set_slow(a, b, true);
            }
            Action::RestoreLink { a, b } => self.restore_link(sim, a, b),
            Action::SlowDisk {
                class,
                broker,
                latency_ms,
            } => self.slow_disk(broker, class, latency_ms),
            Action::RestoreDisk { broker } => self.restore_disk(broker),
            Action::JumpClock { broker, offset_ms } => self.jump_clock(broker, offset_ms),
            Action::Reassign {
                partition,
                replicas,
            } => self.reassign(partition, replicas),
            Action::FillDisk { broker, free_bytes } => {
                self.full_disks.insert(broker);
                self.system.set_free_bytes(broker, Some(free_bytes));
            }
            Action::WidenDisk { broker } => self.widen_disk(broker),
            Action::Rot {
                broker,
                rot,
                is_stopped,
            } => self.rot(sim, broker, rot, is_stopped),
            Action::Pause { broker } => self.links.pause(Host::Broker(broker)),
            Action::Resume { broker } => self.links.resume(Host::Broker(broker)),
            Action::LookForLeaders { among, is_demanded } => {
                self.look_for_leaders(&among, is_demanded, now_us);
            }
            Action::HealAll => self.heal(sim),
        }
    }

    /// Moves a partition, and with it a queue, where there are some.
    fn reassign(&self, partition: u32, replicas: Vec<u32>) {
        let queues = self.options.queues();
        let places = usize::try_from(partition).unwrap_or(usize::MAX);
        if let Some(queue) = queues.get(places % queues.len().max(1)) {
            self.system.move_queue(*queue, &replicas);
        }
        self.workload.order(partition, replicas);
    }

    fn crash(&mut self, sim: &mut Sim<'static>, broker: u32, tail: Tail, class: FaultClass) {
        if self.cut_power(sim, broker, tail) {
            self.effects.add(class, 1);
        }
    }

    /// Returns whether the broker was up.
    fn cut_power(&mut self, sim: &mut Sim<'static>, broker: u32, tail: Tail) -> bool {
        if !self.down.insert(broker) {
            return false;
        }
        sim.crash(Host::Broker(broker).to_string());
        self.power_losses += 1;
        let rng_seed = derive(self.options.seed, Stream::Brokers, self.power_losses);
        let unsynced_bytes = self.system.power_loss(broker, tail, rng_seed);
        tracing::info!(target: "raftmq_chaos::nemesis", broker, unsynced_bytes, "power lost");
        true
    }

    fn restart(&mut self, sim: &mut Sim<'static>, broker: u32) {
        if self.leaving.remove(&broker) {
            self.crash(sim, broker, Tail::Gone, FaultClass::Leave);
        }
        if self.down.remove(&broker) {
            if self.silenced.remove(&broker) {
                let (own, others) = self.around(broker);
                self.links.mend(&own, &others);
                self.links.mend(&others, &own);
            }
            sim.bounce(Host::Broker(broker).to_string());
        }
    }

    /// From now on nothing leaves or reaches the broker: its connections end unheard.
    fn silence(&mut self, broker: u32) {
        self.silenced.insert(broker);
        let (own, others) = self.around(broker);
        self.links.cut(None, &own, &others);
        self.links.cut(None, &others, &own);
    }

    fn around(&self, broker: u32) -> (Vec<Host>, Vec<Host>) {
        let others = (1..=self.options.brokers_count).filter(|other| *other != broker);
        (
            vec![Host::Broker(broker)],
            others.map(Host::Broker).chain([Host::Clients]).collect(),
        )
    }

    fn restart_all(&mut self, sim: &mut Sim<'static>) {
        let is_out = |run: &Self| run.down.first().or_else(|| run.leaving.first()).copied();
        while let Some(broker) = is_out(self) {
            self.restart(sim, broker);
        }
    }

    fn restore_link(&self, sim: &Sim<'static>, a: Host, b: Host) {
        let millis = |ms: u32| Duration::from_millis(u64::from(ms));
        let (a_name, b_name) = (a.to_string(), b.to_string());
        let low = millis(self.options.latency_ms_min);
        sim.set_link_latency(a_name.as_str(), b_name.as_str(), low);
        let high = millis(self.options.latency_ms_max);
        sim.set_link_max_message_latency(a_name.as_str(), b_name.as_str(), high);
        self.links.set_slow(a, b, false);
    }

    fn leave(&mut self, broker: u32) {
        if !self.down.contains(&broker) && self.system.leave(broker) {
            self.leaving.insert(broker);
        }
    }

    fn jump_clock(&self, broker: u32, offset_ms: i64) {
        self.system.set_clock_offset_ms(broker, offset_ms);
        let is_felt = offset_ms != 0 && !self.down.contains(&broker);
        self.effects.add(FaultClass::ClockJump, u64::from(is_felt));
    }

    fn slow_disk(&mut self, broker: u32, class: FaultClass, latency_ms: u32) {
        let latency = Duration::from_millis(u64::from(latency_ms));
        self.slow_disks.insert(broker, (class, latency));
        let latency_us = u64::from(latency_ms) * 1_000;
        self.system.set_sync_latency_us(broker, latency_us);
    }

    fn restore_disk(&mut self, broker: u32) {
        self.system
            .set_sync_latency_us(broker, u64::from(self.options.sync_latency_us));
        self.slow_disks.remove(&broker);
    }

    fn widen_disk(&mut self, broker: u32) {
        self.system.set_free_bytes(broker, None);
        self.full_disks.remove(&broker);
    }

    fn heal(&mut self, sim: &mut Sim<'static>) {
        self.links.mend_all();
        self.silenced.clear();
        let hosts = (1..=self.options.brokers_count)
            .map(Host::Broker)
            .chain([Host::Clients]);
        let hosts: Vec<Host> = hosts.collect();
        for (position, a) in hosts.iter().enumerate() {
            for b in &hosts[position + 1..] {
                self.restore_link(sim, *a, *b);
            }
        }
        for broker in 1..=self.options.brokers_count {
            self.links.resume(Host::Broker(broker));
            self.restore_disk(broker);
            self.widen_disk(broker);
            self.system.set_clock_offset_ms(broker, 0);
        }
        self.restart_all(sim);
        let now_us = micros(sim);
        for (class, times) in self.effects.counts() {
            self.recorder
                .event(Event::FaultTookEffect { class, times }, now_us);
        }
        self.recorder.event(Event::Healed, now_us);
    }

    fn findings(self) -> Findings {
        Findings {
            kept: self.workload.kept.topics(),
            queues: self
                .options
                .has_amqp_clients()
                .then(|| self.workload.queues.with(Clone::clone)),
            history: self.recorder.take(),
            violations: self.violations,
            failures: self.failures.take(),
            marks: BTreeMap::new(),
        }
    }
}

fn micros(sim: &Sim<'static>) -> u64 {
    u64::try_from(sim.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
