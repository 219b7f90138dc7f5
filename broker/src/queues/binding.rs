//! What the host does about the effects of a queue's machine: keeps its events for whoever leads.

use std::sync::Arc;

use raftmq_core::effect::{Effect, Effects};
use raftmq_core::queue::{self, Queue};

use super::outgoing::Outgoing;
use crate::raft::Reply;
use crate::raft::machine::{Binding, Hosted};

/// A queue's machine as this broker hosts it.
pub type HostedQueue = Hosted<Queue, QueueBinding>;

/// See the module.
#[derive(Debug, Default)]
pub struct QueueBinding {
    outgoing: Arc<Outgoing>,
}

impl QueueBinding {
    pub(super) fn outgoing(&self) -> &Arc<Outgoing> {
        &self.outgoing
    }
}

impl Binding<Queue> for QueueBinding {
    fn reply(&self, reply: queue::Reply) -> Reply {
        self.outgoing.take_got(&reply);
        Reply::Queue(reply)
    }

    fn effects(&self, _machine: &Queue, effects: &mut Effects) -> bool {
        let mut checkpoint = false;
        for effect in effects.drain() {
            match effect {
                Effect::Checkpoint { .. } => checkpoint = true,
                Effect::Queue(event) => self.outgoing.take(event),
                Effect::Committed { .. }
                | Effect::Voided { .. }
                | Effect::LogStartAdvanced { .. }
                | Effect::ImageChanged
                | Effect::GroupChanged { .. }
                | Effect::GroupRemoved { .. }
                | Effect::BrokerChanged { .. } => {}
            }
        }
        checkpoint
    }

    fn settled(&self, _machine: &Queue, _log_index: u64) {}
}
