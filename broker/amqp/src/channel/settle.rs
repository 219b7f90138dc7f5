//! `basic.ack`, `nack`, `reject`, `recover`: what the client says of its deliveries.

use std::collections::BTreeSet;

use raftmq_amqp_protocol::{Content, basic};
use raftmq_core::queue::{Attempt, Outcome};
use raftmq_core::{DeliveryId, GroupNumber};

use crate::channel::Channel;
use crate::channel::unsettled::{Held, spans_by_queue};
use crate::exception::{Exception, command_invalid, not_implemented, precondition_failed};
use crate::request::Request;
use crate::session::Session;

impl Channel {
    pub(super) fn run_basic(
        &mut self,
        method: basic::Method,
        content: Option<Content>,
        session: &mut Session,
    ) -> Result<(), Exception> {
        match method {
            basic::Method::Publish(publish) => {
                self.publish(publish, content.unwrap_or_default(), session)
            }
            basic::Method::Ack(ack) => {
                self.settle(ack.delivery_tag, ack.multiple, Outcome::Acked, session)
            }
            basic::Method::Nack(nack) => {
                let outcome = outcome_of(nack.requeue);
                self.settle(nack.delivery_tag, nack.multiple, outcome, session)
            }
            basic::Method::Reject(reject) => {
                let outcome = outcome_of(reject.requeue);
                self.settle(reject.delivery_tag, false, outcome, session)
            }
            basic::Method::Qos(qos) => self.qos(&qos, session),
            basic::Method::Consume(consume) => self.consume(consume, session),
            basic::Method::Cancel(cancel) => {
                self.cancel(cancel, session);
                Ok(())
            }
            basic::Method::Get(get) => self.get(get, session),
            basic::Method::RecoverAsync(recover) => self.recover(recover.requeue, session),
            basic::Method::Recover(recover) => {
                self.recover(recover.requeue, session)?;
                session.send(self.key.number, basic::RecoverOk {});
                Ok(())
            }
            // A client answers our `cancel` though it says no-wait.
            basic::Method::CancelOk(_) => Ok(()),
            basic::Method::QosOk(_)
            | basic::Method::ConsumeOk(_)
            | basic::Method::Return(_)
            | basic::Method::Deliver(_)
            | basic::Method::GetOk(_)
            | basic::Method::GetEmpty(_)
            | basic::Method::RecoverOk(_) => Err(command_invalid("unimplemented method")),
        }
    }

    fn settle(
        &mut self,
        tag: u64,
        is_multiple: bool,
        outcome: Outcome,
        session: &mut Session,
    ) -> Result<(), Exception> {
        let taken = if is_multiple {
            self.unsettled.take_up_to(tag)
        } else {
            self.unsettled.take_one(tag).map(|held| vec![held])
        };
        let Some(held) = taken else {
            return Err(precondition_failed(format!("unknown delivery tag {tag}")));
        };
        self.request_settle(&held, outcome, session);
        self.release_held_back(session);
        Ok(())
    }

    /// Returns everything that the client holds. It comes again, perhaps to others.
    fn recover(&mut self, requeue: bool, session: &mut Session) -> Result<(), Exception> {
        if !requeue {
            return Err(not_implemented("requeue=false"));
        }
        let held = self.unsettled.take_all();
        self.request_settle(&held, outcome_of(requeue), session);
        self.release_held_back(session);
        Ok(())
    }

    /// Notes that a queue took deliveries back: the client may still settle them, to no effect.
    pub(crate) fn taken_back(
        &mut self,
        queue: GroupNumber,
        deliveries: Vec<DeliveryId>,
        session: &mut Session,
    ) {
        let ids: BTreeSet<DeliveryId> = deliveries.into_iter().collect();
        self.held_back
            .retain(|held| held.taken.queue != queue || !ids.contains(&held.taken.id));
        self.unsettled.mark_gone(queue, &ids);
        self.release_held_back(session);
    }

    pub(super) fn request_settle(&self, held: &[Held], outcome: Outcome, session: &mut Session) {
        for (queue, spans) in spans_by_queue(held) {
            session.requests.push_back(Request::Settle {
                channel: self.key,
                queue,
                spans,
                outcome,
            });
        }
    }
}

const fn outcome_of(requeue: bool) -> Outcome {
    if requeue {
        Outcome::Returned(Attempt::Counts)
    } else {
        Outcome::Rejected
    }
}
