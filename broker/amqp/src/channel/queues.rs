//! The class `queue`: each method becomes a question to the host.
//!
//! Owns the queue that an empty name stands for: the one that the channel declared last. Reply
//! addresses look like queues and are none.

use raftmq_amqp_protocol::{Text, queue};

use crate::channel::Channel;
use crate::channel::answers::{Reply, Then};
use crate::channel::exchanges::check_binding;
use crate::exception::{Exception, access_refused, command_invalid, not_found};
use crate::refusal::{Kind, Refusal};
use crate::reply_to::{ReplyAddress, is_reply_name};
use crate::request::{Ask, BindTo, BindingOf, DeclareQueue};
use crate::session::Session;

impl Channel {
    pub(super) fn run_queue(
        &mut self,
        method: queue::Method,
        session: &mut Session,
    ) -> Result<(), Exception> {
        match method {
            queue::Method::Declare(declare) => self.declare_queue(declare, session),
            queue::Method::Bind(bind) => self.bind_queue(bind, session),
            queue::Method::Unbind(unbind) => self.unbind_queue(unbind, session),
            queue::Method::Purge(purge) => {
                let queue = self.named_queue(purge.queue)?;
                let id = session.ask(Some(self.key), Ask::PurgeQueue { queue });
                let reply = Reply::unless(purge.no_wait);
                self.wait(id, Then::PurgeOk(reply), queue::Purge::ID);
                Ok(())
            }
            queue::Method::Delete(delete) => {
                let ask = Ask::DeleteQueue {
                    queue: self.named_queue(delete.queue)?,
                    if_unused: delete.if_unused,
                    if_empty: delete.if_empty,
                };
                let id = session.ask(Some(self.key), ask);
                let reply = Reply::unless(delete.no_wait);
                self.wait(id, Then::DeleteOk(reply), queue::Delete::ID);
                Ok(())
            }
            queue::Method::DeclareOk(_)
            | queue::Method::BindOk(_)
            | queue::Method::PurgeOk(_)
            | queue::Method::DeleteOk(_)
            | queue::Method::UnbindOk(_) => Err(command_invalid("unimplemented method")),
        }
    }

    /// The queue that a name stands for.
    pub(super) fn named_queue(&self, name: Text) -> Result<Text, Exception> {
        match (name.is_empty(), self.declared_queue.is_empty()) {
            (false, _) => Ok(name),
            (true, false) => Ok(self.declared_queue.clone()),
            (true, true) => Err(not_found("no previously declared queue")),
        }
    }

    fn declare_queue(
        &mut self,
        declare: queue::Declare,
        session: &mut Session,
    ) -> Result<(), Exception> {
        let reply = Reply::unless(declare.no_wait);
        if is_reply_name(&declare.queue) {
            return self.declare_reply_queue(declare.queue, reply, session);
        }
        let queue = if declare.passive {
            self.named_queue(declare.queue)?
        } else {
            declare.queue
        };
        let ask = Ask::DeclareQueue(Box::new(DeclareQueue {
            queue,
            is_passive: declare.passive,
            is_durable: declare.durable,
            is_exclusive: declare.exclusive,
            is_auto_delete: declare.auto_delete,
            arguments: declare.arguments,
        }));
        let id = session.ask(Some(self.key), ask);
        self.wait(id, Then::DeclareOk(reply), queue::Declare::ID);
        Ok(())
    }

    /// Who answers a request asks in this way whether the one who asked still waits.
    fn declare_reply_queue(
        &mut self,
        queue: Text,
        reply: Reply,
        session: &mut Session,
    ) -> Result<(), Exception> {
        let Some(to) = ReplyAddress::parse(queue.as_bytes()) else {
            if queue.as_str() == crate::PSEUDO_QUEUE {
                self.reply_declare_ok(queue, reply, session);
                return Ok(());
            }
            let unknown = Refusal::Unknown(Kind::Queue, queue);
            return Err(unknown.exception(session.place()));
        };
        let id = session.ask(Some(self.key), Ask::ProbeReply { to });
        self.wait(id, Then::ReplyDeclareOk(queue, reply), queue::Declare::ID);
        Ok(())
    }

    fn bind_queue(&mut self, bind: queue::Bind, session: &mut Session) -> Result<(), Exception> {
        let ok = (!bind.no_wait).then(|| queue::BindOk {}.into());
        let routing_key = self.binding_key(&bind.queue, bind.routing_key)?;
        let binding = BindingOf {
            source: bind.exchange,
            destination: BindTo::Queue(self.bindable_queue(bind.queue)?),
            routing_key,
            arguments: bind.arguments,
        };
        check_binding(&binding)?;
        let ask = Ask::Bind(Box::new(binding));
        self.ask_then_send(ask, ok, queue::Bind::ID, session);
        Ok(())
    }

    fn unbind_queue(
        &mut self,
        unbind: queue::Unbind,
        session: &mut Session,
    ) -> Result<(), Exception> {
        let routing_key = self.binding_key(&unbind.queue, unbind.routing_key)?;
        let binding = BindingOf {
            source: unbind.exchange,
            destination: BindTo::Queue(self.bindable_queue(unbind.queue)?),
            routing_key,
            arguments: unbind.arguments,
        };
        check_binding(&binding)?;
        let ok = Some(queue::UnbindOk {}.into());
        let ask = Ask::Unbind(Box::new(binding));
        self.ask_then_send(ask, ok, queue::Unbind::ID, session);
        Ok(())
    }

    fn bindable_queue(&self, name: Text) -> Result<Text, Exception> {
        if is_reply_name(&name) {
            return Err(access_refused(
                "cannot bind or unbind to a volatile (direct reply-to) queue",
            ));
        }
        self.named_queue(name)
    }

    /// Without a queue's name and a key, the last declared queue's name is the key, too.
    fn binding_key(&self, queue: &Text, routing_key: Text) -> Result<Text, Exception> {
        if queue.is_empty() && routing_key.is_empty() {
            return self.named_queue(Text::default());
        }
        Ok(routing_key)
    }
}
