//! The metadata machine, one file for each kind of command or question.

mod amqp;
mod balance;
mod balance_properties;
mod brokers;
mod codec;
mod config_keys;
mod configs;
mod decommission;
mod elections;
mod image;
mod leadership;
mod losses;
mod measured;
mod membership;
mod moves;
mod names;
mod partitions;
mod placement;
mod quotas;
mod reassignment;
mod replay;
mod rows;
mod sessions;
mod topics;
mod voters;
mod vouches;
