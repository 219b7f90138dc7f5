//! Shows how many messages are in the queues that this broker leads.

use std::time::Duration;

use raftmq_core::queue::Queue;
use tokio::time::sleep;

use super::Queues;

/// Pause between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Messages of several queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Totals {
    ready: u64,
    unacknowledged: u64,
}

impl Totals {
    fn add(&mut self, queue: &Queue) {
        self.ready += queue.ready_count();
        self.unacknowledged += queue.unsettled_count();
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges take floats")]
    fn show(self) {
        metrics::gauge!("raftmq_queue_ready_messages").set(self.ready as f64);
        let unacknowledged = metrics::gauge!("raftmq_queue_unacknowledged_messages");
        unacknowledged.set(self.unacknowledged as f64);
    }
}

impl Queues {
    /// Counts messages now and then. Runs for ever.
    pub async fn run_gauges(&self) {
        loop {
            self.count_messages().show();
            sleep(LOOK_INTERVAL).await;
        }
    }

    fn count_messages(&self) -> Totals {
        let mut totals = Totals::default();
        for replica in self.all_replicas() {
            if replica.group_handle().leading_term().is_some() {
                totals.add(&replica.machine().read());
            }
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use raftmq_core::effect::Effects;
    use raftmq_core::machine::{EntryMeta, Machine};
    use raftmq_core::queue::{AckMode, ChannelId, Command, Message};

    use super::*;

    #[test]
    fn what_is_ready_and_what_clients_hold_is_counted_over_all_queues() {
        let mut queue = Queue::default();
        let get = Command::Get {
            channel: ChannelId::default(),
            ack_mode: AckMode::Manual,
        };
        let publish = Command::Publish(vec![Message::default(); 3]);
        for (log_index, command) in (1..).zip([publish, get]) {
            let meta = EntryMeta {
                log_index,
                term: 1,
                proposed_at_ms: 1,
                machine_version: 1,
            };
            queue.apply(&meta, command, &mut Effects::default());
        }
        let mut totals = Totals::default();

        totals.add(&queue);
        totals.add(&queue);

        let expected = Totals {
            ready: 4,
            unacknowledged: 2,
        };
        assert_eq!(totals, expected);
    }
}
