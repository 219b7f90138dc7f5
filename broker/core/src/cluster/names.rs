//! Kafka's rules for topic names (`org.apache.kafka.common.internals.Topic`).
//!
//! Deviation: names that differ only in `.` and `_` do not collide here, because our metrics
//! keep both.

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
