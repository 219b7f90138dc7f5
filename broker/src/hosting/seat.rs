//! A replica's place at the head of its group: whether it leads, and the way to the session that takes
//! what comes in meanwhile.
//!
//! `T` is what a session takes. Does not know what that means, nor who sends it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use raftmq_store::GroupId;
use tokio::sync::mpsc;

use super::Hosting;
use super::handover::{Handover, Inbox, ORDERS_WAITING_MAX};
use super::reports::Reports;
use crate::controller::Controller;
use crate::raft::Group;
use crate::raft::transport::Transport;

/// See the module.
pub(crate) struct Seat<T> {
    controller: Controller,
    broker_id: u32,
    group: Arc<Group>,
    reports: Reports,
    leading: Mutex<Option<Leading<T>>>,
}

struct Leading<T> {
    term: u64,
    items: mpsc::Sender<T>,
    orders: mpsc::Sender<Handover>,
}

impl<T> std::fmt::Debug for Seat<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Seat");
        shown
            .field("group", &self.group.id())
            .finish_non_exhaustive()
    }
}

impl<T> Seat<T> {
    pub(crate) fn new(hosting: &Hosting, group: Arc<Group>) -> Self {
        Self {
            controller: hosting.controller().clone(),
            broker_id: hosting.host().broker_id(),
            group,
            reports: hosting.reports().clone(),
            leading: Mutex::new(None),
        }
    }

    pub(crate) fn group(&self) -> &Arc<Group> {
        &self.group
    }

    pub(crate) fn id(&self) -> GroupId {
        self.group.id()
    }

    pub(crate) fn broker_id(&self) -> u32 {
        self.broker_id
    }

    pub(crate) fn controller(&self) -> &Controller {
        &self.controller
    }

    pub(crate) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// The links to other brokers.
    pub(super) fn transport(&self) -> &Transport {
        self.controller.transport()
    }

    /// The wall clock, milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        self.controller.env().clock.now_ms()
    }

    /// Whether this replica may go on leading: one that was cut off for a session may not.
    pub(crate) fn may_lead(&self) -> bool {
        self.controller.may_lead(&self.group)
    }

    /// The term in which it leads and takes requests. `None` also for a leader that has been cut off
    /// for a session: somebody else may lead by now.
    pub(crate) fn leading_term(&self) -> Option<u64> {
        if !self.may_lead() {
            return None;
        }
        let term = self.leading.lock().as_ref().map(|leading| leading.term)?;
        (self.group.leading_term() == Some(term)).then_some(term)
    }

    /// The way to the session, if there is one.
    pub(crate) fn items(&self) -> Option<mpsc::Sender<T>> {
        let leading = self.leading.lock();
        leading.as_ref().map(|leading| leading.items.clone())
    }

    /// The way to the session of a term, for a handover.
    pub(super) fn orders_of(&self, term: u64) -> Option<mpsc::Sender<Handover>> {
        let leading = self.leading.lock();
        let leading = leading.as_ref().filter(|leading| leading.term == term);
        leading.map(|leading| leading.orders.clone())
    }

    /// Takes the seat for a term, and reports it; what comes to the session comes out of the inbox.
    /// `None` when this replica does not lead in that term, or has the seat already: then only the
    /// report is repeated, where `known_leader`, the image's, is somebody else.
    pub(crate) fn take(
        &self,
        term: u64,
        items_waiting_max: usize,
        known_leader: Option<u32>,
    ) -> Option<Inbox<T>> {
        if self.group.leading_term() != Some(term) {
            return None;
        }
        let (items, items_end) = mpsc::channel(items_waiting_max);
        let (orders, orders_end) = mpsc::channel(ORDERS_WAITING_MAX);
        {
            let mut leading = self.leading.lock();
            if leading.as_ref().is_some_and(|known| known.term >= term) {
                drop(leading);
                self.repeat_report(known_leader);
                return None;
            }
            *leading = Some(Leading {
                term,
                items,
                orders,
            });
        }
        self.reports.leading(self.id(), term);
        tracing::info!(raft_group = self.id().0, term, "leading");
        Some(Inbox {
            items: items_end,
            orders: orders_end,
        })
    }

    /// Leaves the seat: the term is over.
    fn leave(&self, term: u64) {
        let mut leading = self.leading.lock();
        if leading.as_ref().is_some_and(|known| known.term == term) {
            *leading = None;
        }
        drop(leading);
        self.controller.note_stepped_down(self.id());
    }

    /// Tells the metadata group again that this replica leads, where the image does not say so.
    pub(crate) fn repeat_report(&self, known_leader: Option<u32>) {
        let Some(term) = self.leading_term() else {
            return;
        };
        if known_leader != Some(self.broker_id) {
            self.reports.leading(self.id(), term);
        }
    }

    /// The next moments belong to whoever takes over: that this replica does not lead is no news.
    pub(super) fn note_handed_over(&self) {
        self.controller.note_handed_over(self.id());
    }

    /// Takes nothing any more, for good: the replica is being removed.
    pub(crate) fn stop(&self) {
        *self.leading.lock() = None;
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The replica is going away.
    Closed,
    /// The term is over.
    TermOver,
    /// A proposal was refused although the term may go on.
    Refused,
}

/// Runs sessions, one after the other, as long as a term lasts.
pub(crate) async fn lead<T>(
    seat: &Seat<T>,
    term: u64,
    mut inbox: Inbox<T>,
    mut run: impl FnMut(Inbox<T>) -> BoxFuture<'static, (Ended, Inbox<T>)>,
) {
    while seat.group.leading_term() == Some(term) {
        let (ended, returned) = run(inbox).await;
        tracing::info!(raft_group = seat.id().0, term, ?ended, "session ended");
        inbox = returned;
        if ended == Ended::Closed {
            break;
        }
    }
    seat.leave(term);
}
