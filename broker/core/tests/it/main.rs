//! The tests of the machines: every command's reply, effects and state; properties against naive
//! models; replay; bytes, good and hostile.
//!
//! They go through the public API only, as the host does.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail a test in the same way as the test itself"
)]

mod cluster;
mod codec;
mod partition;
mod queue;
mod quota;
mod space;
mod support;
mod throttle;
