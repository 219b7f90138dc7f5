//! What follows from `connection.tune` and `connection.tune-ok`.
//!
//! Owns RabbitMQ's rule: a client may go below an offered limit and never above it, and 0 means
//! "no limit". Does not know where the offer comes from.

use crate::error::WireError;
use crate::limits::{FRAME_MAX_MIN, FRAME_MAX_UNLIMITED};
use crate::method::connection::{Tune, TuneOk};

/// The limits of a connection, once both sides agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Highest number of a channel, and how many may be open; never 0.
    pub channel_max: u16,
    /// Largest frame, bytes, with the eight around a payload, inclusive; never 0.
    pub frame_max: u32,
    /// Seconds between heartbeats; 0 = none.
    pub heartbeat_s: u16,
}

/// Checks what a client answered against what it was offered.
///
/// # Errors
/// `Tuning` when a limit is above the offered one, or frame-max is below 4096.
pub fn negotiate(offered: &Tune, answered: &TuneOk) -> Result<Tuning, WireError> {
    check(
        "frame_max",
        offered.frame_max,
        answered.frame_max,
        FRAME_MAX_MIN,
    )?;
    check(
        "channel_max",
        offered.channel_max.into(),
        answered.channel_max.into(),
        1,
    )?;
    Ok(Tuning {
        channel_max: match answered.channel_max {
            0 => u16::MAX,
            channel_max => channel_max,
        },
        frame_max: match answered.frame_max {
            0 => FRAME_MAX_UNLIMITED,
            frame_max => frame_max,
        },
        heartbeat_s: answered.heartbeat,
    })
}

fn check(field: &'static str, offered: u32, asked: u32, min: u32) -> Result<(), WireError> {
    if asked != 0 && asked < min {
        return Err(WireError::Tuning {
            field,
            asked,
            limit: min,
            is_below: true,
        });
    }
    if offered != 0 && (asked == 0 || asked > offered) {
        return Err(WireError::Tuning {
            field,
            asked,
            limit: offered,
            is_below: false,
        });
    }
    Ok(())
}
