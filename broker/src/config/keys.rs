//! The one table of configuration keys: name, shape, default and meaning of each.
//!
//! The loader refuses what is not here, and `docs/configuration.md` is generated from here. Keys
//! under Kafka's names are those of the metadata machine's table, which also checks their values.
//! Names are append-only: a key is never reused for something else.

use raftmq_core::cluster::config_keys::CONFIG_KEYS;

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A broker id: a whole number of at least 1.
    BrokerId,
    /// Any text.
    Text,
    /// A path of the local file system.
    Path,
    /// `host:port`; port 0 lets the system choose.
    HostPort,
    /// `host:port`, or empty for none.
    HostPortOrNone,
    /// A list of `[NAME://]host:port`, as a TOML list or comma-separated; may be empty.
    Listeners,
    /// A list of `id@host:port`, as a TOML list or comma-separated.
    Peers,
    /// `flush` or `os`.
    Durability,
    /// A whole number of bytes, at least 1.
    Bytes,
    /// A whole number of bytes; 0 for no limit.
    BytesOrAll,
    /// A whole number, at least 1.
    Count,
    /// A whole number from 0 to 65535.
    Whole16,
    /// Bytes of an AMQP frame: 0, or at least 8192.
    FrameBytes,
    /// Bytes of an AMQP message, 1 to 33554432.
    MessageBytes,
    /// A time in milliseconds, at least 1.
    Millis,
    /// A whole number of hours, up to [`SCRUB_INTERVAL_HOURS_MAX`](super::SCRUB_INTERVAL_HOURS_MAX).
    Hours,
    /// A cluster-wide setting under Kafka's name, handed on as text.
    Kafka,
}

impl Kind {
    /// The words used in the reference page.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::BrokerId => "broker id (>= 1)",
            Self::Text => "text",
            Self::Path => "path",
            Self::HostPort => "host:port",
            Self::HostPortOrNone => "host:port or empty",
            Self::Whole16 => "count (0 to 65535)",
            Self::FrameBytes => "bytes (0, or >= 8192)",
            Self::MessageBytes => "bytes (1 to 33554432)",
            Self::Listeners => "list of [NAME://]host:port",
            Self::Peers => "list of id@host:port",
            Self::Durability => "flush or os",
            Self::Bytes => "bytes (>= 1)",
            Self::BytesOrAll => "bytes (>= 0)",
            Self::Count => "count (>= 1)",
            Self::Millis => "ms (>= 1)",
            Self::Hours => "hours (0 to 8760)",
            Self::Kafka => "as Kafka",
        }
    }
}

/// One key of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Dotted name, as in files and `--set`.
    pub name: &'static str,
    /// What its value must look like.
    pub kind: Kind,
    /// The default, as text.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
}

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        doc,
    }
}

/// Keys of one broker: they may differ from broker to broker.
#[rustfmt::skip]
const BROKER_KEYS: &[Key] = &[
    key("broker.id", Kind::BrokerId, "", "Id of this broker. Unique in the cluster, and never reused for another disk. Empty: that of the data folder, else one that the cluster chooses (`cluster.join`), else 1."),
    key("broker.rack", Kind::Text, "", "Failure domain of this broker; replicas of a partition are spread over racks. Empty: none."),
    key("data-dir", Kind::Path, "raftmq-data", "Folder that holds everything this broker keeps. Created when missing; one process at a time."),
    key("durability", Kind::Durability, "flush", "`flush`: a write is acknowledged after a completed disk flush. `os`: after the operating system took it, so a power loss of a majority can lose acknowledged records."),
    key("listeners.amqp", Kind::HostPortOrNone, super::AMQP_LISTEN_DEFAULT, "Where AMQP 0-9-1 clients (RabbitMQ's) connect. Empty: no AMQP clients."),
    key("listeners.grpc", Kind::HostPort, super::GRPC_LISTEN_DEFAULT, "Where the gRPC API listens."),
    key("listeners.http", Kind::HostPort, super::HTTP_LISTEN_DEFAULT, "Where `/metrics`, `/livez`, `/readyz` and `/startupz` are served."),
    key("listeners.kafka", Kind::Listeners, super::KAFKA_LISTEN_DEFAULT, "Where Kafka clients connect. Several listeners have names (`IN://host:port,OUT://host:port`); one without is `PLAINTEXT`. Clients are told the addresses of the listener by which they came. Empty: no Kafka clients."),
    key("listeners.peer", Kind::HostPort, super::PEER_LISTEN_DEFAULT, "Where other brokers reach this one."),
    key("advertised.grpc", Kind::HostPort, "", "What clients are told for the gRPC API. Empty: the bound address."),
    key("advertised.http", Kind::HostPort, "", "What clients are told for HTTP. Empty: the bound address."),
    key("advertised.kafka", Kind::Listeners, "", "What Kafka clients are told, for each listener by its name. Empty: the bound address; needed where a listener listens everywhere (`0.0.0.0`)."),
    key("advertised.peer", Kind::HostPort, "", "What other brokers are told. Empty: the bound address."),
    key("cluster.peers", Kind::Peers, "", "The initial brokers with their peer listeners, this one included, the same on each of them. Empty: a cluster of this broker alone, which others may join (`cluster.join`)."),
    key("cluster.join", Kind::HostPort, "", "Peer listener of any broker of the cluster that an empty data folder is to join; also the flag `--join`. Empty: the cluster of `cluster.peers`. Once joined, the folder knows the cluster."),
    key("log.scrub.interval.hours", Kind::Hours, "168", "Time in which everything on the disk is read once and its checksums verified, at an even pace. 0: never."),
    key("limits.disk-reserve-bytes", Kind::Bytes, "536870912", "Free bytes below which this broker takes no records as a leader, and below half of which none as a follower, so that elections, deletions and consumers go on. Records are taken again a quarter above."),
    key("limits.disk-capacity-bytes", Kind::BytesOrAll, "0", "Bytes that the data folder may take, where it shares its disk with something else; only the reserve is measured against it. 0: as much as the disk holds."),
    key("limits.tail-cache-bytes", Kind::Bytes, "67108864", "Newest log entries kept in memory, for all partitions together."),
    key("limits.grpc-message-bytes", Kind::Bytes, "33554432", "Largest gRPC message, in either direction."),
    key("max.connections", Kind::Count, "10000", "Connections of Kafka clients at a time; further ones are closed at once."),
    key("connections.max.idle.ms", Kind::Millis, "600000", "Silence after which a Kafka client's connection is closed, unless a request is in work."),
    key("socket.request.max.bytes", Kind::Bytes, "104857600", "Largest request of a Kafka client. A larger one closes its connection before memory is taken for it."),
    key("queued.max.request.bytes", Kind::Bytes, "268435456", "Requests of Kafka clients that are being read or worked on, of all connections together; beyond it, connections wait. One larger request passes alone."),
    key("max.incremental.fetch.session.cache.slots", Kind::Count, "1000", "Incremental fetch sessions of Kafka consumers that are kept (KIP-227); consumers beyond send their whole list of partitions each time."),
    key("amqp.connections-max", Kind::Count, "10000", "Connections of AMQP clients at a time; further ones are closed at once."),
    key("amqp.channel-max", Kind::Whole16, "2047", "Channels of one AMQP connection that are offered; clients may take fewer. 0: no limit."),
    key("amqp.frame-max-bytes", Kind::FrameBytes, "131072", "Largest frame that AMQP clients are offered, at least 8192; clients may take less. 0: no limit."),
    key("amqp.heartbeat-seconds", Kind::Whole16, "60", "Interval of heartbeats that AMQP clients are offered; the client's wish counts, and after two silent intervals its connection is closed. 0: none."),
    key("amqp.loopback-users", Kind::Text, "guest", "Users of AMQP who connect only from the broker's own machine, comma-separated. Empty: every user connects from anywhere, `guest` with its known password included."),
    key("amqp.message-bytes-max", Kind::MessageBytes, "16777216", "Largest body of an AMQP message, at most 32 MiB. A larger one closes its channel (406) before it is read."),
    key("limits.produce-in-flight-bytes", Kind::Bytes, "134217728", "Produce requests accepted and not yet answered; beyond it, connections are read no further."),
];

/// Broker settings that Kafka spells differently from the topic config of the same meaning.
#[rustfmt::skip]
const KAFKA_BROKER_NAMES: [(&str, &str); 22] = [
    ("log.cleaner.delete.retention.ms", "delete.retention.ms"),
    ("log.cleaner.max.compaction.lag.ms", "max.compaction.lag.ms"),
    ("log.cleaner.min.cleanable.ratio", "min.cleanable.dirty.ratio"),
    ("log.cleaner.min.compaction.lag.ms", "min.compaction.lag.ms"),
    ("log.cleanup.policy", "cleanup.policy"),
    ("log.flush.interval.messages", "flush.messages"),
    ("log.flush.interval.ms", "flush.ms"),
    ("log.index.interval.bytes", "index.interval.bytes"),
    ("log.index.size.max.bytes", "segment.index.bytes"),
    ("log.local.retention.bytes", "local.retention.bytes"),
    ("log.local.retention.ms", "local.retention.ms"),
    ("log.message.timestamp.after.max.ms", "message.timestamp.after.max.ms"),
    ("log.message.timestamp.before.max.ms", "message.timestamp.before.max.ms"),
    ("log.message.timestamp.type", "message.timestamp.type"),
    ("log.preallocate", "preallocate"),
    ("log.retention.bytes", "retention.bytes"),
    ("log.retention.ms", "retention.ms"),
    ("log.roll.jitter.ms", "segment.jitter.ms"),
    ("log.roll.ms", "segment.ms"),
    ("log.segment.bytes", "segment.bytes"),
    ("log.segment.delete.delay.ms", "file.delete.delay.ms"),
    ("message.max.bytes", "max.message.bytes"),
];

/// Every key, in the order of the reference page: the broker's own, then the cluster's, which are
/// those of the metadata machine's table under the names that Kafka's brokers give them.
pub fn all_keys() -> impl Iterator<Item = Key> {
    let of_cluster = CONFIG_KEYS
        .iter()
        .filter(|key| !is_broker_key(key.name))
        .map(|key| Key {
            name: broker_name(key.name),
            kind: Kind::Kafka,
            default: key.default,
            doc: key.documentation,
        });
    BROKER_KEYS.iter().copied().chain(of_cluster)
}

/// Looks a key up by its dotted name; a topic config's name stands for the broker setting too.
#[must_use]
pub fn find_key(name: &str) -> Option<Key> {
    let name = broker_name(name);
    all_keys().find(|key| key.name == name)
}

/// The name under which the cluster keeps a setting: `retention.ms` for `log.retention.ms`.
#[must_use]
pub fn cluster_config_name(name: &str) -> &str {
    let pair = KAFKA_BROKER_NAMES
        .iter()
        .find(|(broker_name, _)| *broker_name == name);
    pair.map_or(name, |(_, config_name)| config_name)
}

/// The name that a setting of the cluster has for a broker, as in the configuration file:
/// `log.retention.ms` for `retention.ms`.
#[must_use]
pub fn broker_name(name: &str) -> &str {
    let pair = KAFKA_BROKER_NAMES
        .iter()
        .find(|(_, config_name)| *config_name == name);
    pair.map_or(name, |(broker_name, _)| broker_name)
}

fn is_broker_key(name: &str) -> bool {
    BROKER_KEYS.iter().any(|key| key.name == name)
}

/// The known key that looks most like `name`.
#[must_use]
pub fn nearest_key(name: &str) -> &'static str {
    let likeness = |key: &Key| strsim::jaro_winkler(key.name, name);
    let nearest = all_keys().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    nearest.map_or("broker.id", |key| key.name)
}
