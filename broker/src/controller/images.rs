//! The metadata image as this broker has it, published after every change.

use std::sync::Arc;

use raftmq_core::cluster::{Cluster, Image, Reply as ClusterReply};
use raftmq_core::effect::Effects;
use tokio::sync::watch;

use crate::raft::Reply;
use crate::raft::machine::{Binding, Hosted};

/// The metadata machine as this broker hosts it.
pub type HostedCluster = Hosted<Cluster, ClusterBinding>;

/// An image and how far the metadata group is applied here.
#[derive(Debug, Clone, Default)]
struct Published {
    image: Arc<Image>,
    applied: u64,
}

/// Reads and follows the image. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Images {
    published: watch::Receiver<Published>,
}

impl Images {
    /// The image now.
    #[must_use]
    pub fn current(&self) -> Arc<Image> {
        self.published.borrow().image.clone()
    }

    /// The last log index of the metadata group that is applied here.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.published.borrow().applied
    }

    /// Waits for the next image. Cancel safe. Never returns once the broker is going down.
    pub async fn changed(&mut self) -> Arc<Image> {
        loop {
            let before = self.published.borrow_and_update().image.version;
            if self.published.changed().await.is_err() {
                return std::future::pending().await;
            }
            let now = self.published.borrow().image.clone();
            if now.version != before {
                return now;
            }
        }
    }

    /// Waits until the metadata group is applied here up to `log_index`. Cancel safe.
    pub async fn wait_applied(&mut self, log_index: u64) {
        let reached = self
            .published
            .wait_for(|published| published.applied >= log_index)
            .await
            .is_ok();
        if !reached {
            std::future::pending::<()>().await;
        }
    }
}

/// Publishes the image after each run of entries.
#[derive(Debug)]
pub struct ClusterBinding {
    published: watch::Sender<Published>,
}

impl ClusterBinding {
    /// A binding that has published an empty image.
    #[must_use]
    pub fn new() -> Self {
        Self {
            published: watch::Sender::new(Published::default()),
        }
    }

    /// Follows what is published.
    #[must_use]
    pub fn images(&self) -> Images {
        Images {
            published: self.published.subscribe(),
        }
    }
}

impl Default for ClusterBinding {
    fn default() -> Self {
        Self::new()
    }
}

impl Binding<Cluster> for ClusterBinding {
    fn reply(&self, reply: ClusterReply) -> Reply {
        Reply::Cluster(Box::new(reply))
    }

    fn effects(&self, _machine: &Cluster, effects: &mut Effects) -> bool {
        // Everything follows the image; nothing is done twice because of an effect.
        effects.drain().for_each(drop);
        false
    }

    fn settled(&self, machine: &Cluster, log_index: u64) {
        let image = machine.image();
        self.published.send_modify(|published| {
            published.applied = published.applied.max(log_index);
            if published.image.version != image.version {
                published.image = Arc::new(image.clone());
            }
        });
    }
}
