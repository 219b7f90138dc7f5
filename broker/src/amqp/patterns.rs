//! What a user may do in a virtual host: the three patterns of its permissions, ready to be matched.
//!
//! Owns RabbitMQ's meaning of a pattern: a regular expression that matches anywhere in a name, and the
//! empty one matches the empty name only. Matching takes time linear in the name, whoever wrote the
//! pattern. Does not know whose permissions they are.

use raftmq_amqp::{Kind, Permission, Refusal};
use raftmq_amqp_protocol::Text;
use raftmq_core::cluster::amqp::Permissions;
use regex_lite::{Regex, RegexBuilder};

/// Memory that one compiled pattern may take, bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Nesting of groups in a pattern.
const PATTERN_DEPTH_MAX: u32 = 50;
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
                tracing::warn!(pattern = text, %error, "a permission is no regular expression");
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

fn compile(pattern: &str) -> Result<Regex, regex_lite::Error> {
    let pattern = if pattern.is_empty() { "^$" } else { pattern };
    RegexBuilder::new(pattern)
        .size_limit(PATTERN_BYTES_MAX)
        .nest_limit(PATTERN_DEPTH_MAX)
        .build()
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

    #[test]
    fn a_hostile_pattern_is_refused_and_a_slow_one_is_not_slow() {
        assert!(compile("a{1000}{1000}{1000}").is_err());
        assert!(compile(&"(".repeat(100)).is_err());
        assert!(compile("(a*)*b").is_ok());
        assert!(!may_read("(a*)*b", &"a".repeat(255)));
    }
}
