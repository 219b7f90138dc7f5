//! `basic.consume` and `basic.cancel`: who gets deliveries on a channel.
//!
//! Owns consumer tags (unique in the channel, made here when the client gives none) and the
//! consumer of direct reply-to, which is no queue's.

use raftmq_amqp_protocol::{Text, Value, basic};
use raftmq_core::GroupNumber;
use raftmq_core::queue::AckMode;

use crate::channel::Channel;
use crate::channel::answers::{Reply, Then};
use crate::channel::consumers::Consumer;
use crate::exception::{Exception, not_allowed, precondition_failed};
use crate::limits::CONSUMERS_COUNT_MAX;
use crate::reply_to::PSEUDO_QUEUE;
use crate::request::{Ask, Consume, ConsumerKey};
use crate::session::{Session, owned};

impl Channel {
    pub(super) fn consume(
        &mut self,
        method: basic::Consume,
        session: &mut Session,
    ) -> Result<(), Exception> {
        let reply = Reply::unless(method.no_wait);
        let tag = self.tag_of(&method.consumer_tag, session)?;
        if method.queue.as_str() == PSEUDO_QUEUE {
            return self.consume_replies(tag, ack_mode(method.no_ack), reply, session);
        }
        let queue = self.named_queue(method.queue)?;
        let priority = match method.arguments.get("x-priority") {
            None => 0,
            Some(value) => priority(value).map_err(|problem| {
                let vhost = &session.vhost;
                precondition_failed(format!(
                    "invalid arg 'x-priority' for queue '{queue}' in vhost '{vhost}': {problem}"
                ))
            })?,
        };
        let key = session.next_consumer();
        let consumer = Consumer::new(tag.clone(), ack_mode(method.no_ack), self.prefetch);
        // `no-local` is ignored, as RabbitMQ does.
        let ask = Ask::Consume(Box::new(Consume {
            consumer: key,
            queue,
            tag,
            ack_mode: consumer.ack_mode,
            is_exclusive: method.exclusive,
            priority,
            prefetch: consumer.prefetch(self.global_prefetch),
            granted: consumer.granted(),
            arguments: method.arguments,
        }));
        self.consumers.insert(key, consumer);
        let id = session.ask(Some(self.key), ask);
        self.wait(id, Then::ConsumeOk(key, reply), basic::Consume::ID);
        Ok(())
    }

    pub(super) fn consume_ok(
        &mut self,
        consumer: ConsumerKey,
        _queue: GroupNumber,
        reply: Reply,
        session: &mut Session,
    ) {
        let Some(consumer) = self.consumers.get(consumer) else {
            return;
        };
        if reply == Reply::Wanted {
            let consumer_tag = consumer.tag.clone();
            session.send(self.key.number, basic::ConsumeOk { consumer_tag });
        }
    }

    pub(super) fn cancel(&mut self, method: basic::Cancel, session: &mut Session) {
        let reply = Reply::unless(method.no_wait);
        if let Some(consumer) = self.consumers.of_tag(&method.consumer_tag) {
            let id = session.ask(Some(self.key), Ask::Cancel { consumer });
            let then = Then::CancelOk(consumer, method.consumer_tag, reply);
            self.wait(id, then, basic::Cancel::ID);
            return;
        }
        if self.reply_consumer.as_ref() == Some(&method.consumer_tag) {
            self.reply_consumer = None;
        }
        // A tag that nobody has (any more) is no error.
        self.send_cancel_ok(method.consumer_tag, reply, session);
    }

    /// Ends a consumer; the client is told even if the queue was quicker.
    pub(super) fn cancel_ok(
        &mut self,
        consumer: ConsumerKey,
        tag: Text,
        reply: Reply,
        session: &mut Session,
    ) {
        self.return_held_back(consumer, session);
        self.consumers.remove(consumer);
        self.send_cancel_ok(tag, reply, session);
    }

    /// Ends a consumer whose queue is no more (consumer cancel notification). Who deletes the queue on the
    /// same channel hears that it is deleted first, as from RabbitMQ: told the other way round, amqplib closes
    /// the channel before it has its answer.
    pub(crate) fn consumer_cancelled(&mut self, consumer: ConsumerKey, session: &mut Session) {
        self.held_back.retain(|held| held.consumer != consumer);
        let Some(consumer) = self.consumers.remove(consumer) else {
            return;
        };
        if session.capabilities.consumer_cancel_notify {
            let cancel = basic::Cancel {
                consumer_tag: consumer.tag,
                no_wait: true,
            };
            if self.is_deleting_queue() {
                self.late_cancels.push(cancel);
            } else {
                session.send(self.key.number, cancel);
            }
        }
    }

    pub(super) fn send_late_cancels(&mut self, session: &mut Session) {
        for cancel in self.late_cancels.drain(..) {
            session.send(self.key.number, cancel);
        }
    }

    fn send_cancel_ok(&self, consumer_tag: Text, reply: Reply, session: &mut Session) {
        if reply == Reply::Wanted {
            session.send(self.key.number, basic::CancelOk { consumer_tag });
        }
    }

    /// The consumer of replies: at once, since no queue is asked.
    fn consume_replies(
        &mut self,
        tag: Text,
        ack_mode: AckMode,
        reply: Reply,
        session: &mut Session,
    ) -> Result<(), Exception> {
        match (ack_mode, &self.reply_consumer) {
            (AckMode::Manual, _) => {
                return Err(precondition_failed("reply consumer cannot acknowledge"));
            }
            (AckMode::Automatic, Some(_)) => {
                return Err(precondition_failed("reply consumer already set"));
            }
            (AckMode::Automatic, None) => {}
        }
        if reply == Reply::Wanted {
            let consumer_tag = tag.clone();
            session.send(self.key.number, basic::ConsumeOk { consumer_tag });
        }
        self.reply_consumer = Some(tag);
        Ok(())
    }

    /// Checks a tag, or makes one.
    fn tag_of(&mut self, tag: &Text, session: &Session) -> Result<Text, Exception> {
        let is_taken = |tag: &Text| {
            self.consumers.of_tag(tag).is_some() || self.reply_consumer.as_ref() == Some(tag)
        };
        if is_taken(tag) {
            return Err(not_allowed(format!(
                "attempt to reuse consumer tag '{tag}'"
            )));
        }
        if self.consumers.len() >= CONSUMERS_COUNT_MAX {
            return Err(not_allowed(format!(
                "reached maximum ({CONSUMERS_COUNT_MAX}) of consumers per channel"
            )));
        }
        if !tag.is_empty() {
            return Ok(owned(tag));
        }
        let id = &session.settings.connection_id;
        let mut made = self.tags_made;
        let tag = loop {
            made += 1;
            let tag = format!("amq.ctag-{id}.{}.{made}", self.key.number);
            let tag = Text::try_from(tag).unwrap_or_default();
            // A client that guesses tags delays itself, and there are no more than consumers.
            if !is_taken(&tag) {
                break tag;
            }
        };
        self.tags_made = made;
        Ok(tag)
    }
}

const fn ack_mode(no_ack: bool) -> AckMode {
    if no_ack {
        AckMode::Automatic
    } else {
        AckMode::Manual
    }
}

/// Reads `x-priority`; the error is in RabbitMQ's notation.
fn priority(value: Value<'_>) -> Result<i32, String> {
    let Some(number) = value.as_i64() else {
        return Err(format!("{{unacceptable_type,{}}}", value.type_name()));
    };
    // Only the order counts, and no client needs more levels than that.
    Ok(i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX }))
}
