//! One replica of one partition on this broker: its group, its machine, and, while it leads, the
//! session that takes appends.

use std::sync::Arc;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use raftmq_records::BatchHeader;
use raftmq_store::GroupId;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::append::{Acks, Append, Appended};
use super::binding::HostedPartition;
use super::cleaner::NothingToClean;
use super::error::ReplicaError;
use super::handover::{Handover, Inbox, ORDERS_WAITING_MAX};
use super::session::{APPENDS_WAITING_MAX, Context, Ended, Session};
use super::view::{PartitionView, Reports};
use crate::controller::Controller;
use crate::raft::Group;
use crate::raft::transport::Transport;

/// See the module. Shared by reference count.
pub struct Replica {
    controller: Controller,
    broker_id: u32,
    group: Arc<Group>,
    machine: Arc<HostedPartition>,
    view: watch::Sender<Arc<PartitionView>>,
    reports: Reports,
    leading: Mutex<Option<Leading>>,
    /// What the cleaner found when nothing was due.
    pub(super) nothing_to_clean: Mutex<Option<NothingToClean>>,
}

struct Leading {
    term: u64,
    appends: mpsc::Sender<Append>,
    orders: mpsc::Sender<Handover>,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Replica")
            .field("group", &self.group.id())
            .finish_non_exhaustive()
    }
}

impl Replica {
    pub(super) fn new(
        controller: Controller,
        broker_id: u32,
        group: Arc<Group>,
        machine: Arc<HostedPartition>,
        view: PartitionView,
        reports: Reports,
    ) -> Arc<Self> {
        Arc::new(Self {
            controller,
            broker_id,
            group,
            machine,
            view: watch::Sender::new(Arc::new(view)),
            reports,
            leading: Mutex::new(None),
            nothing_to_clean: Mutex::new(None),
        })
    }

    /// Its Raft group.
    #[must_use]
    pub fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Its Raft group's number.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.group.id()
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
        if !self.controller.may_lead(&self.group) {
            return None;
        }
        let term = self.leading.lock().as_ref().map(|leading| leading.term)?;
        (self.group.leading_term() == Some(term)).then_some(term)
    }

    /// Starts a session when this replica has come to lead in `term`, and reports it. Repetition only
    /// repeats the report, where the image does not show it.
    pub(super) fn begin_leading(self: &Arc<Self>, term: u64) {
        if self.group.leading_term() != Some(term) {
            return;
        }
        let (appends, appends_end) = mpsc::channel(APPENDS_WAITING_MAX);
        let (orders, orders_end) = mpsc::channel(ORDERS_WAITING_MAX);
        let inbox = Inbox {
            appends: appends_end,
            orders: orders_end,
        };
        {
            let mut leading = self.leading.lock();
            if leading.as_ref().is_some_and(|known| known.term >= term) {
                drop(leading);
                self.repeat_report();
                return;
            }
            *leading = Some(Leading {
                term,
                appends,
                orders,
            });
        }
        self.reports.leading(self.id(), term);
        tracing::info!(raft_group = self.id().0, term, "leading");
        tokio::spawn(self.clone().lead(term, inbox));
    }

    async fn lead(self: Arc<Self>, term: u64, mut inbox: Inbox) {
        while self.group.leading_term() == Some(term) {
            let context = Context {
                env: self.controller.env().clone(),
                broker_id: self.broker_id,
                group: self.group.clone(),
                machine: self.machine.clone(),
                view: self.view.subscribe(),
                reports: self.reports.clone(),
                term,
            };
            let (ended, returned) = Session::new(context, inbox).run().await;
            tracing::info!(raft_group = self.id().0, term, ?ended, "session ended");
            inbox = returned;
            if ended == Ended::Closed {
                break;
            }
        }
        let mut leading = self.leading.lock();
        if leading.as_ref().is_some_and(|known| known.term == term) {
            *leading = None;
        }
        self.controller.note_stepped_down(self.id());
    }

    /// The way to the session of a term, for a handover.
    pub(super) fn orders_of(&self, term: u64) -> Option<mpsc::Sender<Handover>> {
        let leading = self.leading.lock();
        let leading = leading.as_ref().filter(|leading| leading.term == term);
        leading.map(|leading| leading.orders.clone())
    }

    /// The links to other brokers.
    pub(super) fn transport(&self) -> &Transport {
        self.controller.transport()
    }

    /// The next moments belong to whoever takes over: that this replica does not lead is no news.
    pub(super) fn note_handed_over(&self) {
        self.controller.note_handed_over(self.id());
    }

    /// The wall clock, milliseconds since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        self.controller.env().clock.now_ms()
    }

    /// Stops taking appends, for good: the replica is being removed.
    pub(super) fn stop(&self) {
        *self.leading.lock() = None;
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
        if !self.controller.may_lead(&self.group) {
            return Err(self.not_leader());
        }
        let sender = {
            let leading = self.leading.lock();
            leading.as_ref().map(|leading| leading.appends.clone())
        };
        let sender = sender.ok_or_else(|| self.not_leader())?;
        let (reply, answer) = oneshot::channel();
        let append = Append {
            batch,
            header,
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

    /// Whether everything that is committed, as far as this replica knows, is applied here, and a
    /// leader is known.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        let metrics = self.group.raft().metrics();
        let metrics = metrics.borrow_watched();
        metrics.current_leader.is_some() && metrics.last_applied >= metrics.local_committed
    }

    /// Tells the metadata group again that this replica leads, where the image does not say so.
    pub(super) fn repeat_report(&self) {
        let Some(term) = self.leading_term() else {
            return;
        };
        if self.view.borrow().leader != Some(self.broker_id) {
            self.reports.leading(self.id(), term);
        }
    }

    /// The refusal of a replica that does not lead.
    #[must_use]
    pub fn not_leader(&self) -> ReplicaError {
        let view = self.view.borrow();
        let known = self.group.leader().or(view.leader);
        ReplicaError::NotLeader {
            topic: view.topic.clone(),
            partition: view.partition,
            this_broker: self.broker_id,
            leader: known.filter(|id| *id != self.broker_id),
        }
    }
}
