//! The class `exchange`: each method becomes a question to the host.
//!
//! Owns what can be refused without knowing an exchange: the default one, and system exchanges.

use raftmq_amqp_protocol::{Method, MethodId, Text, exchange};

use crate::channel::Channel;
use crate::channel::answers::Then;
use crate::exception::{Exception, access_refused, command_invalid};
use crate::request::{Ask, BindTo, BindingOf, DeclareExchange};
use crate::session::Session;

impl Channel {
    pub(super) fn run_exchange(
        &mut self,
        method: exchange::Method,
        session: &mut Session,
    ) -> Result<(), Exception> {
        let id = method.id();
        match method {
            exchange::Method::Declare(declare) => self.declare_exchange(declare, session),
            exchange::Method::Delete(delete) => self.delete_exchange(delete, session),
            exchange::Method::Bind(bind) => {
                let binding = BindingOf {
                    source: bind.source,
                    destination: BindTo::Exchange(bind.destination),
                    routing_key: bind.routing_key,
                    arguments: bind.arguments,
                };
                let ok = (!bind.no_wait).then(|| exchange::BindOk {}.into());
                check_binding(&binding)?;
                self.ask_then_send(Ask::Bind(Box::new(binding)), ok, id, session);
                Ok(())
            }
            exchange::Method::Unbind(unbind) => {
                let binding = BindingOf {
                    source: unbind.source,
                    destination: BindTo::Exchange(unbind.destination),
                    routing_key: unbind.routing_key,
                    arguments: unbind.arguments,
                };
                let ok = (!unbind.no_wait).then(|| exchange::UnbindOk {}.into());
                check_binding(&binding)?;
                self.ask_then_send(Ask::Unbind(Box::new(binding)), ok, id, session);
                Ok(())
            }
            exchange::Method::DeclareOk(_)
            | exchange::Method::DeleteOk(_)
            | exchange::Method::BindOk(_)
            | exchange::Method::UnbindOk(_) => Err(command_invalid("unimplemented method")),
        }
    }

    fn declare_exchange(
        &mut self,
        declare: exchange::Declare,
        session: &mut Session,
    ) -> Result<(), Exception> {
        check_not_default(&declare.exchange)?;
        let ok = (!declare.no_wait).then(|| exchange::DeclareOk {}.into());
        let ask = Ask::DeclareExchange(Box::new(DeclareExchange {
            exchange: declare.exchange,
            kind: declare.kind,
            is_passive: declare.passive,
            is_durable: declare.durable,
            is_auto_delete: declare.auto_delete,
            is_internal: declare.internal,
            arguments: declare.arguments,
        }));
        self.ask_then_send(ask, ok, exchange::Declare::ID, session);
        Ok(())
    }

    fn delete_exchange(
        &mut self,
        delete: exchange::Delete,
        session: &mut Session,
    ) -> Result<(), Exception> {
        let exchange::Delete { exchange, .. } = delete;
        check_not_default(&exchange)?;
        if exchange.starts_with("amq.") {
            let vhost = &session.vhost;
            return Err(access_refused(format!(
                "deletion of system exchange '{exchange}' in vhost '{vhost}' not allowed"
            )));
        }
        let ok = (!delete.no_wait).then(|| exchange::DeleteOk {}.into());
        let ask = Ask::DeleteExchange {
            exchange,
            if_unused: delete.if_unused,
        };
        self.ask_then_send(ask, ok, exchange::Delete::ID, session);
        Ok(())
    }

    pub(super) fn ask_then_send(
        &mut self,
        ask: Ask,
        ok: Option<Method>,
        method: MethodId,
        session: &mut Session,
    ) {
        let id = session.ask(Some(self.key), ask);
        self.wait(id, Then::Send(ok), method);
    }
}

/// Refuses bindings from or to the default exchange, which binds every queue by its name.
pub(super) fn check_binding(binding: &BindingOf) -> Result<(), Exception> {
    if let BindTo::Exchange(destination) = &binding.destination {
        check_not_default(destination)?;
    }
    check_not_default(&binding.source)
}

fn check_not_default(exchange: &Text) -> Result<(), Exception> {
    if exchange.is_empty() {
        return Err(access_refused(
            "operation not permitted on the default exchange",
        ));
    }
    Ok(())
}
