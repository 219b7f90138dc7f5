//! `raftmq permissions`: what AMQP's users may do in a virtual host.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use raftmq_client::{PermissionInfo, Permissions};
use serde::Serialize;

use super::connect::{ConnectArgs, client_failure};
use super::error::CliResult;
use super::output::{self, Format, harmless};
use super::vhost::InVhost;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum PermissionsCommand {
    /// List who may do what
    List {
        /// Only in this virtual host
        #[arg(short = 'p', long, value_name = "NAME")]
        vhost: Option<String>,
        /// Only of this user
        #[arg(short, long, value_name = "NAME")]
        user: Option<String>,
    },
    /// Set what a user may do in a virtual host; a pattern that is left out allows nothing
    Set(SetArgs),
    /// Take a user's permissions in a virtual host away: it cannot enter it any more
    Clear {
        /// The user
        user: String,
        #[command(flatten)]
        place: InVhost,
    },
}

/// Regular expressions over names of queues and exchanges, which match anywhere unless they are anchored.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The user
    user: String,
    #[command(flatten)]
    place: InVhost,
    /// What it may declare and delete, for example '^shop-'
    #[arg(
        long,
        value_name = "PATTERN",
        default_value = "",
        hide_default_value = true
    )]
    configure: String,
    /// What it may publish to, and bind as a destination, for example '.*'
    #[arg(
        long,
        value_name = "PATTERN",
        default_value = "",
        hide_default_value = true
    )]
    write: String,
    /// What it may consume from, and bind as a source
    #[arg(
        long,
        value_name = "PATTERN",
        default_value = "",
        hide_default_value = true
    )]
    read: String,
}

#[derive(Debug, Serialize)]
struct PermissionView {
    vhost: String,
    user: String,
    configure: String,
    write: String,
    read: String,
}

/// Runs one verb.
pub(crate) async fn run(
    command: PermissionsCommand,
    connect: &ConnectArgs,
    format: Format,
) -> CliResult {
    match command {
        PermissionsCommand::List { vhost, user } => {
            list(connect, format, vhost.as_deref(), user.as_deref()).await
        }
        PermissionsCommand::Set(args) => set(args, connect, format).await,
        PermissionsCommand::Clear { user, place } => {
            let vhost = place.vhost;
            let client = connect.connect().await?;
            let cleared = client.admin().clear_permissions(&vhost, &user).await;
            let action = format!("clear permissions of user {user:?} in virtual host {vhost:?}");
            cleared.map_err(|error| client_failure(&action, &error))?;
            match format {
                Format::Json => output::print_json(&BTreeMap::from([
                    ("cleared", user.as_str()),
                    ("vhost", vhost.as_str()),
                ])),
                Format::Table => output::print_line(&format!(
                    "user {} may not enter virtual host {}",
                    harmless(&user),
                    harmless(&vhost)
                )),
            }
        }
    }
}

async fn set(args: SetArgs, connect: &ConnectArgs, format: Format) -> CliResult {
    let SetArgs {
        user,
        place,
        configure,
        write,
        read,
    } = args;
    let vhost = place.vhost;
    let permissions = Permissions {
        configure,
        write,
        read,
    };
    let client = connect.connect().await?;
    let admin = client.admin();
    let changed = admin.set_permissions(&vhost, &user, &permissions);
    let action = format!("set permissions of user {user:?} in virtual host {vhost:?}");
    changed
        .await
        .map_err(|error| client_failure(&action, &error))?;
    if format == Format::Json {
        return output::print_json(&PermissionView {
            vhost,
            user,
            configure: permissions.configure,
            write: permissions.write,
            read: permissions.read,
        });
    }
    output::print_line(&format!(
        "set permissions of user {} in virtual host {}",
        harmless(&user),
        harmless(&vhost)
    ))
}

async fn list(
    connect: &ConnectArgs,
    format: Format,
    vhost: Option<&str>,
    user: Option<&str>,
) -> CliResult {
    let client = connect.connect().await?;
    let listed = client.admin().list_permissions(vhost, user).await;
    let listed = listed.map_err(|error| client_failure("list permissions", &error))?;
    let views: Vec<PermissionView> = listed.into_iter().map(view_of).collect();
    if format == Format::Json {
        return output::print_json(&views);
    }
    let rows = views.iter().map(|view| {
        let cells = [
            &view.vhost,
            &view.user,
            &view.configure,
            &view.write,
            &view.read,
        ];
        cells.into_iter().map(|cell| harmless(cell)).collect()
    });
    output::print_table(&["vhost", "user", "configure", "write", "read"], rows)
}

fn view_of(permission: PermissionInfo) -> PermissionView {
    let PermissionInfo {
        vhost,
        user,
        configure,
        write,
        read,
    } = permission;
    PermissionView {
        vhost,
        user,
        configure,
        write,
        read,
    }
}
