//! Looks at the room on this broker's disk, and tells the parts what the disks of all brokers have.
//!
//! What a level means is decided in `raftmq_core::space` and where records are taken.

use std::time::Duration;

use raftmq_core::ids::BrokerId;
use raftmq_core::space::{Space, SpaceOfBrokers};
use tokio::time::timeout;

use super::Parts;

/// Time between looks while room may run short. What this broker writes itself counts at once; half of
/// the reserve must hold what others write to the same disk in that time and two heartbeats.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Time between looks while there is much room.
const CALM_LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Free bytes beside the reserve that no disk is filled with between two calm looks.
const MUCH_ROOM_BYTES: u64 = 8 << 30;

/// Looks for ever.
pub(super) async fn run(parts: Parts, reserve_bytes: u64) {
    let me = BrokerId(parts.host.broker_id());
    let mut told = SpaceOfBrokers::new();
    loop {
        if let Err(error) = parts.host.space().look().await {
            tracing::warn!(%error, "room on the disk not measured");
        }
        let session = parts.controller.session();
        let mut spaces = session.spaces();
        // Of its own disk this broker knows better.
        match parts.host.space().space() {
            Space::Ample => spaces.remove(&me),
            space @ (Space::Low | Space::Scarce) => spaces.insert(me, space),
        };
        if spaces != told {
            tell(&parts, &told, &spaces);
            told = spaces;
        }
        let much = reserve_bytes.saturating_add(MUCH_ROOM_BYTES);
        let free_bytes = parts.host.space().free_bytes();
        let has_much = free_bytes.is_some_and(|free| free >= much);
        let interval = if has_much {
            CALM_LOOK_INTERVAL
        } else {
            LOOK_INTERVAL
        };
        // Others' levels come with heartbeats.
        let _ = timeout(interval, session.spaces_changed()).await;
    }
}

fn tell(parts: &Parts, before: &SpaceOfBrokers, spaces: &SpaceOfBrokers) {
    parts.hosting.note_spaces(spaces);
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
