//! `AlterTopicConfigs`, `AlterClusterConfigs`, and which value counts.

use raftmq_core::cluster::config_keys::{ConfigSource, RETENTION_MS, SEGMENT_BYTES};
use raftmq_core::cluster::{ClusterError, Command, ConfigError, Outcome};
use raftmq_core::{Effect, GroupNumber};

use crate::support::cluster::{Harness, configs, topic_id};

fn with_topic() -> Harness {
    let mut harness = Harness::with_brokers(1);
    harness.add_topic("logs", 2, 1);
    harness
}

fn alter_topic(set: &[(&str, &str)], unset: &[&str]) -> Command {
    Command::AlterTopicConfigs {
        topic_id: topic_id("logs"),
        set: configs(set),
        unset: unset.iter().map(|key| (*key).to_owned()).collect(),
    }
}

fn alter_cluster(set: &[(&str, &str)], unset: &[&str]) -> Command {
    Command::AlterClusterConfigs {
        set: configs(set),
        unset: unset.iter().map(|key| (*key).to_owned()).collect(),
    }
}

fn effective(harness: &Harness, key: &str) -> (String, ConfigSource) {
    let topic = harness.image().topic("logs").unwrap();
    let config = harness.image().effective_config(Some(topic), key).unwrap();
    (config.value, config.source)
}

#[test]
fn a_topic_config_is_set() {
    let mut harness = with_topic();

    let applied = harness.commit(&alter_topic(&[(RETENTION_MS, "1000")], &[]));

    assert_eq!(applied.reply, Ok(Outcome::Done));
    assert_eq!(
        applied.effects,
        vec![
            Effect::GroupChanged {
                group: GroupNumber(1)
            },
            Effect::GroupChanged {
                group: GroupNumber(2)
            },
            Effect::ImageChanged,
        ]
    );
    assert_eq!(
        effective(&harness, RETENTION_MS),
        ("1000".to_owned(), ConfigSource::Topic)
    );
}

#[test]
fn setting_the_same_again_changes_nothing() {
    let mut harness = with_topic();
    harness.accept(&alter_topic(&[(RETENTION_MS, "1000")], &[]));
    let before = harness.cluster.clone();

    let again = harness.commit(&alter_topic(&[(RETENTION_MS, "1000")], &[SEGMENT_BYTES]));

    assert_eq!(again.reply, Ok(Outcome::Done));
    assert_eq!(again.effects, vec![]);
    assert_eq!(harness.cluster, before);
}

#[test]
fn the_topic_comes_before_the_cluster_before_the_default() {
    let mut harness = with_topic();
    assert_eq!(
        effective(&harness, RETENTION_MS),
        ("604800000".to_owned(), ConfigSource::Default)
    );

    harness.accept(&alter_cluster(&[(RETENTION_MS, "5")], &[]));
    assert_eq!(
        effective(&harness, RETENTION_MS),
        ("5".to_owned(), ConfigSource::Cluster)
    );

    harness.accept(&alter_topic(&[(RETENTION_MS, "-1")], &[]));
    assert_eq!(
        effective(&harness, RETENTION_MS),
        ("-1".to_owned(), ConfigSource::Topic)
    );

    harness.accept(&alter_topic(&[], &[RETENTION_MS]));
    harness.accept(&alter_cluster(&[], &[RETENTION_MS]));
    assert_eq!(
        effective(&harness, RETENTION_MS),
        ("604800000".to_owned(), ConfigSource::Default)
    );
}

#[test]
fn values_are_read_as_numbers_and_words() {
    let mut harness = with_topic();
    harness.accept(&alter_topic(
        &[(RETENTION_MS, "77"), ("durability", "os")],
        &[],
    ));

    let image = harness.image();
    let topic = image.topic("logs").map(AsRef::as_ref);
    assert_eq!(image.config_i64(topic, RETENTION_MS), 77);
    assert_eq!(image.config_i64(None, RETENTION_MS), 604_800_000);
    assert_eq!(image.config_text(topic, "durability"), "os");
    assert_eq!(image.config_text(None, "durability"), "flush");
    assert_eq!(image.config_text(None, "no.such.key"), "");
    assert_eq!(image.config_i64(None, "no.such.key"), 0);
    assert_eq!(image.effective_config(None, "no.such.key"), None);
}

#[test]
fn one_invalid_value_refuses_the_whole_command() {
    let mut harness = with_topic();

    let refused = harness.refuse(&alter_topic(
        &[(RETENTION_MS, "1000"), (SEGMENT_BYTES, "12")],
        &[],
    ));

    let ClusterError::InvalidConfig(ConfigError::InvalidValue { key, actual, .. }) = refused else {
        panic!("{refused}")
    };
    assert_eq!((key.as_str(), actual.as_str()), (SEGMENT_BYTES, "12"));
}

#[test]
fn a_cluster_key_cannot_be_set_on_a_topic() {
    let mut harness = with_topic();

    let refused = harness.refuse(&alter_topic(&[("num.partitions", "3")], &[]));

    let key = "num.partitions".to_owned();
    assert_eq!(
        refused,
        ClusterError::InvalidConfig(ConfigError::NotATopicKey { key })
    );
}

#[test]
fn an_unknown_key_can_neither_be_set_nor_unset() {
    let mut harness = with_topic();
    let unknown = ClusterError::InvalidConfig(ConfigError::UnknownKey {
        key: "no.such".to_owned(),
    });

    assert_eq!(
        harness.refuse(&alter_topic(&[("no.such", "1")], &[])),
        unknown
    );
    assert_eq!(harness.refuse(&alter_topic(&[], &["no.such"])), unknown);
    assert_eq!(
        harness.refuse(&alter_cluster(&[("no.such", "1")], &[])),
        unknown
    );
    assert_eq!(harness.refuse(&alter_cluster(&[], &["no.such"])), unknown);
}

#[test]
fn a_key_is_not_both_set_and_unset() {
    let mut harness = with_topic();

    let refused = harness.refuse(&alter_topic(&[(RETENTION_MS, "1")], &[RETENTION_MS]));

    let key = RETENTION_MS.to_owned();
    assert_eq!(
        refused,
        ClusterError::InvalidConfig(ConfigError::SetAndUnset { key })
    );
}

#[test]
fn configs_of_an_unknown_topic_are_refused() {
    let mut harness = Harness::with_brokers(1);

    let refused = harness.refuse(&alter_topic(&[(RETENTION_MS, "1")], &[]));

    assert_eq!(
        refused,
        ClusterError::UnknownTopic {
            topic_id: topic_id("logs")
        }
    );
}

#[test]
fn a_cluster_config_is_set_and_unset() {
    let mut harness = Harness::with_brokers(1);

    let applied = harness.commit(&alter_cluster(&[("num.partitions", "3")], &[]));
    assert_eq!(applied.reply, Ok(Outcome::Done));
    assert_eq!(applied.effects, vec![Effect::ImageChanged]);
    assert_eq!(harness.image().config_i64(None, "num.partitions"), 3);

    let again = harness.commit(&alter_cluster(&[("num.partitions", "3")], &[]));
    assert_eq!(again.effects, vec![]);

    harness.accept(&alter_cluster(&[], &["num.partitions"]));
    assert_eq!(harness.image().config_i64(None, "num.partitions"), 1);
    assert!(harness.image().configs.is_empty());
}

#[test]
fn a_cluster_config_reaches_every_topic_that_says_nothing() {
    let mut harness = with_topic();
    harness.accept(&alter_cluster(&[("min.insync.replicas", "2")], &[]));

    assert_eq!(
        effective(&harness, "min.insync.replicas"),
        ("2".to_owned(), ConfigSource::Cluster)
    );
}
