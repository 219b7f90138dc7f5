//! Producer ids, handed out of blocks that the metadata group gives to each broker (KIP-730).

use std::sync::Arc;
use std::time::Duration;

use raftmq_core::cluster::{Command, Outcome};
use tokio::sync::Mutex;

use super::{ControlError, Controller};

/// Ids in a block: as Kafka's.
const BLOCK_COUNT: u32 = 1_000;
const PROPOSE_WITHIN: Duration = Duration::from_secs(10);

/// Hands out ids that nobody else has. What is left of a block at a restart is lost, harmlessly.
#[derive(Debug, Clone)]
pub struct ProducerIds {
    controller: Controller,
    broker_id: u32,
    /// An async lock on purpose: whoever comes while a block is fetched waits for that block.
    block: Arc<Mutex<Block>>,
}

#[derive(Debug, Default)]
struct Block {
    next: i64,
    left: u32,
}

impl ProducerIds {
    /// Without a block; the first id fetches one.
    #[must_use]
    pub fn new(controller: Controller, broker_id: u32) -> Self {
        Self {
            controller,
            broker_id,
            block: Arc::default(),
        }
    }

    /// A new producer id.
    ///
    /// # Errors
    ///
    /// No controller answered in time, or it refused.
    pub async fn next(&self) -> Result<i64, ControlError> {
        let mut block = self.block.lock().await;
        if block.left == 0 {
            let broker = self.broker_id.into();
            let command = Command::AllocateProducerIds {
                broker,
                count: BLOCK_COUNT,
            };
            let Outcome::ProducerIds { first, count } =
                self.controller.propose(&command, PROPOSE_WITHIN).await?
            else {
                return Err(ControlError::NoController);
            };
            *block = Block {
                next: first,
                left: count,
            };
        }
        let id = block.next;
        block.next += 1;
        block.left -= 1;
        Ok(id)
    }
}
