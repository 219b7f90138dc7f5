//! Renders the Kafka part of `docs/protocol-support.md` from the table of what is served; a test
//! compares the two.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use raftmq_kafka_protocol::supported;

use super::apis;

/// Why an API is not served, or what differs where it is. Every other one is not served yet.
const NOTES: &[(i16, &str)] = &[
    (
        0,
        "advertised from version 0, because librdkafka else stops to compress (KAFKA-18659); served from 3. `acks` 0, 1, -1; idempotent producers; leader hints (KIP-951). Record sets of several batches are taken, too. No transactions yet",
    ),
    (
        1,
        "long poll, sessions (KIP-227), reads from the replica in the consumer's rack (KIP-392, without a setting: where `client.rack` is set), truncation detection (KIP-320), leader hints (KIP-951)",
    ),
    (
        2,
        "by time, and the specials -1 to -6; those about tiered storage find nothing",
    ),
    (
        3,
        "makes topics by itself (`auto.create.topics.enable`) and waits for their leaders",
    ),
    (8, "not yet: consumer groups"),
    (9, "not yet: consumer groups"),
    (
        10,
        "answers COORDINATOR_NOT_AVAILABLE until there are consumer groups; consumers with assigned partitions work",
    ),
    (11, "not yet: consumer groups"),
    (12, "not yet: consumer groups"),
    (13, "not yet: consumer groups"),
    (14, "not yet: consumer groups"),
    (
        18,
        "unknown versions are answered in version 0 with error 35 (KIP-511)",
    ),
    (19, "waits until the partitions have leaders"),
    (21, "on the leader only, as in Kafka"),
    (
        22,
        "idempotent producers only; a transactional id is refused with INVALID_REQUEST",
    ),
    (
        32,
        "topics and the cluster's settings, with defaults, types, sources, synonyms and documentation; of what stands in a broker's own file `broker.id`, `node.id`, `broker.rack`, `listeners`, `advertised.listeners` and `log.dirs`, read only",
    ),
    (
        33,
        "as IncrementalAlterConfigs; what is not named goes back to its default",
    ),
    (
        44,
        "topics, and the cluster's settings as those of all brokers (`--entity-default`); those of one broker stand in its file",
    ),
    (48, "users and client ids; nothing is found of `ip`"),
    (
        49,
        "`producer_byte_rate`, `consumer_byte_rate` and `request_percentage`, of users and client ids (everybody is the user ANONYMOUS yet). Not `controller_mutation_rate` (KIP-599) and `ip` (KIP-612). `request_percentage` counts the time in which the connection's own task works",
    ),
    (61, "idempotent producers; there are no transactions yet"),
    (
        75,
        "the lists of eligible leaders are empty: a majority holds every committed record",
    ),
];

/// Every key of Kafka 4.2 that the schema does not have, and why.
const NOT_IN_SCHEMA: &[(i16, &str, &str)] = &[
    (4, "LeaderAndIsr", "removed in Kafka 4.0"),
    (5, "StopReplica", "removed in Kafka 4.0"),
    (6, "UpdateMetadata", "removed in Kafka 4.0"),
    (7, "ControlledShutdown", "removed in Kafka 4.0"),
    (52, "Vote", "between Kafka's brokers only"),
    (53, "BeginQuorumEpoch", "between Kafka's brokers only"),
    (54, "EndQuorumEpoch", "between Kafka's brokers only"),
    (56, "AlterPartition", "between Kafka's brokers only"),
    (58, "Envelope", "between Kafka's brokers only"),
    (59, "FetchSnapshot", "between Kafka's brokers only"),
    (62, "BrokerRegistration", "between Kafka's brokers only"),
    (63, "BrokerHeartbeat", "between Kafka's brokers only"),
    (67, "AllocateProducerIds", "between Kafka's brokers only"),
    (70, "ControllerRegistration", "between Kafka's brokers only"),
    (73, "AssignReplicasToDirs", "between Kafka's brokers only"),
    (82, "UpdateRaftVoter", "between Kafka's brokers only"),
    (
        83,
        "InitializeShareGroupState",
        "between Kafka's brokers only",
    ),
    (84, "ReadShareGroupState", "between Kafka's brokers only"),
    (85, "WriteShareGroupState", "between Kafka's brokers only"),
    (86, "DeleteShareGroupState", "between Kafka's brokers only"),
    (
        87,
        "ReadShareGroupStateSummary",
        "between Kafka's brokers only",
    ),
];

/// The table, a row for each API key, ending in a newline.
#[must_use]
pub fn render_support() -> String {
    let mut rows = BTreeMap::new();
    for info in supported() {
        let key = i16::from(info.key);
        let mut notes = NOTES.iter().filter(|(noted, _)| *noted == key);
        let note = notes.next().map(|(_, note)| *note);
        let row = apis::served().find(|row| row.key == info.key);
        let (versions, note) = match row {
            Some(row) => {
                let versions = row.versions();
                let versions = format!("{}-{}", versions.start(), versions.end());
                (versions, note.unwrap_or_default())
            }
            None => ("-".to_owned(), note.unwrap_or("not yet")),
        };
        rows.insert(key, (info.name, versions, note));
    }
    for (key, name, reason) in NOT_IN_SCHEMA {
        rows.insert(*key, (*name, "-".to_owned(), *reason));
    }
    let mut table = "| key | API | versions | notes |\n| --- | --- | --- | --- |\n".to_owned();
    for (key, (name, versions, note)) in rows {
        let row = writeln!(table, "| {key} | {name} | {versions} | {note} |");
        row.expect("writing to a String cannot fail");
    }
    table
}
