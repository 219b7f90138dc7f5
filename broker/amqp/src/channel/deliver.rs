//! Messages on their way to the client: `basic.deliver`, `basic.get-ok`, replies.
//!
//! Owns delivery tags' assignment and what the limit of all consumers holds back.

use raftmq_amqp_protocol::{ShortString, basic};
use raftmq_core::queue::{AckMode, Attempt, Outcome};

use crate::answer::{Delivery, Got, Taken};
use crate::channel::answers::{Then, saturated};
use crate::channel::unsettled::Held;
use crate::channel::{Channel, State};
use crate::exception::{Exception, precondition_failed};
use crate::limits::UNSETTLED_COUNT_MAX;
use crate::message::properties_for_consumer;
use crate::planted::{Bug, is_planted};
use crate::request::{Ask, ConsumerKey, Message, Request};
use crate::session::Session;

impl Channel {
    /// Takes a delivery. One for a consumer that is gone returns to its queue.
    pub(crate) fn deliver(&mut self, delivery: Delivery, session: &mut Session) {
        if self.state != State::Open {
            // The host returns what a closed channel holds.
            return;
        }
        let Some(consumer) = self.consumers.count_delivery(delivery.consumer) else {
            tracing::trace!(target: "raftmq::mark", name = "amqp_delivery_came_too_late");
            self.give_back(&[delivery], session);
            return;
        };
        let is_limited = consumer.ack_mode == AckMode::Manual;
        if is_limited && !(self.held_back.is_empty() && self.has_room()) {
            tracing::trace!(target: "raftmq::mark", name = "amqp_delivery_held_back");
            self.held_back.push_back(delivery);
            return;
        }
        self.send_delivery(delivery, session);
    }

    /// Counts a delivery that nobody gets.
    pub(crate) fn pass_over(&mut self, consumer: ConsumerKey) {
        self.consumers.count_delivery(consumer);
    }

    /// Sends what the limit of all consumers held back, as far as it now may.
    pub(super) fn release_held_back(&mut self, session: &mut Session) {
        while self.has_room() {
            let Some(delivery) = self.held_back.pop_front() else {
                return;
            };
            self.send_delivery(delivery, session);
        }
    }

    /// Returns what was held back for a consumer that ends: the client has not seen it.
    pub(super) fn return_held_back(&mut self, consumer: ConsumerKey, session: &mut Session) {
        let held_back = std::mem::take(&mut self.held_back);
        let (of_consumer, others): (Vec<_>, Vec<_>) = held_back
            .into_iter()
            .partition(|held| held.consumer == consumer);
        self.held_back = others.into();
        self.give_back(&of_consumer, session);
    }

    /// Whether the limit of all consumers leaves room for one more.
    fn has_room(&self) -> bool {
        let limit = usize::from(self.global_prefetch);
        limit == 0
            || self.unsettled.consumed_count() < limit
            || is_planted(Bug::GlobalPrefetchIgnored)
    }

    fn give_back(&self, deliveries: &[Delivery], session: &mut Session) {
        let unsettled = deliveries.iter().filter(|one| !one.taken.is_settled);
        let held: Vec<Held> = unsettled
            .map(|one| held(&one.taken, Some(one.consumer)))
            .collect();
        self.request_settle(&held, Outcome::Returned(Attempt::CountsNot), session);
    }

    fn send_delivery(&mut self, delivery: Delivery, session: &mut Session) {
        let Delivery {
            consumer, taken, ..
        } = delivery;
        let Some(consumer_tag) = self.consumers.get(consumer).map(|one| one.tag.clone()) else {
            return;
        };
        let method = basic::Deliver {
            consumer_tag: consumer_tag.into(),
            delivery_tag: self.tag_for(&taken, Some(consumer)),
            redelivered: taken.is_redelivered,
            exchange: taken.message.exchange.clone(),
            routing_key: taken.message.routing_key.clone(),
        };
        session.send_content(self.key.number, method, &message_for_consumer(taken));
    }

    pub(super) fn get(
        &mut self,
        method: basic::Get,
        session: &mut Session,
    ) -> Result<(), Exception> {
        let queue = self.named_queue(method.queue)?;
        if self.unsettled.len() >= UNSETTLED_COUNT_MAX {
            return Err(precondition_failed(format!(
                "channel holds {UNSETTLED_COUNT_MAX} unsettled deliveries"
            )));
        }
        let ack_mode = if method.no_ack {
            AckMode::Automatic
        } else {
            AckMode::Manual
        };
        let id = session.ask(Some(self.key), Ask::Get { queue, ack_mode });
        self.wait(id, Then::GetOk, basic::Get::ID);
        Ok(())
    }

    pub(super) fn get_ok(&mut self, got: Got, session: &mut Session) {
        let Got { taken, ready_count } = got;
        let method = basic::GetOk {
            delivery_tag: self.tag_for(&taken, None),
            redelivered: taken.is_redelivered,
            exchange: taken.message.exchange.clone(),
            routing_key: taken.message.routing_key.clone(),
            message_count: saturated(ready_count),
        };
        session.send_content(self.key.number, method, &message_for_consumer(taken));
    }

    /// Takes a reply for the consumer of `amq.rabbitmq.reply-to`; without one it is dropped.
    pub(crate) fn deliver_reply(&mut self, message: &Message, session: &mut Session) {
        let Some(consumer_tag) = self.reply_consumer.clone() else {
            return;
        };
        let method = basic::Deliver {
            consumer_tag: consumer_tag.into(),
            delivery_tag: self.unsettled.next_tag(),
            redelivered: false,
            exchange: ShortString::default(),
            routing_key: self.reply_address(session).to_short(),
        };
        session.send_content(self.key.number, method, message);
    }

    /// Grants more deliveries to consumers that have used up half, while the client settles some.
    pub(super) fn give_credit(&mut self, session: &mut Session) {
        let holds = self.unsettled.len() + self.held_back.len();
        if self.state != State::Open || holds >= UNSETTLED_COUNT_MAX {
            return;
        }
        for key in self.consumers.grant() {
            self.request_credit(key, session);
        }
    }

    pub(super) fn request_credit(&self, key: ConsumerKey, session: &mut Session) {
        let Some(consumer) = self.consumers.get(key) else {
            return;
        };
        session.requests.push_back(Request::Credit {
            channel: self.key,
            consumer: key,
            prefetch: consumer.prefetch(self.global_prefetch),
            granted: consumer.granted(),
        });
    }

    fn tag_for(&mut self, taken: &Taken, consumer: Option<ConsumerKey>) -> u64 {
        if taken.is_settled {
            return self.unsettled.next_tag();
        }
        self.unsettled.insert(held(taken, consumer))
    }
}

const fn held(taken: &Taken, consumer: Option<ConsumerKey>) -> Held {
    Held {
        queue: taken.queue,
        id: taken.id,
        consumer,
        is_gone: false,
    }
}

fn message_for_consumer(taken: Taken) -> Message {
    let properties = properties_for_consumer(&taken);
    Message {
        properties,
        ..taken.message
    }
}
