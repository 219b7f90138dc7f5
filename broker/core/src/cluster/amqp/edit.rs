//! A change of one virtual host: its routing table, what goes with what, and which rows are to be written.
//!
//! Works on a copy, which shares structure with the original, so that a refusal half way changes
//! nothing. Owns the rule of auto-delete: an exchange goes when the last binding that starts at it is
//! removed, and may take others with it. Knows no commands.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::cluster::amqp::{AmqpError, ExchangeInfo, Vhost};
use crate::exchange::{Binding, Bound, Destination, ExchangeId, Settings};
use crate::ids::GroupNumber;

/// The change.
#[derive(Debug)]
pub(super) struct Edit {
    vhost: Vhost,
    exchanges: BTreeSet<ExchangeId>,
    bindings: BTreeSet<(ExchangeId, Binding)>,
}

impl Edit {
    pub(super) fn new(vhost: &Vhost) -> Self {
        Self {
            vhost: vhost.clone(),
            exchanges: BTreeSet::new(),
            bindings: BTreeSet::new(),
        }
    }

    /// Adds an exchange under a name that is free.
    pub(super) fn add_exchange(&mut self, id: ExchangeId, settings: Settings, info: ExchangeInfo) {
        let is_added = self.vhost.routing.add_exchange(id, settings);
        assert!(is_added, "exchange {id} or its name was taken");
        self.vhost.exchanges.insert(id, Arc::new(info));
        self.exchanges.insert(id);
    }

    /// Adds a binding.
    ///
    /// # Errors
    /// `Invalid` for a key, arguments or a mode that cannot be.
    pub(super) fn bind(&mut self, source: ExchangeId, binding: Binding) -> Result<(), AmqpError> {
        let bound = self.vhost.routing.bind(source, binding.clone());
        let bound = bound.map_err(|error| AmqpError::Invalid {
            reason: error.to_string(),
        })?;
        if bound == Bound::Added {
            self.vhost.bindings_count += 1;
            self.bindings.insert((source, binding));
        }
        Ok(())
    }

    /// Removes a binding if it is there.
    pub(super) fn unbind(&mut self, source: ExchangeId, binding: Binding) {
        if self.vhost.routing.unbind(source, &binding) {
            self.vhost.bindings_count -= 1;
            self.bindings.insert((source, binding));
            self.drop_unused(BTreeSet::from([source]));
        }
    }

    /// Removes an exchange with its bindings.
    pub(super) fn remove_exchange(&mut self, id: ExchangeId) {
        let sources = self.take_exchange(id);
        self.drop_unused(sources);
    }

    /// Gives a name to a queue.
    pub(super) fn add_queue(&mut self, name: &Arc<str>, group: GroupNumber) {
        self.vhost.routing.add_queue(Arc::clone(name), group);
    }

    /// Removes a queue with its bindings.
    pub(super) fn remove_queue(&mut self, name: &str, group: GroupNumber) {
        let sources = self.take_queue(name, group);
        let sources = sources.into_iter().map(|(source, _)| source);
        self.drop_unused(sources.collect());
    }

    /// The queue goes on in another group: its name and its bindings lead there.
    pub(super) fn move_queue(&mut self, name: &Arc<str>, from: GroupNumber, to: GroupNumber) {
        let bindings = self.take_queue(name, from);
        self.add_queue(name, to);
        for (source, binding) in bindings {
            let destination = Destination::Queue(to);
            let moved = self.bind(
                source,
                Binding {
                    destination,
                    ..binding
                },
            );
            assert!(moved.is_ok(), "a binding was good before: {moved:?}");
        }
    }

    /// Takes a queue out, and gives the bindings that it had.
    fn take_queue(&mut self, name: &str, group: GroupNumber) -> Vec<(ExchangeId, Binding)> {
        let gone = self.bindings_to(Destination::Queue(group));
        self.vhost.routing.remove_queue(name);
        self.vhost.bindings_count -= gone.len();
        self.bindings.extend(gone.iter().cloned());
        gone
    }

    /// Takes an exchange out with every binding from it and to it; gives the exchanges that lost one.
    fn take_exchange(&mut self, id: ExchangeId) -> BTreeSet<ExchangeId> {
        let incoming = self.bindings_to(Destination::Exchange(id));
        let mut sources: BTreeSet<ExchangeId> = incoming.iter().map(|(from, _)| *from).collect();
        sources.remove(&id);
        // A binding of an exchange to itself is both.
        let mut gone: BTreeSet<(ExchangeId, Binding)> = incoming.into_iter().collect();
        if let Some(exchange) = self.vhost.routing.exchange(id) {
            gone.extend(exchange.bindings().map(|binding| (id, binding.clone())));
        }
        self.vhost.routing.remove_exchange(id);
        self.vhost.exchanges.remove(&id);
        self.vhost.bindings_count -= gone.len();
        self.bindings.extend(gone);
        self.exchanges.insert(id);
        sources
    }

    fn bindings_to(&self, destination: Destination) -> Vec<(ExchangeId, Binding)> {
        let bindings = self.vhost.routing.bindings_to(destination);
        bindings
            .map(|(source, binding)| (source, binding.clone()))
            .collect()
    }

    /// Removes those of the exchanges, which have just lost a binding, that live only for bindings.
    fn drop_unused(&mut self, mut sources: BTreeSet<ExchangeId>) {
        while let Some(id) = sources.pop_first() {
            let is_auto_delete = self
                .vhost
                .exchanges
                .get(&id)
                .is_some_and(|info| info.is_auto_delete);
            let exchange = self.vhost.routing.exchange(id);
            let is_unused = exchange.is_some_and(|exchange| exchange.bindings_count() == 0);
            if is_auto_delete && is_unused {
                tracing::trace!(target: "raftmq::mark", name = "exchange_auto_deleted");
                sources.extend(self.take_exchange(id));
            }
        }
    }
}

impl Cluster {
    /// Puts a changed virtual host in.
    pub(super) fn put_edit(&mut self, edit: Edit) {
        let Edit {
            vhost,
            exchanges,
            bindings,
        } = edit;
        let id = vhost.id;
        let (exchanges_now, bindings_now) = (vhost.exchanges.len(), vhost.bindings_count);
        let before = self.image.amqp.vhosts.insert(id, Arc::new(vhost));
        let (exchanges_before, bindings_before) = before.map_or((0, 0), |before| {
            (before.exchanges.len(), before.bindings_count)
        });
        let amqp = &mut self.image.amqp;
        amqp.exchanges_count = amqp.exchanges_count - exchanges_before + exchanges_now;
        amqp.bindings_count = amqp.bindings_count - bindings_before + bindings_now;
        if exchanges.is_empty() && bindings.is_empty() {
            return;
        }
        let dirty = self.dirty.mark_amqp();
        dirty
            .exchanges
            .extend(exchanges.into_iter().map(|exchange| (id, exchange)));
        let bindings = bindings.into_iter();
        dirty
            .bindings
            .extend(bindings.map(|(source, binding)| (id, source, binding)));
    }
}
