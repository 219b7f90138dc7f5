//! The metadata image as this broker has it, published after every change.

use std::sync::Arc;
use std::time::Duration;

use raftmq_core::cluster::{Cluster, Image, Reply as ClusterReply};
use raftmq_core::effect::Effects;
use tokio::sync::watch;
use tokio::time::timeout;

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

    /// Waits for an image newer than the one of this version, which is the one that the caller has
    /// dealt with: whatever came while it did so is not missed. Cancel safe. Never returns once the
    /// broker is going down.
    pub async fn newer_than(&mut self, version: u64) -> Arc<Image> {
        let newer = self
            .published
            .wait_for(|published| published.image.version > version)
            .await
            .map(|published| published.image.clone());
        match newer {
            Ok(image) => image,
            Err(_going_down) => std::future::pending().await,
        }
    }

    /// Returns when a topic is there and every partition of it has a leader, or when that takes longer
    /// than `within`. Cancel safe.
    pub async fn wait_for_leaders(&mut self, topic: &str, within: Duration) {
        let has_leaders = |image: &Image| {
            let is_led = |group| {
                let info = image.partition(group);
                info.is_some_and(|info| info.leader.is_some())
            };
            let topic = image.topic(topic);
            topic.is_some_and(|topic| topic.partitions.iter().copied().all(is_led))
        };
        let _ = timeout(within, async {
            let mut image = self.current();
            while !has_leaders(&image) {
                image = self.newer_than(image.version).await;
            }
        })
        .await;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn published(version: u64) -> Published {
        let image = Image {
            version,
            ..Image::default()
        };
        Published {
            image: Arc::new(image),
            applied: version,
        }
    }

    #[tokio::test]
    async fn an_image_that_came_while_the_one_before_was_dealt_with_is_not_missed() {
        let sender = watch::Sender::new(published(3));
        let mut images = Images {
            published: sender.subscribe(),
        };
        let dealt_with = images.current();
        sender.send_replace(published(7));

        let next = images.newer_than(dealt_with.version).await;

        assert_eq!(next.version, 7);
    }

    #[tokio::test]
    async fn an_image_that_is_dealt_with_is_not_shown_again() {
        let sender = watch::Sender::new(published(3));
        let mut images = Images {
            published: sender.subscribe(),
        };

        let next = futures_util::poll!(std::pin::pin!(images.newer_than(3)));

        assert!(next.is_pending());
    }
}
