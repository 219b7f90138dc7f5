//! Brings what came of requests, and what queues tell, to the machine of a connection.

use raftmq_amqp::{Answer, ChannelKey, ConsumerKey, Delivery, Event, PublishOutcome, Refusal};
use raftmq_core::queue::{self, Attempt, Command, Outcome, Span};
use raftmq_core::{ConsumerId, GroupNumber};

use super::channels::Told;
use super::connection::Connection;
use super::work::{self, Done};
use crate::queues::ChannelEvent;

impl Connection {
    /// Takes what a piece of work gave.
    pub(super) fn finish(&mut self, done: Done) {
        let is_counted = !matches!(done, Done::Told | Done::Left { .. } | Done::OutOfPatience);
        self.take_outcome(done);
        if is_counted {
            self.unfinished_count -= 1;
            self.leave_if_done();
        }
    }

    fn take_outcome(&mut self, done: Done) {
        match done {
            Done::Authenticated { id, identity } => {
                let answer = match identity {
                    Ok(identity) => {
                        self.user = identity.user.clone();
                        Answer::Authenticated(identity)
                    }
                    Err(refusal) => Answer::Refused(refusal),
                };
                self.machine.answer(None, id, answer);
            }
            Done::Answered {
                channel,
                id,
                answer,
            } => self.machine.answer(Some(channel), id, answer),
            Done::Attached {
                channel,
                id,
                consumer,
                queue,
                attached,
            } => {
                let answer = self.attached(channel, consumer, queue, attached);
                self.machine.answer(Some(channel), id, answer);
                self.hear_early(channel);
            }
            Done::Detached {
                channel,
                id,
                consumer,
            } => {
                // Its last deliveries come before the answer.
                self.hear_all_of(channel);
                if let Some(known) = self.channels.get_mut(channel) {
                    known.detached(consumer);
                }
                self.machine.answer(Some(channel), id, Answer::Done);
            }
            Done::Published {
                channel,
                number,
                outcome,
                bytes,
            } => {
                if bytes > 0 {
                    self.own.count -= 1;
                    self.own.bytes -= bytes;
                }
                if matches!(outcome, PublishOutcome::Failed) {
                    self.shared.metrics.failed.increment(1);
                }
                self.machine.published(channel, number, outcome);
                self.note_published(channel);
            }
            Done::Told => {}
            Done::Left { id } => self.left(id),
            Done::OutOfPatience => self.leave(),
        }
    }

    fn attached(
        &mut self,
        channel: ChannelKey,
        consumer: ConsumerKey,
        queue: GroupNumber,
        attached: Result<ConsumerId, Refusal>,
    ) -> Answer {
        let Some(known) = self.channels.get_mut(channel) else {
            // Closed meanwhile: the consumer went with the channel.
            return Answer::Consuming { queue };
        };
        known.is_attaching = false;
        match attached {
            Ok(id) => {
                known.attached(consumer, queue, id);
                Answer::Consuming { queue }
            }
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    /// Takes what came before it was known who the consumer is.
    fn hear_early(&mut self, channel: ChannelKey) {
        let Some(known) = self.channels.get_mut(channel) else {
            return;
        };
        for event in known.take_early() {
            tracing::trace!(target: "raftmq::mark", name = "amqp_delivery_before_its_consumer");
            self.hear((channel, Some(event)));
        }
    }

    fn note_published(&mut self, channel: ChannelKey) {
        let Some(known) = self.channels.get_mut(channel) else {
            return;
        };
        known.publishes_count -= 1;
        if known.publishes_count == 0
            && let Some(id) = known.closing.take()
        {
            self.end_channel(channel, id);
        }
    }

    /// Takes what a queue told a channel.
    pub(super) fn hear(&mut self, (channel, event): Told) {
        let Some(known) = self.channels.get_mut(channel) else {
            return;
        };
        let Some(event) = event else {
            // One that is closed already has ended by itself.
            if known.id().is_some() {
                self.force_close("the broker was out of service");
            }
            return;
        };
        match event {
            ChannelEvent::Delivered {
                queue,
                delivery,
                body,
            } => {
                let consumer = delivery.consumer.unwrap_or_default();
                match known.key_of(queue, consumer) {
                    Some(key) => self.deliver(channel, key, (queue, &delivery), body),
                    None if known.is_attaching => known.put_off(ChannelEvent::Delivered {
                        queue,
                        delivery,
                        body,
                    }),
                    None => self.give_back_delivery(queue, &delivery),
                }
            }
            ChannelEvent::TakenBack { queue, deliveries } => self.machine.tell(Event::TakenBack {
                channel,
                queue,
                deliveries,
            }),
            ChannelEvent::ConsumerCancelled { queue, consumer } => {
                if let Some(key) = known.key_of(queue, consumer) {
                    known.detached(key);
                    let consumer = key;
                    self.machine
                        .tell(Event::ConsumerCancelled { channel, consumer });
                } else if known.is_attaching {
                    known.put_off(ChannelEvent::ConsumerCancelled { queue, consumer });
                }
            }
        }
    }

    fn deliver(
        &mut self,
        channel: ChannelKey,
        consumer: ConsumerKey,
        (queue, delivery): (GroupNumber, &queue::Delivery),
        body: bytes::Bytes,
    ) {
        match work::taken(queue, delivery, body) {
            Ok(taken) => {
                self.shared.metrics.delivered.increment(1);
                self.machine.deliver(Delivery {
                    channel,
                    consumer,
                    taken,
                });
            }
            Err(error) => {
                // It stays with the channel, unsettled: nothing is thrown away.
                self.shared.metrics.unreadable.increment(1);
                tracing::error!(%queue, %error, "a message cannot be read");
                self.machine.pass_over(channel, consumer);
            }
        }
    }

    /// Returns a delivery for a consumer that is gone; the client has not seen it.
    fn give_back_delivery(&mut self, queue: GroupNumber, delivery: &queue::Delivery) {
        if delivery.is_settled {
            self.shared.metrics.dropped.increment(1);
            return;
        }
        tracing::trace!(target: "raftmq::mark", name = "amqp_delivery_after_its_consumer");
        let command = Command::Settle {
            channel: delivery.channel,
            spans: vec![Span::one(delivery.id)],
            outcome: Outcome::Returned(Attempt::CountsNot),
        };
        self.tell_queue(queue, command);
    }
}
