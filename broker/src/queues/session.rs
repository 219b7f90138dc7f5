//! One term of leadership of one queue: takes what brokers submit, decides publishes against the
//! pending overlay, puts what waits into one entry, and answers once that is applied and every in-sync
//! replica has it (ARCHITECTURE.md, "Decide before proposing", "Queues").
//!
//! Also proposes what the queue itself needs: settings, ticks, and the end of channels whose broker is
//! gone. Does not know where answers and deliveries go. Ends with its term, or when openraft refuses a
//! proposal or takes none any more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use raftmq_core::ids::{BrokerId, LogIndex};
use raftmq_core::limits::APPEND_BYTES_MAX;
use raftmq_core::queue::link::Intake;
use raftmq_core::queue::{self, Command, Pending, Settings, Ticket};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Counts;
use super::answers::{Answering, Submitted};
use super::binding::HostedQueue;
use super::bodies::Bodies;
use super::deciding::Rules;
use super::submission::{NotDone, Submission};
use super::view::QueueView;
use super::waiting::{Content, ENTRY_BYTES_TARGET, Waiting};
use crate::env::Env;
use crate::hosting::{Ended, Handover, InSync, Inbox, Reports};
use crate::planted::{self, Bug};
use crate::raft::group::{Proposal, outcome};
use crate::raft::machine::put_envelope;
use crate::raft::{Group, ProposeError, Reply};

/// Payload that is worth another entry while others are in flight.
const ENTRY_BYTES_WORTH_PIPELINING: usize = 256 << 10;
/// Entries of one queue in flight.
const ENTRIES_IN_FLIGHT_MAX: usize = 4;
/// Submissions waiting for one queue; the brokers that send them bound their bytes.
pub(super) const SUBMISSIONS_WAITING_MAX: usize = 1_024;
/// How often lagging in-sync replicas are looked for while somebody waits for them.
const ISR_TICK: Duration = Duration::from_millis(250);
/// Longest time until the queue's next deadline is looked at again: wall clocks jump.
const DEADLINE_LOOK: Duration = Duration::from_secs(10);

/// What a session works with.
pub(super) struct Context {
    pub env: Env,
    pub broker_id: u32,
    pub group: Arc<Group>,
    pub machine: Arc<HostedQueue>,
    pub bodies: Arc<Bodies>,
    pub view: watch::Receiver<Arc<QueueView>>,
    pub reports: Reports,
    pub term: u64,
}

struct InFlight {
    proposal: Proposal,
    command: Arc<Command>,
    submitted: Vec<Submitted>,
    last_ticket: Option<Ticket>,
}

pub(super) struct Session {
    context: Context,
    inbox: Inbox<Submission>,
    intake: Intake,
    waiting: Waiting,
    /// What the queue itself asks for; goes before what waits.
    own: Vec<Command>,
    pending: Pending,
    in_flight: VecDeque<InFlight>,
    answering: Answering,
    in_sync: InSync,
    /// The settings that were proposed last.
    configured: Option<Settings>,
    /// New settings are proposed: messages wait until they are in force.
    is_configuring: bool,
    tick_at: Option<Instant>,
    /// While there is one, nothing is proposed.
    handover: Option<Handover>,
    /// Whose disks are full: no messages are taken.
    full: Option<Vec<u32>>,
}

impl Session {
    pub(super) fn new(context: Context, inbox: Inbox<Submission>) -> Self {
        let view = context.view.borrow().clone();
        let applied = {
            let raft = context.group.raft().metrics();
            let metrics = raft.borrow_watched();
            metrics.last_applied.map_or(0, |log_id| log_id.index)
        };
        let outgoing = context.machine.binding().outgoing().clone();
        let answering = Answering::new(context.bodies.clone(), outgoing);
        let lag_ms = view.lag_time_max_ms;
        let in_sync = InSync::new(context.broker_id, &view.group, lag_ms, applied);
        Self {
            context,
            inbox,
            intake: Intake::default(),
            waiting: Waiting::default(),
            own: Vec::new(),
            pending: Pending::new(),
            in_flight: VecDeque::new(),
            answering,
            in_sync,
            configured: None,
            is_configuring: false,
            tick_at: None,
            handover: None,
            full: None,
        }
    }

    /// Runs until the term is over. Gives the inbox back for the next session.
    pub(super) async fn run(mut self) -> (Ended, Inbox<Submission>) {
        let raft = self.context.group.raft().clone();
        let mut server = raft.server_metrics();
        let mut data = raft.data_metrics();
        let mut flushed = raft.watch_log_progress();
        let mut view = self.context.view.clone();
        view.mark_changed();
        let mut isr_tick = tokio::time::interval(ISR_TICK);
        isr_tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.look_at_deadline();
        let ended = loop {
            if let Some(ended) = self.propose_what_waits().await {
                break ended;
            }
            let watches = self.watches_replicas();
            let has_room = self.waiting.bytes() < ENTRY_BYTES_TARGET;
            let tick_at = self.tick_at;
            tokio::select! {
                biased;
                changed = server.changed() => {
                    // A group that is shut down may show itself as leading for ever.
                    if changed.is_err() {
                        break Ended::Closed;
                    }
                    let metrics = server.borrow_watched();
                    let leads = metrics.state == ServerState::Leader;
                    if !leads || metrics.vote.leader_id.term != self.context.term {
                        break Ended::TermOver;
                    }
                }
                result = next_outcome(&mut self.in_flight) => {
                    if !self.settle_front(result) {
                        break Ended::Refused;
                    }
                }
                _ = flushed.changed(), if watches => {}
                _ = data.changed(), if watches => {}
                changed = view.changed() => {
                    if changed.is_err() {
                        break Ended::Closed;
                    }
                    let now = view.borrow_and_update().clone();
                    self.follow_view(&now);
                }
                Some(order) = self.inbox.orders.recv(), if self.handover.is_none() => {
                    self.handover = Some(order);
                }
                () = Handover::ended(&mut self.handover) => self.handover = None,
                submission = self.inbox.items.recv(), if has_room => match submission {
                    Some(submission) => self.take(submission),
                    None => break Ended::Closed,
                },
                () = sleep_until_some(tick_at) => self.look_at_deadline(),
                _ = isr_tick.tick(), if watches => self.in_sync.tick(),
            }
            if watches || self.watches_replicas() {
                let own = flushed.get().and_then(|point| point.last_log_id);
                self.in_sync.observe(&self.context.group, &data, own);
                self.answering.answer_in_sync(self.in_sync.tracker());
                let Context { reports, group, .. } = &self.context;
                self.in_sync.report(reports, group, self.context.term);
            }
            self.look_at_handover();
        };
        self.fail_everything().await;
        (ended, self.inbox)
    }

    /// Nothing proposed may be outstanding when another replica takes over.
    fn look_at_handover(&mut self) {
        if self.in_flight.is_empty()
            && self.answering.is_empty()
            && let Some(handover) = &mut self.handover
        {
            let raft = self.context.group.raft().metrics();
            let applied = raft.borrow_watched().last_applied;
            let applied = applied.map_or(0, |log_id| log_id.index);
            handover.look(&self.context.group, applied);
        }
    }

    /// Followers only matter while somebody waits for them or one of them is out of sync.
    fn watches_replicas(&self) -> bool {
        let is_complete = self.in_sync.is_complete(&self.context.view.borrow().group);
        !is_complete
            || !self.in_flight.is_empty()
            || !self.answering.is_empty()
            || self.handover.is_some()
    }

    fn take(&mut self, submission: Submission) {
        self.waiting.take(submission, &mut self.intake);
        // Whatever else has come in meanwhile rides along.
        while self.waiting.bytes() < ENTRY_BYTES_TARGET {
            let Ok(submission) = self.inbox.items.try_recv() else {
                return;
            };
            self.waiting.take(submission, &mut self.intake);
        }
    }

    /// Proposes as much as is worth it now. Says why the session must end, if it must: what is recorded as
    /// pending is not on its way then, and nobody may be answered by it.
    async fn propose_what_waits(&mut self) -> Option<Ended> {
        while (!self.waiting.is_empty() || !self.own.is_empty()) && self.handover.is_none() {
            let is_worth_it = self.in_flight.is_empty()
                || (!self.is_configuring
                    && self.in_flight.len() < ENTRIES_IN_FLIGHT_MAX
                    && self.waiting.bytes() >= ENTRY_BYTES_WORTH_PIPELINING);
            if !is_worth_it {
                return None;
            }
            let Some((bytes, mut entry)) = self.build_entry() else {
                continue;
            };
            let is_readable = bytes.len() <= APPEND_BYTES_MAX;
            let proposed = if is_readable {
                self.context.group.propose(self.context.term, bytes).await
            } else {
                // A bug: the bounds of what is taken add up to less. No replica could apply it, ever.
                tracing::error!(bytes = bytes.len(), "an entry is too large");
                Err(ProposeError::Stopped)
            };
            let Ok(proposal) = proposed else {
                let failed = entry.submitted.into_iter();
                failed.for_each(|submitted| submitted.fail(NotDone::NotTaken));
                let ended = if is_readable {
                    Ended::Closed
                } else {
                    Ended::Refused
                };
                return Some(ended);
            };
            if planted::is_planted(Bug::QueueConfirmBeforeCommit) {
                let all = std::mem::take(&mut entry.submitted).into_iter();
                entry.submitted = all.filter_map(Submitted::pretend).collect();
            }
            self.in_flight.push_back(InFlight {
                proposal,
                command: entry.command,
                submitted: entry.submitted,
                last_ticket: entry.last_ticket,
            });
        }
        None
    }

    /// Decides what waits, and builds one entry of what is to be written. `None` when nothing is.
    fn build_entry(&mut self) -> Option<(Bytes, Entry)> {
        let now_ms = self.context.env.clock.now_ms();
        let own = std::mem::take(&mut self.own);
        let view = self.context.view.borrow().clone();
        let content = if self.is_configuring {
            Content::only(own)
        } else {
            let state = self.context.machine.read();
            let rules = Rules {
                state: &state,
                view: &view,
                now_ms,
                full: self.full.as_deref(),
            };
            self.waiting.next_entry(own, &rules, &mut self.pending)
        };
        if content.commands.is_empty() {
            self.join_newest(content.submitted);
            return None;
        }
        let command = Command::Batch(content.commands);
        let mut prefix = BytesMut::new();
        put_envelope(&mut prefix, now_ms);
        let encoded = command.encode_behind(&prefix);
        let entry = Entry {
            command: Arc::new(command),
            submitted: content.submitted,
            last_ticket: content.last_ticket,
        };
        Some((encoded, entry))
    }

    /// What is decided without an entry is answered with the newest one in flight, which may hold the
    /// originals of duplicates, or as soon as everything applied is in sync.
    fn join_newest(&mut self, submitted: Vec<Submitted>) {
        match self.in_flight.back_mut() {
            Some(newest) => newest.submitted.extend(submitted),
            None => {
                let (applied, counts) = self.state_now();
                self.answering.applied(applied, submitted, &[], counts);
            }
        }
        self.answering.answer_in_sync(self.in_sync.tracker());
    }

    /// Takes the outcome of the oldest entry in flight. False: the session must end.
    fn settle_front(&mut self, result: Result<(u64, Reply), ProposeError>) -> bool {
        let Some(entry) = self.in_flight.pop_front() else {
            return true;
        };
        let Ok((log_index, Reply::Queue(queue::Reply::Batch(replies)))) = result else {
            let failed = entry.submitted.into_iter();
            failed.for_each(|submitted| submitted.fail(NotDone::Unknown));
            return false;
        };
        if let Some(ticket) = entry.last_ticket {
            self.pending.settle(ticket);
        }
        let view = self.context.view.borrow().clone();
        let is_late = entry.command.takers().any(|channel| view.is_over(channel));
        if !self.context.machine.binding().outgoing().is_empty() {
            self.context.bodies.keep(log_index, entry.command);
        }
        // Whatever was in flight with or before the settings is applied by now.
        self.is_configuring &= !(self.in_flight.is_empty() && self.own.is_empty());
        self.in_sync.observe_leader_last(log_index);
        let (at, (_, counts)) = (LogIndex(log_index), self.state_now());
        self.answering
            .applied(at, entry.submitted, &replies, counts);
        self.look_at_deadline();
        if is_late {
            // Its broker was fenced while it was in flight.
            self.close_gone(&view);
        }
        true
    }

    fn state_now(&self) -> (LogIndex, Counts) {
        let state = self.context.machine.read();
        let counts = Counts {
            ready: state.ready_count(),
            consumers: state.consumers_count() as u64,
        };
        (state.applied(), counts)
    }

    /// Sets the time of the queue's next tick, or proposes one if that has come.
    fn look_at_deadline(&mut self) {
        let (deadline_ms, replicated_ms) = {
            let state = self.context.machine.read();
            (state.next_deadline_ms(), state.now_ms())
        };
        self.tick_at = None;
        let Some(deadline_ms) = deadline_ms else {
            return;
        };
        let left = time_left(deadline_ms, replicated_ms, self.context.env.clock.now_ms());
        if !left.is_zero() {
            self.tick_at = Some(Instant::now() + left.min(DEADLINE_LOOK));
        } else if self.in_flight.is_empty() {
            self.own.push(Command::Tick);
        }
        // Else the entries under way do what is due; then it is looked at again.
    }

    fn follow_view(&mut self, view: &QueueView) {
        self.in_sync.follow(&view.group, 1, view.lag_time_max_ms);
        self.full = view.group.full_for(BrokerId(self.context.broker_id));
        let state = self.context.machine.read();
        if let Some(settings) = &view.settings {
            let known = self.configured.as_ref().unwrap_or_else(|| state.settings());
            if known != settings && state.ended().is_none() {
                self.own.push(Command::Configure(settings.clone()));
                self.is_configuring = true;
            }
            self.configured = Some(settings.clone());
        }
        drop(state);
        self.close_gone(view);
    }

    /// Closes the channels of registrations that are over, and takes nothing of these any more.
    fn close_gone(&mut self, view: &QueueView) {
        let gone = view.over(self.context.machine.read().channels());
        for (broker, broker_epoch) in gone {
            tracing::info!(
                raft_group = self.context.group.id().0,
                broker = broker.get(),
                broker_epoch = broker_epoch.get(),
                "channels of a broker that is gone are closed"
            );
            self.intake.close(broker, broker_epoch);
            self.own.push(Command::CloseBroker {
                broker,
                broker_epoch,
                attempt: queue::Attempt::CountsNot,
            });
        }
    }

    /// Waits for what openraft still has, then answers everybody.
    async fn fail_everything(&mut self) {
        while !self.in_flight.is_empty() {
            let outcome = next_outcome(&mut self.in_flight).await;
            self.settle_front(outcome);
        }
        self.waiting.clear();
        self.answering.fail();
    }
}

/// An entry that is to be proposed.
struct Entry {
    command: Arc<Command>,
    submitted: Vec<Submitted>,
    last_ticket: Option<Ticket>,
}

async fn next_outcome(in_flight: &mut VecDeque<InFlight>) -> Result<(u64, Reply), ProposeError> {
    let Some(front) = in_flight.front_mut() else {
        return std::future::pending().await;
    };
    outcome((&mut front.proposal).await)
}

async fn sleep_until_some(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// How long it is until a deadline; nothing when it has come. Deadlines are in replicated time, which a leader
/// whose clock was ahead may have left ahead of the wall clock.
fn time_left(deadline_ms: i64, replicated_ms: i64, wall_ms: i64) -> Duration {
    if deadline_ms <= replicated_ms {
        return Duration::ZERO;
    }
    let left_ms = deadline_ms.saturating_sub(wall_ms);
    Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_has_come_by_either_time() {
        let millis = Duration::from_millis;

        assert_eq!(time_left(100, 50, 60), millis(40));
        assert_eq!(time_left(100, 50, 100), Duration::ZERO);
        assert_eq!(time_left(100, 50, 900), Duration::ZERO);
        assert_eq!(time_left(100, 100, 60), Duration::ZERO, "work is left over");
        assert_eq!(time_left(100, 99, 60), millis(40), "the wall clock lags");
        assert_eq!(
            time_left(i64::MAX, 0, i64::MIN),
            millis(i64::MAX.unsigned_abs())
        );
    }
}
