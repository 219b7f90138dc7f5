//! Every bound of the machines, with its unit. Knows no behaviour.

/// Length of a topic name, bytes, inclusive (Kafka: `Topic.MAX_NAME_LENGTH`).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// Topics of a cluster.
pub const TOPICS_COUNT_MAX: usize = 100_000;
/// Partitions of one topic, inclusive.
pub const TOPIC_PARTITIONS_COUNT_MAX: u32 = 10_000;
/// Partitions of a cluster, inclusive.
pub const PARTITIONS_COUNT_MAX: usize = 1_000_000;
/// Replicas of one partition, inclusive.
pub const REPLICATION_FACTOR_MAX: u32 = 9;
/// Brokers of a cluster, inclusive.
pub const BROKERS_COUNT_MAX: usize = 1_000;
/// Decommissioned brokers whose ids are remembered, inclusive.
pub const REMOVED_BROKERS_COUNT_MAX: usize = 100_000;
/// Length of an endpoint, a rack or a cluster id, bytes, inclusive.
pub const NAME_BYTES_MAX: usize = 255;
/// Kafka listeners of one broker, inclusive.
pub const KAFKA_LISTENERS_COUNT_MAX: usize = 16;
/// Configuration entries of one topic or of the cluster, inclusive.
pub const CONFIGS_COUNT_MAX: usize = 256;
/// Length of a configuration value, bytes, inclusive.
pub const CONFIG_VALUE_BYTES_MAX: usize = 4_096;
/// Entities with client quotas, inclusive.
pub const CLIENT_QUOTAS_COUNT_MAX: usize = 10_000;
/// Rates that one broker measures for client quotas, inclusive.
pub const QUOTA_RATES_COUNT_MAX: usize = 20_000;
/// Rates forgotten at once when there are too many, the longest unused ones.
pub const QUOTA_RATES_EVICTED_COUNT: usize = 2_000;
/// Producer ids handed out in one block, inclusive.
pub const PRODUCER_ID_BLOCK_COUNT_MAX: u32 = 1_000_000;
/// Reports of leaders in one command, inclusive.
pub const REPORTS_COUNT_MAX: usize = 10_000;
/// Groups that one `ClearLeader` names, inclusive.
pub const CLEAR_LEADER_GROUPS_MAX: usize = 100_000;

/// Size of an encoded `Append` command, bytes, inclusive: one entry of one partition's log.
pub const APPEND_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Size of any other encoded command, bytes, inclusive.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Record batches in one `Append`, inclusive.
pub const APPEND_BATCHES_COUNT_MAX: usize = 1_000_000;

/// Batches remembered for each producer (Kafka: `ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
pub const PRODUCER_BATCHES_COUNT: usize = 5;
/// Payload between two entries of the sparse offset index, bytes.
pub const INDEX_INTERVAL_BYTES: u64 = 64 * 1024;
/// Entries of the offset index that make one persisted row.
pub const INDEX_CHUNK_ENTRIES_COUNT: usize = 512;
/// Payload between two checkpoints when a topic says nothing else, bytes.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// Smallest payload between two checkpoints, bytes; a smaller setting is raised to this.
pub const SEGMENT_BYTES_MIN: u64 = 16 * 1024;
/// Segment boundaries remembered of a partition, inclusive: beyond it every second one is dropped,
/// so a very long log is freed in larger steps.
pub const BOUNDARIES_COUNT_MAX: usize = 512;
/// Leader epochs remembered of a partition, inclusive: beyond it the oldest are dropped.
pub const EPOCHS_COUNT_MAX: usize = 8_192;
/// Producers remembered of a partition, inclusive: beyond it the longest idle ones are dropped.
pub const PRODUCERS_COUNT_MAX: usize = 100_000;
/// Producers dropped at once when there are too many.
pub const PRODUCERS_EVICTED_COUNT: usize = 10_000;

/// Size at which a chunk of a compacted log is closed, bytes.
pub const CHUNK_BYTES_TARGET: usize = 1024 * 1024;
/// Memory for the keys that one cleaning pass learns, bytes. More keys make more passes.
pub const COMPACTION_KEYS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Messages and settlements that one command of a queue holds, inclusive.
pub const QUEUE_COMMAND_ITEMS_COUNT_MAX: usize = 1_000_000;
/// Commands of a queue in one entry, inclusive.
pub const QUEUE_BATCH_COUNT_MAX: usize = 100_000;
/// Length of an AMQP short string (consumer tag, message id), bytes, inclusive.
pub const SHORT_STRING_BYTES_MAX: usize = 255;
/// Consumers of one queue, inclusive; more are refused.
pub const QUEUE_CONSUMERS_COUNT_MAX: usize = 65_536;
/// Deliveries, expiries and drops that one entry of a queue causes, inclusive. What is left over
/// follows with the next entry, for which the queue asks at once.
pub const QUEUE_WORK_PER_ENTRY_MAX: u32 = 65_536;
/// Message ids that a deduplication window remembers when it says nothing else.
pub const DEDUP_IDS_COUNT_DEFAULT: u32 = 100_000;
/// Message ids that a deduplication window remembers, inclusive.
pub const DEDUP_IDS_COUNT_MAX: u32 = 10_000_000;
/// Dead letters that may be published ahead of an unpublished one, inclusive.
pub const DEAD_LETTERS_AHEAD_COUNT_MAX: u64 = 4_096;

/// Virtual hosts of a cluster, inclusive.
pub const AMQP_VHOSTS_COUNT_MAX: usize = 10_000;
/// Exchanges of a cluster, inclusive, with those that each virtual host has.
pub const AMQP_EXCHANGES_COUNT_MAX: usize = 200_000;
/// Bindings of a cluster, inclusive.
pub const AMQP_BINDINGS_COUNT_MAX: usize = 2_000_000;
/// Size of the encoded arguments of an exchange, queue or binding, bytes, inclusive.
pub const AMQP_ARGUMENTS_BYTES_MAX: usize = 64 * 1024;
/// Users of a cluster, inclusive.
pub const AMQP_USERS_COUNT_MAX: usize = 10_000;
/// Tags of one user, inclusive.
pub const USER_TAGS_COUNT_MAX: usize = 32;
/// Length of a salted password hash, bytes, inclusive.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// Pairs of a user and a virtual host that it may open, inclusive.
pub const AMQP_PERMISSIONS_COUNT_MAX: usize = 100_000;
/// Length of a pattern of a permission, bytes, inclusive.
pub const AMQP_PATTERN_BYTES_MAX: usize = 4_096;

/// Size of a row or checkpoint that will be read back, bytes, inclusive.
pub const STATE_BYTES_MAX: usize = 1024 * 1024 * 1024;
