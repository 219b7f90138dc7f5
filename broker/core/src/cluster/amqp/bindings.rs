//! Commands that add and remove bindings, of queues and of exchanges.
//!
//! Source: AMQP 0-9-1 `queue.bind`, `queue.unbind`; RabbitMQ's `exchange.bind`, `exchange.unbind`, and its
//! rule that unbinding what is not there succeeds.

use crate::cluster::amqp::command::{BindingChange, BindingTarget};
use crate::cluster::amqp::edit::Edit;
use crate::cluster::amqp::exchanges::check_not_default;
use crate::cluster::amqp::{AmqpError, Resource, Vhost};
use crate::cluster::brokers::over_limit;
use crate::cluster::{Cluster, ClusterError, Outcome, Reply};
use crate::exchange::{Binding, Destination, ExchangeId};
use crate::limits::AMQP_BINDINGS_COUNT_MAX;

impl Cluster {
    pub(super) fn bind(&mut self, change: &BindingChange) -> Reply {
        let vhost = self.vhost_of(&change.vhost)?;
        let (source, binding) = self.find_ends(&vhost, change)?;
        let bindings_count = self.image.amqp.bindings_count + 1;
        let known = vhost.routing.exchange(source);
        let is_new = !known.is_some_and(|exchange| exchange.has_binding(&binding));
        if is_new && bindings_count > AMQP_BINDINGS_COUNT_MAX {
            let limit = AMQP_BINDINGS_COUNT_MAX;
            return Err(over_limit("bindings", bindings_count, limit));
        }
        let mut edit = Edit::new(&vhost);
        edit.bind(source, binding)?;
        self.put_edit(edit);
        Ok(Outcome::Done)
    }

    pub(super) fn unbind(&mut self, change: &BindingChange) -> Reply {
        let vhost = self.vhost_of(&change.vhost)?;
        match self.find_ends(&vhost, change) {
            Ok((source, binding)) => {
                let mut edit = Edit::new(&vhost);
                edit.unbind(source, binding);
                self.put_edit(edit);
                Ok(Outcome::Done)
            }
            Err(ClusterError::Amqp(AmqpError::NotFound { .. })) => Ok(Outcome::Done),
            Err(refused) => Err(refused),
        }
    }

    /// Finds both ends of a binding, and checks that the connection may use them.
    fn find_ends(
        &self,
        vhost: &Vhost,
        change: &BindingChange,
    ) -> Result<(ExchangeId, Binding), ClusterError> {
        check_not_default(&change.source)?;
        if let BindingTarget::Exchange(name) = &change.target {
            check_not_default(name)?;
        }
        let source = vhost.exchange_id(&change.source)?;
        let destination = match &change.target {
            BindingTarget::Exchange(name) => Destination::Exchange(vhost.exchange_id(name)?),
            BindingTarget::Queue(name) => {
                let group = vhost.queue_group(name)?;
                let queue = self.image.amqp.queues.get(&group);
                let queue = queue.ok_or_else(|| Resource::queue(&vhost.name, name).not_found())?;
                queue.check_access(change.connection)?;
                Destination::Queue(group)
            }
        };
        let binding = Binding {
            destination,
            key: change.key.clone(),
            arguments: change.arguments.clone(),
        };
        Ok((source, binding))
    }
}
