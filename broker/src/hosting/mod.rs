//! What partitions and queues need alike of a broker that hosts their groups: groups opened and removed as
//! the metadata image says, leaderships begun, reported and handed over.
//!
//! Each kind of group has a service of its own (`replica`, `queues`), which makes the replicas and runs
//! their sessions. Does not know what a group holds.

mod again;
mod follow;
mod handover;
mod in_sync;
mod loads;
mod reports;
mod seat;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use raftmq_core::cluster::Image;
use raftmq_core::cluster::balance::measured::Counted;
use raftmq_core::space::SpaceOfBrokers;
use raftmq_store::GroupId;

pub use follow::{Configured, Kind};
pub use reports::{Report, Reports};
pub use view::GroupView;

pub(crate) use follow::beginning_of;
pub(crate) use handover::{Handover, Inbox};
pub(crate) use in_sync::InSync;
pub(crate) use seat::{Ended, Seat, lead};

use crate::controller::Controller;
use crate::raft::{Group, HandOver, RaftHost};

/// Pause between looks for openraft's own view of a leadership whose first entry is applied.
const LEADING_CHECK_PAUSE: Duration = Duration::from_millis(1);

/// A replica, whatever its kind.
pub trait Led: Send + Sync + 'static {
    /// Its Raft group.
    fn group(&self) -> &Arc<Group>;
    /// Starts a session when this replica has come to lead in `term`, and reports it. Repetition only
    /// repeats the report, where the image does not show it.
    fn begin_leading(self: Arc<Self>, term: u64);
    /// Tells the metadata group again that this replica leads, where the image does not say so.
    fn repeat_report(&self);
    /// Hands the leadership over as ordered, and waits until it is gone or that has failed: in words, why
    /// this replica leads on.
    fn hand_over(self: Arc<Self>, order: HandOver) -> BoxFuture<'static, Result<(), String>>;
    /// Takes note of the brokers that have little room on their disks, in place of those before.
    fn note_spaces(&self, spaces: &SpaceOfBrokers);
    /// What was written to the group, and what is retained of it.
    fn counted(&self) -> Counted;
    /// Takes nothing any more, for good: the replica is being removed.
    fn stop(&self);
}

/// The replicas of this broker, of every kind. Cheap to clone.
#[derive(Clone)]
pub struct Hosting {
    shared: Arc<Shared>,
}

struct Shared {
    host: RaftHost,
    controller: Controller,
    reports: Reports,
    led: RwLock<BTreeMap<GroupId, Arc<dyn Led>>>,
    /// The image that the replicas were last made to agree with.
    followed: Mutex<Option<Image>>,
    /// Whether an image has told what of the disk is obsolete.
    has_judged: AtomicBool,
    /// The brokers that have little room on their disks.
    spaces: Mutex<SpaceOfBrokers>,
}

impl std::fmt::Debug for Hosting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Hosting").finish_non_exhaustive()
    }
}

impl Hosting {
    /// Nothing is hosted yet; [`Self::follow`] opens replicas.
    #[must_use]
    pub fn new(host: RaftHost, controller: Controller, reports: Reports) -> Self {
        Self {
            shared: Arc::new(Shared {
                host,
                controller,
                reports,
                led: RwLock::default(),
                followed: Mutex::default(),
                has_judged: AtomicBool::new(false),
                spaces: Mutex::default(),
            }),
        }
    }

    /// The Raft groups of this broker.
    #[must_use]
    pub fn host(&self) -> &RaftHost {
        &self.shared.host
    }

    /// The metadata service.
    #[must_use]
    pub fn controller(&self) -> &Controller {
        &self.shared.controller
    }

    /// Where leaders report.
    pub(crate) fn reports(&self) -> &Reports {
        &self.shared.reports
    }

    /// The brokers that have little room on their disks.
    pub(crate) fn spaces(&self) -> SpaceOfBrokers {
        self.shared.spaces.lock().clone()
    }

    /// Takes in a replica that was opened.
    pub(crate) fn insert(&self, id: GroupId, led: Arc<dyn Led>) {
        self.shared.led.write().insert(id, led);
    }

    /// Every replica of this broker.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<dyn Led>> {
        self.shared.led.read().values().cloned().collect()
    }

    fn find(&self, id: GroupId) -> Option<Arc<dyn Led>> {
        self.shared.led.read().get(&id).cloned()
    }

    /// Reacts to what groups tell: begins leading where a term has begun. Runs for ever.
    pub async fn run_events(&self) {
        loop {
            for (group, term) in self.shared.host.events().next().await {
                if let Some(led) = self.find(group) {
                    // Ends with the term at the latest; a replica has one such task per term.
                    tokio::spawn(begin_when_ready(led, self.shared.host.broker_id(), term));
                }
            }
        }
    }

    /// Hands leaderships over as the controller orders. Runs for ever.
    pub async fn run_hand_overs(&self) {
        let hand_overs = self.shared.controller.hand_overs().clone();
        loop {
            for order in hand_overs.next().await {
                let Some(led) = self.find(order.group) else {
                    continue;
                };
                // Ends within a bound; a second one of the same replica is refused.
                tokio::spawn(async move {
                    let (raft_group, to) = (order.group.0, order.to);
                    match led.hand_over(order).await {
                        Ok(()) => tracing::info!(raft_group, to, "leadership handed over"),
                        Err(error) => {
                            tracing::info!(raft_group, to, error, "leadership not handed over");
                        }
                    }
                });
            }
        }
    }

    /// Begins to lead where that was missed (openraft shows a leadership a moment after it applies its
    /// first entry), and tells the metadata group again which groups this broker leads where the
    /// image does not say so: a report may have been refused while this broker was fenced.
    pub fn repeat_reports(&self) {
        for led in self.all() {
            if let Some(term) = led.group().leading_term() {
                led.begin_leading(term);
            }
        }
    }

    /// Takes note of the brokers that have little room on their disks, in place of those before.
    pub fn note_spaces(&self, spaces: &SpaceOfBrokers) {
        self.shared.spaces.lock().clone_from(spaces);
        for led in self.all() {
            led.note_spaces(spaces);
        }
    }
}

/// The event comes out of apply; openraft's own metrics follow a moment later.
async fn begin_when_ready(led: Arc<dyn Led>, broker_id: u32, term: u64) {
    while led.group().leader() == Some(broker_id) {
        if led.group().leading_term() == Some(term) {
            led.begin_leading(term);
            return;
        }
        tokio::time::sleep(LEADING_CHECK_PAUSE).await;
    }
}
