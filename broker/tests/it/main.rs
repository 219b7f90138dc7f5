//! Process-level tests: the real binary, real sockets, a real disk.
//!
//! They know the command line and the client, and nothing of the broker's inside, but for those
//! that start brokers `in_process`.

// `cfg(test)` tells clippy that the helpers are tests, too.
#[cfg(test)]
mod ailing;
#[cfg(test)]
mod amqp;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod bad_records;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod compaction;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod deletion;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod dev;
#[cfg(test)]
mod disk_full;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod fast_clock;
#[cfg(test)]
mod folders;
#[cfg(test)]
mod forgotten_tail;
#[cfg(test)]
mod grpc_queues;
#[cfg(test)]
mod in_process;
#[cfg(test)]
mod kafka;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod leadership;
#[cfg(test)]
mod load;
#[cfg(test)]
mod loads;
#[cfg(test)]
mod lone_replica;
#[cfg(test)]
mod marks;
#[cfg(test)]
mod membership;
#[cfg(test)]
mod memory_of_votes;
#[cfg(test)]
mod moves;
#[cfg(test)]
mod moves_killed;
#[cfg(test)]
mod queues;
#[cfg(test)]
mod real_faults;
#[cfg(test)]
mod recover;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod serve;
#[cfg(test)]
mod space;
#[cfg(test)]
mod support;
#[cfg(test)]
mod throttle;
#[cfg(test)]
mod topic_settings;
