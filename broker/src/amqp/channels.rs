//! The open channels of a connection as their host keeps them: what of each is known to the service of
//! queues, and what is under way.
//!
//! Owns the two names of a consumer, the machine's and its queue's, and that a delivery which comes
//! before its consumer is known waits for that. Does not know frames or delivery tags.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::ready;
use futures_util::stream::{self, BoxStream, SelectAll, StreamExt};
use parking_lot::Mutex;
use raftmq_amqp::{AskId, ChannelKey, ConsumerKey};
use raftmq_core::queue::{Attempt, ChannelId};
use raftmq_core::{ConsumerId, GroupNumber};

use crate::queues::{ChannelEvent, ChannelEvents, QueueChannel, QueueError, Queues};

/// An event and whose it is; `None` = the channel is lost to the service.
pub(super) type Told = (ChannelKey, Option<ChannelEvent>);

/// Never locked across a wait, and by one task only.
type SharedEvents = Arc<Mutex<ChannelEvents>>;

/// One channel.
#[derive(Debug, Default)]
pub(super) struct Channel {
    /// Opened for the first consumer or `basic.get`.
    opened: Option<QueueChannel>,
    /// What it is told; the same as among the events of all channels.
    events: Option<SharedEvents>,
    keys: BTreeMap<(GroupNumber, ConsumerId), ConsumerKey>,
    ids: BTreeMap<ConsumerKey, (GroupNumber, ConsumerId)>,
    /// A consumer is being started: who it is at its queue is not known yet.
    pub(super) is_attaching: bool,
    /// What came meanwhile of a consumer that is not known yet.
    early: Vec<ChannelEvent>,
    /// Publishes that are not answered.
    pub(super) publishes_count: usize,
    /// The question that is answered once there are none.
    pub(super) closing: Option<AskId>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Channels {
    map: BTreeMap<ChannelKey, Channel>,
    /// Of all channels; an empty stream is over, which is no harm.
    pub(super) events: SelectAll<BoxStream<'static, Told>>,
}

impl Channels {
    /// Counts the channels.
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn get_mut(&mut self, key: ChannelKey) -> Option<&mut Channel> {
        self.map.get_mut(&key)
    }

    /// The channel, new when it is not known.
    pub(super) fn entry(&mut self, key: ChannelKey) -> &mut Channel {
        self.map.entry(key).or_default()
    }

    /// Returns what a channel holds to its queues.
    pub(super) fn release(&mut self, key: ChannelKey, attempt: Attempt) {
        let opened = self.map.get_mut(&key).and_then(|one| one.opened.take());
        if let Some(opened) = opened {
            opened.close(attempt);
        }
    }

    /// Forgets a channel; what it held returns to its queues.
    pub(super) fn close(&mut self, key: ChannelKey, attempt: Attempt) {
        self.release(key, attempt);
        self.map.remove(&key);
    }

    /// Forgets every channel.
    pub(super) fn close_all(&mut self, attempt: Attempt) {
        let keys: Vec<ChannelKey> = self.map.keys().copied().collect();
        for key in keys {
            self.close(key, attempt);
        }
    }

    /// The channel's name at its queues, made when it has none.
    ///
    /// # Errors
    /// As [`Queues::open_channel`].
    pub(super) fn open(
        &mut self,
        key: ChannelKey,
        queues: &Queues,
    ) -> Result<ChannelId, QueueError> {
        let channel = self.map.entry(key).or_default();
        if let Some(opened) = &channel.opened {
            return Ok(opened.id());
        }
        let (opened, events) = queues.open_channel()?;
        let id = opened.id();
        channel.opened = Some(opened);
        self.listen(key, events);
        Ok(id)
    }

    fn listen(&mut self, key: ChannelKey, events: ChannelEvents) {
        let events = Arc::new(Mutex::new(events));
        self.entry(key).events = Some(Arc::clone(&events));
        self.events.push(told(key, events));
    }

    /// Takes what a channel was told already.
    pub(super) fn next_of(&self, key: ChannelKey) -> Option<ChannelEvent> {
        let events = self.map.get(&key)?.events.as_ref()?;
        events.lock().try_recv().ok()
    }
}

/// The events of a channel, and their end.
fn told(key: ChannelKey, events: SharedEvents) -> BoxStream<'static, Told> {
    let events = stream::poll_fn(move |context| events.lock().poll_next_unpin(context));
    let events = events.map(Some).chain(stream::once(ready(None)));
    events.map(move |event| (key, event)).boxed()
}

impl Channel {
    /// The channel's name at its queues, if it has one.
    pub(super) fn id(&self) -> Option<ChannelId> {
        self.opened.as_ref().map(QueueChannel::id)
    }

    /// Takes note of who a consumer is at its queue.
    pub(super) fn attached(&mut self, key: ConsumerKey, queue: GroupNumber, consumer: ConsumerId) {
        self.keys.insert((queue, consumer), key);
        self.ids.insert(key, (queue, consumer));
    }

    /// Takes what was put off.
    pub(super) fn take_early(&mut self) -> Vec<ChannelEvent> {
        std::mem::take(&mut self.early)
    }

    /// Keeps an event until it is known who the consumer is.
    pub(super) fn put_off(&mut self, event: ChannelEvent) {
        self.early.push(event);
    }

    /// Who a consumer is at its queue.
    pub(super) fn id_of(&self, key: ConsumerKey) -> Option<(GroupNumber, ConsumerId)> {
        self.ids.get(&key).copied()
    }

    /// Who a queue's consumer is here.
    pub(super) fn key_of(&self, queue: GroupNumber, consumer: ConsumerId) -> Option<ConsumerKey> {
        self.keys.get(&(queue, consumer)).copied()
    }

    /// Forgets a consumer.
    pub(super) fn detached(&mut self, key: ConsumerKey) {
        if let Some(id) = self.ids.remove(&key) {
            self.keys.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: GroupNumber = GroupNumber(5);

    #[test]
    fn a_consumer_has_two_names_until_it_is_gone() {
        let mut channel = Channel {
            is_attaching: true,
            ..Channel::default()
        };
        let (key, id) = (ConsumerKey(1), ConsumerId(9));
        let cancelled = ChannelEvent::ConsumerCancelled {
            queue: QUEUE,
            consumer: id,
        };
        channel.put_off(cancelled.clone());

        channel.attached(key, QUEUE, id);
        assert_eq!(channel.take_early(), [cancelled]);
        assert_eq!(channel.take_early(), []);
        assert_eq!(channel.id_of(key), Some((QUEUE, id)));
        assert_eq!(channel.key_of(QUEUE, id), Some(key));
        assert_eq!(
            channel.key_of(GroupNumber(6), id),
            None,
            "ids are a queue's own"
        );

        channel.detached(key);
        assert_eq!(channel.id_of(key), None);
        assert_eq!(channel.key_of(QUEUE, id), None);
    }

    fn channel_key(number: u16) -> ChannelKey {
        ChannelKey { number, opening: 1 }
    }

    fn cancelled(id: u64) -> ChannelEvent {
        ChannelEvent::ConsumerCancelled {
            queue: QUEUE,
            consumer: ConsumerId(id),
        }
    }

    #[tokio::test]
    async fn the_end_of_a_channels_events_is_an_event() {
        let key = channel_key(1);
        let mut channels = Channels::default();
        channels.listen(key, ChannelEvents::of([]));
        assert_eq!(channels.events.next().await, Some((key, None)));
        assert_eq!(channels.events.next().await, None);
    }

    #[tokio::test]
    async fn what_one_channel_was_told_is_taken_without_the_others() {
        let (one, other) = (channel_key(1), channel_key(2));
        let mut channels = Channels::default();
        channels.listen(one, ChannelEvents::of([cancelled(1), cancelled(2)]));
        channels.listen(other, ChannelEvents::of([cancelled(3)]));

        assert_eq!(channels.next_of(one), Some(cancelled(1)));
        assert_eq!(channels.next_of(one), Some(cancelled(2)));
        assert_eq!(channels.next_of(one), None);
        assert_eq!(channels.next_of(channel_key(3)), None);

        let mut rest = Vec::new();
        while let Some(told) = channels.events.next().await {
            rest.push(told);
        }
        rest.sort_by_key(|(key, event)| (key.number, event.is_none()));
        let expected = [(one, None), (other, Some(cancelled(3))), (other, None)];
        assert_eq!(rest, expected);
    }
}
