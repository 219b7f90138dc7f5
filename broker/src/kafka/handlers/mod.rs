//! One file for each API that is served. Each takes a request and gives the whole response, errors
//! included; none knows the connection.

pub(super) mod alter_client_quotas;
pub(super) mod alter_configs;
mod altering;
pub(super) mod api_versions;
mod broker_identity;
pub(super) mod create_partitions;
pub(super) mod create_topics;
pub(super) mod delete_records;
pub(super) mod delete_topics;
pub(super) mod describe_client_quotas;
pub(super) mod describe_cluster;
pub(super) mod describe_configs;
pub(super) mod describe_producers;
pub(super) mod describe_topic_partitions;
pub(super) mod fetch;
pub(super) mod find_coordinator;
pub(super) mod incremental_alter_configs;
pub(super) mod init_producer_id;
pub(super) mod list_offsets;
pub(super) mod metadata;
pub(super) mod offset_for_leader_epoch;
pub(super) mod produce;

use std::time::Duration;

use super::limits::COMMAND_WAIT_MAX;

/// Bits of the operations that anybody may do on a topic, while there is no authorization: read,
/// write, create, delete, alter, describe, describe configs, alter configs (KIP-430).
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// The same for the cluster: create, alter, describe, cluster action, describe configs, alter
/// configs, idempotent write.
const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
/// Nobody asked for the operations.
const OPERATIONS_OMITTED: i32 = i32::MIN;

/// How long a client lets a command take.
fn command_wait(timeout_ms: i32) -> Duration {
    let asked = u64::try_from(timeout_ms).unwrap_or(0).max(1);
    Duration::from_millis(asked).min(COMMAND_WAIT_MAX)
}
