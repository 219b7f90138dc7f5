//! What a user may do in a virtual host: the three patterns of its permissions, ready to be matched.
//!
//! Owns what is matched against which pattern. What a pattern is, `security::patterns` says. Does not know
//! whose permissions they are.

use raftmq_amqp::{Kind, Permission, Refusal};
use raftmq_amqp_protocol::Text;
use raftmq_core::cluster::amqp::Permissions;
use regex_lite::Regex;

use crate::security::patterns::compile;

/// The name of the default exchange, as permissions see it.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// One pattern.
#[derive(Debug)]
enum Pattern {
    Everything,
    Matching(Regex),
    /// It cannot be compiled, so nobody was checked by it: nothing matches.
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Patterns {
    configure: Pattern,
    write: Pattern,
    read: Pattern,
}

impl Patterns {
    pub(super) fn new(permissions: &Permissions) -> Self {
        Self {
            configure: Pattern::new(&permissions.configure),
            write: Pattern::new(&permissions.write),
            read: Pattern::new(&permissions.read),
        }
    }

    /// Nothing is allowed.
    pub(super) const fn none() -> Self {
        Self {
            configure: Pattern::Nothing,
            write: Pattern::Nothing,
            read: Pattern::Nothing,
        }
    }

    /// Checks that something may be done to a queue or an exchange.
    ///
    /// # Errors
    /// `Denied`.
    pub(super) fn check(
        &self,
        permission: Permission,
        kind: Kind,
        name: &str,
    ) -> Result<(), Refusal> {
        let is_default = name.is_empty() && kind == Kind::Exchange;
        let name = if is_default { DEFAULT_EXCHANGE } else { name };
        let pattern = match permission {
            Permission::Configure => &self.configure,
            Permission::Write => &self.write,
            Permission::Read => &self.read,
        };
        if pattern.matches(name) {
            return Ok(());
        }
        let name = Text::try_from(name).unwrap_or_default();
        Err(Refusal::Denied(permission, kind, name))
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        if text == ".*" {
            return Self::Everything;
        }
        match compile(text) {
            Ok(regex) => Self::Matching(regex),
            Err(error) => {
                tracing::warn!(%error, "a permission cannot be checked");
                Self::Nothing
            }
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Matching(regex) => regex.is_match(name),
            Self::Nothing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pattern: &str) -> Patterns {
        Patterns::new(&Permissions {
            read: pattern.to_owned(),
            ..Permissions::default()
        })
    }

    fn may_read(pattern: &str, name: &str) -> bool {
        let checked = read(pattern).check(Permission::Read, Kind::Queue, name);
        checked.is_ok()
    }

    #[test]
    fn patterns_match_anywhere_unless_they_are_anchored() {
        for (pattern, name, expected) in [
            (".*", "anything", true),
            ("orders", "my-orders-2", true),
            ("^orders", "my-orders", false),
            (r"^(orders|amq\.gen.*)$", "amq.gen-x", true),
            (r"^(orders|amq\.gen.*)$", "orders2", false),
            ("", "", true),
            ("", "orders", false),
            ("^$", "orders", false),
            ("(", "(", false),
        ] {
            assert_eq!(may_read(pattern, name), expected, "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn the_default_exchange_has_a_name_for_permissions_and_a_queue_without_one_has_none() {
        let patterns = Patterns::new(&Permissions {
            write: r"^amq\.default$".to_owned(),
            ..Permissions::default()
        });
        let check = |kind| patterns.check(Permission::Write, kind, "");
        assert_eq!(check(Kind::Exchange), Ok(()));
        let denied = Refusal::Denied(Permission::Write, Kind::Queue, Text::default());
        assert_eq!(check(Kind::Queue), Err(denied));
        let other = patterns.check(Permission::Configure, Kind::Exchange, "");
        let name = Text::from_static(DEFAULT_EXCHANGE);
        let denied = Refusal::Denied(Permission::Configure, Kind::Exchange, name);
        assert_eq!(other, Err(denied));
    }
}
