//! Who may know whom (STYLE.md, section 1): packages by `cargo metadata`, modules by their paths.
//!
//! Does not know what the parts do.

use crate::exceptions::hold;
use crate::source::{Source, module_of};
use crate::text::is_test_file;
use crate::tree;

/// A package, the packages of ours it may depend on, and crates that it must never depend on.
struct Package {
    name: &'static str,
    may_use: &'static [&'static str],
    never: &'static [&'static str],
}

const PACKAGES: &[Package] = &[
    Package {
        name: "raftmq-records",
        may_use: &[],
        never: &["tokio", "tonic", "openraft"],
    },
    Package {
        name: "raftmq-proto",
        may_use: &[],
        never: &["openraft", "rocksdb"],
    },
    Package {
        name: "raftmq-kafka-protocol",
        may_use: &[],
        never: &["tokio", "tonic", "openraft", "rocksdb"],
    },
    Package {
        name: "raftmq-amqp-protocol",
        may_use: &[],
        never: &["tokio", "tonic", "openraft", "rocksdb"],
    },
    Package {
        name: "raftmq-planted",
        may_use: &[],
        never: &["tokio", "tracing"],
    },
    Package {
        name: "raftmq-store",
        may_use: &["raftmq-planted"],
        never: &["tonic", "prost"],
    },
    Package {
        name: "raftmq-core",
        may_use: &["raftmq-planted", "raftmq-records"],
        never: &[
            "tokio",
            "tonic",
            "openraft",
            "rocksdb",
            "rand",
            "futures-util",
        ],
    },
    Package {
        name: "raftmq-amqp",
        may_use: &["raftmq-amqp-protocol", "raftmq-core", "raftmq-planted"],
        never: &[
            "tokio",
            "tonic",
            "openraft",
            "rocksdb",
            "rand",
            "futures-util",
        ],
    },
    Package {
        name: "raftmq-client",
        may_use: &["raftmq-proto", "raftmq-records"],
        never: &["openraft", "rocksdb"],
    },
    Package {
        name: "raftmq",
        may_use: &[
            "raftmq-amqp",
            "raftmq-amqp-protocol",
            "raftmq-client",
            "raftmq-core",
            "raftmq-kafka-protocol",
            "raftmq-planted",
            "raftmq-proto",
            "raftmq-records",
            "raftmq-store",
        ],
        never: &["rocksdb"],
    },
    Package {
        name: "raftmq-chaos",
        may_use: &[
            "raftmq",
            "raftmq-amqp",
            "raftmq-amqp-protocol",
            "raftmq-client",
            "raftmq-core",
            "raftmq-kafka-protocol",
            "raftmq-proto",
            "raftmq-records",
            "raftmq-store",
        ],
        never: &["rocksdb"],
    },
];

/// Parts of `broker/src` and the paths that they must not name.
struct Part {
    folders: &'static [&'static str],
    never: &'static [&'static str],
}

const PARTS: &[Part] = &[
    // Front ends know services, and never each other, openraft or the store.
    Part {
        folders: &["kafka"],
        never: &[
            "crate::amqp",
            "crate::grpc",
            "crate::http",
            "openraft",
            "raftmq_store",
        ],
    },
    Part {
        folders: &["amqp"],
        never: &[
            "crate::kafka",
            "crate::grpc",
            "crate::http",
            "openraft",
            "raftmq_store",
        ],
    },
    Part {
        folders: &["grpc"],
        never: &[
            "crate::kafka",
            "crate::amqp",
            "crate::http",
            "openraft",
            "raftmq_store",
        ],
    },
    Part {
        folders: &["http"],
        never: &[
            "crate::kafka",
            "crate::amqp",
            "crate::grpc",
            "openraft",
            "raftmq_store",
        ],
    },
    // Services know the group host, no front end, and no message of a public wire.
    Part {
        folders: &[
            "controller",
            "coordinator",
            "hosting",
            "replica",
            "queues",
            "raft",
        ],
        never: &[
            "crate::kafka",
            "crate::amqp",
            "crate::grpc",
            "crate::http",
            "crate::cli",
            "raftmq_proto::v1",
            "raftmq_kafka_protocol",
            "raftmq_client",
        ],
    },
    // The host of groups does not know the services that stand on it.
    Part {
        folders: &["raft"],
        never: &[
            "crate::controller",
            "crate::coordinator",
            "crate::hosting",
            "crate::replica",
            "crate::queues",
        ],
    },
    // Partitions and queues share `hosting`, and do not know each other.
    Part {
        folders: &["hosting"],
        never: &["crate::replica", "crate::queues"],
    },
    Part {
        folders: &["replica"],
        never: &["crate::queues"],
    },
    Part {
        folders: &["queues"],
        never: &["crate::replica"],
    },
    // Every front end uses these.
    Part {
        folders: &["messages", "security"],
        never: &[
            "crate::kafka",
            "crate::amqp",
            "crate::grpc",
            "crate::http",
            "openraft",
            "raftmq_store",
        ],
    },
    // The command line is a client like any other.
    Part {
        folders: &["cli"],
        never: &["openraft", "raftmq_store"],
    },
];

#[test]
fn packages_depend_downwards_only() {
    let metadata = tree::cargo_metadata();
    let mut violations = Vec::new();
    for package in metadata["packages"]
        .as_array()
        .expect("packages are a list")
    {
        let name = package["name"].as_str().expect("a package has a name");
        let Some(rule) = PACKAGES.iter().find(|rule| rule.name == name) else {
            violations.push((name.to_owned(), "has no directions in this test".to_owned()));
            continue;
        };
        for dependency in package["dependencies"]
            .as_array()
            .expect("dependencies are a list")
        {
            let to = dependency["name"]
                .as_str()
                .expect("a dependency has a name");
            let is_ours = dependency["path"].is_string();
            if rule.never.contains(&to) || (is_ours && to != name && !rule.may_use.contains(&to)) {
                violations.push((name.to_owned(), format!("must not depend on {to}")));
            }
        }
    }
    hold("package-direction", &violations);
}

#[test]
fn every_package_takes_the_lints_of_the_workspace() {
    let metadata = tree::cargo_metadata();
    let mut violations = Vec::new();
    for package in metadata["packages"]
        .as_array()
        .expect("packages are a list")
    {
        let manifest = package["manifest_path"]
            .as_str()
            .expect("a package has a manifest");
        let text = std::fs::read_to_string(manifest).expect("a manifest can be read");
        if !text.contains("[lints]\nworkspace = true") {
            violations.push((
                package["name"].to_string(),
                "`[lints]` is missing".to_owned(),
            ));
        }
    }
    hold("package-lints", &violations);
}

#[test]
fn parts_of_the_broker_know_only_what_lies_below_them() {
    let mut violations = Vec::new();
    for file in tree::rust_files() {
        let Some(below) = file.path.strip_prefix("broker/src/") else {
            continue;
        };
        if is_test_file(&file.path) {
            continue;
        }
        let folder = below
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs");
        let source = Source::parse(&file.text);
        let roots = [
            "openraft",
            "raftmq_kafka_protocol",
            "raftmq_store",
            "raftmq_proto",
            "raftmq_client",
        ];
        let paths = source.paths(&module_of(below), &roots);
        for never in PARTS
            .iter()
            .filter(|part| part.folders.contains(&folder))
            .flat_map(|part| part.never)
        {
            for (line, path) in &paths {
                let starts = path == never || path.starts_with(&format!("{never}::"));
                if starts && !source.is_test_line(*line) {
                    violations.push((file.path.clone(), format!("line {}: {path}", line + 1)));
                }
            }
        }
    }
    hold("module-direction", &violations);
}
