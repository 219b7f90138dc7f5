//! What all clients of this broker have published and not been answered: beyond a bound nobody's requests
//! are taken, so that what is slow slows publishers down instead of failing them.
//!
//! Does not know connections or queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::limits::{PUBLISHED_BYTES_MAX, PUBLISHED_COUNT_MAX};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Load {
    count: AtomicUsize,
    bytes: AtomicUsize,
    room: Notify,
}

/// A publish that is not answered; dropped, it makes room.
#[derive(Debug)]
pub(super) struct Unanswered {
    load: Arc<Load>,
    bytes: usize,
}

impl Load {
    /// Whether more may be published.
    pub(super) fn has_room(&self) -> bool {
        self.count.load(Ordering::Relaxed) < PUBLISHED_COUNT_MAX
            && self.bytes.load(Ordering::Relaxed) < PUBLISHED_BYTES_MAX
    }

    /// Completes when something was answered after it was made.
    pub(super) fn room(&self) -> Notified<'_> {
        self.room.notified()
    }

    /// Counts a publish.
    pub(super) fn publish(self: &Arc<Self>, bytes: usize) -> Unanswered {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Unanswered {
            load: self.clone(),
            bytes,
        }
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let had_room = self.load.has_room();
        self.load.count.fetch_sub(1, Ordering::Relaxed);
        self.load.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if !had_room {
            tracing::trace!(target: "raftmq::mark", name = "amqp_publishers_held_up");
            self.load.room.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_room_is_told_when_there_is_some() {
        let load = Arc::new(Load::default());
        let small = load.publish(1);
        assert!(load.has_room());
        let large = load.publish(PUBLISHED_BYTES_MAX);
        let room = load.room();
        assert!(!load.has_room());
        drop(large);
        assert!(load.has_room());
        assert!(room.now_or_never().is_some());
        drop(small);
        assert_eq!(load.count.load(Ordering::Relaxed), 0);
        assert_eq!(load.bytes.load(Ordering::Relaxed), 0);
    }
}
