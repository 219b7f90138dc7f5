//! `raftmq cluster settings`: settings of the cluster that may change while it runs.

use std::collections::BTreeMap;

use clap::Subcommand;
use raftmq_client::ConfigEntry;
use serde::Serialize;

use super::connect::{ConnectArgs, client_failure};
use super::error::{CliError, CliResult};
use super::output::{self, Format};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum SettingsCommand {
    /// Show the settings, their values, and whether the cluster has set them
    List {
        /// Only those that the cluster has set
        #[arg(long)]
        changed: bool,
    },
    /// Set some, all or none of them; brokers follow at once
    Set {
        /// Names as in the configuration file (docs/configuration.md)
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<String>,
        /// Check everything and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Take some back to their defaults
    Unset {
        /// Names as in the configuration file (docs/configuration.md)
        #[arg(value_name = "KEY", required = true)]
        keys: Vec<String>,
        /// Check everything and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Serialize)]
struct SettingView {
    name: String,
    value: String,
    source: String,
    documentation: String,
}

#[derive(Debug, Serialize)]
struct ChangeView<'a> {
    dry_run: bool,
    set: &'a BTreeMap<&'a str, &'a str>,
    unset: &'a [String],
}

/// Runs one verb.
pub(crate) async fn run(
    command: SettingsCommand,
    connect: &ConnectArgs,
    format: Format,
) -> CliResult {
    match command {
        SettingsCommand::List { changed } => list(connect, format, changed).await,
        SettingsCommand::Set { settings, dry_run } => {
            let set = settings.iter().map(|text| assignment(text));
            let set: Vec<(&str, &str)> = set.collect::<CliResult<_>>()?;
            let keys: BTreeMap<&str, &str> = set.iter().copied().collect();
            if keys.len() < set.len() {
                return Err(CliError::usage("a setting is named twice"));
            }
            alter(connect, format, &keys, &[], dry_run).await
        }
        SettingsCommand::Unset { keys, dry_run } => {
            alter(connect, format, &BTreeMap::new(), &keys, dry_run).await
        }
    }
}

fn assignment(text: &str) -> CliResult<(&str, &str)> {
    let parts = text.split_once('=');
    parts.ok_or_else(|| CliError::usage(format!("expected KEY=VALUE, got {text:?}")))
}

async fn list(connect: &ConnectArgs, format: Format, changed_only: bool) -> CliResult {
    let client = connect.connect().await?;
    let listed = client.admin().list_cluster_settings().await;
    let listed = listed.map_err(|error| client_failure("list the cluster's settings", &error))?;
    let is_wanted = |entry: &ConfigEntry| !changed_only || entry.source == "cluster";
    let views = listed.into_iter().filter(is_wanted);
    let views: Vec<SettingView> = views.map(view_of).collect();
    if format == Format::Json {
        return output::print_json(&views);
    }
    let rows = views.into_iter().map(|view| {
        let SettingView {
            name,
            value,
            source,
            documentation,
        } = view;
        vec![name, value, source, documentation]
    });
    output::print_table(&["setting", "value", "from", "meaning"], rows)
}

async fn alter(
    connect: &ConnectArgs,
    format: Format,
    set: &BTreeMap<&str, &str>,
    unset: &[String],
    dry_run: bool,
) -> CliResult {
    let client = connect.connect().await?;
    let mut change = client.admin().alter_cluster_settings();
    for (name, value) in set {
        change = change.set(*name, *value);
    }
    for name in unset {
        change = change.unset(name);
    }
    if dry_run {
        change = change.validate_only();
    }
    let changed = change.send().await;
    changed.map_err(|error| client_failure("change the cluster's settings", &error))?;
    if format == Format::Json {
        return output::print_json(&ChangeView {
            dry_run,
            set,
            unset,
        });
    }
    let count = set.len() + unset.len();
    output::print_line(&if dry_run {
        format!("{count} settings would be changed")
    } else {
        format!("{count} settings changed")
    })
}

fn view_of(entry: ConfigEntry) -> SettingView {
    SettingView {
        name: entry.name,
        value: entry.value,
        source: entry.source,
        documentation: entry.documentation,
    }
}
