//! What a broker is told about AMQP clients: its listener and their bounds.
//!
//! Knows the shape of the values; not whether an address is usable.

use raftmq_amqp_protocol::{FRAME_MAX_DEFAULT, FRAME_MAX_INITIAL, MESSAGE_BYTES_MAX_DEFAULT};
use serde::Serialize;

/// AMQP listener of a broker that was told nothing: the port that AMQP has.
pub const AMQP_LISTEN_DEFAULT: &str = "127.0.0.1:5672";
/// Largest message that can be allowed, bytes: one entry of a log holds it.
const MESSAGE_BYTES_LIMIT: u64 = 32 << 20;

/// Everything a broker is told about AMQP clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AmqpConfig {
    /// `host:port`; port 0 = any free port; `None` = no AMQP clients.
    pub listen: Option<String>,
    /// Connections at a time; further ones are closed.
    pub connections_max: u64,
    /// Channels of one connection that are offered; 0 = no limit.
    pub channel_max: u16,
    /// Largest frame that is offered, bytes; 0 = no limit.
    pub frame_bytes_max: u32,
    /// Interval of heartbeats that is offered, seconds; 0 = none.
    pub heartbeat_s: u16,
    /// Largest message, bytes.
    pub message_bytes_max: u64,
    /// Users who connect only from the broker's own machine.
    pub loopback_users: Vec<String>,
}

impl Default for AmqpConfig {
    fn default() -> Self {
        Self {
            listen: Some(AMQP_LISTEN_DEFAULT.to_owned()),
            connections_max: 10_000,
            channel_max: 2_047,
            frame_bytes_max: FRAME_MAX_DEFAULT,
            heartbeat_s: 60,
            message_bytes_max: MESSAGE_BYTES_MAX_DEFAULT,
            loopback_users: vec!["guest".to_owned()],
        }
    }
}

/// Reads a comma-separated list of names; an empty text is an empty list.
pub(super) fn names(text: &str) -> Vec<String> {
    let names = text.split(',').map(str::trim);
    let names = names.filter(|name| !name.is_empty());
    names.map(ToOwned::to_owned).collect()
}

/// Reads a number of 16 bit, 0 included.
pub(super) fn short(text: &str) -> Result<u16, String> {
    let expected = |_| {
        format!(
            "expected a whole number from 0 to {}, got {text:?}",
            u16::MAX
        )
    };
    text.parse().map_err(expected)
}

/// Reads the size of frames: clients must be able to say who they are in the first ones.
pub(super) fn frame_bytes(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(bytes) if bytes == 0 || bytes >= FRAME_MAX_INITIAL => Ok(bytes),
        Ok(_) | Err(_) => Err(format!(
            "expected 0 or at least {FRAME_MAX_INITIAL} bytes, got {text:?}"
        )),
    }
}

/// Reads the size of messages.
pub(super) fn message_bytes(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(bytes) if (1..=MESSAGE_BYTES_LIMIT).contains(&bytes) => Ok(bytes),
        Ok(_) | Err(_) => Err(format!(
            "expected bytes from 1 to {MESSAGE_BYTES_LIMIT}, got {text:?}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_bounds() {
        assert_eq!(names("guest, other,"), ["guest", "other"]);
        assert!(names("").is_empty());
        assert_eq!((short("0"), short("65535")), (Ok(0), Ok(65_535)));
        assert!(short("65536").is_err() && short("-1").is_err());
        assert_eq!((frame_bytes("0"), frame_bytes("8192")), (Ok(0), Ok(8_192)));
        assert!(frame_bytes("8191").is_err() && frame_bytes("x").is_err());
        assert_eq!(message_bytes("33554432"), Ok(MESSAGE_BYTES_LIMIT));
        assert!(message_bytes("0").is_err() && message_bytes("33554433").is_err());
    }
}
