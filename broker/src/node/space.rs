//! Looks at the room on this broker's disk, and tells the parts what the disks of all brokers have.
//!
//! What a level means is decided in `raftmq_core::space` and where records are taken.

use std::time::Duration;

use raftmq_core::ids::BrokerId;
use raftmq_core::space::{Space, SpaceOfBrokers};
use tokio::time::sleep;

use super::Parts;

/// Time between looks. Half of the reserve must hold what can be written in that time and two
/// heartbeats.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Looks for ever.
pub(super) async fn run(parts: Parts) {
    let me = BrokerId(parts.host.broker_id());
    let mut told = SpaceOfBrokers::new();
    loop {
        if let Err(error) = parts.host.space().look(parts.host.store()).await {
            tracing::warn!(%error, "room on the disk not measured");
        }
        let mut spaces = parts.controller.session().spaces();
        // Of its own disk this broker knows better.
        match parts.host.space().space() {
            Space::Ample => spaces.remove(&me),
            space @ (Space::Low | Space::Scarce) => spaces.insert(me, space),
        };
        if spaces != told {
            tell(&parts, &told, &spaces);
            told = spaces;
        }
        sleep(LOOK_INTERVAL).await;
    }
}

fn tell(parts: &Parts, before: &SpaceOfBrokers, spaces: &SpaceOfBrokers) {
    parts.replicas.note_spaces(spaces);
    let is_scarce = |(_, space): &(&BrokerId, &Space)| **space == Space::Scarce;
    let scarce = spaces.iter().filter(is_scarce);
    let refusing = scarce.map(|(id, _)| id.get()).collect();
    parts.host.transport().set_refusing_records(refusing);
    for (id, _) in before.iter().filter(is_scarce) {
        if spaces.get(id) != Some(&Space::Scarce) {
            // It takes records again: leaders here have waited for that.
            parts.host.look_again_at(id.get());
        }
    }
}
