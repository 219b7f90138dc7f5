//! The folder of a local cluster: addresses and pids in `dev.json`, one TOML file, log and data
//! folder per broker, and a lock so that one supervisor runs on it.
//!
//! Knows files and ports; starts no process.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::cli::error::{CliError, CliResult, io_failure};
use crate::config::{PEERS_COUNT_MAX, Sources, load};

/// Ports tried are below Linux's range for outgoing connections, so that none of those takes a
/// port between our test and the broker's bind.
const PORTS_FREE: std::ops::Range<u16> = 10_000..32_000;
/// Ports tried before giving up.
const PORT_TRIES_MAX: usize = 1_000;
/// With `--base-port`, each broker has this many ports of its own.
const PORTS_PER_BROKER: u16 = 10;
/// Distance of the HTTP, the Kafka and the peer port from the gRPC port, as in `raftmq serve`'s defaults, and
/// of the AMQP port.
const HTTP_PORT_DISTANCE: u16 = 1;
const KAFKA_PORT_DISTANCE: u16 = 2;
const PEER_PORT_DISTANCE: u16 = 3;
const AMQP_PORT_DISTANCE: u16 = 4;
/// Keys that `dev` sets itself, so `--set` may not.
const MANAGED_KEYS: [&str; 10] = [
    "broker.id",
    "data-dir",
    "cluster.peers",
    "listeners.amqp",
    "listeners.grpc",
    "listeners.http",
    "listeners.kafka",
    "listeners.peer",
    "advertised.kafka",
    "advertised.peer",
];

/// One broker of a local cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BrokerEntry {
    /// Broker id, from 1.
    pub(crate) id: u32,
    /// Process id; 0 = not running.
    pub(crate) pid: u32,
    /// `host:port` of the gRPC API.
    pub(crate) grpc: String,
    /// `host:port` of metrics and health.
    pub(crate) http: String,
    /// `host:port` for Kafka clients.
    #[serde(default)]
    pub(crate) kafka: String,
    /// `host:port` for AMQP clients.
    #[serde(default)]
    pub(crate) amqp: String,
    /// `host:port` for other brokers.
    pub(crate) peer: String,
}

/// A local cluster, as `dev -o json` prints it and `dev.json` keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// The brokers in order of their ids.
    pub(crate) brokers: Vec<BrokerEntry>,
    /// The folder that holds everything.
    pub(crate) data: PathBuf,
}

/// What the user asked `dev` for.
#[derive(Debug, Clone)]
pub(crate) struct DevOptions {
    /// `None`: as many as the folder has, or three.
    pub(crate) brokers_count: Option<u32>,
    /// The folder.
    pub(crate) data: PathBuf,
    /// gRPC port of broker 1; 0 = free ports.
    pub(crate) base_port: u16,
    /// `KEY=VALUE` pairs for every broker.
    pub(crate) assignments: Vec<(String, String)>,
}

/// Brokers of a cluster that is created without a number.
const BROKERS_COUNT_DEFAULT: u32 = 3;

/// A folder held by this process.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The cluster as it stands in `dev.json`.
    pub(crate) cluster: Cluster,
    _lock: File,
}

impl Layout {
    /// Opens or creates the folder: takes its lock, keeps stored addresses or picks new ones, and
    /// writes a TOML file per broker.
    pub(crate) fn open(options: &DevOptions) -> CliResult<Self> {
        check_assignments(&options.assignments)?;
        let data = create_folder(&options.data)?;
        let lock = lock(&data)?;
        let cluster = match read_cluster(&data)? {
            Some(stored) => reuse(stored, options, data)?,
            None => create(options, data)?,
        };
        for broker in &cluster.brokers {
            write_config(&cluster, broker, &options.assignments)?;
        }
        let layout = Self {
            cluster,
            _lock: lock,
        };
        layout.save()?;
        Ok(layout)
    }

    /// Writes `dev.json` anew, whole or not at all.
    pub(crate) fn save(&self) -> CliResult {
        let path = state_path(&self.cluster.data);
        let text = serde_json::to_string(&self.cluster).expect("a cluster always serialises");
        write_whole(&path, &text)
    }
}

/// Reads `dev.json` of a folder; `None` when there is none.
pub(crate) fn read_cluster(data: &Path) -> CliResult<Option<Cluster>> {
    let path = state_path(data);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_failure(format!("read {}", path.display()), &error)),
    };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        CliError::failure(format!("{} is damaged: {error}", path.display()))
            .next("move the folder away, or restore the file")
    })
}

/// The TOML file of a broker.
pub(crate) fn config_path(data: &Path, id: u32) -> PathBuf {
    data.join(format!("broker-{id}.toml"))
}

/// Where a broker's stdout and stderr go.
pub(crate) fn log_path(data: &Path, id: u32) -> PathBuf {
    data.join(format!("broker-{id}.log"))
}

/// The control socket of the running supervisor.
pub(crate) fn socket_path(data: &Path) -> PathBuf {
    data.join("dev.sock")
}

fn state_path(data: &Path) -> PathBuf {
    data.join("dev.json")
}

fn check_assignments(assignments: &[(String, String)]) -> CliResult {
    if let Some((key, _)) = assignments
        .iter()
        .find(|(key, _)| MANAGED_KEYS.contains(&&**key))
    {
        return Err(
            CliError::usage(format!("raftmq dev sets {key:?} of each broker itself"))
                .next("use --data, --base-port and --brokers"),
        );
    }
    let sources = Sources {
        assignments: assignments.to_vec(),
        ..Sources::default()
    };
    load(&sources)?;
    Ok(())
}

fn create_folder(data: &Path) -> CliResult<PathBuf> {
    fs::create_dir_all(data)
        .and_then(|()| fs::canonicalize(data))
        .map_err(|error| io_failure(format!("create the folder {}", data.display()), &error))
}

fn lock(data: &Path) -> CliResult<File> {
    let path = data.join("dev.lock");
    let file = File::create(&path)
        .map_err(|error| io_failure(format!("create {}", path.display()), &error))?;
    let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&file, operation).map_err(|_error| {
        CliError::failure(format!(
            "another raftmq dev is running on {}",
            data.display()
        ))
        .next("stop it, or choose another folder with --data")
    })?;
    Ok(file)
}

fn reuse(stored: Cluster, options: &DevOptions, data: PathBuf) -> CliResult<Cluster> {
    let count = stored.brokers.len();
    let asked = options.brokers_count.map_or(count, |count| count as usize);
    if asked != count {
        return Err(CliError::usage(format!(
            "{} holds a cluster of {count} brokers, got --brokers {asked}",
            data.display()
        ))
        .next("leave --brokers out, or choose another folder with --data"));
    }
    let first = stored.brokers.first().map_or("", |broker| &broker.grpc);
    if options.base_port != 0 && !first.ends_with(&format!(":{}", options.base_port)) {
        return Err(CliError::usage(format!(
            "the cluster in {} has its ports already (broker 1 is {first}), got --base-port {}",
            data.display(),
            options.base_port
        ))
        .next("leave --base-port out, or choose another folder with --data"));
    }
    let mut cluster = Cluster { data, ..stored };
    // A folder of before there were Kafka or AMQP listeners.
    let mut held = Vec::new();
    let brokers = cluster.brokers.iter_mut();
    let endpoints = brokers.flat_map(|one| [&mut one.kafka, &mut one.amqp]);
    for endpoint in endpoints.filter(|endpoint| endpoint.is_empty()) {
        *endpoint = format!("127.0.0.1:{}", free_port(&mut held)?);
    }
    Ok(cluster)
}

fn create(options: &DevOptions, data: PathBuf) -> CliResult<Cluster> {
    let count = options.brokers_count.unwrap_or(BROKERS_COUNT_DEFAULT);
    if count == 0 || count as usize > PEERS_COUNT_MAX {
        let range = format!("expected 1 to {PEERS_COUNT_MAX} brokers, got {count}");
        return Err(CliError::usage(range));
    }
    // The listeners are held until all ports are chosen, so none is chosen twice.
    let mut held = Vec::new();
    let mut brokers = Vec::new();
    for id in 1..=count {
        let ports = broker_ports(options.base_port, id, &mut held)?;
        let [grpc, http, kafka, peer, amqp] = ports.map(|port| format!("127.0.0.1:{port}"));
        brokers.push(BrokerEntry {
            id,
            pid: 0,
            grpc,
            http,
            kafka,
            amqp,
            peer,
        });
    }
    Ok(Cluster { brokers, data })
}

fn broker_ports(base_port: u16, id: u32, held: &mut Vec<TcpListener>) -> CliResult<[u16; 5]> {
    if base_port == 0 {
        return Ok([
            free_port(held)?,
            free_port(held)?,
            free_port(held)?,
            free_port(held)?,
            free_port(held)?,
        ]);
    }
    let distance = u16::try_from(id - 1)
        .unwrap_or(u16::MAX)
        .saturating_mul(PORTS_PER_BROKER);
    let grpc = base_port.saturating_add(distance);
    let ports = [
        grpc,
        grpc.saturating_add(HTTP_PORT_DISTANCE),
        grpc.saturating_add(KAFKA_PORT_DISTANCE),
        grpc.saturating_add(PEER_PORT_DISTANCE),
        grpc.saturating_add(AMQP_PORT_DISTANCE),
    ];
    for port in ports {
        let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|error| {
            io_failure(format!("use port {port} for broker {id}"), &error)
                .next("choose another --base-port, or leave it out for free ports")
        })?;
        held.push(listener);
    }
    Ok(ports)
}

fn free_port(held: &mut Vec<TcpListener>) -> CliResult<u16> {
    let mut random = rand::rng();
    for _ in 0..PORT_TRIES_MAX {
        let port = random.random_range(PORTS_FREE);
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push(listener);
            return Ok(port);
        }
    }
    Err(CliError::failure(format!(
        "found no free port in {PORTS_FREE:?}"
    )))
}

fn write_config(cluster: &Cluster, broker: &BrokerEntry, extra: &[(String, String)]) -> CliResult {
    let folder = cluster.data.join(format!("broker-{}", broker.id));
    let peers: Vec<String> = cluster
        .brokers
        .iter()
        .map(|peer| format!("{}@{}", peer.id, peer.peer))
        .collect();
    let mut values: BTreeMap<&str, String> = BTreeMap::from([
        ("broker.id", broker.id.to_string()),
        ("data-dir", folder.display().to_string()),
        ("listeners.amqp", broker.amqp.clone()),
        ("listeners.grpc", broker.grpc.clone()),
        ("listeners.http", broker.http.clone()),
        ("listeners.kafka", broker.kafka.clone()),
        ("listeners.peer", broker.peer.clone()),
    ]);
    if peers.len() > 1 {
        values.insert("cluster.peers", peers.join(","));
    }
    for (key, value) in extra {
        values.insert(key, value.clone());
    }
    let mut text = "# Written by raftmq dev at each start.\n".to_owned();
    for (key, value) in values {
        text.push_str(&format!("{key} = {}\n", toml::Value::String(value)));
    }
    write_whole(&config_path(&cluster.data, broker.id), &text)
}

/// Writes beside the file and renames, so that a reader sees the old or the new text.
fn write_whole(path: &Path, text: &str) -> CliResult {
    let beside = path.with_extension("new");
    File::create(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|error| io_failure(format!("write {}", path.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::Kind;

    fn options(data: &Path) -> DevOptions {
        DevOptions {
            brokers_count: None,
            data: data.to_owned(),
            base_port: 0,
            assignments: vec![("num.partitions".to_owned(), "3".to_owned())],
        }
    }

    #[test]
    fn a_new_folder_gets_three_brokers_with_readable_configurations() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::open(&options(folder.path())).unwrap();

        let data = &layout.cluster.data;
        assert_eq!(layout.cluster.brokers.len(), 3);
        for broker in &layout.cluster.brokers {
            let file = Some(config_path(data, broker.id));
            let config = load(&Sources {
                file,
                ..Sources::default()
            })
            .unwrap();
            assert_eq!(config.broker_id, broker.id);
            assert_eq!(config.grpc_listen, broker.grpc);
            assert_eq!(config.peers.len(), 3);
            assert_eq!(config.kafka_defaults["num.partitions"], "3");
        }
    }

    #[test]
    fn ports_are_kept_when_the_folder_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = Layout::open(&options(folder.path())).unwrap().cluster;
        let second = Layout::open(&options(folder.path())).unwrap().cluster;

        assert_eq!(first, second);
        let other = DevOptions {
            brokers_count: Some(5),
            ..options(folder.path())
        };
        assert_eq!(Layout::open(&other).unwrap_err().kind, Kind::Usage);
    }

    #[test]
    fn a_second_supervisor_on_the_same_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Layout::open(&options(folder.path())).unwrap();

        let error = Layout::open(&options(folder.path())).unwrap_err();

        assert!(
            error.message.contains("another raftmq dev is running"),
            "{error}"
        );
    }

    #[test]
    fn keys_that_dev_manages_and_unknown_keys_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for key in ["broker.id", "num.partition"] {
            let mut options = options(folder.path());
            options.assignments = vec![(key.to_owned(), "1".to_owned())];
            let error = Layout::open(&options).unwrap_err();
            assert!(error.message.contains(key), "{error}");
        }
        assert!(read_cluster(folder.path()).unwrap().is_none());
    }

    #[test]
    fn a_base_port_in_use_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_port = taken.local_addr().unwrap().port();
        let error = Layout::open(&DevOptions {
            base_port,
            ..options(folder.path())
        })
        .unwrap_err();

        assert!(
            error.message.contains(&format!("port {base_port}")),
            "{error}"
        );
    }
}
