//! The planted bugs by name, over all crates that have them.
//!
//! Owns the list that the command line and the tests use. Without the feature `planted-bugs` of
//! those crates planting has no effect; this crate always turns it on.

use std::fmt;
use std::str::FromStr;

use raftmq::planted as broker;
use raftmq_core::planted as core;
use raftmq_store::planted as store;

/// A bug that can be switched on for a whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Store: an append completes before its sync.
    AckBeforeFlush,
    /// Store: a vote is answered before its sync.
    VoteNotSynced,
    /// Store: recovery does not check the checksum of the tail.
    TornTailAccepted,
    /// Core: producer state does not survive a change of leader.
    DedupLostOnLeaderChange,
    /// Core: a gap in a producer's sequence is accepted.
    SequenceGapAccepted,
    /// Core: an entry stamped for another term or offset is applied.
    VoidAccepted,
    /// Core: retention by time trusts a clock that is off.
    ClockTrusted,
    /// Core: a broker that drains is given leaderships.
    DrainingBrokerLeads,
    /// Broker: `acks=-1` is answered before the commit.
    AckBeforeCommit,
    /// Broker: what waited during a handover is answered as if it had been written.
    HandoverAnswersWaiting,
    /// Core: leaders take records whatever the disks have room for.
    FullDiskIgnored,
    /// Broker: a follower whose disk is full takes records all the same.
    FullFollowerTakesRecords,
}

impl Planted {
    /// Every bug.
    pub const ALL: [Self; 12] = [
        Self::AckBeforeFlush,
        Self::VoteNotSynced,
        Self::TornTailAccepted,
        Self::DedupLostOnLeaderChange,
        Self::SequenceGapAccepted,
        Self::VoidAccepted,
        Self::ClockTrusted,
        Self::DrainingBrokerLeads,
        Self::AckBeforeCommit,
        Self::HandoverAnswersWaiting,
        Self::FullDiskIgnored,
        Self::FullFollowerTakesRecords,
    ];

    /// Switches the bug on for the rest of the process.
    pub fn plant(self) {
        match self {
            Self::AckBeforeFlush => store::plant(store::Bug::AckBeforeFlush),
            Self::VoteNotSynced => store::plant(store::Bug::VoteNotSynced),
            Self::TornTailAccepted => store::plant(store::Bug::TornTailAccepted),
            Self::DedupLostOnLeaderChange => core::plant(core::Bug::DedupLostOnLeaderChange),
            Self::SequenceGapAccepted => core::plant(core::Bug::SequenceGapAccepted),
            Self::VoidAccepted => core::plant(core::Bug::VoidAccepted),
            Self::ClockTrusted => core::plant(core::Bug::ClockTrusted),
            Self::DrainingBrokerLeads => core::plant(core::Bug::DrainingBrokerLeads),
            Self::AckBeforeCommit => broker::plant(broker::Bug::AckBeforeCommit),
            Self::HandoverAnswersWaiting => broker::plant(broker::Bug::HandoverAnswersWaiting),
            Self::FullDiskIgnored => core::plant(core::Bug::FullDiskIgnored),
            Self::FullFollowerTakesRecords => broker::plant(broker::Bug::FullFollowerTakesRecords),
        }
    }

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeFlush => "ack-before-flush",
            Self::VoteNotSynced => "vote-not-synced",
            Self::TornTailAccepted => "torn-tail-accepted",
            Self::DedupLostOnLeaderChange => "dedup-lost-on-leader-change",
            Self::SequenceGapAccepted => "sequence-gap-accepted",
            Self::VoidAccepted => "void-accepted",
            Self::ClockTrusted => "clock-trusted",
            Self::DrainingBrokerLeads => "draining-broker-leads",
            Self::AckBeforeCommit => "ack-before-commit",
            Self::HandoverAnswersWaiting => "handover-answers-waiting",
            Self::FullDiskIgnored => "full-disk-ignored",
            Self::FullFollowerTakesRecords => "full-follower-takes-records",
        }
    }
}

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
        Self::ALL
            .into_iter()
            .find(|bug| bug.name() == text)
            .ok_or_else(|| UnknownBug {
                name: text.to_owned(),
                known: Self::ALL.map(Self::name).join(", "),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_is_found_by_its_name() {
        for bug in Planted::ALL {
            assert_eq!(bug.name().parse(), Ok(bug));
        }
        assert!("moth".parse::<Planted>().is_err());
    }
}
