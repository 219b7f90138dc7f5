//! The table of config keys.

use raftmq_core::cluster::config_keys::{
    CONFIG_KEYS, ConfigError, ConfigScope, ConfigSource, ConfigType, check, find, ratio_ppm,
};

fn topic_value(key: &str, value: &str) -> Result<(), ConfigError> {
    check(ConfigScope::Topic, key, value)
}

fn cluster_value(key: &str, value: &str) -> Result<(), ConfigError> {
    check(ConfigScope::Cluster, key, value)
}

#[test]
fn the_table_is_in_order_without_repetition() {
    let names: Vec<&str> = CONFIG_KEYS.iter().map(|key| key.name).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(names, sorted);
}

#[test]
fn every_default_is_a_value_that_fits() {
    for key in CONFIG_KEYS {
        assert_eq!(cluster_value(key.name, key.default), Ok(()), "{}", key.name);
    }
}

#[test]
fn every_key_is_documented_in_a_sentence() {
    for key in CONFIG_KEYS {
        assert!(key.documentation.ends_with('.'), "{}", key.name);
        assert!(key.documentation.len() > 20, "{}", key.name);
    }
}

#[test]
fn a_key_is_found_by_its_name() {
    assert_eq!(
        find("retention.ms").map(|key| key.default),
        Some("604800000")
    );
    assert_eq!(find("retention"), None);
    assert_eq!(find(""), None);
}

#[test]
fn numbers_have_inclusive_bounds() {
    for key in CONFIG_KEYS {
        let ConfigType::Integer { min, max } = key.config_type else {
            continue;
        };
        if key.default_only.is_some() {
            continue;
        }
        assert_eq!(
            cluster_value(key.name, &min.to_string()),
            Ok(()),
            "{}",
            key.name
        );
        assert_eq!(
            cluster_value(key.name, &max.to_string()),
            Ok(()),
            "{}",
            key.name
        );
        if let Some(below) = min.checked_sub(1) {
            assert!(
                cluster_value(key.name, &below.to_string()).is_err(),
                "{}",
                key.name
            );
        }
        if let Some(above) = max.checked_add(1) {
            assert!(
                cluster_value(key.name, &above.to_string()).is_err(),
                "{}",
                key.name
            );
        }
    }
}

#[test]
fn what_is_no_number_is_refused_with_what_was_expected() {
    for actual in ["", "x", "1.5", "1 000", "9999999999999999999999"] {
        let refused = topic_value("retention.ms", actual);
        let expected = "a whole number from -1 to 9223372036854775807".to_owned();
        assert_eq!(
            refused,
            Err(ConfigError::InvalidValue {
                key: "retention.ms".to_owned(),
                expected,
                actual: actual.to_owned(),
            })
        );
    }
}

#[test]
fn words_are_taken_literally() {
    assert_eq!(topic_value("durability", "flush"), Ok(()));
    assert_eq!(topic_value("durability", "os"), Ok(()));
    assert!(topic_value("durability", "OS").is_err());
    assert_eq!(
        topic_value("message.timestamp.type", "LogAppendTime"),
        Ok(())
    );
    assert!(topic_value("message.timestamp.type", "logappendtime").is_err());
    assert_eq!(cluster_value("auto.create.topics.enable", "false"), Ok(()));
    assert!(cluster_value("auto.create.topics.enable", "yes").is_err());
}

#[test]
fn policies_are_taken_in_either_order_and_nothing_else() {
    for value in ["delete", "compact", "compact,delete", "delete,compact"] {
        assert_eq!(topic_value("cleanup.policy", value), Ok(()));
    }
    for value in ["keep", "", "compact,", "compact,compact", "Compact"] {
        assert!(matches!(
            topic_value("cleanup.policy", value),
            Err(ConfigError::InvalidValue { .. })
        ));
    }
}

#[test]
fn a_ratio_is_a_decimal_from_0_to_1() {
    let ppm = |value| {
        let taken = topic_value("min.cleanable.dirty.ratio", value).is_ok();
        let read = ratio_ppm(value);
        assert_eq!(taken, read.is_some(), "{value}");
        read
    };
    assert_eq!(ppm("0"), Some(0));
    assert_eq!(ppm("1"), Some(1_000_000));
    assert_eq!(ppm("1.0"), Some(1_000_000));
    assert_eq!(ppm("0.5"), Some(500_000));
    assert_eq!(ppm("0.000001"), Some(1));
    for value in [
        "",
        ".5",
        "0.",
        "1.1",
        "2",
        "-0.5",
        "0.0000001",
        "5e-1",
        "NaN",
        "+0.1",
    ] {
        assert_eq!(ppm(value), None, "{value}");
    }
}

#[test]
fn a_topic_key_may_be_set_on_the_cluster_but_not_the_other_way_round() {
    for key in CONFIG_KEYS {
        let on_topic = topic_value(key.name, key.default);
        match key.scope {
            ConfigScope::Topic => assert_eq!(on_topic, Ok(()), "{}", key.name),
            ConfigScope::Cluster => {
                let key = key.name.to_owned();
                assert_eq!(on_topic, Err(ConfigError::NotATopicKey { key }));
            }
        }
    }
}

#[test]
fn zero_is_no_choice_where_minus_one_is_the_default() {
    for key in ["default.replication.factor", "compression.gzip.level"] {
        assert_eq!(cluster_value(key, "-1"), Ok(()));
        assert_eq!(cluster_value(key, "1"), Ok(()));
        assert!(cluster_value(key, "0").is_err());
        assert!(cluster_value(key, "00").is_err());
    }
}

#[test]
fn a_value_that_cannot_be_honoured_is_refused_with_the_reason() {
    for (key, value, taken, reason) in [
        (
            "unclean.leader.election.enable",
            "true",
            "false",
            "never elected",
        ),
        (
            "remote.storage.enable",
            "true",
            "false",
            "no tiered storage",
        ),
        ("local.retention.ms", "1000", "-2", "retention.ms counts"),
        ("compression.type", "zstd", "producer", "compressed them"),
        (
            "max.compaction.lag.ms",
            "1000",
            "9223372036854775807",
            "not served yet",
        ),
    ] {
        assert_eq!(topic_value(key, taken), Ok(()));
        let Err(ConfigError::InvalidValue {
            expected, actual, ..
        }) = topic_value(key, value)
        else {
            panic!("{key}={value} is taken")
        };
        assert_eq!(actual, value);
        assert!(
            expected.contains(taken) && expected.contains(reason),
            "{expected}"
        );
    }
}

#[test]
fn replicas_are_listed_as_kafka_lists_them_within_a_bound() {
    let key = "leader.replication.throttled.replicas";
    for value in ["", "*", "0:1", "0:1,1:2, 1:3"] {
        assert_eq!(topic_value(key, value), Ok(()), "{value:?}");
    }
    for value in [
        "all", "0", "0:", ":1", "0:1,", "0:1,*", "-1:0", "0:1:2", "*,*",
    ] {
        assert!(topic_value(key, value).is_err(), "{value:?}");
    }
    let fits = "10:12,".repeat(682) + "10:1";
    assert_eq!((fits.len(), topic_value(key, &fits)), (4_096, Ok(())));
    assert!(topic_value(key, &(fits + "2")).is_err());
}

#[test]
fn a_long_value_is_shown_in_part() {
    let long = "x".repeat(10_000);

    let Err(ConfigError::InvalidValue { actual, .. }) = topic_value("retention.ms", &long) else {
        panic!("a long value")
    };

    assert_eq!(actual.len(), 64);
}

#[test]
fn sources_have_the_words_of_the_api() {
    assert_eq!(ConfigSource::Topic.to_string(), "topic");
    assert_eq!(ConfigSource::Cluster.to_string(), "cluster");
    assert_eq!(ConfigSource::Default.to_string(), "default");
}
