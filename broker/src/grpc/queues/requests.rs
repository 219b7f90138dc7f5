//! Carries out what a client asks of a stream.
//!
//! What only looks at the image is answered at once; what asks a queue begins here, in the order of the
//! requests, and is waited for in `work`. Does not wait itself.

use futures_util::future::FutureExt;
use raftmq_amqp::{
    ChannelKey, Message, PSEUDO_QUEUE, ReplyAddress, more_keys, ttl_ms, with_reply_to, without_bcc,
};
use raftmq_amqp_protocol::{Body, ShortString};
use raftmq_core::GroupNumber;
use raftmq_core::cluster::Image;
use raftmq_core::cluster::amqp::Resource;
use raftmq_core::exchange::Route;
use raftmq_core::limits::SHORT_STRING_BYTES_MAX;
use raftmq_core::queue::{AckMode, Attach, Attempt, Command, Outcome};
use raftmq_proto::v1::channel_request::Request;
use raftmq_proto::v1::channel_response::Response;
use raftmq_proto::v1::{
    ConsumeQueue, ConsumerEnded, ConsumerStarted, Error, ErrorCode, GetMessage, MessageGot,
    MessagePublished, PublishMessage, SettleDeliveries, SettleOutcome,
};
use tokio::sync::OwnedSemaphorePermit;

use super::consumers::{Credit, NoConsumer};
use super::limits::{PREFETCH_MAX, UNSETTLED_COUNT_MAX};
use super::stream::Stream;
use super::translate;
use super::unsettled::{Held, spans_by_queue};
use super::work::{self, Done};
use crate::grpc::error::{of_amqp, of_publish, of_queue};
use crate::messages::publish::{Incoming, Plan, plan};
use crate::messages::replies::Inbox;

/// The consumer of replies that are no queue's.
pub(super) struct ReplyConsumer {
    pub(super) tag: String,
    /// Where replies go.
    address: ReplyAddress,
    pub(super) inbox: Inbox,
}

/// A publish, translated and looked at.
struct Looked {
    message: Message,
    ttl_ms: Option<u64>,
    more_keys: Vec<ShortString>,
}

impl Stream {
    /// Carries out a request that is no publish.
    ///
    /// # Errors
    /// It is against the rules: the stream ends.
    pub(super) fn carry_out(&mut self, request: Request) -> Result<(), Error> {
        match request {
            Request::Consume(consume) => {
                self.consume(consume);
                Ok(())
            }
            Request::Cancel(cancel) => {
                self.cancel(cancel.consumer_tag);
                Ok(())
            }
            Request::Get(get) => {
                self.get(&get);
                Ok(())
            }
            Request::Settle(settle) => self.settle(&settle),
            Request::Open(_) | Request::Publish(_) => {
                Err(Error::invalid_request("a stream is opened once"))
            }
        }
    }

    /// Publishes a message; `permit` is its part of the budget.
    pub(super) fn publish(&mut self, publish: PublishMessage, permit: OwnedSemaphorePermit) {
        let number = publish.number;
        let published = self.begin_publish(publish, permit);
        if let Err(told) = published.map_err(|error| work::failed(number, error)) {
            self.outbox.push(Response::Published(told));
        }
    }

    fn begin_publish(
        &mut self,
        publish: PublishMessage,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), Error> {
        let (number, is_mandatory) = (publish.number, publish.mandatory);
        let told = publish.message.unwrap_or_default();
        let message = translate::message(&publish.exchange, publish.routing_key, told);
        let message = message.map_err(Error::invalid_request)?;
        if let Some(to) = reply_address(&message) {
            self.reply(to, message, (number, is_mandatory));
            return Ok(());
        }
        let mut looked = self.look(message)?;
        let (queues, stored) = match self.plan(&publish.exchange, &looked)? {
            Plan::Enqueue(queues, stored) => (queues, stored),
            Plan::Unroutable => {
                let told = work::unroutable(number, is_mandatory);
                self.outbox.push(Response::Published(told));
                return Ok(());
            }
        };
        let to = self.target(&publish.exchange, &looked.message);
        // What is stored has it.
        looked.message.body = Body::default();
        let (parts, vhost) = (self.parts.clone(), self.vhost.clone());
        let published = self.parts.queues.publish(&queues, stored);
        let outcome = move |published| {
            drop(permit);
            let told = work::outcome_of((number, is_mandatory), &published, &to, || {
                let image = parts.controller.images().current();
                plan_in(
                    &image,
                    &vhost,
                    &publish.exchange,
                    &looked,
                    &mut Route::new(),
                )
            });
            Done::Published(told)
        };
        self.begin_waiting(published.map(outcome));
        Ok(())
    }

    fn begin_waiting(&mut self, published: impl Future<Output = Done> + Send + 'static) {
        self.publishes_count += 1;
        self.works.push(published.boxed());
    }

    /// Brings an answer to whoever asked.
    fn reply(&mut self, to: ReplyAddress, message: Message, (number, is_mandatory): (u64, bool)) {
        let replies = self.parts.replies.clone();
        self.begin_waiting(async move {
            let sent = replies.send(to, Some(message)).await;
            let told: MessagePublished = work::reply_outcome(number, is_mandatory, sent);
            Done::Published(told)
        });
    }

    /// Looks at what a message's properties say to a broker.
    fn look(&self, mut message: Message) -> Result<Looked, Error> {
        let view = message.properties.view();
        let refused = |exception: raftmq_amqp::Exception| {
            // Without the name of AMQP's code.
            let text = exception.text.as_str();
            let explanation = text.split_once(" - ").map_or(text, |(_, rest)| rest);
            Error::invalid_request(explanation)
        };
        let ttl_ms = ttl_ms(&view).map_err(refused)?;
        let more_keys = more_keys(view.headers.unwrap_or_default()).map_err(refused)?;
        if view.reply_to == Some(PSEUDO_QUEUE.as_bytes()) {
            let consumer = self.reply_consumer.as_ref();
            let consumer = consumer
                .ok_or_else(|| Error::invalid_request("there is no consumer of replies"))?;
            let address = consumer.address.to_text();
            message.properties = with_reply_to(&message.properties, &address);
        }
        if message.properties.view().headers.is_some() {
            message.properties = without_bcc(&message.properties);
        }
        Ok(Looked {
            message,
            ttl_ms,
            more_keys,
        })
    }

    fn plan(&mut self, exchange: &str, looked: &Looked) -> Result<Plan, Error> {
        let image = self.parts.controller.images().current();
        plan_in(&image, &self.vhost, exchange, looked, &mut self.route)
    }

    /// What errors of a publish name.
    fn target(&self, exchange: &str, message: &Message) -> Resource {
        if exchange.is_empty() {
            let queue = String::from_utf8_lossy(&message.routing_key);
            return Resource::queue(&self.vhost, &queue);
        }
        Resource::exchange(&self.vhost, exchange)
    }

    fn consume(&mut self, consume: ConsumeQueue) {
        let tag = consume.consumer_tag.clone();
        let started = if consume.queue == PSEUDO_QUEUE {
            let started = self.consume_replies(&consume);
            started.map(|()| {
                let (consumer_tag, error) = (tag.clone(), None);
                let told = ConsumerStarted {
                    consumer_tag,
                    error,
                };
                self.outbox.push(Response::Started(told));
            })
        } else {
            self.begin_consumer(consume)
        };
        if let Err(error) = started {
            self.outbox.push(Response::Started(ConsumerStarted {
                consumer_tag: tag,
                error: Some(error),
            }));
        }
    }

    fn begin_consumer(&mut self, consume: ConsumeQueue) -> Result<(), Error> {
        self.check_tag(&consume.consumer_tag)?;
        let queue = self.queue(&consume.queue)?;
        let prefetch = match (consume.no_ack, consume.prefetch) {
            // Nothing is ever unsettled.
            (true, _) => 0,
            (false, 0) => PREFETCH_MAX,
            (false, wanted) if wanted <= PREFETCH_MAX => wanted,
            (false, wanted) => {
                let reason = format!("prefetch is {wanted}, more than {PREFETCH_MAX}");
                return Err(Error::invalid_request(reason));
            }
        };
        let begun = self.consumers.begin(&consume.consumer_tag, prefetch);
        let Credit { prefetch, granted } = begun.map_err(|error| match error {
            NoConsumer::TagInUse => tag_in_use(&consume.consumer_tag),
            NoConsumer::TooMany => {
                Error::new(ErrorCode::Throttled, "the stream has too many consumers")
            }
        })?;
        let attach = Command::Attach(Attach {
            channel: self.channel.id(),
            tag: consume.consumer_tag.clone(),
            priority: consume.priority,
            is_exclusive: consume.exclusive,
            ack_mode: ack_mode(consume.no_ack),
            prefetch,
            granted,
        });
        let resource = Resource::queue(&self.vhost, &consume.queue);
        let reply = self.parts.queues.run(queue, attach);
        let names = (consume.consumer_tag, queue);
        self.works
            .push(work::attach(reply, resource, names).boxed());
        Ok(())
    }

    fn consume_replies(&mut self, consume: &ConsumeQueue) -> Result<(), Error> {
        self.check_tag(&consume.consumer_tag)?;
        if !consume.no_ack {
            return Err(Error::invalid_request("replies cannot be acknowledged"));
        }
        if self.reply_consumer.is_some() {
            return Err(Error::invalid_request("replies have a consumer already"));
        }
        let replies = &self.parts.replies;
        let number = replies.next_number();
        self.reply_consumer = Some(ReplyConsumer {
            tag: consume.consumer_tag.clone(),
            address: ReplyAddress {
                connection_id: replies.connection_id(number),
                channel: ChannelKey {
                    number: 1,
                    opening: 1,
                },
            },
            inbox: replies.open(number),
        });
        Ok(())
    }

    fn check_tag(&self, tag: &str) -> Result<(), Error> {
        if tag.is_empty() || tag.len() > SHORT_STRING_BYTES_MAX {
            let bytes = tag.len();
            return Err(Error::invalid_request(format!(
                "a consumer tag has 1 to {SHORT_STRING_BYTES_MAX} bytes, not {bytes}"
            )));
        }
        if self.is_reply_tag(tag) {
            return Err(tag_in_use(tag));
        }
        Ok(())
    }

    fn is_reply_tag(&self, tag: &str) -> bool {
        let consumer = self.reply_consumer.as_ref();
        consumer.is_some_and(|consumer| consumer.tag == tag)
    }

    /// Ends a consumer; a tag that nobody has (any more) is no error.
    pub(super) fn cancel(&mut self, tag: String) {
        if self.is_reply_tag(&tag) {
            self.reply_consumer = None;
        }
        if let Some((queue, consumer)) = self.consumers.id_of(&tag) {
            let detach = Command::Detach { consumer };
            let ended = Done::Detached { tag };
            let told = work::tell_queue(&self.parts.queues, queue, detach, ended);
            self.works.push(told);
        } else if self.consumers.knows(&tag) {
            self.early_cancels.push(tag);
        } else {
            self.outbox.push(Response::Ended(ConsumerEnded {
                consumer_tag: tag,
                queue_is_gone: false,
            }));
        }
    }

    fn get(&mut self, get: &GetMessage) {
        let number = get.number;
        if let Err(error) = self.begin_get(get) {
            self.outbox.push(Response::Got(MessageGot {
                number,
                error: Some(error),
                ..MessageGot::default()
            }));
        }
    }

    fn begin_get(&mut self, get: &GetMessage) -> Result<(), Error> {
        let queue = self.queue(&get.queue)?;
        if self.unsettled.len() >= UNSETTLED_COUNT_MAX {
            let reason = "the stream holds too many unsettled deliveries";
            return Err(Error::new(ErrorCode::Throttled, reason));
        }
        let resource = Resource::queue(&self.vhost, &get.queue);
        let channel = self.channel.id();
        let got = self.parts.queues.get(queue, channel, ack_mode(get.no_ack));
        let number = get.number;
        let done = move |got: Result<_, _>| Done::Got {
            number,
            queue,
            got: got.map_err(|error| of_queue(&error, &resource)),
        };
        self.works.push(got.map(done).boxed());
        Ok(())
    }

    fn settle(&mut self, settle: &SettleDeliveries) -> Result<(), Error> {
        let outcome = match settle.outcome() {
            SettleOutcome::Acked => Outcome::Acked,
            SettleOutcome::Rejected => Outcome::Rejected,
            SettleOutcome::Requeued => Outcome::Returned(Attempt::Counts),
            SettleOutcome::Unspecified => {
                return Err(Error::invalid_request("a settlement without an outcome"));
            }
        };
        let tag = settle.delivery_tag;
        let held = if settle.multiple {
            self.unsettled.take_up_to(tag)
        } else {
            self.unsettled.take_one(tag)
        };
        let held =
            held.ok_or_else(|| Error::invalid_request(format!("unknown delivery tag {tag}")))?;
        self.settle_held(&held, outcome);
        Ok(())
    }

    pub(super) fn settle_held(&mut self, held: &[Held], outcome: Outcome) {
        for (queue, spans) in spans_by_queue(held) {
            let channel = self.channel.id();
            self.tell(
                queue,
                Command::Settle {
                    channel,
                    spans,
                    outcome,
                },
            );
        }
    }

    /// Has a queue do something whose outcome nobody waits for.
    pub(super) fn tell(&mut self, queue: GroupNumber, command: Command) {
        let told = work::tell_queue(&self.parts.queues, queue, command, Done::Told);
        self.works.push(told);
    }

    /// Finds a queue that is nobody's own.
    fn queue(&self, name: &str) -> Result<GroupNumber, Error> {
        let image = self.parts.controller.images().current();
        let found = image.amqp.queue(&self.vhost, name);
        let queue = found.map_err(|error| of_amqp(&error))?;
        queue.check_access(None).map_err(|error| of_amqp(&error))?;
        Ok(queue.group)
    }
}

/// Whoever is answered without a queue.
fn reply_address(message: &Message) -> Option<ReplyAddress> {
    let address = ReplyAddress::parse(&message.routing_key);
    address.filter(|_| message.exchange.is_empty())
}

fn plan_in(
    image: &Image,
    vhost: &str,
    exchange: &str,
    looked: &Looked,
    route: &mut Route,
) -> Result<Plan, Error> {
    let found = image.amqp.vhost(vhost);
    let found = found.map_err(|error| of_amqp(&error))?;
    let incoming = Incoming {
        message: &looked.message,
        ttl_ms: looked.ttl_ms,
        more_keys: &looked.more_keys,
    };
    let planned = plan(image, found, exchange, incoming, route);
    planned.map_err(|error| of_publish(&error, &Resource::exchange(vhost, exchange)))
}

fn tag_in_use(tag: &str) -> Error {
    Error::invalid_request(format!("consumer tag {tag:?} is in use"))
}

const fn ack_mode(no_ack: bool) -> AckMode {
    if no_ack {
        AckMode::Automatic
    } else {
        AckMode::Manual
    }
}
