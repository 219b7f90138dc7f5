//! The patterns of permissions: regular expressions in RabbitMQ's meaning.
//!
//! A pattern matches anywhere in a name, and the empty one matches the empty name only. Matching takes
//! time linear in the name, whoever wrote the pattern; memory and nesting are bounded. Does not know what
//! a pattern permits.

use regex_lite::{Regex, RegexBuilder};
use thiserror::Error;

/// Memory that one compiled pattern may take, bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Nesting of groups in a pattern.
const PATTERN_DEPTH_MAX: u32 = 50;

/// A pattern that cannot be used.
#[derive(Debug, Error)]
#[error("{pattern:?} is no regular expression: {reason}")]
pub(crate) struct PatternError {
    pattern: String,
    reason: regex_lite::Error,
}

/// Makes a pattern ready to be matched.
///
/// # Errors
/// It is no regular expression, or a too large one. There is no look-around, and there are no
/// back-references: those could not be matched in linear time.
pub(crate) fn compile(pattern: &str) -> Result<Regex, PatternError> {
    let expression = if pattern.is_empty() { "^$" } else { pattern };
    let built = RegexBuilder::new(expression)
        .size_limit(PATTERN_BYTES_MAX)
        .nest_limit(PATTERN_DEPTH_MAX)
        .build();
    built.map_err(|reason| PatternError {
        pattern: pattern.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_pattern_is_refused_and_a_slow_one_is_not_slow() {
        assert!(compile("a{1000}{1000}{1000}").is_err());
        assert!(compile(&"(".repeat(100)).is_err());
        let slow = compile("(a*)*b").expect("a regular expression");
        assert!(!slow.is_match(&"a".repeat(255)));
    }

    #[test]
    fn a_refusal_names_the_pattern() {
        let refused = compile("(").unwrap_err().to_string();
        assert!(
            refused.starts_with("\"(\" is no regular expression"),
            "{refused}"
        );
        for unknown in ["(?=a)", "(?<!a)", r"(a)\1"] {
            assert!(compile(unknown).is_err(), "{unknown}");
        }
    }
}
