//! `raftmq partition recover`: the last resort, which says what is lost before it does anything.

use clap::Args;
use raftmq_client::{Client, Recovery};
use raftmq_proto::v1::{AcceptedLoss, RecoverPartitionResponse};
use serde::Serialize;

use super::connect::client_failure;
use super::error::{CliError, CliResult};
use super::output::{self, Format};

/// What `recover` takes.
#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    /// The topic
    topic: String,
    /// The partition
    partition: u32,
    /// The broker whose replica is kept; the most complete one that answers otherwise
    #[arg(long, value_name = "ID")]
    keep: Option<u32>,
    /// Give up what only dead or damaged replicas had, for good
    #[arg(long)]
    accept_loss: bool,
    /// Who accepts, for the record
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    by: String,
}

/// An accepted loss, for people and programs.
#[derive(Debug, Serialize)]
pub(crate) struct LossView {
    kept: u32,
    last_log_term: Option<u64>,
    last_log_index: Option<u64>,
    old_group: u64,
    accepted_at_ms: i64,
    accepted_by: String,
}

impl LossView {
    /// For a table.
    pub(crate) fn brief(&self) -> String {
        let end = self.last_log_index.map(|index| index.to_string());
        let end = end.unwrap_or_else(|| "nothing".to_owned());
        format!(
            "kept broker {} up to {end}, by {}",
            self.kept, self.accepted_by
        )
    }
}

#[derive(Debug, Serialize)]
struct RecoveredView {
    topic: String,
    partition: u32,
    group: u64,
    loss: Option<LossView>,
}

/// Runs it.
pub(crate) async fn recover(args: &RecoverArgs, client: &Client, format: Format) -> CliResult {
    let RecoverArgs {
        topic, partition, ..
    } = args;
    let recovery = if args.accept_loss {
        Recovery::AcceptLoss
    } else {
        Recovery::Look
    };
    let admin = client.admin();
    let partition_named = (topic.as_str(), *partition);
    let asked = admin.recover_partition(partition_named, args.keep, recovery, &args.by);
    let action = format!("recover partition {partition} of topic {topic:?}");
    let done = asked
        .await
        .map_err(|error| client_failure(&action, &error))?;
    let RecoverPartitionResponse { loss, group_id } = done;
    let kept = loss.as_ref().map(kept_text).unwrap_or_default();
    if !args.accept_loss {
        let text = format!("{topic}/{partition} could go on from {kept}; the rest would be lost");
        return Err(CliError::failure(text).next("give it up for good: --accept-loss"));
    }
    if format == Format::Json {
        return output::print_json(&RecoveredView {
            topic: topic.clone(),
            partition: *partition,
            group: group_id,
            loss: loss.map(loss_view),
        });
    }
    output::print_line(&format!("{topic}/{partition} goes on from {kept}"))
}

fn kept_text(loss: &AcceptedLoss) -> String {
    let broker = loss.kept_broker_id;
    if loss.is_empty {
        return format!("broker {broker}, whose log is empty");
    }
    let (term, index) = (loss.last_log_term, loss.last_log_index);
    format!("broker {broker}, whose log ends with entry {index} of term {term}")
}

/// Renders a loss.
pub(crate) fn loss_view(loss: AcceptedLoss) -> LossView {
    let known = |number: u64| (!loss.is_empty).then_some(number);
    LossView {
        kept: loss.kept_broker_id,
        last_log_term: known(loss.last_log_term),
        last_log_index: known(loss.last_log_index),
        old_group: loss.of_group_id,
        accepted_at_ms: loss.accepted_at_ms,
        accepted_by: loss.accepted_by,
    }
}
