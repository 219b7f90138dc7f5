//! A leader on its way out: its session proposes nothing more, what is waiting waits, until another
//! replica leads or the time for that is over.
//!
//! The session decides when nothing of its own is outstanding; the replica talks to the one that
//! takes over. Who that is, and why, is the controller's matter.

use std::convert::Infallible;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use raftmq_store::GroupId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::seat::Seat;
use crate::raft::handover::ready_for;
use crate::raft::serve::{GroupState, decode_group_states, encode_groups};
use crate::raft::transport::{Lane, Method};
use crate::raft::{Group, HandOver, Ready};

/// Longest time that a session holds what comes in back for a handover; then it goes on as before.
const HANDOVER_WITHIN: Duration = Duration::from_millis(1_000);
/// Time in which whoever is to take over must say that it is there.
const TAKER_ANSWERS_WITHIN: Duration = Duration::from_millis(300);
/// Orders that may wait for a session; there is one at a time.
pub(super) const ORDERS_WAITING_MAX: usize = 1;

/// What comes to a session from outside.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    /// What is to be written.
    pub items: mpsc::Receiver<T>,
    /// Handovers to be prepared.
    pub orders: mpsc::Receiver<Handover>,
}

/// A handover as the session sees it.
#[derive(Debug)]
pub(crate) struct Handover {
    to: u32,
    until: Instant,
    /// Taken when told.
    ready: Option<oneshot::Sender<Ready>>,
    /// Closed when whoever ordered it has given up.
    given_up: oneshot::Receiver<Infallible>,
}

impl Handover {
    /// Tells that the other replica may take over, once it has the whole log. Only to be asked
    /// when nothing of the session's own is outstanding.
    pub(crate) fn look(&mut self, group: &Group, applied: u64) {
        if self.ready.is_none() {
            return;
        }
        let ready = ready_for(group, self.to, applied);
        if let Some(ready) = ready
            && let Some(teller) = self.ready.take()
        {
            let _ = teller.send(ready);
        }
    }

    /// Waits for its end, if there is one: too much time has passed, or it was given up. Cancel
    /// safe.
    pub(crate) async fn ended(handover: &mut Option<Self>) {
        let Some(handover) = handover else {
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            _ = &mut handover.given_up => {}
            () = sleep_until(handover.until) => {}
        }
    }
}

impl<T> Seat<T> {
    /// Hands the leadership over as ordered, and waits until it is gone or that has failed; then
    /// this replica leads on. Nothing that was proposed is lost either way.
    ///
    /// # Errors
    ///
    /// In words, why this replica leads on.
    pub(crate) async fn hand_over(&self, order: HandOver) -> Result<(), String> {
        let HandOver { term, to, .. } = order;
        let orders = self.orders_of(term);
        let orders = orders.ok_or("this replica does not lead in that term")?;
        self.check_taker(term, to).await?;
        let until = Instant::now() + HANDOVER_WITHIN;
        let (teller, ready) = oneshot::channel();
        let (_hold, given_up) = oneshot::channel();
        let handover = Handover {
            to,
            until,
            ready: Some(teller),
            given_up,
        };
        let sent = orders.try_send(handover);
        sent.map_err(|_| "a handover is under way".to_owned())?;
        // An idle follower may not have heard of this leader since it started.
        let _ = self.group().raft().trigger().heartbeat().await;
        let ready = timeout_at(until, ready).await;
        let ready = ready.map_err(|_elapsed| "the other replica did not catch up".to_owned())?;
        let ready = ready.map_err(|_gone| "the session has ended".to_owned())?;
        self.note_handed_over();
        self.let_take(to, ready, until).await?;
        let left = self.wait_until_led_by_another(term);
        let left = timeout_at(until, left).await;
        left.map_err(|_elapsed| "the other replica did not win".to_owned())
    }

    /// Asks the other replica whether it is there and follows: nothing is held back for one that is
    /// out of reach.
    async fn check_taker(&self, term: u64, to: u32) -> Result<(), String> {
        let (group, method) = (GroupId(0), Method::GroupStates);
        let body = encode_groups(&[self.id()]);
        let call = self
            .transport()
            .call(to, Lane::Control, group, method, body);
        let answer = timeout(TAKER_ANSWERS_WITHIN, call).await;
        let answer = answer.map_err(|_elapsed| "the other replica is silent".to_owned())?;
        let answer = answer.map_err(|error| error.to_string())?;
        let states = decode_group_states(answer).map_err(|error| error.to_string())?;
        let follows = |state: &GroupState| {
            state.group == self.id() && state.vote.leader_id.term == term && !state.is_recovering
        };
        let is_fit = states.first().is_some_and(follows);
        is_fit
            .then_some(())
            .ok_or_else(|| "the other replica does not follow this one".to_owned())
    }

    async fn let_take(&self, to: u32, ready: Ready, until: Instant) -> Result<(), String> {
        let (group, method): (GroupId, Method) = (self.id(), Method::TakeLeadership);
        let transport = self.transport();
        let call = transport.call(to, Lane::Control, group, method, ready.encode());
        let answer = timeout_at(until, call).await;
        let answer = answer.map_err(|_elapsed| "the other replica did not answer".to_owned())?;
        answer.map(drop).map_err(|error| error.to_string())
    }

    async fn wait_until_led_by_another(&self, term: u64) {
        let mut server = self.group().raft().server_metrics();
        while self.group().leading_term() == Some(term) {
            if server.changed().await.is_err() {
                return;
            }
        }
    }
}
