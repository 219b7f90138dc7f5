//! `raftmq binding`: AMQP's bindings as an operator sees them.

use clap::Subcommand;
use raftmq_client::BindingInfo;
use serde::Serialize;

use super::amqp_arguments::{ArgumentsView, arguments_text, arguments_view};
use super::connect::{ConnectArgs, client_failure};
use super::error::CliResult;
use super::exchange::exchange_text;
use super::output::{self, Format, harmless};
use super::vhost::InVhost;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum BindingCommand {
    /// List the bindings of a virtual host, those of the default exchange included
    List {
        #[command(flatten)]
        place: InVhost,
    },
}

#[derive(Debug, Serialize)]
struct BindingView {
    source: String,
    destination_type: String,
    destination: String,
    /// Bytes that are no text show as U+FFFD.
    routing_key: String,
    arguments: ArgumentsView,
}

/// Runs one verb.
pub(crate) async fn run(
    command: BindingCommand,
    connect: &ConnectArgs,
    format: Format,
) -> CliResult {
    let BindingCommand::List { place } = command;
    let client = connect.connect().await?;
    let action = format!("list bindings of virtual host {:?}", place.vhost);
    let listed = client.admin().list_bindings(&place.vhost).await;
    let listed = listed.map_err(|error| client_failure(&action, &error))?;
    let views: Vec<BindingView> = listed.into_iter().map(view_of).collect();
    if format == Format::Json {
        return output::print_json(&views);
    }
    let rows = views.iter().map(|view| {
        vec![
            exchange_text(&view.source),
            view.destination_type.clone(),
            harmless(&view.destination),
            harmless(&view.routing_key),
            arguments_text(&view.arguments),
        ]
    });
    let header = ["source", "to", "destination", "routing key", "arguments"];
    output::print_table(&header, rows)
}

fn view_of(binding: BindingInfo) -> BindingView {
    BindingView {
        source: binding.source,
        destination_type: binding.destination_kind,
        destination: binding.destination,
        routing_key: String::from_utf8_lossy(&binding.routing_key).into_owned(),
        arguments: arguments_view(binding.arguments),
    }
}
