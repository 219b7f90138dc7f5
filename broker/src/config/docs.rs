//! Renders `docs/configuration.md` from the key table; a test compares the two.

use std::fmt::Write as _;

use super::keys::{Key, Kind, all_keys};
use super::load::env_name;

/// What stands above the tables.
const PREAMBLE: &str = "\
# Configuration

<!-- Generated from broker/src/config/keys.rs. After a change: RAFTMQ_BLESS=1 cargo test -p raftmq config -->

A broker runs without any configuration. What it is told comes from, lowest precedence first:

1. the defaults below,
2. a TOML file (`raftmq serve --config FILE`),
3. environment variables `RAFTMQ__SECTION__KEY` (`__` for a dot, `_` for a hyphen),
4. flags (`--set KEY=VALUE`, and the flags of `raftmq serve --help`).

Dots in a key are TOML tables: `broker.id = 1` and `[broker]` with `id = 1` are the same. A key that is
not listed here is refused, with the nearest known key. Every listener is `host:port`; port 0 takes any free
port, and the bound one is printed.
";

/// The reference page, ending in a newline.
#[must_use]
pub fn render_reference() -> String {
    let mut page = PREAMBLE.to_owned();
    page.push_str("\n## One broker\n\n");
    render_table(&mut page, all_keys().filter(|key| key.kind != Kind::Kafka));
    page.push_str("\n## The whole cluster (Kafka's names)\n\n");
    page.push_str(
        "\
These come from the configuration of whichever broker founds the cluster, once; afterwards what the cluster keeps
counts, on every broker, and what a file, the environment or a flag says of them changes nothing. The cluster's are shown and
changed while it runs, with `raftmq cluster settings list|set|unset`; brokers follow at once. Precedence, lowest first: the default below, the
cluster's setting, the topic's (`raftmq topic alter`), where the key is one of topics. Topics know the keys `log.*` and `message.max.bytes` under
Kafka's names for topics (`docs/topic-settings.md`); either name is taken.

",
    );
    render_table(&mut page, all_keys().filter(|key| key.kind == Kind::Kafka));
    page
}

fn render_table(page: &mut String, keys: impl Iterator<Item = Key>) {
    page.push_str(
        "| key | value | default | meaning | environment |\n| --- | --- | --- | --- | --- |\n",
    );
    for key in keys {
        let default = if key.default.is_empty() {
            "(empty)"
        } else {
            key.default
        };
        let row = writeln!(
            page,
            "| `{}` | {} | `{default}` | {} | `{}` |",
            key.name,
            key.kind.describe(),
            key.doc,
            env_name(key.name),
        );
        row.expect("writing to a String cannot fail");
    }
}
