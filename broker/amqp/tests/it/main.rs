//! Tests of the machine of a connection through its public API: a scripted client over bytes, and a
//! host that answers as it is told.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests fail a test in the same way as the test itself"
)]

mod channels;
mod consuming;
mod handshake;
mod hostile;
mod publishing;
mod reply_to;
mod settling;
mod support;
mod topology;
