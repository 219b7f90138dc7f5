//! Whether this broker may serve clients at all, as every connection follows it: is it in service, is
//! there room on its disk, is it stopping.
//!
//! Owns the look at the broker's parts, and the first virtual host and user of a cluster. Does not know
//! what a connection does about it.

use std::sync::Arc;

use raftmq_core::cluster::amqp::{AmqpCommand, Seed};
use raftmq_core::space::Space;
use tokio::time::{sleep, timeout};

use super::context::Shared;
use super::limits::{SEED_PAUSE, STANDING_INTERVAL};
use super::login::GUEST;
use crate::security::password;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// This broker's registration; 0 = none yet. Connections end with theirs.
    pub(super) broker_epoch: u64,
    /// It is in service, and there are users.
    pub(super) is_ready: bool,
    /// Its disk has no room for messages.
    pub(super) is_short_of_room: bool,
    /// It is about to stop.
    pub(super) is_stopping: bool,
}

/// Follows the broker's standing and tells every connection. Runs for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut images = shared.parts.controller.images();
    loop {
        let image = images.current();
        let session = shared.parts.controller.session();
        let seen = Standing {
            broker_epoch: session.broker_epoch(),
            is_ready: !session.is_fenced() && image.amqp.is_seeded,
            is_short_of_room: shared.parts.host.space().space() != Space::Ample,
            is_stopping: false,
        };
        shared.standing.send_if_modified(|standing| {
            let seen = Standing {
                is_stopping: standing.is_stopping,
                ..seen
            };
            let has_changed = *standing != seen;
            *standing = seen;
            has_changed
        });
        let _ = timeout(STANDING_INTERVAL, images.newer_than(image.version)).await;
    }
}

/// Sees to the first virtual host, `/`, and the first user, `guest`, of a new cluster: whichever broker
/// is first, they are made once for all time. Ends when they are there.
pub(super) async fn seed(shared: Arc<Shared>) {
    let mut images = shared.parts.controller.images();
    loop {
        let image = images.current();
        if image.amqp.is_seeded {
            return;
        }
        if image.cluster_id.is_none() {
            images.newer_than(image.version).await;
            continue;
        }
        let salt = shared.parts.env().random_id();
        let seed = AmqpCommand::Seed(Seed {
            user: GUEST.to_owned(),
            password_hash: password::hash(salt, GUEST.as_bytes()),
        });
        if let Err(error) = shared.propose(seed).await {
            tracing::debug!(%error, "the first virtual host is not made yet");
            sleep(SEED_PAUSE).await;
        }
    }
}
