//! What this broker's answers have promised to leaders on other brokers, and how elections respect it.
//!
//! A leader that does not hear the controller goes on for a session after a majority of its replicas last
//! answered it (ARCHITECTURE.md, "Leader election"). So a replica that has answered a leader must
//! not help to replace it before that time is over, whatever the controller orders: the leader may hear a majority
//! whose images do not show yet that it is fenced (a bridge). Pure: monotonic time since the start comes in. Not
//! replicated: for its first session a broker cannot know whom it answered before it started.

use std::collections::BTreeMap;

use crate::ids::{BrokerEpoch, BrokerId};
use crate::planted::{self, Bug};

/// Brokers that are remembered; more are not answered.
pub const VOUCHED_BROKERS_MAX: usize = 4_096;

/// A leader that is to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    /// Its broker.
    pub broker: BrokerId,
    /// The epoch that the fence gave that broker: what came from it under an earlier one is void.
    pub fenced_at: BrokerEpoch,
}

#[derive(Debug, Clone, Copy)]
struct Vouched {
    epoch: BrokerEpoch,
    at_ms: u64,
}

/// The answers of this broker.
#[derive(Debug, Clone, Default)]
pub struct Vouches {
    vouched: BTreeMap<BrokerId, Vouched>,
    /// Epochs from which brokers are answered; fenced before this broker's image shows it.
    floors: BTreeMap<BrokerId, BrokerEpoch>,
}

impl Vouches {
    /// Tells whether a broker may be answered as one in service, and remembers that it was.
    pub fn vouch(&mut self, broker: BrokerId, epoch: BrokerEpoch, now_ms: u64) -> bool {
        if self.floors.get(&broker).is_some_and(|floor| epoch < *floor) {
            return false;
        }
        let is_room = self.vouched.len() < VOUCHED_BROKERS_MAX;
        if !is_room && !self.vouched.contains_key(&broker) {
            return false;
        }
        let at_ms = now_ms;
        self.vouched.insert(broker, Vouched { epoch, at_ms });
        true
    }

    /// Connections to a broker are refused: the process that was answered is gone, and its leaderships
    /// with it.
    pub fn forget(&mut self, broker: BrokerId) {
        let epoch = BrokerEpoch(u64::MAX);
        self.vouched.insert(broker, Vouched { epoch, at_ms: 0 });
    }

    /// Takes an order to help replacing a leader: from now on it is not answered any more. Tells whether nothing
    /// that it was answered before holds longer; until then the order must be repeated.
    pub fn may_replace(&mut self, replaced: Replaced, now_ms: u64, session_ms: u64) -> bool {
        let Replaced { broker, fenced_at } = replaced;
        let floor = self.floors.entry(broker).or_insert(fenced_at);
        *floor = (*floor).max(fenced_at);
        let unknown = Vouched {
            epoch: BrokerEpoch(0),
            at_ms: 0,
        };
        let vouched = self.vouched.get(&broker).copied().unwrap_or(unknown);
        let is_recent = now_ms.saturating_sub(vouched.at_ms) <= session_ms;
        let holds = is_recent && vouched.epoch < fenced_at;
        if holds {
            tracing::trace!(target: "raftmq::mark", name = "election_waits_for_vouch");
        }
        !holds || planted::is_planted(Bug::VouchesIgnored)
    }
}
