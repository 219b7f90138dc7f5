//! Tests of the store through its public face, on both engines.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "helpers of tests fail like tests"
)]

mod crash;
mod differential;
mod disk_crash;
mod faults;
mod folder;
mod groups;
mod housekeeping;
mod model;
mod openraft_suite;
mod stress;
mod support;
