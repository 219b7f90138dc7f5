//! `basic.publish`, and what becomes of it: confirms and returns.
//!
//! Owns the checks that need no exchange, and direct reply-to on the way in. A publish does not
//! stop its channel: outcomes come when they come.

use raftmq_amqp_protocol::{Content, ReplyCode, ShortString, basic};

use crate::answer::PublishOutcome;
use crate::channel::publishes::Verdict;
use crate::channel::{Channel, State};
use crate::exception::{Exception, not_implemented, precondition_failed};
use crate::message::{check_user_id, more_keys, ttl_ms, with_reply_to, without_bcc};
use crate::reply_to::{PSEUDO_QUEUE, ReplyAddress};
use crate::request::{Message, Publish, PublishNumber, PublishTo, Request};
use crate::session::Session;

const NO_ROUTE: ShortString = ShortString::from_static("NO_ROUTE");

impl Channel {
    pub(super) fn publish(
        &mut self,
        method: basic::Publish,
        content: Content,
        session: &mut Session,
    ) -> Result<(), Exception> {
        if method.immediate {
            return Err(not_implemented("immediate=true"));
        }
        let Content {
            mut properties,
            body,
        } = content;
        let view = properties.view();
        check_user_id(&view, &session.identity)?;
        let ttl_ms = ttl_ms(&view)?;
        let more_keys = more_keys(view.headers.unwrap_or_default())?;
        if view.reply_to == Some(PSEUDO_QUEUE.as_bytes()) {
            if self.reply_consumer.is_none() {
                return Err(precondition_failed("fast reply consumer does not exist"));
            }
            let address = self.reply_address(session);
            properties = with_reply_to(&properties, &address.to_text());
        }
        if properties.view().headers.is_some() {
            properties = without_bcc(&properties);
        }
        let reply = ReplyAddress::parse(&method.routing_key);
        let to = match reply.filter(|_| method.exchange.is_empty()) {
            Some(address) => PublishTo::Reply(address),
            None => PublishTo::Exchange,
        };
        let body_bytes = body.len() as u64;
        session.in_flight_bytes += body_bytes;
        let publish = Publish {
            channel: self.key,
            number: self.publishes.begin(body_bytes),
            to,
            is_mandatory: method.mandatory,
            is_confirmed: self.publishes.is_confirmed(),
            ttl_ms,
            more_keys,
            message: Message {
                exchange: method.exchange,
                routing_key: method.routing_key,
                properties,
                body,
            },
        };
        let publish = Request::Publish(Box::new(publish));
        session.requests.push_back(publish);
        Ok(())
    }

    /// Where replies to this channel go.
    pub(super) fn reply_address(&self, session: &Session) -> ReplyAddress {
        ReplyAddress {
            connection_id: session.settings.connection_id.clone(),
            channel: self.key,
        }
    }

    /// Takes the outcome of a publish; a second one, or an unknown number, does nothing.
    pub(crate) fn published(
        &mut self,
        number: PublishNumber,
        outcome: PublishOutcome,
        session: &mut Session,
    ) -> Result<(), Exception> {
        let verdict = match &outcome {
            PublishOutcome::Committed | PublishOutcome::Unroutable(_) => Verdict::Acked,
            PublishOutcome::Failed | PublishOutcome::Refused(_) => Verdict::Nacked,
        };
        let Some(body_bytes) = self.publishes.settle(number, verdict) else {
            return Ok(());
        };
        session.in_flight_bytes -= body_bytes;
        if self.state != State::Open {
            return Ok(());
        }
        match outcome {
            PublishOutcome::Committed | PublishOutcome::Failed => Ok(()),
            PublishOutcome::Unroutable(message) => {
                // Confirms are put off, so the return comes before its ack.
                let method = basic::Return {
                    reply_code: ReplyCode::NoRoute.code(),
                    reply_text: NO_ROUTE,
                    exchange: message.exchange.clone(),
                    routing_key: message.routing_key.clone(),
                };
                session.send_content(self.key.number, method, &message);
                Ok(())
            }
            PublishOutcome::Refused(refusal) => {
                let exception = refusal.exception(session.place());
                Err(exception.blame(basic::Publish::ID))
            }
        }
    }

    pub(super) fn send_confirms(&mut self, session: &mut Session) {
        if matches!(self.state, State::Closing | State::Closed) || !self.publishes.has_confirms() {
            return;
        }
        for confirm in self.publishes.take_confirms() {
            let (delivery_tag, multiple) = (confirm.tag, confirm.is_multiple);
            match confirm.verdict {
                Verdict::Acked => session.send(
                    self.key.number,
                    basic::Ack {
                        delivery_tag,
                        multiple,
                    },
                ),
                Verdict::Nacked => session.send(
                    self.key.number,
                    basic::Nack {
                        delivery_tag,
                        multiple,
                        requeue: false,
                    },
                ),
            }
        }
    }
}
