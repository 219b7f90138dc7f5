//! Schedules that are written by hand, for traps that chance seldom sets.
//!
//! Unlike drawn ones they demand progress while the fault lasts.

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Action, Host, QUIET_START_MS, Step};
use crate::faults::FaultClass;
use crate::seed::{Options, Stream, stream};

/// Brokers of the bridge: each of them is the old leader once.
const BROKERS_COUNT: u32 = 3;
/// Brokers among which partitions move: each of them is left out once.
const MOVE_BROKERS_COUNT: u32 = 5;
/// Replicas of every partition that moves.
const MOVE_REPLICAS_COUNT: u32 = 3;
/// How long after the order to move, at most, who is left out is cut off; a move takes some milliseconds.
const MOVE_CUT_AFTER_MS: u32 = 120;
/// How long it is cut off, and how soon the others must be led again.
const MOVE_CUT_MS: u32 = 5_000;
/// From one order to move to the next.
const MOVE_WINDOW_MS: u32 = 8_000;
/// How long a bridge lasts, and how soon the others must be led again.
const BRIDGE_MS: u32 = 9_000;
/// How long everything is whole between two bridges.
const WHOLE_MS: u32 = 3_000;

/// A schedule that is written by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// One broker after the other reaches only a second one, and hears nobody. If it leads, it renews
    /// the lease of the second, without which no two others can elect (openraft issue 2080).
    BridgeTrap,
    /// Partitions move away from one broker after the other, and it is cut off meanwhile. If it led and had
    /// written the membership without itself to no majority, some of the others would wait for it.
    RemovedLeader,
}

impl Scenario {
    /// Every scenario.
    pub const ALL: [Self; 2] = [Self::BridgeTrap, Self::RemovedLeader];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BridgeTrap => "bridge-trap",
            Self::RemovedLeader => "removed-leader",
        }
    }

    /// Changes options into those of the scenario.
    pub fn prepare(self, options: &mut Options) {
        options.scenario = Some(self);
        match self {
            Self::BridgeTrap => {
                options.brokers_count = BROKERS_COUNT;
                options.faults = [FaultClass::Bridge].into();
                options.safety_ms = QUIET_START_MS + BROKERS_COUNT * (BRIDGE_MS + WHOLE_MS);
            }
            Self::RemovedLeader => {
                options.brokers_count = MOVE_BROKERS_COUNT;
                options.faults = [FaultClass::Reassignment, FaultClass::Partition].into();
                options.safety_ms = QUIET_START_MS + MOVE_BROKERS_COUNT * MOVE_WINDOW_MS;
            }
        }
    }

    /// The steps, the last of which heals everything.
    #[must_use]
    pub(super) fn steps(self, options: &Options) -> Vec<Step> {
        let mut steps = Vec::new();
        match self {
            Self::BridgeTrap => {
                for window in 0..BROKERS_COUNT {
                    let begin = QUIET_START_MS + window * (BRIDGE_MS + WHOLE_MS);
                    bridge(options.seed, window, begin, &mut steps);
                }
            }
            Self::RemovedLeader => {
                for window in 0..MOVE_BROKERS_COUNT {
                    let begin = QUIET_START_MS + window * MOVE_WINDOW_MS;
                    leave_out(options, window, begin, &mut steps);
                }
            }
        }
        steps.sort_by_key(|step| step.at_ms);
        steps.push(Step {
            at_ms: options.safety_ms,
            action: Action::HealAll,
        });
        steps
    }
}

/// Has one broker reach only another one, which answers in vain, and demands that this one and the third
/// are led when it ends.
fn bridge(seed: u64, window: u32, begin: u32, steps: &mut Vec<Step>) {
    let shift = u32::try_from(seed % 3).unwrap_or(0);
    let old = (window + shift) % BROKERS_COUNT + 1;
    let step = if seed.is_multiple_of(2) { 1 } else { 2 };
    let between = (old - 1 + step) % BROKERS_COUNT + 1;
    let far = (old - 1 + 3 - step) % BROKERS_COUNT + 1;
    let hosts = |ids: &[u32]| ids.iter().map(|id| Host::Broker(*id)).collect::<Vec<_>>();
    let ways = [
        (hosts(&[old]), hosts(&[far])),
        (hosts(&[far, between]), hosts(&[old])),
    ];
    let mut push = |at_ms: u32, action: Action| steps.push(Step { at_ms, action });
    let is_sprung = Action::LookForLeaders {
        among: vec![old],
        is_demanded: false,
    };
    push(begin, is_sprung);
    for (from, to) in ways.clone() {
        let class = FaultClass::Bridge;
        push(begin, Action::Cut { class, from, to });
    }
    let others = Action::LookForLeaders {
        among: vec![between, far],
        is_demanded: true,
    };
    push(begin + BRIDGE_MS, others);
    for (from, to) in ways {
        push(begin + BRIDGE_MS, Action::Mend { from, to });
    }
}

/// Moves all partitions to a broker, the next, and the one after it; then all away from the first, which is
/// their preferred leader, and cuts it off a moment later. Demands that the others are led when that ends.
fn leave_out(options: &Options, window: u32, begin: u32, steps: &mut Vec<Step>) {
    let at = |place: u32| (window + place) % MOVE_BROKERS_COUNT + 1;
    let mut push = |at_ms: u32, action: Action| steps.push(Step { at_ms, action });
    let left_out = at(0);
    for (at_ms, first) in [(begin, 0), (begin + MOVE_WINDOW_MS / 4, 1)] {
        for partition in 0..options.partitions_count {
            let replicas = (first..first + MOVE_REPLICAS_COUNT).map(at).collect();
            push(
                at_ms,
                Action::Reassign {
                    partition,
                    replicas,
                },
            );
        }
    }
    let mut rng = stream(options.seed, Stream::Nemesis, u64::from(window));
    let cut_at = begin + MOVE_WINDOW_MS / 4 + rng.random_range(1..=MOVE_CUT_AFTER_MS);
    let others: Vec<u32> = (1..MOVE_BROKERS_COUNT).map(at).collect();
    let far: Vec<Host> = others.iter().map(|id| Host::Broker(*id)).collect();
    let near = vec![Host::Broker(left_out)];
    let is_sprung = Action::LookForLeaders {
        among: vec![left_out],
        is_demanded: false,
    };
    push(cut_at, is_sprung);
    for (from, to) in [(near.clone(), far.clone()), (far, near)] {
        let class = FaultClass::Partition;
        let (senders, receivers) = (from.clone(), to.clone());
        let cut = Action::Cut {
            class,
            from: senders,
            to: receivers,
        };
        push(cut_at, cut);
        push(cut_at + MOVE_CUT_MS, Action::Mend { from, to });
    }
    let are_led = Action::LookForLeaders {
        among: others,
        is_demanded: true,
    };
    push(cut_at + MOVE_CUT_MS - 1, are_led);
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scenario {0:?}, expected one of {names}", names = Scenario::ALL.map(Scenario::name).join(", "))]
pub struct UnknownScenario(String);

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|scenario| scenario.name() == text)
            .ok_or_else(|| UnknownScenario(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broker_is_the_old_leader_once_and_every_cut_is_mended() {
        for seed in 0..6 {
            let mut options = Options::expand(seed, 60);
            Scenario::BridgeTrap.prepare(&mut options);
            let steps = Scenario::BridgeTrap.steps(&options);

            let mut looked: Vec<u32> = Vec::new();
            let (mut cuts, mut mends) = (0, 0);
            for step in &steps {
                if let Action::LookForLeaders {
                    among,
                    is_demanded: false,
                } = &step.action
                {
                    looked.extend(among);
                }
                cuts += usize::from(matches!(step.action, Action::Cut { .. }));
                mends += usize::from(matches!(step.action, Action::Mend { .. }));
            }
            looked.sort_unstable();
            assert_eq!(looked, [1, 2, 3]);
            assert_eq!((cuts, mends), (6, 6));
            assert_eq!(steps.last().unwrap().action, Action::HealAll);
        }
    }

    #[test]
    fn every_broker_is_left_out_once_and_cut_off_from_all_others() {
        let mut options = Options::expand(3, 60);
        Scenario::RemovedLeader.prepare(&mut options);
        let steps = Scenario::RemovedLeader.steps(&options);

        let mut cut_off: Vec<Vec<Host>> = Vec::new();
        for step in &steps {
            if let Action::Cut { from, to, .. } = &step.action
                && from.len() == 1
            {
                assert_eq!(to.len(), 4);
                cut_off.push(from.clone());
            }
        }
        cut_off.sort();
        let each = (1..=5).map(|id| vec![Host::Broker(id)]);
        assert_eq!(cut_off, each.collect::<Vec<_>>());
        assert!(steps.is_sorted_by_key(|step| step.at_ms));
    }

    #[test]
    fn a_scenario_is_found_by_its_name() {
        assert_eq!("bridge-trap".parse(), Ok(Scenario::BridgeTrap));
        assert_eq!("removed-leader".parse(), Ok(Scenario::RemovedLeader));
        assert!("moth".parse::<Scenario>().is_err());
    }
}
