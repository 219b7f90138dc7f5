//! Headers exchanges: a message's headers match a binding's arguments.
//!
//! Owns RabbitMQ's four modes of `x-match`: `all` (also when there is none) and `any` leave out
//! arguments whose names begin with `x-`; `all-with-x` and `any-with-x` leave out `x-match` only.
//! Without any condition, `all` matches and `any` does not. Knows no keys.

use imbl::OrdMap;

use crate::exchange::route::Headers;
use crate::exchange::targets::Targets;
use crate::exchange::{Argument, Arguments, BindError, Binding, Destination, HeaderValue};

const MATCH: &[u8] = b"x-match";

/// How many of the conditions must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    All,
    Any,
}

/// Which arguments are conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    WithX,
    WithoutX,
}

/// Reads the mode.
fn mode_of(arguments: &Arguments) -> Result<(Quantity, Names), BindError> {
    let found = arguments
        .as_slice()
        .iter()
        .find(|argument| argument.name == MATCH);
    let Some(argument) = found else {
        return Ok((Quantity::All, Names::WithoutX));
    };
    let HeaderValue::Bytes(value) = &argument.value else {
        return Err(BindError::MatchNotText);
    };
    match &value[..] {
        b"all" => Ok((Quantity::All, Names::WithoutX)),
        b"any" => Ok((Quantity::Any, Names::WithoutX)),
        b"all-with-x" => Ok((Quantity::All, Names::WithX)),
        b"any-with-x" => Ok((Quantity::Any, Names::WithX)),
        other => Err(BindError::UnknownMatch {
            value: String::from_utf8_lossy(other).into_owned(),
        }),
    }
}

/// Destinations by the arguments that lead there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct HeadersTable(OrdMap<Arguments, Targets>);

impl HeadersTable {
    /// Tells whether a binding may be added.
    pub(super) fn check(binding: &Binding) -> Result<(), BindError> {
        mode_of(&binding.arguments).map(|_| ())
    }

    pub(super) fn add(&mut self, binding: &Binding) {
        let targets = self.0.entry(binding.arguments.clone()).or_default();
        targets.add(binding.destination);
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        let Some(targets) = self.0.get_mut(&binding.arguments) else {
            return;
        };
        targets.remove(binding.destination);
        if targets.is_empty() {
            self.0.remove(&binding.arguments);
        }
    }

    /// Looks at each distinct list of arguments, as RabbitMQ looks at each binding.
    pub(super) fn collect(&self, headers: &dyn Headers, matched: &mut Vec<Destination>) {
        for (arguments, targets) in &self.0 {
            if holds(arguments, headers) {
                targets.collect(matched);
            }
        }
    }
}

fn holds(arguments: &Arguments, headers: &dyn Headers) -> bool {
    // Only bindings with a known mode come in.
    let Ok((quantity, names)) = mode_of(arguments) else {
        return false;
    };
    let mut conditions = arguments.as_slice().iter().filter(|argument| match names {
        Names::WithX => argument.name != MATCH,
        Names::WithoutX => !argument.name.starts_with(b"x-"),
    });
    match quantity {
        Quantity::All => conditions.all(|condition| is_met(condition, headers)),
        Quantity::Any => conditions.any(|condition| is_met(condition, headers)),
    }
}

fn is_met(condition: &Argument, headers: &dyn Headers) -> bool {
    let Some(value) = headers.value(&condition.name) else {
        return false;
    };
    condition.value == HeaderValue::Void || condition.value.as_ref() == value
}
