//! Tests of the key table, the layers and the refusals.

use std::path::PathBuf;

use super::*;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn with(assignments: &[(&str, &str)]) -> Result<NodeConfig, ConfigError> {
    load(&Sources {
        assignments: pairs(assignments),
        ..Sources::default()
    })
}

fn from_file(text: &str, assignments: &[(&str, &str)]) -> Result<NodeConfig, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raftmq.toml");
    std::fs::write(&path, text).unwrap();
    let assignments = pairs(assignments);
    load(&Sources {
        file: Some(path),
        assignments,
        ..Sources::default()
    })
}

#[test]
fn nothing_said_gives_one_broker_on_localhost() {
    let config = with(&[]).unwrap();

    assert_eq!(config, NodeConfig::default());
    assert_eq!(config.grpc_listen, "127.0.0.1:9090");
    assert!(config.peers.is_empty());
}

#[test]
fn every_key_has_a_field_and_takes_its_own_default() {
    for key in all_keys().filter(|key| !key.default.is_empty()) {
        with(&[(key.name, key.default)]).unwrap_or_else(|error| panic!("{}: {error}", key.name));
    }
    let spelled_out: Vec<_> = all_keys()
        .filter(|key| key.kind != Kind::Kafka && !key.default.is_empty())
        .map(|key| (key.name, key.default))
        .collect();
    let mut config = with(&spelled_out).unwrap();
    assert_eq!(
        config.kafka_defaults.remove("durability").as_deref(),
        Some("flush")
    );
    assert_eq!(config, NodeConfig::default());
    for key in all_keys().filter(|key| key.kind == Kind::HostPort) {
        with(&[(key.name, "broker-1.example:0")]).unwrap();
    }
}

#[test]
fn a_file_is_read_with_tables_and_with_dotted_keys() {
    let text = r#"
        data-dir = "/var/lib/raftmq"
        num.partitions = 12
        [broker]
        id = 2
        rack = "east"
        [listeners]
        grpc = "0.0.0.0:9090"
        [cluster]
        peers = ["1@a:9093", "2@b:9093", "3@[::1]:9093"]
    "#;
    let config = from_file(text, &[]).unwrap();

    assert_eq!(config.broker_id, 2);
    assert_eq!(config.rack, "east");
    assert_eq!(config.data_dir, PathBuf::from("/var/lib/raftmq"));
    assert_eq!(config.kafka_defaults["num.partitions"], "12");
    assert_eq!(config.peers.len(), 3);
    assert_eq!(
        config.peers[2],
        PeerAddress {
            id: 3,
            endpoint: "[::1]:9093".to_owned()
        }
    );
}

#[test]
fn a_flag_wins_over_the_file() {
    let config = from_file("broker.id = 2\nbroker.rack = \"x\"", &[("broker.id", "7")]).unwrap();

    assert_eq!(config.broker_id, 7);
    assert_eq!(config.rack, "x");
}

#[test]
fn an_environment_variable_lies_between_file_and_flag() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raftmq.toml");
    std::fs::write(&path, "broker.id = 2\nbroker.rack = \"file\"\n").unwrap();
    let environment = [
        ("RAFTMQ__BROKER__RACK", "env"),
        ("RAFTMQ__DATA_DIR", "/tmp/from-env"),
        ("RAFTMQ__LOG__RETENTION__MS", "-1"),
        ("RAFTMQ_BOOTSTRAP", "elsewhere:9090"),
        ("PATH", "/bin"),
    ];
    let config = load(&Sources {
        file: Some(path),
        environment: pairs(&environment),
        assignments: pairs(&[("data-dir", "/tmp/from-flag")]),
    })
    .unwrap();

    assert_eq!(config.broker_id, 2);
    assert_eq!(config.rack, "env");
    assert_eq!(config.data_dir, PathBuf::from("/tmp/from-flag"));
    assert_eq!(config.kafka_defaults["retention.ms"], "-1");

    let environment = pairs(&[("RAFTMQ__BROKER__RAK", "x")]);
    let error = load(&Sources {
        environment,
        ..Sources::default()
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown configuration key \"broker.rak\" (environment variable RAFTMQ__BROKER__RAK); the \
         nearest known key is \"broker.rack\""
    );
}

#[test]
fn precedence_holds_across_the_spellings_of_one_key() {
    let config = from_file("retention.ms = 1", &[("log.retention.ms", "2")]).unwrap();
    assert_eq!(config.kafka_defaults["retention.ms"], "2");
    let config = from_file("log.retention.ms = 1", &[("retention.ms", "2")]).unwrap();
    assert_eq!(config.kafka_defaults["retention.ms"], "2");
}

#[test]
fn an_unknown_key_names_its_nearest_neighbour_and_its_source() {
    let error = with(&[("num.partition", "3")]).unwrap_err();

    assert_eq!(
        error.to_string(),
        "unknown configuration key \"num.partition\" (flag --set); the nearest known key is \
         \"num.partitions\""
    );
    let error = from_file("[listener]\ngrpc = \"a:1\"", &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("\"listener.grpc\""), "{error}");
    assert!(error.contains("raftmq.toml"), "{error}");
    assert!(error.contains("\"listeners.grpc\""), "{error}");
}

#[test]
fn values_of_the_wrong_shape_are_refused_with_what_was_expected() {
    for (key, value, expected) in [
        ("broker.id", "0", "expected a broker id from 1"),
        ("broker.id", "-1", "expected a broker id from 1"),
        ("listeners.grpc", "9090", "expected host:port"),
        ("listeners.grpc", "a:99999", "expected host:port"),
        ("listeners.grpc", "::1:9090", "expected host:port"),
        ("listeners.grpc", "http://a:1", "expected host:port"),
        ("cluster.peers", "a:1", "expected id@host:port"),
        (
            "cluster.peers",
            "1@a:1,2@b:1,3@c:1,4@d:1,5@e:1,6@f:1",
            "at most 5",
        ),
        ("durability", "none", "expected flush or os"),
        ("log.scrub.interval.hours", "8761", "from 0 to 8760"),
        ("log.scrub.interval.hours", "-1", "from 0 to 8760"),
        ("limits.tail-cache-bytes", "0", "at least 1"),
        ("limits.tail-cache-bytes", "64MiB", "at least 1"),
        ("data-dir", "", "expected a path"),
        ("num.partitions", "many", "a whole number from 1"),
        ("log.cleanup.policy", "keep", "one of"),
    ] {
        let error = with(&[(key, value)]).unwrap_err().to_string();
        assert!(error.contains(expected), "{key}={value}: {error}");
        assert!(error.contains(key), "{key}={value}: {error}");
    }
}

#[test]
fn peers_that_contradict_each_other_are_refused() {
    let twice = with(&[("cluster.peers", "1@a:1,1@b:2")]).unwrap_err();
    assert!(
        matches!(twice, ConfigError::Contradiction { .. }),
        "{twice}"
    );
    let port_0 = with(&[("cluster.peers", "1@a:0")]).unwrap_err();
    assert!(
        matches!(port_0, ConfigError::Contradiction { .. }),
        "{port_0}"
    );
}

fn kafka(listeners: &str, advertised: &str) -> Result<KafkaConfig, String> {
    let assignments = [
        ("listeners.kafka", listeners),
        ("advertised.kafka", advertised),
    ];
    let config = with(&assignments).map_err(|error| error.to_string())?;
    Ok(config.kafka)
}

#[test]
fn kafka_listeners_have_names_or_are_plaintext() {
    let config = kafka("a:1", "").unwrap();
    assert_eq!(config.listeners[0].to_string(), "PLAINTEXT://a:1");
    assert_eq!(config.advertised_of("PLAINTEXT", "b:2".to_owned()), "b:2");

    let config = kafka("IN://a:1, OUT-2_X://0.0.0.0:2", "OUT-2_X://c:3").unwrap();
    let listeners: Vec<String> = config.listeners.iter().map(ToString::to_string).collect();
    assert_eq!(listeners, ["IN://a:1", "OUT-2_X://0.0.0.0:2"]);
    assert_eq!(config.advertised_of("IN", "b:2".to_owned()), "b:2");
    assert_eq!(config.advertised_of("OUT-2_X", "b:2".to_owned()), "c:3");

    assert!(kafka("", "").unwrap().listeners.is_empty());
    let longest = "N".repeat(64);
    assert!(kafka(&format!("{longest}://a:1"), "").is_ok());
    let many: Vec<String> = (0..16).map(|number| format!("N{number}://a:1")).collect();
    assert_eq!(kafka(&many.join(","), "").unwrap().listeners.len(), 16);
}

#[test]
fn kafka_listeners_that_make_no_sense_are_refused_with_what_was_expected() {
    let too_long = format!("{}://a:1", "N".repeat(65));
    let too_many: Vec<String> = (0..17).map(|number| format!("N{number}://a:1")).collect();
    let too_many = too_many.join(",");
    let a_name = "expected a listener name of upper case letters";
    for (listeners, advertised, expected) in [
        ("in://a:1", "", a_name),
        ("://a:1", "", a_name),
        ("A B://a:1", "", a_name),
        (too_long.as_str(), "", a_name),
        ("a:1", "out://a:1", a_name),
        ("IN://a", "", "expected host:port"),
        ("IN://a:99999", "", "expected host:port"),
        (
            too_many.as_str(),
            "",
            "expected at most 16 listeners, got 17",
        ),
        (
            "IN://a:1,IN://a:2",
            "",
            "listeners.kafka names the listener IN twice",
        ),
        (
            "a:1,b:2",
            "",
            "listeners.kafka names the listener PLAINTEXT twice",
        ),
        (
            "IN://a:1",
            "IN://b:1,IN://b:2",
            "advertised.kafka names the listener IN twice",
        ),
        (
            "IN://a:1",
            "OUT://b:1",
            "advertised.kafka names OUT, which listeners.kafka does not",
        ),
        ("0.0.0.0:1", "", "must say where clients reach PLAINTEXT"),
        (
            "IN://a:1,OUT://[::]:2",
            "IN://b:1",
            "must say where clients reach OUT",
        ),
        ("a:1", "0.0.0.0:1", "is no address of a broker"),
    ] {
        let refused = kafka(listeners, advertised).unwrap_err();
        assert!(refused.contains(expected), "{listeners}: {refused}");
    }
}

#[test]
fn a_missing_or_broken_file_is_named() {
    let sources = Sources {
        file: Some(PathBuf::from("/nowhere/raftmq.toml")),
        ..Sources::default()
    };
    let missing = load(&sources).unwrap_err().to_string();
    assert!(missing.contains("/nowhere/raftmq.toml"), "{missing}");
    let broken = from_file("broker.id = ", &[]).unwrap_err().to_string();
    assert!(broken.contains("raftmq.toml"), "{broken}");
}

#[test]
fn kafkas_broker_names_and_topic_names_mean_the_same() {
    let by_broker_name = with(&[("log.retention.ms", "5"), ("durability", "os")]).unwrap();
    let by_topic_name = with(&[("retention.ms", "5"), ("durability", "os")]).unwrap();

    assert_eq!(by_broker_name, by_topic_name);
    assert_eq!(by_topic_name.kafka_defaults["retention.ms"], "5");
    assert_eq!(by_topic_name.kafka_defaults["durability"], "os");
    assert_eq!(by_topic_name.durability, Durability::Os);
}

#[test]
fn an_assignment_without_a_key_is_refused() {
    assert_eq!(
        parse_assignment("a.b = c=d").unwrap(),
        ("a.b".to_owned(), "c=d".to_owned())
    );
    assert!(parse_assignment("a.b").is_err());
    assert!(parse_assignment("=x").is_err());
}

#[test]
fn the_reference_page_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let page = render_reference();
    if std::env::var_os("RAFTMQ_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        page,
        "run with RAFTMQ_BLESS=1"
    );
}
