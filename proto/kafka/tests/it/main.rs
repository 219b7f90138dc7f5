//! One binary for all integration tests of the codec.

mod api;
mod differential;
mod error_codes;
mod frames;
mod golden;
mod hostile;
mod messages;
mod round_trip;
mod schema;
mod segments;
mod support;
mod watch;
