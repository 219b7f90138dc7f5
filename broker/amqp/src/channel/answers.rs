//! What a channel does once the host has answered.

use raftmq_amqp_protocol::{Method, MethodId, Text, basic, channel, queue};

use crate::answer::{Answer, QueueDeclared};
use crate::channel::{Channel, State};
use crate::exception::{Exception, internal_error};
use crate::request::{AskId, ConsumerKey};
use crate::session::{Session, owned};

/// Whether the client waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Wanted,
    /// `no-wait`.
    NotWanted,
}

impl Reply {
    pub(super) const fn unless(no_wait: bool) -> Self {
        if no_wait {
            Self::NotWanted
        } else {
            Self::Wanted
        }
    }
}

/// What follows an answer.
#[derive(Debug)]
pub(super) enum Then {
    /// Send this; `None` for `no-wait`.
    Send(Option<Method>),
    /// `queue.declare-ok`.
    DeclareOk(Reply),
    /// `queue.declare-ok` of a reply address.
    ReplyDeclareOk(Text, Reply),
    /// `queue.delete-ok`.
    DeleteOk(Reply),
    /// `queue.purge-ok`.
    PurgeOk(Reply),
    /// `basic.consume-ok`.
    ConsumeOk(ConsumerKey, Reply),
    /// `basic.cancel-ok`.
    CancelOk(ConsumerKey, Text, Reply),
    /// `basic.get-ok` or `get-empty`.
    GetOk,
    /// `channel.close-ok`.
    Close,
}

/// What a channel waits for.
#[derive(Debug)]
pub(super) struct Waiting {
    id: AskId,
    then: Then,
    method: MethodId,
}

impl Channel {
    pub(super) fn wait(&mut self, id: AskId, then: Then, method: MethodId) {
        self.waiting = Some(Waiting { id, then, method });
    }

    pub(super) fn is_deleting_queue(&self) -> bool {
        let then = self.waiting.as_ref().map(|waiting| &waiting.then);
        matches!(then, Some(Then::DeleteOk(_)))
    }

    /// Takes an answer; one that nobody waits for (any more) does nothing.
    pub(crate) fn answer(
        &mut self,
        id: AskId,
        answer: Answer,
        session: &mut Session,
    ) -> Result<(), Exception> {
        if self.waiting.as_ref().is_none_or(|waiting| waiting.id != id) {
            return Ok(());
        }
        let Some(Waiting { then, method, .. }) = self.waiting.take() else {
            return Ok(());
        };
        let done = match (then, answer) {
            // Nothing can be refused any more: the channel is gone in any case.
            (Then::Close, _) => {
                self.close_ok(session);
                Ok(())
            }
            (then, Answer::Refused(refusal)) => {
                self.undo(&then);
                Err(refusal.exception(session.place()))
            }
            (then, answer) => self.go_on(then, answer, session),
        };
        done.map_err(|exception| exception.blame(method))
    }

    fn go_on(
        &mut self,
        then: Then,
        answer: Answer,
        session: &mut Session,
    ) -> Result<(), Exception> {
        let number = self.key.number;
        match then {
            Then::Send(method) => {
                answer.done()?;
                if let Some(method) = method {
                    session.send(number, method);
                }
            }
            Then::DeclareOk(reply) => self.declare_ok(answer.queue_declared()?, reply, session),
            Then::ReplyDeclareOk(queue, reply) => {
                answer.done()?;
                self.reply_declare_ok(queue, reply, session);
            }
            Then::DeleteOk(reply) => {
                let message_count = saturated(answer.removed()?);
                if reply == Reply::Wanted {
                    session.send(number, queue::DeleteOk { message_count });
                }
                self.send_late_cancels(session);
            }
            Then::PurgeOk(reply) => {
                let message_count = saturated(answer.removed()?);
                if reply == Reply::Wanted {
                    session.send(number, queue::PurgeOk { message_count });
                }
            }
            Then::ConsumeOk(consumer, reply) => {
                let queue = answer.consuming()?;
                self.consume_ok(consumer, queue, reply, session);
            }
            Then::CancelOk(consumer, tag, reply) => {
                answer.done()?;
                self.cancel_ok(consumer, tag, reply, session);
            }
            Then::GetOk => match answer.got()? {
                Some(got) => self.get_ok(*got, session),
                None => session.send(number, basic::GetEmpty::default()),
            },
            Then::Close => return Err(internal_error("a channel that is closed goes on")),
        }
        Ok(())
    }

    /// Takes back what was noted before the answer.
    fn undo(&mut self, then: &Then) {
        if let Then::ConsumeOk(consumer, _) = then {
            self.consumers.remove(*consumer);
        }
    }

    fn close_ok(&mut self, session: &mut Session) {
        self.send_confirms(session);
        session.send(self.key.number, channel::CloseOk {});
        self.state = State::Closed;
    }

    fn declare_ok(&mut self, declared: QueueDeclared, reply: Reply, session: &mut Session) {
        self.declared_queue = owned(&declared.queue);
        if reply == Reply::Wanted {
            session.send(
                self.key.number,
                queue::DeclareOk {
                    queue: declared.queue,
                    message_count: saturated(declared.message_count),
                    consumer_count: saturated(declared.consumer_count),
                },
            );
        }
    }

    /// A reply address is a queue with one consumer, in which nothing ever waits.
    pub(super) fn reply_declare_ok(&mut self, queue: Text, reply: Reply, session: &mut Session) {
        let declared = QueueDeclared {
            queue,
            message_count: 0,
            consumer_count: 1,
        };
        self.declare_ok(declared, reply, session);
    }
}

/// Counts on the wire have 32 bit.
pub(super) fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
