//! The files under `deploy/`: they parse, and what they set is what the broker knows.
//!
//! No container engine is needed or used.

use serde_json::Value;

use crate::documented::config_keys;
use crate::tree;

/// Configuration keys as environment variables name them (docs/configuration.md).
fn environment_name(key: &str) -> String {
    format!(
        "RAFTMQ__{}",
        key.replace('.', "__").replace('-', "_").to_uppercase()
    )
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&tree::read(path)).expect(path)
}

/// The services of the compose file that run a broker, with their environment.
fn brokers() -> Vec<(String, Value)> {
    let compose = yaml("deploy/docker/compose.yaml");
    let services = compose["services"].as_object().expect("services are a map");
    let brokers: Vec<_> = services
        .iter()
        .map(|(name, service)| (name.clone(), service["environment"].clone()))
        .filter(|(_, environment)| environment.is_object())
        .collect();
    assert_eq!(brokers.len(), 3, "the compose file starts three brokers");
    brokers
}

#[test]
fn the_compose_file_sets_only_keys_that_the_broker_knows() {
    let known: Vec<String> = config_keys()
        .iter()
        .map(|key| environment_name(key))
        .collect();
    for (name, environment) in brokers() {
        for variable in environment
            .as_object()
            .expect("an environment is a map")
            .keys()
        {
            assert!(
                known.contains(variable),
                "{name} sets {variable}, which no broker knows"
            );
        }
    }
}

#[test]
fn the_image_sets_only_keys_that_the_broker_knows() {
    let known: Vec<String> = config_keys()
        .iter()
        .map(|key| environment_name(key))
        .collect();
    let dockerfile = tree::read("deploy/docker/Dockerfile");
    let set: Vec<&str> = dockerfile
        .split_whitespace()
        .filter(|word| word.starts_with("RAFTMQ__"))
        .filter_map(|word| word.split('=').next())
        .collect();
    assert!(!set.is_empty(), "the image sets where it listens");
    for variable in set {
        assert!(
            known.iter().any(|key| key == variable),
            "no broker knows {variable}"
        );
    }
}

#[test]
fn the_composed_brokers_differ_in_id_and_agree_on_their_peers() {
    let brokers = brokers();
    let peers = brokers[0].1["RAFTMQ__CLUSTER__PEERS"]
        .as_str()
        .expect("peers are set");
    for (number, (name, environment)) in brokers.iter().enumerate() {
        let id = (number + 1).to_string();
        assert_eq!(
            environment["RAFTMQ__BROKER__ID"].as_str(),
            Some(id.as_str()),
            "{name}"
        );
        assert_eq!(
            environment["RAFTMQ__CLUSTER__PEERS"].as_str(),
            Some(peers),
            "{name}"
        );
        let advertised = environment["RAFTMQ__ADVERTISED__PEER"]
            .as_str()
            .expect("it is set");
        assert!(
            peers.contains(&format!("{id}@{advertised}")),
            "{name} is not among {peers}"
        );
    }
}

#[test]
fn prometheus_scrapes_every_composed_broker() {
    let config = yaml("deploy/prometheus/prometheus.yml");
    let targets = config["scrape_configs"][0]["static_configs"][0]["targets"].to_string();
    for (name, environment) in brokers() {
        let http = environment["RAFTMQ__ADVERTISED__HTTP"]
            .as_str()
            .expect("it is set");
        assert!(
            targets.contains(&format!("\"{http}\"")),
            "{name} ({http}) is not in {targets}"
        );
    }
}

#[test]
fn the_image_runs_as_a_plain_user_and_stops_cleanly() {
    let dockerfile = tree::read("deploy/docker/Dockerfile");
    let instructions: Vec<(&str, &str)> = dockerfile
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .filter_map(|line| line.split_once(' '))
        .collect();
    let last = |name: &str| {
        instructions
            .iter()
            .rev()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| *v)
    };

    assert!(
        instructions
            .iter()
            .filter(|(name, _)| *name == "FROM")
            .count()
            >= 2
    );
    assert_eq!(last("USER"), Some("65532:65532"));
    assert_eq!(last("STOPSIGNAL"), Some("SIGTERM"));
    assert_eq!(last("ENTRYPOINT"), Some("[\"raftmq\"]"));
    for (_, image) in instructions.iter().filter(|(name, _)| *name == "FROM") {
        assert!(
            image.contains(':') && !image.contains(":latest"),
            "{image} has no version"
        );
    }
}

#[test]
fn the_image_is_built_with_the_toolchain_of_the_project() {
    let toolchain = tree::read("rust-toolchain.toml");
    let channel = toolchain.split('"').nth(1).expect("the channel is quoted");
    let dockerfile = tree::read("deploy/docker/Dockerfile");
    assert!(
        dockerfile.contains(&format!("FROM rust:{channel}-")),
        "the image has another Rust"
    );
}
