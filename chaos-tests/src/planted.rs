//! The planted bugs by name, over all crates that have them.
//!
//! Which bugs there are is said by the crates themselves. Without the feature `planted-bugs` of
//! those crates planting has no effect; this crate always turns it on.

use std::fmt;
use std::str::FromStr;

use raftmq::planted as broker;
use raftmq_amqp::planted as amqp;
use raftmq_core::planted as core;
use raftmq_store::planted as store;

/// A bug that can be switched on for a whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Of the machine of AMQP connections.
    Amqp(amqp::Bug),
    /// Of the broker's host.
    Broker(broker::Bug),
    /// Of the state machines.
    Core(core::Bug),
    /// Of the store.
    Store(store::Bug),
}

/// Every bug with its name.
fn all() -> impl Iterator<Item = (&'static str, Planted)> {
    let amqp = amqp::Bug::ALL.iter();
    let broker = broker::Bug::ALL.iter();
    let core = core::Bug::ALL.iter();
    let store = store::Bug::ALL.iter();
    broker
        .map(|(name, bug)| (*name, Planted::Broker(*bug)))
        .chain(core.map(|(name, bug)| (*name, Planted::Core(*bug))))
        .chain(store.map(|(name, bug)| (*name, Planted::Store(*bug))))
        .chain(amqp.map(|(name, bug)| (*name, Planted::Amqp(*bug))))
}

impl Planted {
    /// Switches the bug on for the rest of the process.
    pub fn plant(self) {
        match self {
            Self::Amqp(bug) => amqp::plant(bug),
            Self::Broker(bug) => broker::plant(bug),
            Self::Core(bug) => core::plant(bug),
            Self::Store(bug) => store::plant(bug),
        }
    }
}

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = all().find(|(_, bug)| bug == self);
        f.write_str(name.map_or("unnamed", |(name, _)| name))
    }
}

/// A name that is no planted bug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown planted bug {name:?}, expected one of {known}")]
pub struct UnknownBug {
    name: String,
    known: String,
}

impl FromStr for Planted {
    type Err = UnknownBug;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = all().find(|(name, _)| *name == text);
        found.map(|(_, bug)| bug).ok_or_else(|| UnknownBug {
            name: text.to_owned(),
            known: all().map(|(name, _)| name).collect::<Vec<_>>().join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_is_found_by_its_name() {
        for (name, bug) in all() {
            assert_eq!(name.parse(), Ok(bug));
            assert_eq!(bug.to_string(), name);
        }
        assert!("moth".parse::<Planted>().is_err());
    }
}
