//! One entry while it is applied: positions of its messages, its effects, and how much work it may
//! still do. Knows no queue.

use crate::effect::{Effect, Effects};
use crate::ids::LogIndex;
use crate::limits::QUEUE_WORK_PER_ENTRY_MAX;
use crate::queue::event::QueueEvent;
use crate::queue::message::MessageRef;

/// What a command costs in the log beside its bodies, bytes, roughly.
const COMMAND_BYTES: u64 = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) log_index: LogIndex,
    pub(super) effects: &'a mut Effects,
    pub(super) payload_bytes: u64,
    next_position: u32,
    work_left: u32,
}

impl<'a> Entry<'a> {
    pub(super) const fn new(log_index: LogIndex, effects: &'a mut Effects) -> Self {
        Self {
            log_index,
            effects,
            payload_bytes: 0,
            next_position: 0,
            work_left: QUEUE_WORK_PER_ENTRY_MAX,
        }
    }

    pub(super) fn push(&mut self, event: QueueEvent) {
        self.effects.push(Effect::Queue(event));
    }

    pub(super) const fn count_command(&mut self) {
        self.payload_bytes += COMMAND_BYTES;
    }

    /// The place of the next message of the entry.
    pub(super) const fn next_message(&mut self) -> MessageRef {
        let message = MessageRef {
            log_index: self.log_index,
            position: self.next_position,
        };
        self.next_position = self.next_position.saturating_add(1);
        message
    }

    pub(super) fn skip_positions(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.next_position = self.next_position.saturating_add(count);
    }

    /// Whether another piece of work may be done; counts it.
    pub(super) const fn may_work(&mut self) -> bool {
        if self.work_left == 0 {
            return false;
        }
        self.work_left -= 1;
        true
    }
}
