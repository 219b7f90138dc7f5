//! Damaged disks in a run: at most one broker has one at a time, and what stops because of it is started
//! again.
//!
//! A majority of every group's replicas so keeps what it has acknowledged, which is all that is promised.

use turmoil::Sim;

use super::Run;
use crate::faults::FaultClass;
use crate::liveness::NotConverged;
use crate::nemesis::{Rot, Tail};
use crate::system::Stop;

/// How long a supervisor waits before it starts a broker again.
const SUPERVISOR_PAUSE_MS: u32 = 300;

/// What a run knows of damage.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// The broker whose disk was damaged last; it may not have recovered.
    broker: Option<u32>,
    /// Brokers that stopped because of it, and when they are started again, oldest first.
    starts: Vec<(u32, u32)>,
}

impl Run {
    pub(super) fn rot(&mut self, sim: &mut Sim<'static>, broker: u32, rot: Rot, is_stopped: bool) {
        let before = self.damage.broker;
        if before.is_some_and(|other| other != broker && self.system.is_rotten(other)) {
            return;
        }
        if is_stopped {
            self.cut_power(sim, broker, Tail::Gone);
        }
        let places_count = self.system.rot(broker, rot);
        self.effects.add(FaultClass::BitRot, places_count);
        if places_count > 0 {
            self.damage.broker = Some(broker);
        }
    }

    /// Whether everything that was damaged has been fetched again.
    pub(super) fn has_recovered(&self) -> Result<(), NotConverged> {
        match self.damage.broker {
            Some(broker) if self.system.is_rotten(broker) => Err(NotConverged::Rotten { broker }),
            Some(_) | None => Ok(()),
        }
    }

    /// Starts brokers again that stopped because of damage; any other stop is a failure.
    pub(super) fn raise_fallen(&mut self, sim: &mut Sim<'static>, now_ms: u32) {
        for (broker, ended) in self.fallen.take() {
            match ended {
                Err(Stop::Damage(text)) if self.damage.broker == Some(broker) => {
                    tracing::info!(target: "raftmq_chaos::nemesis", broker, text, "stopped by damage");
                    tracing::trace!(target: "raftmq::mark", name = "stopped_by_damage");
                    self.cut_power(sim, broker, Tail::Gone);
                    let starts_at_ms = now_ms + SUPERVISOR_PAUSE_MS;
                    self.damage.starts.push((starts_at_ms, broker));
                }
                ended => {
                    let failure = format!("broker {broker} stopped by itself: {ended:?}");
                    self.failures.borrow_mut().push(failure);
                }
            }
        }
        while let Some((at_ms, broker)) = self.damage.starts.first().copied()
            && at_ms <= now_ms
        {
            self.damage.starts.remove(0);
            self.restart(sim, broker);
        }
    }
}
