//! The queue machine: its commands one by one, and against a naive model.

mod arguments;
mod dedup;
mod deliver;
mod limits;
mod model;
mod properties;
mod returns;
mod steps;
