//! What came of requests, and what queues tell, as responses.

use raftmq_amqp::{Message, Taken};
use raftmq_core::queue::{self, Attempt, Command, Outcome};
use raftmq_core::{ConsumerId, GroupNumber};
use raftmq_proto::v1::channel_response::Response;
use raftmq_proto::v1::{ConsumerEnded, ConsumerStarted, Error, MessageGot, QueueDelivery};

use super::consumers::Credit;
use super::stream::Stream;
use super::translate;
use super::unsettled::Held;
use super::work::Done;
use crate::messages::form::{self, FormError};
use crate::queues::{ChannelEvent, Got};

impl Stream {
    /// Takes what a piece of work gave.
    pub(super) fn finish(&mut self, done: Done) {
        match done {
            Done::Published(told) => {
                self.publishes_count -= 1;
                self.outbox.push(Response::Published(told));
            }
            Done::Attached {
                tag,
                queue,
                attached,
            } => self.attached(&tag, queue, attached),
            Done::Detached { tag } => {
                // Its last deliveries come before its end.
                self.hear_all();
                self.end_consumer(tag, false);
            }
            Done::Got { number, queue, got } => {
                let got = got.map(|got| self.got(number, queue, got));
                let told = got.unwrap_or_else(|error| MessageGot {
                    number,
                    error: Some(error),
                    ..MessageGot::default()
                });
                self.outbox.push(Response::Got(told));
            }
            Done::Told => {}
        }
    }

    fn attached(&mut self, tag: &str, queue: GroupNumber, attached: Result<ConsumerId, Error>) {
        let error = match attached {
            Ok(consumer) => {
                self.consumers.attached(tag, (queue, consumer));
                None
            }
            Err(error) => {
                self.consumers.end(tag);
                Some(error)
            }
        };
        self.outbox.push(Response::Started(ConsumerStarted {
            consumer_tag: tag.to_owned(),
            error,
        }));
        // What came before it was known who the consumer is.
        for event in std::mem::take(&mut self.early) {
            self.hear(event);
        }
        if let Some(at) = self.early_cancels.iter().position(|early| early == tag) {
            let tag = self.early_cancels.swap_remove(at);
            self.cancel(tag);
        }
    }

    fn end_consumer(&mut self, consumer_tag: String, queue_is_gone: bool) {
        self.consumers.end(&consumer_tag);
        self.outbox.push(Response::Ended(ConsumerEnded {
            consumer_tag,
            queue_is_gone,
        }));
    }

    fn got(&mut self, number: u64, queue: GroupNumber, got: Got) -> MessageGot {
        let mut told = MessageGot {
            number,
            ready_messages: got.ready_count,
            ..MessageGot::default()
        };
        if let Some((delivery, body)) = got.message {
            match self.read(queue, &delivery, body, "") {
                Ok(delivery) => told.delivery = Some(delivery),
                Err(error) => told.error = Some(Error::internal(error.to_string())),
            }
        }
        told
    }

    /// Takes what a queue told.
    pub(super) fn hear(&mut self, event: ChannelEvent) {
        match event {
            ChannelEvent::Delivered {
                queue,
                delivery,
                body,
            } => self.hear_delivery(queue, delivery, body),
            ChannelEvent::TakenBack { queue, deliveries } => self.forget(queue, deliveries),
            ChannelEvent::ConsumerCancelled { queue, consumer } => {
                if let Some(tag) = self.consumers.tag_of((queue, consumer)) {
                    let tag = tag.to_owned();
                    self.end_consumer(tag, true);
                } else if self.consumers.is_any_attaching() {
                    self.early
                        .push(ChannelEvent::ConsumerCancelled { queue, consumer });
                }
            }
        }
    }

    fn hear_delivery(&mut self, queue: GroupNumber, delivery: queue::Delivery, body: bytes::Bytes) {
        let id = (queue, delivery.consumer.unwrap_or_default());
        let Some(tag) = self.consumers.tag_of(id).map(str::to_owned) else {
            if self.consumers.is_any_attaching() {
                self.early.push(ChannelEvent::Delivered {
                    queue,
                    delivery,
                    body,
                });
            } else if !delivery.is_settled {
                // For a consumer that is gone; the client has not seen it.
                let id = delivery.id;
                let outcome = Outcome::Returned(Attempt::CountsNot);
                self.settle_held(&[Held { queue, id }], outcome);
            }
            return;
        };
        match self.read(queue, &delivery, body, &tag) {
            Ok(told) => self.outbox.push(Response::Delivery(told)),
            // It stays with the stream, unsettled: nothing is thrown away.
            Err(error) => tracing::error!(%queue, %error, "a message cannot be read"),
        }
        if let Some(Credit { prefetch, granted }) = self.consumers.count_delivery(id) {
            let credit = Command::Credit {
                consumer: id.1,
                prefetch,
                granted,
            };
            self.tell(queue, credit);
        }
    }

    /// Reads a message, and keeps it for settlement.
    fn read(
        &mut self,
        queue: GroupNumber,
        delivery: &queue::Delivery,
        body: bytes::Bytes,
        consumer_tag: &str,
    ) -> Result<QueueDelivery, FormError> {
        let id = delivery.id;
        let taken = Taken {
            queue,
            id,
            is_settled: delivery.is_settled,
            is_redelivered: delivery.is_redelivered,
            attempts: delivery.attempts,
            stored_at: delivery.message,
            message: form::decode(body)?.message,
        };
        let tag = if delivery.is_settled {
            self.unsettled.next_tag()
        } else {
            self.unsettled.insert(Held { queue, id })
        };
        Ok(translate::delivery(taken, tag, consumer_tag))
    }

    /// Takes a reply that is no queue's.
    pub(super) fn hear_reply(&mut self, message: Message) {
        let Some(consumer) = &self.reply_consumer else {
            return;
        };
        let tag = self.unsettled.next_tag();
        let told = translate::reply(message, tag, &consumer.tag);
        self.outbox.push(Response::Delivery(told));
    }
}
