//! Evens replicas and preferred leaders by itself, slowly, where `rebalance.enable` says so.
//!
//! What is moved is decided in `raftmq_core::cluster::balance`; how, in `moves`.

use std::time::Duration;

use raftmq_core::cluster::balance::plan_by_itself;
use raftmq_core::cluster::{Command, config_keys, placement};
use tokio::time::sleep;

use super::Controller;

impl Controller {
    /// Looks at the balance now and then, whenever this broker is the controller. Runs for ever.
    pub async fn run_balancing(&self) {
        loop {
            let image = self.shared.images.current();
            let interval_ms = image.config_i64(None, config_keys::REBALANCE_INTERVAL_MS);
            sleep(Duration::from_millis(
                u64::try_from(interval_ms).unwrap_or(1_000).max(1_000),
            ))
            .await;
            if self.leading_term().is_some() {
                self.balance_once().await;
            }
        }
    }

    async fn balance_once(&self) {
        let image = self.shared.images.current();
        let changes = plan_by_itself(&image, &self.loads().await, placement::is_willing);
        if !changes.is_empty() {
            let changes_count = changes.len();
            tracing::info!(changes_count, "evening replicas and preferred leaders");
        }
        for change in changes {
            let (group, target) = (change.group, change.to);
            self.command(Command::SetReplicas { group, target }).await;
        }
    }
}
