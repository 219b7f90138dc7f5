//! The way of a channel's events to its owner: bounded by their number and by the bytes of their bodies.
//!
//! Does not know queues or leaders: who finds no room tries again.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

use super::channel::ChannelEvent;

/// Events that wait for a channel's owner; leaders wait when there are more.
pub(super) const EVENTS_MAX: usize = 4_096;
/// Bytes of bodies that wait for a channel's owner, unless it is one body.
pub(super) const EVENTS_BYTES_MAX: usize = 8 << 20;

/// What concerns a channel, as it comes. Ends when the channel is closed or lost.
#[derive(Debug)]
pub struct ChannelEvents {
    events: mpsc::Receiver<ChannelEvent>,
    bytes: Arc<AtomicUsize>,
}

impl ChannelEvents {
    /// Waits for the next event; `None` = there will be none. Cancel safe.
    pub async fn recv(&mut self) -> Option<ChannelEvent> {
        let event = self.events.recv().await?;
        Some(self.taken(event))
    }

    /// Takes the next event if it is there.
    ///
    /// # Errors
    ///
    /// `Empty`; `Disconnected` when there will be none.
    pub fn try_recv(&mut self) -> Result<ChannelEvent, TryRecvError> {
        let event = self.events.try_recv()?;
        Ok(self.taken(event))
    }

    /// The events of a channel that is closed.
    #[cfg(test)]
    pub(crate) fn of(all: impl IntoIterator<Item = ChannelEvent>) -> Self {
        let (sender, receiver) = events();
        for event in all {
            assert_eq!(sender.try_send(event), Sent::Taken);
        }
        receiver
    }

    fn taken(&self, event: ChannelEvent) -> ChannelEvent {
        self.bytes.fetch_sub(bytes_of(&event), Ordering::Relaxed);
        event
    }
}

impl Stream for ChannelEvents {
    type Item = ChannelEvent;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<ChannelEvent>> {
        let event = self.events.poll_recv(context);
        event.map(|event| event.map(|event| self.taken(event)))
    }
}

/// The other end; used by one at a time.
#[derive(Debug)]
pub(super) struct EventSender {
    events: mpsc::Sender<ChannelEvent>,
    bytes: Arc<AtomicUsize>,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The owner will get it.
    Taken,
    /// There is no room now.
    NoRoom,
    /// The owner is closing the channel.
    Closed,
}

impl EventSender {
    pub(super) fn try_send(&self, event: ChannelEvent) -> Sent {
        let bytes = bytes_of(&event);
        let waiting = self.bytes.load(Ordering::Relaxed);
        if waiting > 0 && waiting.saturating_add(bytes) > EVENTS_BYTES_MAX && bytes > 0 {
            return Sent::NoRoom;
        }
        // Before it can be taken.
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let sent = match self.events.try_send(event) {
            Ok(()) => return Sent::Taken,
            Err(TrySendError::Full(_)) => Sent::NoRoom,
            Err(TrySendError::Closed(_)) => Sent::Closed,
        };
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        sent
    }
}

/// Both ends for a new channel.
pub(super) fn events() -> (EventSender, ChannelEvents) {
    let (sender, receiver) = mpsc::channel(EVENTS_MAX);
    let bytes = Arc::new(AtomicUsize::new(0));
    let sender = EventSender {
        events: sender,
        bytes: Arc::clone(&bytes),
    };
    let receiver = ChannelEvents {
        events: receiver,
        bytes,
    };
    (sender, receiver)
}

fn bytes_of(event: &ChannelEvent) -> usize {
    match event {
        ChannelEvent::Delivered { body, .. } => body.len(),
        ChannelEvent::TakenBack { .. } | ChannelEvent::ConsumerCancelled { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::StreamExt;
    use raftmq_core::ids::{ConsumerId, DeliveryId, GroupNumber};
    use raftmq_core::queue::{ChannelId, Delivery, MessageRef};

    use super::*;

    fn delivered(bytes: usize) -> ChannelEvent {
        ChannelEvent::Delivered {
            queue: GroupNumber(1),
            delivery: Delivery {
                id: DeliveryId(1),
                channel: ChannelId::default(),
                consumer: Some(ConsumerId(1)),
                message: MessageRef::default(),
                size: 0,
                attempts: 0,
                is_redelivered: false,
                is_settled: false,
            },
            body: Bytes::from(vec![0; bytes]),
        }
    }

    const CANCELLED: ChannelEvent = ChannelEvent::ConsumerCancelled {
        queue: GroupNumber(1),
        consumer: ConsumerId(1),
    };

    #[tokio::test]
    async fn bodies_that_wait_are_bounded_and_what_has_none_goes_on() {
        let (sender, mut events) = events();

        assert_eq!(
            sender.try_send(delivered(EVENTS_BYTES_MAX - 1)),
            Sent::Taken
        );
        assert_eq!(sender.try_send(delivered(1)), Sent::Taken);
        assert_eq!(sender.try_send(delivered(1)), Sent::NoRoom);
        assert_eq!(sender.try_send(CANCELLED), Sent::Taken);

        assert!(events.next().await.is_some());
        assert_eq!(sender.try_send(delivered(1)), Sent::Taken);
        assert!(events.recv().await.is_some());
        assert_eq!(events.try_recv(), Ok(CANCELLED));
        assert!(events.try_recv().is_ok());
        assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
    }

    #[tokio::test]
    async fn a_body_larger_than_the_bound_comes_alone() {
        let (sender, mut events) = events();

        assert_eq!(
            sender.try_send(delivered(EVENTS_BYTES_MAX * 2)),
            Sent::Taken
        );
        assert_eq!(sender.try_send(delivered(1)), Sent::NoRoom);
        assert!(events.recv().await.is_some());

        assert_eq!(sender.try_send(delivered(1)), Sent::Taken);
        drop(events);
        assert_eq!(sender.try_send(delivered(1)), Sent::Closed);
    }
}
