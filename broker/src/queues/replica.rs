//! One replica of one queue on this broker: its group, its machine, and, while it leads, the session
//! that takes commands and the tasks that carry out what the machine decided.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use raftmq_core::cluster::balance::measured::Counted;
use raftmq_core::ids::{BrokerId, GroupNumber};
use raftmq_core::queue::link::Place;
use raftmq_core::space::SpaceOfBrokers;
use raftmq_store::GroupId;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::binding::HostedQueue;
use super::bodies::Bodies;
use super::outgoing::Outgoing;
use super::session::{Context, SUBMISSIONS_WAITING_MAX, Session};
use super::submission::{Answer, Ask, NotDone, Submission, Untaken};
use super::view::QueueView;
use super::{Queues, WeakQueues};
use super::{letters, pusher};
use crate::hosting::{Hosting, Led, Seat, lead};
use crate::raft::{Group, HandOver};

/// What is waited for after a submission.
pub(super) type Answers = oneshot::Receiver<Result<Vec<Answer>, NotDone>>;

/// See the module.
pub(super) struct QueueReplica {
    seat: Seat<Submission>,
    machine: Arc<HostedQueue>,
    view: watch::Sender<Arc<QueueView>>,
    bodies: Arc<Bodies>,
    /// The service that holds it; ends before it.
    queues: WeakQueues,
}

impl std::fmt::Debug for QueueReplica {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("QueueReplica");
        shown
            .field("group", &self.seat.id())
            .finish_non_exhaustive()
    }
}

impl QueueReplica {
    pub(super) fn new(
        (hosting, queues): (&Hosting, &Queues),
        group: Arc<Group>,
        machine: Arc<HostedQueue>,
        view: QueueView,
    ) -> Arc<Self> {
        let bodies = Arc::new(Bodies::new(group.store().clone()));
        Arc::new(Self {
            seat: Seat::new(hosting, group),
            machine,
            view: watch::Sender::new(Arc::new(view)),
            bodies,
            queues: queues.downgrade(),
        })
    }

    pub(super) fn id(&self) -> GroupId {
        self.seat.id()
    }

    pub(super) fn group_handle(&self) -> &Arc<Group> {
        self.seat.group()
    }

    pub(super) fn queue(&self) -> GroupNumber {
        GroupNumber(self.seat.id().0)
    }

    pub(super) fn machine(&self) -> &Arc<HostedQueue> {
        &self.machine
    }

    pub(super) fn outgoing(&self) -> &Arc<Outgoing> {
        self.machine.binding().outgoing()
    }

    pub(super) fn bodies(&self) -> &Arc<Bodies> {
        &self.bodies
    }

    /// The service; `None` once the broker has let go of it.
    pub(super) fn queues(&self) -> Option<Queues> {
        self.queues.upgrade()
    }

    pub(super) fn view(&self) -> Arc<QueueView> {
        self.view.borrow().clone()
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.seat.now_ms()
    }

    pub(super) fn set_view(&self, view: QueueView) {
        self.view.send_if_modified(|known| {
            let differs = **known != view;
            if differs {
                *known = Arc::new(view);
            }
            differs
        });
    }

    /// Hands what is asked to the session, in the order of calls.
    pub(super) fn submit(
        &self,
        from: Option<(BrokerId, Place)>,
        asks: Vec<Ask>,
    ) -> Result<Answers, NotDone> {
        if !self.seat.may_lead() {
            return Err(NotDone::NotTaken);
        }
        let session = self.seat.items().ok_or(NotDone::NotTaken)?;
        let (reply, answers) = oneshot::channel();
        let reply = Untaken::new(reply);
        let submission = Submission { from, asks, reply };
        let sent = session.try_send(submission);
        sent.map_err(|_full_or_closed| NotDone::NotTaken)?;
        Ok(answers)
    }

    fn context(&self, term: u64) -> Context {
        Context {
            env: self.seat.controller().env().clone(),
            broker_id: self.seat.broker_id(),
            group: self.seat.group().clone(),
            machine: self.machine.clone(),
            bodies: self.bodies.clone(),
            view: self.view.subscribe(),
            reports: self.seat.reports().clone(),
            term,
        }
    }

    async fn run_term(self: Arc<Self>, term: u64, inbox: crate::hosting::Inbox<Submission>) {
        {
            let state = self.machine.read();
            if state.unsettled_count() > 0 {
                tracing::trace!(target: "raftmq::mark", name = "queue_led_anew_with_deliveries");
            }
            self.outgoing().begin(term, &state);
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(pusher::run(self.clone(), term));
        tasks.spawn(letters::run(self.clone()));
        let run = |inbox| {
            let session = Session::new(self.context(term), inbox);
            let running: BoxFuture<'static, _> = Box::pin(session.run());
            running
        };
        lead(&self.seat, term, inbox, run).await;
        tasks.shutdown().await;
        self.outgoing().end(term);
        self.bodies.clear();
    }
}

impl Led for QueueReplica {
    fn group(&self) -> &Arc<Group> {
        self.seat.group()
    }

    fn begin_leading(self: Arc<Self>, term: u64) {
        let known_leader = self.view.borrow().group.leader;
        let inbox = self.seat.take(term, SUBMISSIONS_WAITING_MAX, known_leader);
        if let Some(inbox) = inbox {
            // Ends with the term.
            tokio::spawn(self.run_term(term, inbox));
        }
    }

    fn repeat_report(&self) {
        self.seat.repeat_report(self.view.borrow().group.leader);
    }

    fn hand_over(self: Arc<Self>, order: HandOver) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move { self.seat.hand_over(order).await })
    }

    fn note_spaces(&self, spaces: &SpaceOfBrokers) {
        let view = QueueView::clone(&self.view());
        let group = view.group.clone().with_spaces(spaces);
        self.set_view(QueueView { group, ..view });
    }

    fn counted(&self) -> Counted {
        let state = self.machine.read();
        Counted {
            group: self.queue(),
            written_bytes: state.written_bytes(),
            size_bytes: state.ready_bytes(),
        }
    }

    fn stop(&self) {
        self.seat.stop();
    }
}
