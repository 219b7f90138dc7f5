//! The schedule of faults of a run, computed from its options before it starts.
//!
//! Owns what happens when. It does not know how a fault is done (`Cluster` does it) and never looks
//! at the cluster, so a schedule can be printed, replayed and shrunk.
//! Every fault ends by itself before the safety phase does; then comes [`Action::HealAll`].

mod scenario;
mod schedule;

use std::fmt;

pub use scenario::{Scenario, UnknownScenario};
pub use schedule::{QUIET_START_MS, schedule};

use crate::faults::FaultClass;

/// What survives of the writes that were not synced when a broker stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Gone,
    /// Some prefix of whole writes.
    Prefix,
    /// Some prefix, its last write torn.
    Torn,
}

/// How the others learn that a broker lost power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// Its connections are reset, as when a process is killed.
    Reset,
    /// Not at all: its host is gone, and nothing answers until it starts again.
    Silence,
}

/// Which of a broker's stored entries are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rot {
    /// How many, at most.
    pub entries_count: u32,
    /// Whether only the newest of a group are, instead of any.
    pub is_at_the_end: bool,
    /// Chooses them.
    pub rng_seed: u64,
}

/// A host of the simulation: brokers from 1, then the clients' host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A broker by its id.
    Broker(u32),
    /// The host on which all clients run.
    Clients,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(id) => write!(f, "broker-{id}"),
            Self::Clients => f.write_str("clients"),
        }
    }
}

/// One thing that is done to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A broker loses power.
    Crash {
        /// Which.
        broker: u32,
        /// What is left of its unsynced writes.
        tail: Tail,
        /// What the others see.
        farewell: Farewell,
    },
    /// A broker is asked to stop: others take its leaderships over first.
    Leave {
        /// Which.
        broker: u32,
    },
    /// A broker that had crashed, or was asked to stop, starts again; one that runs is left alone.
    Restart {
        /// Which.
        broker: u32,
    },
    /// All brokers lose power at once.
    PowerLoss {
        /// What is left of their unsynced writes.
        tail: Tail,
    },
    /// Every broker that does not run starts again.
    RestartAll,
    /// Nothing passes from any host of `from` to any host of `to`.
    Cut {
        /// Whose fault it is.
        class: FaultClass,
        /// Senders.
        from: Vec<Host>,
        /// Receivers.
        to: Vec<Host>,
    },
    /// Takes one [`Action::Cut`] back; cuts of the same link add up.
    Mend {
        /// Senders.
        from: Vec<Host>,
        /// Receivers.
        to: Vec<Host>,
    },
    /// A link delivers after this time, in both directions.
    SlowLink {
        /// One end.
        a: Host,
        /// The other.
        b: Host,
        /// One way, in milliseconds.
        latency_ms: u32,
    },
    /// A link is as fast as it was.
    RestoreLink {
        /// One end.
        a: Host,
        /// The other.
        b: Host,
    },
    /// A broker's syncs take this long.
    SlowDisk {
        /// Whose fault it is.
        class: FaultClass,
        /// Which.
        broker: u32,
        /// In milliseconds.
        latency_ms: u32,
    },
    /// A broker's disk is as fast as it was.
    RestoreDisk {
        /// Which.
        broker: u32,
    },
    /// A broker's wall clock shows another time from now on.
    JumpClock {
        /// Which.
        broker: u32,
        /// From the true time, in milliseconds; 0 is the true time.
        offset_ms: i64,
    },
    /// An operator asks for a partition to be on these brokers, the preferred leader first.
    Reassign {
        /// Which.
        partition: u32,
        /// Where it goes.
        replicas: Vec<u32>,
    },
    /// A broker's disk has this much room from now on.
    FillDisk {
        /// Which.
        broker: u32,
        /// In bytes.
        free_bytes: u64,
    },
    /// Nothing limits a broker's disk any more.
    WidenDisk {
        /// Which.
        broker: u32,
    },
    /// Bits flip on a broker's disk, unless another one's disk is still damaged. Where the damage is
    /// noticed the broker stops, and its supervisor starts it again.
    Rot {
        /// Which.
        broker: u32,
        /// What is damaged.
        rot: Rot,
        /// Whether it loses power just before; otherwise it runs on.
        is_stopped: bool,
    },
    /// A broker stands still from now on.
    Pause {
        /// Which.
        broker: u32,
    },
    /// A broker that stood still goes on.
    Resume {
        /// Which.
        broker: u32,
    },
    /// Looks whether one of these brokers leads each group and has committed something in its term.
    LookForLeaders {
        /// Which.
        among: Vec<u32>,
        /// Whether it is a failure if not; otherwise it is a coverage mark if so.
        is_demanded: bool,
    },
    /// Everything is mended and every broker runs.
    HealAll,
}

impl Action {
    /// The class that this action begins; `None` for what ends a fault.
    #[must_use]
    pub const fn begins(&self) -> Option<FaultClass> {
        match self {
            Self::Crash { .. } => Some(FaultClass::Crash),
            Self::PowerLoss { .. } => Some(FaultClass::PowerLoss),
            Self::Leave { .. } => Some(FaultClass::Leave),
            Self::Cut { class, .. } => Some(*class),
            Self::SlowLink { .. } => Some(FaultClass::SlowLink),
            Self::SlowDisk { class, .. } => Some(*class),
            Self::JumpClock { offset_ms: 1.., .. }
            | Self::JumpClock {
                offset_ms: ..=-1, ..
            } => Some(FaultClass::ClockJump),
            Self::Reassign { .. } => Some(FaultClass::Reassignment),
            Self::FillDisk { .. } => Some(FaultClass::DiskFull),
            Self::Rot { .. } => Some(FaultClass::BitRot),
            Self::Pause { .. } => Some(FaultClass::Pause),
            Self::Restart { .. }
            | Self::RestartAll
            | Self::Mend { .. }
            | Self::RestoreLink { .. }
            | Self::RestoreDisk { .. }
            | Self::WidenDisk { .. }
            | Self::Resume { .. }
            | Self::LookForLeaders { .. }
            | Self::JumpClock { offset_ms: 0, .. }
            | Self::HealAll => None,
        }
    }
}

/// An action and when it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Simulated milliseconds since the start.
    pub at_ms: u32,
    /// What is done.
    pub action: Action,
}
