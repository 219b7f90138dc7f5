//! The routing table of one virtual host: exchanges, their bindings, and the names of queues.
//!
//! Owns which bindings there are and that none outlives its source or destination. The maps share
//! structure (`imbl`): a clone costs little, and a change copies only the way to what it changes.
//! Does not know virtual hosts, durability, permissions, or policies.

use std::ops::Bound as End;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::exchange::index::Index;
use crate::exchange::limits::{ARGUMENTS_COUNT_MAX, BINDING_KEY_BYTES_MAX};
use crate::exchange::route::{Message, Route};
use crate::exchange::{
    Arguments, BindError, Binding, Destination, ExchangeId, ExchangeKind, PublishError,
};
use crate::ids::GroupNumber;

/// What an exchange was declared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its name, unique in the virtual host; never empty.
    pub name: Arc<str>,
    /// How it chooses.
    pub kind: ExchangeKind,
    /// Whether only bindings, and no client, may publish to it.
    pub is_internal: bool,
    /// The exchange that takes what matches nothing here, by name: it may come and go. Empty is
    /// the default exchange.
    pub alternate: Option<Arc<str>>,
}

/// An exchange with its bindings.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    settings: Settings,
    bindings: OrdSet<Binding>,
    index: Index,
}

impl Exchange {
    fn new(settings: Settings) -> Self {
        Self {
            index: Index::new(settings.kind),
            bindings: OrdSet::new(),
            settings,
        }
    }

    /// Shows what it was declared with.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Shows the bindings that start here, ordered by destination, key and arguments.
    pub fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter()
    }

    /// Shows the bindings that start here behind one of them, which need not be there any more.
    pub fn bindings_after(&self, binding: &Binding) -> impl Iterator<Item = &Binding> {
        self.bindings
            .range::<_, Binding>((End::Excluded(binding), End::Unbounded))
    }

    /// Counts the bindings that start here.
    #[must_use]
    pub fn bindings_count(&self) -> usize {
        self.bindings.len()
    }

    /// Tells whether a binding starts here.
    #[must_use]
    pub fn has_binding(&self, binding: &Binding) -> bool {
        self.bindings.contains(binding)
    }

    /// Shows the bindings that start here and lead to one destination.
    pub fn bindings_to(&self, destination: Destination) -> impl Iterator<Item = &Binding> {
        let first = Binding {
            destination,
            key: Arc::default(),
            arguments: Arguments::NONE,
        };
        self.bindings
            .range(first..)
            .take_while(move |binding| binding.destination == destination)
    }

    pub(super) fn collect(&self, message: &Message<'_>, matched: &mut Vec<Destination>) {
        self.index.collect(message, matched);
    }

    fn add(&mut self, binding: Binding) {
        self.index.add(&binding);
        self.bindings.insert(binding);
    }

    fn remove(&mut self, binding: &Binding) {
        self.index.remove(binding);
        self.bindings.remove(binding);
        assert!(
            !self.bindings.is_empty() || self.index == Index::new(self.index.kind()),
            "an exchange without a binding still matches something"
        );
    }
}

/// What became of a bind; AMQP answers both alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The binding is new.
    Added,
    /// It was there before.
    Existed,
}

/// The routing table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Routing {
    exchanges: OrdMap<ExchangeId, Arc<Exchange>>,
    exchange_names: OrdMap<Arc<str>, ExchangeId>,
    /// The default exchange: each queue is bound to it by its name, and by nothing else.
    queues: OrdMap<Arc<str>, GroupNumber>,
    /// Which exchanges have bindings to a destination.
    sources: OrdMap<Destination, OrdSet<ExchangeId>>,
}

impl Routing {
    /// Starts with the default exchange only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds an exchange by its id.
    #[must_use]
    pub fn exchange(&self, id: ExchangeId) -> Option<&Exchange> {
        self.exchanges.get(&id).map(|exchange| &**exchange)
    }

    /// Finds an exchange's id by its name; the default exchange has none.
    #[must_use]
    pub fn exchange_id(&self, name: &str) -> Option<ExchangeId> {
        self.exchange_names.get(name).copied()
    }

    /// Finds a queue's group by the queue's name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<GroupNumber> {
        self.queues.get(name).copied()
    }

    /// Shows every queue by its name.
    pub fn queues(&self) -> impl Iterator<Item = (&Arc<str>, GroupNumber)> {
        self.queues.iter().map(|(name, group)| (name, *group))
    }

    /// Shows every exchange by ascending id.
    pub fn exchanges(&self) -> impl Iterator<Item = (ExchangeId, &Exchange)> {
        self.exchanges
            .iter()
            .map(|(id, exchange)| (*id, &**exchange))
    }

    /// Shows every binding to a destination, with its source.
    pub fn bindings_to(
        &self,
        destination: Destination,
    ) -> impl Iterator<Item = (ExchangeId, &Binding)> {
        let sources = self.sources.get(&destination).into_iter().flatten();
        sources.flat_map(move |id| {
            let exchange = self.exchange(*id).into_iter();
            exchange.flat_map(move |exchange| {
                exchange.bindings_to(destination).map(move |to| (*id, to))
            })
        })
    }

    /// Adds an exchange; `false` and no change when the id or the name is taken or the name empty.
    pub fn add_exchange(&mut self, id: ExchangeId, settings: Settings) -> bool {
        let is_taken = self.exchanges.contains_key(&id)
            || settings.name.is_empty()
            || self.exchange_names.contains_key(&settings.name);
        if !is_taken {
            self.exchange_names.insert(Arc::clone(&settings.name), id);
            self.exchanges.insert(id, Arc::new(Exchange::new(settings)));
        }
        !is_taken
    }

    /// Removes an exchange with every binding from it and to it; `false` when there is none.
    pub fn remove_exchange(&mut self, id: ExchangeId) -> bool {
        let Some(exchange) = self.exchanges.remove(&id) else {
            return false;
        };
        self.exchange_names.remove(&exchange.settings.name);
        for binding in &exchange.bindings {
            self.forget_source(binding.destination, id);
        }
        self.remove_bindings_to(Destination::Exchange(id));
        true
    }

    /// Adds a queue under its name, or moves the name to another group.
    pub fn add_queue(&mut self, name: Arc<str>, group: GroupNumber) {
        self.queues.insert(name, group);
    }

    /// Removes a queue with every binding to it; returns its group if it was there.
    pub fn remove_queue(&mut self, name: &str) -> Option<GroupNumber> {
        let group = self.queues.remove(name)?;
        self.remove_bindings_to(Destination::Queue(group));
        Some(group)
    }

    /// Adds a binding.
    ///
    /// # Errors
    /// `UnknownSource`, `UnknownDestination` (of exchanges: queues are the caller's), `KeyTooLong`,
    /// `TooManyArguments`; for headers exchanges `UnknownMatch`, `MatchNotText`.
    pub fn bind(&mut self, source_id: ExchangeId, binding: Binding) -> Result<Bound, BindError> {
        let destination = binding.destination;
        if let Destination::Exchange(destination_id) = destination
            && !self.exchanges.contains_key(&destination_id)
        {
            return Err(BindError::UnknownDestination { destination_id });
        }
        check_size(&binding)?;
        let Some(source) = self.exchanges.get_mut(&source_id) else {
            return Err(BindError::UnknownSource { source_id });
        };
        source.index.check(&binding)?;
        if source.bindings.contains(&binding) {
            return Ok(Bound::Existed);
        }
        Arc::make_mut(source).add(binding);
        self.sources
            .entry(destination)
            .or_default()
            .insert(source_id);
        Ok(Bound::Added)
    }

    /// Removes a binding; `false` when it is not there, which AMQP answers alike.
    pub fn unbind(&mut self, source_id: ExchangeId, binding: &Binding) -> bool {
        let Some(source) = self.exchanges.get_mut(&source_id) else {
            return false;
        };
        if !source.bindings.contains(binding) {
            return false;
        }
        Arc::make_mut(source).remove(binding);
        if source.bindings_to(binding.destination).next().is_none() {
            self.forget_source(binding.destination, source_id);
        }
        true
    }

    /// Checks that a client may publish to an exchange; the empty name is the default exchange.
    ///
    /// # Errors
    /// `UnknownExchange`, `Internal`.
    pub fn check_publish(&self, name: &str) -> Result<(), PublishError> {
        if name.is_empty() {
            return Ok(());
        }
        let id = self
            .exchange_id(name)
            .ok_or(PublishError::UnknownExchange)?;
        let is_internal = self
            .exchange(id)
            .is_some_and(|exchange| exchange.settings.is_internal);
        if is_internal {
            return Err(PublishError::Internal { id });
        }
        Ok(())
    }

    /// Finds the queues of a message that was published to an exchange; none for an unknown one.
    pub fn route(&self, exchange: &str, message: &Message<'_>, route: &mut Route) {
        route.clear();
        self.enter(exchange, message, route);
        route.finish(self, message);
    }

    /// Lets a message into an exchange by its name.
    pub(super) fn enter(&self, exchange: &str, message: &Message<'_>, route: &mut Route) {
        if !exchange.is_empty() {
            if let Some(id) = self.exchange_id(exchange) {
                route.reach_exchange(id);
            }
            return;
        }
        for key in message.keys() {
            let name = std::str::from_utf8(key).ok();
            if let Some(group) = name.and_then(|name| self.queues.get(name)) {
                route.reach_queue(*group);
            }
        }
    }

    fn remove_bindings_to(&mut self, destination: Destination) {
        for id in self.sources.remove(&destination).into_iter().flatten() {
            // The source may be the exchange that is being removed, which is bound to itself.
            let Some(source) = self.exchanges.get_mut(&id) else {
                continue;
            };
            let source = Arc::make_mut(source);
            let bindings: Vec<Binding> = source.bindings_to(destination).cloned().collect();
            for binding in &bindings {
                source.remove(binding);
            }
        }
    }

    fn forget_source(&mut self, destination: Destination, source: ExchangeId) {
        if let Some(sources) = self.sources.get_mut(&destination) {
            sources.remove(&source);
            if sources.is_empty() {
                self.sources.remove(&destination);
            }
        }
    }
}

fn check_size(binding: &Binding) -> Result<(), BindError> {
    let actual = binding.key.len();
    if actual > BINDING_KEY_BYTES_MAX {
        return Err(BindError::KeyTooLong { actual });
    }
    let actual = binding.arguments.as_slice().len();
    if actual > ARGUMENTS_COUNT_MAX {
        return Err(BindError::TooManyArguments { actual });
    }
    Ok(())
}
