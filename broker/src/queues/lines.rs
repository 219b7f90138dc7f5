//! What is to be pushed to one broker: a line for each channel, and which channels rest because they had
//! no room.
//!
//! Pure: the time is an argument. A channel that takes nothing is tried with less, and more and more
//! rarely, so that it costs neither the others nor the network. Does not know terms, bodies or sockets.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use raftmq_core::queue::{ChannelId, QueueEvent};
use tokio::time::Instant;

/// Events of one channel in one push.
const WINDOW_MAX: usize = 4_096;
/// Pause before a channel without room is tried again; doubled as long as it takes nothing.
const REST_MIN: Duration = Duration::from_millis(5);
/// The longest one.
const REST_MAX: Duration = Duration::from_secs(1);

/// What became of the events of one channel in a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Took {
    /// How many are done with, the first ones.
    pub(super) count: usize,
    /// Whether there was no room for the one behind them.
    pub(super) is_full: bool,
}

#[derive(Debug)]
struct Line {
    events: VecDeque<QueueEvent>,
    /// Events in the next push, at most.
    window: usize,
    rest: Duration,
    rests_until: Option<Instant>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            events: VecDeque::new(),
            window: WINDOW_MAX,
            rest: REST_MIN,
            rests_until: None,
        }
    }
}

impl Line {
    fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }

    fn pace(&mut self, took: Took, now: Instant) {
        if !took.is_full {
            self.window = WINDOW_MAX.min(self.window.saturating_mul(2));
            self.rest = REST_MIN;
            self.rests_until = None;
            return;
        }
        if took.count > 0 {
            self.rest = REST_MIN;
        }
        self.window = took.count.saturating_mul(2).clamp(1, WINDOW_MAX);
        self.rests_until = Some(now + self.rest);
        self.rest = REST_MAX.min(self.rest * 2);
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lines {
    by_channel: BTreeMap<ChannelId, Line>,
    /// Whose events were pushed last: next it is another channel's turn.
    last: Option<ChannelId>,
}

impl Lines {
    /// Adds an event behind all others of its channel.
    pub(super) fn add(&mut self, channel: ChannelId, event: QueueEvent) {
        let line = self.by_channel.entry(channel).or_default();
        line.events.push_back(event);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_channel.is_empty()
    }

    /// Shows every event, channel by channel.
    pub(super) fn events(&self) -> impl Iterator<Item = &QueueEvent> {
        self.by_channel.values().flat_map(|line| &line.events)
    }

    /// The next events of the channels that do not rest, those of a channel together and in order, without
    /// taking them out.
    pub(super) fn peek(&self, now: Instant, count_max: usize) -> Vec<QueueEvent> {
        let behind = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let up_to = self.last.into_iter();
        let behind = self.by_channel.range((behind, Bound::Unbounded));
        let up_to = up_to.flat_map(|last| self.by_channel.range(..=last));
        let lines = behind.chain(up_to).map(|(_, line)| line);
        let awake = lines.filter(|line| !line.rests(now));
        let events = awake.flat_map(|line| line.events.iter().take(line.window));
        events.take(count_max).copied().collect()
    }

    /// Takes out what a channel is done with. One that had no room rests.
    pub(super) fn done(&mut self, channel: ChannelId, took: Took, now: Instant) {
        self.last = Some(channel);
        let Some(line) = self.by_channel.get_mut(&channel) else {
            return;
        };
        line.events.drain(..took.count.min(line.events.len()));
        line.pace(took, now);
        if line.events.is_empty() {
            self.by_channel.remove(&channel);
        }
    }

    /// When there is something to be pushed: now, or when a channel has rested; `None` = there is nothing.
    pub(super) fn ready_at(&self, now: Instant) -> Option<Instant> {
        let lines = self.by_channel.values();
        let ready = lines.map(|line| line.rests_until.map_or(now, |until| until.max(now)));
        ready.min()
    }
}

#[cfg(test)]
mod tests {
    use raftmq_core::ids::DeliveryId;

    use super::*;

    fn channel(number: u64) -> ChannelId {
        ChannelId {
            number,
            ..ChannelId::default()
        }
    }

    fn event(number: u64, id: u64) -> QueueEvent {
        QueueEvent::TakenBack {
            channel: channel(number),
            delivery: DeliveryId(id),
        }
    }

    fn lines(events: &[(u64, u64)]) -> Lines {
        let mut lines = Lines::default();
        for (number, id) in events {
            lines.add(channel(*number), event(*number, *id));
        }
        lines
    }

    const FULL: Took = Took {
        count: 0,
        is_full: true,
    };

    #[tokio::test(start_paused = true)]
    async fn a_channel_without_room_rests_and_the_others_go_on() {
        let now = Instant::now();
        let mut lines = lines(&[(1, 1), (2, 2), (1, 3), (2, 4)]);
        assert_eq!(
            lines.peek(now, 9),
            [event(1, 1), event(1, 3), event(2, 2), event(2, 4)]
        );

        lines.done(channel(1), FULL, now);
        let one = Took {
            count: 1,
            is_full: false,
        };
        lines.done(channel(2), one, now);

        assert_eq!(lines.peek(now, 9), [event(2, 4)]);
        assert_eq!(lines.ready_at(now), Some(now));
        lines.done(channel(2), one, now);
        assert_eq!(lines.peek(now, 9), []);
        assert_eq!(lines.ready_at(now), Some(now + REST_MIN));
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_that_takes_nothing_is_tried_with_less_and_ever_more_rarely() {
        let mut now = Instant::now();
        let mut lines = lines(&[(1, 1), (1, 2), (1, 3)]);
        let mut rests = Vec::new();
        for _ in 0..10 {
            lines.done(channel(1), FULL, now);
            assert_eq!(lines.peek(now, 9), []);
            let ready_at = lines.ready_at(now).expect("events wait");
            rests.push(ready_at - now);
            now = ready_at;
            assert_eq!(lines.peek(now, 9), [event(1, 1)]);
        }
        assert_eq!(rests.first(), Some(&REST_MIN));
        assert_eq!(rests.last(), Some(&REST_MAX));
        assert!(rests.is_sorted());

        let one = Took {
            count: 1,
            is_full: false,
        };
        lines.done(channel(1), one, now);
        assert_eq!(lines.peek(now, 9), [event(1, 2), event(1, 3)]);
        lines.done(channel(1), FULL, now);
        assert_eq!(lines.ready_at(now), Some(now + REST_MIN), "it had room");
    }

    #[tokio::test(start_paused = true)]
    async fn channels_take_turns() {
        let now = Instant::now();
        let mut lines = lines(&[(1, 1), (1, 2), (2, 3), (3, 4)]);
        let one = Took {
            count: 1,
            is_full: false,
        };

        assert_eq!(lines.peek(now, 1), [event(1, 1)]);
        lines.done(channel(1), one, now);

        assert_eq!(lines.peek(now, 1), [event(2, 3)]);
        lines.done(channel(2), one, now);
        assert_eq!(lines.peek(now, 2), [event(3, 4), event(1, 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_left_of_a_channel_that_took_everything() {
        let now = Instant::now();
        let mut lines = lines(&[(1, 1), (1, 2)]);
        let all = Took {
            count: 9,
            is_full: false,
        };

        lines.done(channel(1), all, now);
        lines.done(channel(7), all, now);

        assert!(lines.is_empty());
        assert_eq!(lines.ready_at(now), None);
        assert_eq!(lines.events().count(), 0);
    }
}
