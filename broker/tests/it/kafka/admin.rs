//! Topics and settings by Kafka's admin requests.

use raftmq_kafka_protocol::messages::alter_configs;
use raftmq_kafka_protocol::messages::create_partitions::request::CreatePartitionsTopic;
use raftmq_kafka_protocol::messages::create_topics::request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use raftmq_kafka_protocol::messages::create_topics::response::CreatableTopicResult;
use raftmq_kafka_protocol::messages::delete_topics::request::DeleteTopicState;
use raftmq_kafka_protocol::messages::describe_configs::request::DescribeConfigsResource;
use raftmq_kafka_protocol::messages::describe_configs::response::DescribeConfigsResourceResult;
use raftmq_kafka_protocol::messages::describe_topic_partitions::request::{Cursor, TopicRequest};
use raftmq_kafka_protocol::messages::describe_topic_partitions::response::DescribeTopicPartitionsResponseTopic as DescribedTopic;
use raftmq_kafka_protocol::messages::incremental_alter_configs::request::{
    AlterConfigsResource, AlterableConfig,
};
use raftmq_kafka_protocol::messages::metadata::request::MetadataRequestTopic;
use raftmq_kafka_protocol::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeTopicPartitionsRequest,
    IncrementalAlterConfigsRequest, MetadataRequest,
};
use raftmq_kafka_protocol::{ErrorCode, Response, Uuid};

use super::wire::{Wire, batch, broker};

pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

pub(super) fn topic(name: &str, num_partitions: i32) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions,
        replication_factor: -1,
        ..CreatableTopic::default()
    }
}

pub(super) fn create(
    wire: &mut Wire,
    topics: Vec<CreatableTopic>,
    validate_only: bool,
) -> Vec<CreatableTopicResult> {
    let request = CreateTopicsRequest {
        topics,
        timeout_ms: 30_000,
        validate_only,
    };
    let Response::CreateTopics(response) = wire.call(7, request) else {
        panic!("not an answer to CreateTopics")
    };
    response.topics
}

pub(super) fn config(name: &str, value: Option<&str>) -> CreatableTopicConfig {
    CreatableTopicConfig {
        name: name.into(),
        value: value.map(Into::into),
    }
}

#[test]
fn topics_are_validated_and_made() {
    let (_broker, mut wire) = broker(&[]);
    let validated = create(&mut wire, vec![topic("t", 2)], true);
    assert_eq!(validated[0].error_code, 0);
    assert!(wire_knows_nothing(&mut wire));

    let mut configured = topic("t", 2);
    configured.configs = vec![config("retention.ms", Some("1000"))];
    let made = create(&mut wire, vec![configured, topic("u", -1)], false);
    assert_eq!(
        (
            made[0].error_code,
            made[0].num_partitions,
            made[0].replication_factor
        ),
        (0, 2, 1)
    );
    assert!(!made[0].topic_id.is_zero());
    let configs = made[0].configs.as_ref().unwrap();
    let retention = configs
        .iter()
        .find(|config| &*config.name == "retention.ms")
        .unwrap();
    assert_eq!(
        (retention.value.as_deref(), retention.config_source),
        (Some("1000"), 1)
    );
    assert_eq!(made[1].num_partitions, 1);
}

#[test]
fn topics_are_grown_and_never_shrunk() {
    let (_broker, mut wire) = broker(&[]);
    create(&mut wire, vec![topic("t", 2)], false);
    let grow = |count, validate_only| CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: "t".into(),
            count,
            assignments: None,
        }],
        timeout_ms: 30_000,
        validate_only,
    };
    for (count, validate_only, error, after) in [
        (5, true, ErrorCode::None, 2),
        (5, false, ErrorCode::None, 5),
        (5, false, ErrorCode::InvalidPartitions, 5),
        (-1, false, ErrorCode::InvalidPartitions, 5),
    ] {
        let Response::CreatePartitions(grown) = wire.call(3, grow(count, validate_only)) else {
            panic!("not an answer to CreatePartitions")
        };
        assert_eq!(grown.results[0].error_code, i16::from(error), "{grown:?}");
        assert_eq!(wire.metadata("t").topics[0].partitions.len(), after);
    }
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let (_broker, mut wire) = broker(&[]);
    let made = create(&mut wire, vec![topic("t", 1), topic("u", 1)], false);
    let request = DeleteTopicsRequest {
        topics: vec![
            DeleteTopicState {
                name: None,
                topic_id: made[0].topic_id,
            },
            DeleteTopicState {
                name: Some("u".into()),
                ..DeleteTopicState::default()
            },
            DeleteTopicState {
                name: Some("nowhere".into()),
                ..DeleteTopicState::default()
            },
        ],
        timeout_ms: 30_000,
        ..DeleteTopicsRequest::default()
    };
    let Response::DeleteTopics(deleted) = wire.call(6, request) else {
        panic!("not an answer to DeleteTopics")
    };
    let codes: Vec<i16> = deleted.responses.iter().map(|one| one.error_code).collect();
    assert_eq!(codes, [0, 0, i16::from(ErrorCode::UnknownTopicOrPartition)]);
    assert_eq!(deleted.responses[0].name.as_deref(), Some("t"));
    assert!(wire_knows_nothing(&mut wire));
}

/// No topic at all.
fn wire_knows_nothing(wire: &mut Wire) -> bool {
    let request = DescribeTopicPartitionsRequest::default();
    let Response::DescribeTopicPartitions(all) = wire.call(0, request) else {
        panic!("not an answer to DescribeTopicPartitions")
    };
    all.topics.is_empty()
}

#[test]
fn bad_topics_are_refused_one_by_one() {
    let (_broker, mut wire) = broker(&[]);
    let assigned = |ids: &[(i32, i32)]| {
        let assignment = |(index, broker): &(i32, i32)| CreatableReplicaAssignment {
            partition_index: *index,
            broker_ids: vec![*broker],
        };
        CreatableTopic {
            assignments: ids.iter().map(assignment).collect(),
            ..topic("assigned", -1)
        }
    };
    let configured = |name: &str, value: Option<&str>| CreatableTopic {
        configs: vec![config(name, value)],
        ..topic("configured", 1)
    };
    for (bad, error) in [
        (topic("no/slash", 1), ErrorCode::InvalidTopicException),
        (topic("", 1), ErrorCode::InvalidTopicException),
        (topic(".", 1), ErrorCode::InvalidTopicException),
        (topic("..", 1), ErrorCode::InvalidTopicException),
        (topic("a space", 1), ErrorCode::InvalidTopicException),
        (topic("größe", 1), ErrorCode::InvalidTopicException),
        (topic("nul\0", 1), ErrorCode::InvalidTopicException),
        (topic(&"n".repeat(250), 1), ErrorCode::InvalidTopicException),
        (topic("t", 0), ErrorCode::InvalidPartitions),
        (topic("t", 1_000_000), ErrorCode::InvalidPartitions),
        (
            CreatableTopic {
                replication_factor: 3,
                ..topic("t", 1)
            },
            ErrorCode::InvalidReplicationFactor,
        ),
        (assigned(&[(1, 1)]), ErrorCode::InvalidReplicaAssignment),
        (assigned(&[(0, 9)]), ErrorCode::InvalidReplicaAssignment),
        (
            CreatableTopic {
                num_partitions: 1,
                ..assigned(&[(0, 1)])
            },
            ErrorCode::InvalidRequest,
        ),
        (configured("retention.ms", None), ErrorCode::InvalidConfig),
        (
            configured("retention.ms", Some("soon")),
            ErrorCode::InvalidConfig,
        ),
        (
            configured("no.such.key", Some("1")),
            ErrorCode::InvalidConfig,
        ),
    ] {
        let refused = create(&mut wire, vec![bad.clone()], false);
        assert_eq!(
            refused[0].error_code,
            i16::from(error),
            "{bad:?}: {refused:?}"
        );
        assert!(refused[0].error_message.is_some(), "{bad:?}");
    }
}

#[test]
fn a_topic_that_is_named_twice_or_is_there_already_is_refused() {
    let (_broker, mut wire) = broker(&[]);
    let twice = create(
        &mut wire,
        vec![topic("t", 1), topic("t", 1), topic("u", 1)],
        false,
    );
    let codes: Vec<i16> = twice.iter().map(|one| one.error_code).collect();
    let invalid = i16::from(ErrorCode::InvalidRequest);
    assert_eq!(codes, [invalid, invalid, 0]);
    let again = create(&mut wire, vec![topic("u", 1)], false);
    assert_eq!(
        again[0].error_code,
        i16::from(ErrorCode::TopicAlreadyExists)
    );
}

pub(super) fn describe(
    wire: &mut Wire,
    kind: i8,
    name: &str,
    keys: Option<Vec<&str>>,
) -> Vec<DescribeConfigsResourceResult> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys: keys.map(|keys| keys.into_iter().map(Into::into).collect()),
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    let Response::DescribeConfigs(mut response) = wire.call(4, request) else {
        panic!("not an answer to DescribeConfigs")
    };
    assert_eq!(response.results[0].error_code, 0, "{response:?}");
    response.results.remove(0).configs
}

fn alter(wire: &mut Wire, kind: i8, name: &str, changes: &[(&str, i8, Option<&str>)]) -> i16 {
    let change = |(name, operation, value): &(&str, i8, Option<&str>)| AlterableConfig {
        name: (*name).into(),
        config_operation: *operation,
        value: value.map(Into::into),
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configs: changes.iter().map(change).collect(),
        }],
        validate_only: false,
    };
    let Response::IncrementalAlterConfigs(response) = wire.call(1, request) else {
        panic!("not an answer to IncrementalAlterConfigs")
    };
    response.responses[0].error_code
}

#[test]
fn settings_are_altered_and_described_with_their_sources() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    let one = |wire: &mut Wire, kind, name: &str, key: &str| {
        let mut found = describe(wire, kind, name, Some(vec![key]));
        assert_eq!(found.len(), 1, "{key}");
        found.remove(0)
    };
    let default = one(&mut wire, TOPIC, "t", "retention.ms");
    assert_eq!(
        (default.value.as_deref(), default.config_source),
        (Some("604800000"), 5)
    );
    assert_eq!(
        (default.config_type, default.is_sensitive, default.read_only),
        (5, false, false)
    );
    assert!(default.documentation.is_some());

    let set_for_all = [("log.retention.ms", 0, Some("7000"))];
    assert_eq!(alter(&mut wire, BROKER, "", &set_for_all), 0);
    let of_all = one(&mut wire, TOPIC, "t", "retention.ms");
    assert_eq!(
        (of_all.value.as_deref(), of_all.config_source),
        (Some("7000"), 3)
    );
    assert_eq!(
        one(&mut wire, BROKER, "1", "log.retention.ms")
            .value
            .as_deref(),
        Some("7000")
    );

    let set = [
        ("retention.ms", 0, Some("5000")),
        ("cleanup.policy", 2, Some("compact")),
    ];
    assert_eq!(alter(&mut wire, TOPIC, "t", &set), 0);
    let own = one(&mut wire, TOPIC, "t", "retention.ms");
    assert_eq!((own.value.as_deref(), own.config_source), (Some("5000"), 1));
    let synonyms: Vec<_> = own
        .synonyms
        .iter()
        .map(|one| (&*one.name, one.source))
        .collect();
    let broker_name = "log.retention.ms";
    assert_eq!(
        synonyms,
        [("retention.ms", 1), (broker_name, 3), (broker_name, 5)]
    );
    let policy = one(&mut wire, TOPIC, "t", "cleanup.policy");
    assert_eq!(
        (policy.value.as_deref(), policy.config_type),
        (Some("delete,compact"), 7)
    );

    assert_eq!(
        alter(&mut wire, TOPIC, "t", &[("retention.ms", 1, None)]),
        0
    );
    assert_eq!(one(&mut wire, TOPIC, "t", "retention.ms").config_source, 3);
    assert!(describe(&mut wire, TOPIC, "t", None).len() > 5);
}

#[test]
fn what_alter_configs_does_not_name_goes_back_to_its_default() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    let set = [
        ("retention.ms", 0, Some("5000")),
        ("segment.ms", 0, Some("6000")),
    ];
    assert_eq!(alter(&mut wire, TOPIC, "t", &set), 0);
    let request = |value: Option<&str>, validate_only| AlterConfigsRequest {
        resources: vec![alter_configs::request::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: "t".into(),
            configs: vec![alter_configs::request::AlterableConfig {
                name: "retention.ms".into(),
                value: value.map(Into::into),
            }],
        }],
        validate_only,
    };
    for (value, validate_only, error, retention, segment) in [
        (Some("7000"), true, ErrorCode::None, "5000", "6000"),
        (None, false, ErrorCode::InvalidConfig, "5000", "6000"),
        (Some("7000"), false, ErrorCode::None, "7000", "604800000"),
    ] {
        let Response::AlterConfigs(altered) = wire.call(2, request(value, validate_only)) else {
            panic!("not an answer to AlterConfigs")
        };
        assert_eq!(
            altered.responses[0].error_code,
            i16::from(error),
            "{altered:?}"
        );
        let found = describe(
            &mut wire,
            TOPIC,
            "t",
            Some(vec!["retention.ms", "segment.ms"]),
        );
        let found: Vec<_> = found.iter().map(|one| one.value.as_deref()).collect();
        assert_eq!(found, [Some(retention), Some(segment)]);
    }
}

#[test]
fn bad_alterations_are_refused_and_change_nothing() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    let before = describe(&mut wire, TOPIC, "t", None);
    let invalid_config = i16::from(ErrorCode::InvalidConfig);
    for changes in [
        &[("retention.ms", 0, Some("soon"))][..],
        &[("retention.ms", 0, None)],
        &[("retention.ms", 2, Some("1"))],
        &[("retention.ms", 9, Some("1"))],
        &[("retention.ms", 0, Some("1")), ("retention.ms", 1, None)],
        &[("segment.ms", 0, Some("5")), ("no.such.key", 0, Some("1"))],
    ] {
        assert_eq!(
            alter(&mut wire, TOPIC, "t", changes),
            invalid_config,
            "{changes:?}"
        );
    }
    let set = [("retention.ms", 0, Some("1"))];
    let unknown = i16::from(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(alter(&mut wire, TOPIC, "nowhere", &set), unknown);
    let invalid = i16::from(ErrorCode::InvalidRequest);
    assert_eq!(alter(&mut wire, BROKER, "1", &set), invalid);
    assert_eq!(alter(&mut wire, 99, "t", &set), invalid);
    assert_eq!(describe(&mut wire, TOPIC, "t", None), before);
}

#[test]
fn topics_are_described_page_by_page() {
    let (_broker, mut wire) = broker(&[]);
    create(&mut wire, vec![topic("a", 3), topic("b", 3)], false);
    let mut request = DescribeTopicPartitionsRequest {
        topics: ["b", "a", "nowhere"]
            .map(|name| TopicRequest { name: name.into() })
            .to_vec(),
        response_partition_limit: 4,
        cursor: None,
    };
    let Response::DescribeTopicPartitions(page) = wire.call(0, request.clone()) else {
        panic!("not an answer to DescribeTopicPartitions")
    };
    let counts = |topics: &[DescribedTopic]| -> Vec<(String, usize, i16)> {
        let count = |topic: &DescribedTopic| {
            let name = topic.name.as_deref().unwrap_or_default().to_owned();
            (name, topic.partitions.len(), topic.error_code)
        };
        topics.iter().map(count).collect()
    };
    assert_eq!(
        counts(&page.topics),
        [("a".to_owned(), 3, 0), ("b".to_owned(), 1, 0)]
    );
    let cursor = page.next_cursor.unwrap();
    assert_eq!((&*cursor.topic_name, cursor.partition_index), ("b", 1));

    request.cursor = Some(Cursor {
        topic_name: cursor.topic_name,
        partition_index: cursor.partition_index,
    });
    let Response::DescribeTopicPartitions(page) = wire.call(0, request) else {
        panic!("not an answer to DescribeTopicPartitions")
    };
    let unknown = i16::from(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(
        counts(&page.topics),
        [("b".to_owned(), 2, 0), ("nowhere".to_owned(), 0, unknown)]
    );
    assert!(page.next_cursor.is_none());
}

#[test]
fn an_id_finds_a_topic_whatever_name_comes_with_it() {
    let (_broker, mut wire) = broker(&[]);
    let topic_id = wire.topic("t");
    for (id, name, error, found) in [
        (topic_id, Some(""), ErrorCode::None, Some("t")),
        (topic_id, None, ErrorCode::None, Some("t")),
        (Uuid([9; 16]), Some(""), ErrorCode::UnknownTopicId, None),
    ] {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                topic_id: id,
                name: name.map(Into::into),
            }]),
            ..MetadataRequest::default()
        };
        let Response::Metadata(response) = wire.call(12, request) else {
            panic!("not an answer to Metadata")
        };
        let topic = &response.topics[0];
        assert_eq!(topic.error_code, i16::from(error));
        assert_eq!((topic.name.as_deref(), topic.topic_id), (found, id));
    }
}

#[test]
fn the_cluster_is_described() {
    let (broker, mut wire) = broker(&[]);
    let Response::DescribeCluster(cluster) = wire.call(2, DescribeClusterRequest::default()) else {
        panic!("not an answer to DescribeCluster")
    };
    assert_eq!((cluster.error_code, cluster.controller_id), (0, 1));
    let brokers: Vec<String> = cluster
        .brokers
        .iter()
        .map(|one| format!("{}:{}", one.host, one.port))
        .collect();
    assert_eq!(brokers, [broker.kafka()]);
    let request = DescribeClusterRequest {
        endpoint_type: 2,
        ..DescribeClusterRequest::default()
    };
    let Response::DescribeCluster(refused) = wire.call(2, request) else {
        panic!("not an answer to DescribeCluster")
    };
    assert_eq!(
        refused.error_code,
        i16::from(ErrorCode::MismatchedEndpointType)
    );
    wire.topic("t");
    assert_eq!(wire.produce("t", batch(&["v"])).error_code, 0);
}
