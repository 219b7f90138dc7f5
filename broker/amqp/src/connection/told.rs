//! What the host tells unasked: outcomes, deliveries, events.

use raftmq_amqp_protocol::{ReplyCode, connection};

use crate::answer::{Delivery, Event, PublishOutcome};
use crate::connection::Connection;
use crate::connection::stage::Stage;
use crate::exception::Exception;
use crate::request::{ChannelKey, ConsumerKey, PublishNumber};

impl Connection {
    /// Takes the outcome of a publish. A second one, or one of a channel that is gone, does nothing.
    pub fn published(
        &mut self,
        channel: ChannelKey,
        number: PublishNumber,
        outcome: PublishOutcome,
    ) {
        self.on_channel(channel, |channel, session| {
            channel.published(number, outcome, session)
        });
    }

    /// Takes a delivery for a consumer. One for a consumer that is gone returns to its queue.
    pub fn deliver(&mut self, delivery: Delivery) {
        self.on_channel(delivery.channel, |channel, session| {
            channel.deliver(delivery, session);
            Ok(())
        });
    }

    /// Counts a delivery that the host cannot hand over: its consumer is granted another one in its place.
    pub fn pass_over(&mut self, channel: ChannelKey, consumer: ConsumerKey) {
        self.on_channel(channel, |channel, _session| {
            channel.pass_over(consumer);
            Ok(())
        });
    }

    /// Takes an event. Those of a channel or consumer that is gone do nothing.
    pub fn tell(&mut self, event: Event) {
        match event {
            Event::ConsumerCancelled { channel, consumer } => {
                self.on_channel(channel, |channel, session| {
                    channel.consumer_cancelled(consumer, session);
                    Ok(())
                });
            }
            Event::TakenBack {
                channel,
                queue,
                deliveries,
            } => self.on_channel(channel, |channel, session| {
                channel.taken_back(queue, deliveries, session);
                Ok(())
            }),
            Event::Reply { channel, message } => self.on_channel(channel, |channel, session| {
                channel.deliver_reply(&message, session);
                Ok(())
            }),
            Event::Blocked { reason } => {
                let was_blocked = self.blocked.replace(reason).is_some();
                if !was_blocked {
                    self.say_blocked();
                }
            }
            Event::Unblocked => {
                let was_blocked = self.blocked.take().is_some();
                if was_blocked && self.session.capabilities.blocked && self.is_running() {
                    self.session.send(0, connection::Unblocked {});
                }
            }
            Event::ForcedClose { reason } => {
                self.fail(Exception::new(ReplyCode::ConnectionForced, reason));
            }
            Event::Lost => self.lose(),
        }
    }

    /// Tells the client that the broker takes no messages, if so and if it understands.
    pub(super) fn say_blocked(&mut self) {
        if let Some(reason) = &self.blocked
            && self.session.capabilities.blocked
            && self.stage == Stage::Running
        {
            let reason = reason.clone();
            self.session.send(0, connection::Blocked { reason });
        }
    }

    fn is_running(&self) -> bool {
        self.stage == Stage::Running
    }
}
