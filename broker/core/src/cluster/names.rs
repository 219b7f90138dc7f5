//! Kafka's rules for topic names (`org.apache.kafka.common.internals.Topic`).
//!
//! Deviation: names that differ only in `.` and `_` do not collide here, because our metrics
//! keep both; [`collides_with`] finds them for who wants to warn, as Kafka's tools do.

use crate::cluster::error::ClusterError;
use crate::limits::TOPIC_NAME_BYTES_MAX;

/// Checks a topic name.
///
/// # Errors
/// `InvalidTopicName` with the rule that is broken.
pub fn check_topic_name(name: &str) -> Result<(), ClusterError> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = match name {
        "" => "it is empty".to_owned(),
        "." | ".." => "it must not be \".\" or \"..\"".to_owned(),
        _ if name.len() > TOPIC_NAME_BYTES_MAX => {
            format!(
                "{} bytes, at most {TOPIC_NAME_BYTES_MAX} are allowed",
                name.len()
            )
        }
        _ if !name.chars().all(is_legal) => {
            "only ASCII letters, digits, \".\", \"_\" and \"-\" are allowed".to_owned()
        }
        _ => return Ok(()),
    };
    let name = name.chars().take(TOPIC_NAME_BYTES_MAX).collect();
    Err(ClusterError::InvalidTopicName { name, reason })
}

/// Tells whether a topic is the broker's own, as Kafka's clients see it: `__consumer_offsets` and its
/// like. Other names that begin with `__` are legal and nobody's.
#[must_use]
pub fn is_internal_topic(name: &str) -> bool {
    matches!(
        name,
        "__consumer_offsets" | "__transaction_state" | "__share_group_state"
    )
}

/// Tells whether two different names are one where `.` and `_` are not told apart, as in the names of
/// Kafka's metrics. Kafka refuses the second of them with `INVALID_TOPIC_EXCEPTION`.
#[must_use]
pub fn collides_with(name: &str, other: &str) -> bool {
    let unified = |c: char| if c == '.' { '_' } else { c };
    name != other && name.chars().map(unified).eq(other.chars().map(unified))
}
