//! Tests of the store through its public face, on both engines.

mod crash;
mod differential;
mod disk_crash;
mod faults;
mod folder;
mod groups;
mod housekeeping;
mod openraft_suite;
#[cfg(feature = "planted-bugs")]
mod planted;
mod support;
