//! `raftmq exchange`: AMQP's exchanges as an operator sees them.

use clap::Subcommand;
use raftmq_client::ExchangeInfo;
use serde::Serialize;

use super::amqp_arguments::{ArgumentsView, arguments_text, arguments_view};
use super::connect::{ConnectArgs, client_failure};
use super::error::CliResult;
use super::output::{self, Format, harmless};
use super::vhost::InVhost;

/// The default exchange, which has no name, in a table.
const DEFAULT_EXCHANGE: &str = "(default)";

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum ExchangeCommand {
    /// List the exchanges of a virtual host
    List {
        #[command(flatten)]
        place: InVhost,
    },
}

#[derive(Debug, Serialize)]
struct ExchangeView {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: ArgumentsView,
}

/// Runs one verb.
pub(crate) async fn run(
    command: ExchangeCommand,
    connect: &ConnectArgs,
    format: Format,
) -> CliResult {
    let ExchangeCommand::List { place } = command;
    let client = connect.connect().await?;
    let action = format!("list exchanges of virtual host {:?}", place.vhost);
    let listed = client.admin().list_exchanges(&place.vhost).await;
    let listed = listed.map_err(|error| client_failure(&action, &error))?;
    let views: Vec<ExchangeView> = listed.into_iter().map(view_of).collect();
    if format == Format::Json {
        return output::print_json(&views);
    }
    let rows = views.iter().map(|view| {
        vec![
            exchange_text(&view.name),
            harmless(&view.kind),
            view.durable.to_string(),
            view.auto_delete.to_string(),
            view.internal.to_string(),
            arguments_text(&view.arguments),
        ]
    });
    let header = [
        "exchange",
        "type",
        "durable",
        "auto-delete",
        "internal",
        "arguments",
    ];
    output::print_table(&header, rows)
}

/// An exchange's name in a table.
pub(crate) fn exchange_text(name: &str) -> String {
    if name.is_empty() {
        return DEFAULT_EXCHANGE.to_owned();
    }
    harmless(name)
}

fn view_of(exchange: ExchangeInfo) -> ExchangeView {
    ExchangeView {
        name: exchange.name,
        kind: exchange.kind,
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        arguments: arguments_view(exchange.arguments),
    }
}
