//! What all clients of this broker have published and not been answered: beyond a bound no further request of
//! those who have published much is taken, so that what is slow slows publishers down instead of failing
//! them. Who only consumes is never held up: that is how queues are emptied.
//!
//! Does not know connections or queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::limits::{
    OWN_BYTES_FREE, OWN_COUNT_FREE, OWN_COUNT_MAX, PUBLISHED_BYTES_MAX, PUBLISHED_COUNT_MAX,
};

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

/// What one connection has published and not been answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

impl Load {
    /// Whether a connection that has published so much may go on.
    pub(super) fn lets_on(&self, own: Own) -> bool {
        let is_small = own.count < OWN_COUNT_FREE && own.bytes < OWN_BYTES_FREE;
        is_small || own.count < OWN_COUNT_MAX && self.has_room()
    }

    fn has_room(&self) -> bool {
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
        let count = self.load.count.fetch_sub(1, Ordering::Relaxed);
        let bytes = self.load.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if count >= PUBLISHED_COUNT_MAX || bytes >= PUBLISHED_BYTES_MAX {
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
        let own = |count, bytes| Own { count, bytes };
        assert!(load.lets_on(own(OWN_COUNT_MAX - 1, 0)) && !load.lets_on(own(OWN_COUNT_MAX, 0)));
        let large = load.publish(PUBLISHED_BYTES_MAX);
        assert!(load.lets_on(own(0, 0)), "who has published little goes on");
        assert!(!load.lets_on(own(OWN_COUNT_FREE, 0)) && !load.lets_on(own(1, OWN_BYTES_FREE)));
        drop(large);
        assert_eq!(load.count.load(Ordering::Relaxed), 0);
        assert_eq!(load.bytes.load(Ordering::Relaxed), 0);
    }
}
