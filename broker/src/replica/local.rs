//! One replica of one partition on this broker: its group, its machine, and, while it leads, the
//! session that takes appends.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use raftmq_core::cluster::balance::measured::Counted;
use raftmq_core::ids::GroupNumber;
use raftmq_core::space::SpaceOfBrokers;
use raftmq_records::BatchHeader;
use raftmq_store::GroupId;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::time::Instant;

use super::append::{Acks, Append, Appended};
use super::binding::HostedPartition;
use super::cleaner::NothingToClean;
use super::error::ReplicaError;
use super::session::{APPENDS_WAITING_MAX, Context, Session};
use super::view::PartitionView;
use crate::hosting::{Hosting, Led, Seat, lead};
use crate::raft::{Group, HandOver};

/// See the module. Shared by reference count.
pub struct Replica {
    seat: Seat<Append>,
    machine: Arc<HostedPartition>,
    view: watch::Sender<Arc<PartitionView>>,
    /// What the cleaner found when nothing was due.
    pub(super) nothing_to_clean: Mutex<Option<NothingToClean>>,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Replica")
            .field("group", &self.seat.id())
            .finish_non_exhaustive()
    }
}

impl Replica {
    pub(super) fn new(
        hosting: &Hosting,
        group: Arc<Group>,
        machine: Arc<HostedPartition>,
        view: PartitionView,
    ) -> Arc<Self> {
        Arc::new(Self {
            seat: Seat::new(hosting, group),
            machine,
            view: watch::Sender::new(Arc::new(view)),
            nothing_to_clean: Mutex::new(None),
        })
    }

    /// Its Raft group.
    #[must_use]
    pub fn group(&self) -> &Arc<Group> {
        self.seat.group()
    }

    /// Its Raft group's number.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.seat.id()
    }

    /// Its state machine.
    #[must_use]
    pub fn machine(&self) -> &Arc<HostedPartition> {
        &self.machine
    }

    /// Its partition as the metadata image shows it.
    #[must_use]
    pub fn view(&self) -> Arc<PartitionView> {
        self.view.borrow().clone()
    }

    pub(super) fn set_view(&self, view: PartitionView) {
        self.view.send_if_modified(|known| {
            let differs = **known != view;
            if differs {
                *known = Arc::new(view);
            }
            differs
        });
    }

    /// The term in which it leads and takes requests. `None` also for a leader that has been cut off
    /// for a session: somebody else may lead by now.
    #[must_use]
    pub fn leading_term(&self) -> Option<u64> {
        self.seat.leading_term()
    }

    fn context(&self, term: u64) -> Context {
        Context {
            env: self.seat.controller().env().clone(),
            broker_id: self.seat.broker_id(),
            group: self.group().clone(),
            machine: self.machine.clone(),
            view: self.view.subscribe(),
            reports: self.seat.reports().clone(),
            term,
        }
    }

    /// The wall clock, milliseconds since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        self.seat.now_ms()
    }

    /// Hands a validated batch to the session. The answer comes when `acks` says.
    ///
    /// # Errors
    ///
    /// Not the leader; throttled when too many appends wait.
    pub async fn append(
        &self,
        batch: Bytes,
        header: BatchHeader,
        acks: Acks,
        permit: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<Appended, ReplicaError>>, ReplicaError> {
        if !self.seat.may_lead() {
            return Err(self.not_leader());
        }
        let sender = self.seat.items().ok_or_else(|| self.not_leader())?;
        let (reply, answer) = oneshot::channel();
        let append = Append {
            batch,
            header,
            came_at: Instant::now(),
            acks,
            reply,
            permit,
        };
        sender
            .send(append)
            .await
            .map_err(|_closed| self.not_leader())?;
        Ok(answer)
    }

    /// Tells the metadata group again that this replica leads, where the image does not say so.
    pub(super) fn repeat_report(&self) {
        self.seat.repeat_report(self.view.borrow().group.leader);
    }

    /// The refusal of a replica that does not lead.
    #[must_use]
    pub fn not_leader(&self) -> ReplicaError {
        let view = self.view.borrow();
        let known = self.group().leader().or(view.group.leader);
        let this_broker = self.seat.broker_id();
        ReplicaError::NotLeader {
            topic: view.topic.clone(),
            partition: view.partition,
            this_broker,
            leader: known.filter(|id| *id != this_broker),
        }
    }
}

impl Led for Replica {
    fn group(&self) -> &Arc<Group> {
        self.seat.group()
    }

    fn begin_leading(self: Arc<Self>, term: u64) {
        let known_leader = self.view.borrow().group.leader;
        let Some(inbox) = self.seat.take(term, APPENDS_WAITING_MAX, known_leader) else {
            return;
        };
        // Ends with the term.
        tokio::spawn(async move {
            let run = |inbox| {
                let session = Session::new(self.context(term), inbox);
                let running: BoxFuture<'static, _> = Box::pin(session.run());
                running
            };
            lead(&self.seat, term, inbox, run).await;
        });
    }

    fn repeat_report(&self) {
        Replica::repeat_report(self);
    }

    fn hand_over(self: Arc<Self>, order: HandOver) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move { self.seat.hand_over(order).await })
    }

    fn note_spaces(&self, spaces: &SpaceOfBrokers) {
        let view = PartitionView::clone(&self.view());
        let group = view.group.clone().with_spaces(spaces);
        self.set_view(PartitionView { group, ..view });
    }

    fn counted(&self) -> Counted {
        let state = self.machine.read();
        Counted {
            group: GroupNumber(self.id().0),
            written_bytes: state.written_bytes(),
            size_bytes: state.size_bytes(),
        }
    }

    fn stop(&self) {
        self.seat.stop();
    }
}
