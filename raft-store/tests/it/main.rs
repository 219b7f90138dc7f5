//! Tests of the store through its public face, on both engines.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "helpers of tests fail like tests"
)]

mod checkpoints;
mod crash;
mod damage;
mod differential;
mod disk_crash;
mod faults;
mod folder;
mod groups;
mod housekeeping;
mod model;
mod openraft_suite;
mod removal;
mod scrub;
mod segment_headers;
mod space;
mod spy;
mod stress;
mod support;
mod survivors;
