//! How a plan of moves is shown, dry or under way: `cluster rebalance`, `broker decommission`; and what
//! is to be known of a number of replicas.
//!
//! Does not know who made the plan, nor why.

use raftmq_client::{PlanMode, ReplicaChange};
use raftmq_core::cluster::placement;
use serde::Serialize;

use super::error::{CliError, CliResult};
use super::output::{self, Format};

#[derive(Debug, Serialize)]
struct PlanView {
    dry_run: bool,
    /// Replicas that are copied to another broker.
    moves: usize,
    changes: Vec<ChangeView>,
}

#[derive(Debug, Serialize)]
struct ChangeView {
    topic: String,
    partition: u32,
    from: Vec<u32>,
    to: Vec<u32>,
    moves: usize,
    in_bytes_per_second: u64,
    size_bytes: u64,
    error: Option<String>,
}

/// The mode that `--dry-run` stands for.
pub(crate) const fn mode(dry_run: bool) -> PlanMode {
    if dry_run {
        PlanMode::DryRun
    } else {
        PlanMode::Run
    }
}

/// Tells on stderr what should be known of so many replicas, if anything.
pub(crate) fn warn_of_replicas(count: usize) {
    if let Some(warning) = placement::warning(count) {
        output::note(&format!("warning: {warning}"));
    }
}

/// Broker ids, separated by commas.
pub(crate) fn ids_text(ids: &[u32]) -> String {
    let texts: Vec<String> = ids.iter().map(u32::to_string).collect();
    texts.join(",")
}

/// Shows a plan; fails when a change of it was refused.
pub(crate) fn show(changes: Vec<ReplicaChange>, mode: PlanMode, format: Format) -> CliResult {
    let changes: Vec<ChangeView> = changes.into_iter().map(change_view).collect();
    let refused = changes.iter().filter(|change| change.error.is_some());
    let refused_count = refused.count();
    let view = PlanView {
        dry_run: mode == PlanMode::DryRun,
        moves: changes.iter().map(|change| change.moves).sum(),
        changes,
    };
    match format {
        Format::Json => output::print_json(&view)?,
        Format::Table => show_table(&view)?,
    }
    if refused_count == 0 {
        return Ok(());
    }
    let failure = CliError::failure(format!("{refused_count} changes were refused"));
    Err(failure.next("run it again: it plans from what is there then"))
}

fn show_table(view: &PlanView) -> CliResult {
    if view.changes.is_empty() {
        return output::print_line("nothing to change");
    }
    let rows = view.changes.iter().map(|change| {
        vec![
            change.topic.clone(),
            change.partition.to_string(),
            ids_text(&change.from),
            ids_text(&change.to),
            change.moves.to_string(),
            change.in_bytes_per_second.to_string(),
            change.size_bytes.to_string(),
            change.error.clone().unwrap_or_default(),
        ]
    });
    output::print_table(
        &[
            "topic",
            "partition",
            "from",
            "to",
            "moves",
            "bytes/s in",
            "bytes",
            "error",
        ],
        rows,
    )?;
    let (verb, next) = if view.dry_run {
        ("would move", "")
    } else {
        ("moves", "; follow it with raftmq partition list --moving")
    };
    output::note(&format!(
        "{verb} {} replicas in {} changes{next}",
        view.moves,
        view.changes.len()
    ));
    Ok(())
}

fn change_view(change: ReplicaChange) -> ChangeView {
    let is_new = |id: &&u32| !change.from.contains(id);
    ChangeView {
        moves: change.to.iter().filter(is_new).count(),
        topic: change.topic,
        partition: change.partition,
        from: change.from,
        to: change.to,
        in_bytes_per_second: change.in_bytes_per_second,
        size_bytes: change.size_bytes,
        error: change.error.map(|error| error.message),
    }
}
