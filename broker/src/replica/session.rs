//! One term of leadership of one partition: takes appends, decides them against the pending
//! overlay, coalesces them into entries, and answers each at the point its `acks` asks for
//! (ARCHITECTURE.md, "Decide before proposing", "Acks and in-sync replicas").
//!
//! Does not know topics, clients or fetches. Ends with its term, or when openraft refuses a
//! proposal: then everything outstanding is waited for and the next session stamps anew.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use raftmq_core::ids::{BrokerId, LogIndex, Offset, Term};
use raftmq_core::partition::{self, AppendBuilder, Decision, Pending};
use raftmq_store::LogId;
use tokio::sync::watch;
use tokio::time::Instant;

use super::append::{Acks, Append};
use super::binding::HostedPartition;
use super::error::ReplicaError;
use super::settle::{Answer, Settling, too_few};
use super::stages::Stages;
use super::view::PartitionView;
use crate::env::Env;
use crate::hosting::{Ended, Handover, InSync, Inbox, Reports};
use crate::planted::{self, Bug};
use crate::raft::group::{Proposal, outcome};
use crate::raft::machine::put_envelope;
use crate::raft::status::DataMetrics;
use crate::raft::{Group, ProposeError, Reply};

/// Payload at which an entry is closed.
const ENTRY_BYTES_TARGET: usize = 1 << 20;
/// Payload that is worth another entry while others are in flight.
const ENTRY_BYTES_WORTH_PIPELINING: usize = 256 << 10;
/// Entries of one partition in flight.
const ENTRIES_IN_FLIGHT_MAX: usize = 4;
/// Appends waiting for one partition; their bytes are bounded by the broker's budget.
pub(super) const APPENDS_WAITING_MAX: usize = 1_024;
/// How often lagging in-sync replicas are looked for while somebody waits for them.
const ISR_TICK: Duration = Duration::from_millis(250);

/// What a session works with.
pub(super) struct Context {
    pub env: Env,
    pub broker_id: u32,
    pub group: Arc<Group>,
    pub machine: Arc<HostedPartition>,
    pub view: watch::Receiver<Arc<PartitionView>>,
    pub reports: Reports,
    pub term: u64,
}

struct InFlight {
    proposal: Proposal,
    proposed_at: Instant,
    entry: Entry,
}

/// The appends that share one entry.
struct Entry {
    answers: Vec<Answer>,
    log_append_time_ms: Option<i64>,
    end_offset: Offset,
}

pub(super) struct Session {
    context: Context,
    inbox: Inbox<Append>,
    waiting: VecDeque<Append>,
    waiting_bytes: usize,
    pending: Pending,
    in_flight: VecDeque<InFlight>,
    settling: Settling,
    stages: Stages,
    in_sync: InSync,
    /// While there is one, nothing is proposed.
    handover: Option<Handover>,
    /// Why no records are taken, while disks are full.
    full: Option<ReplicaError>,
    refused_full: metrics::Counter,
}

impl Session {
    pub(super) fn new(context: Context, inbox: Inbox<Append>) -> Self {
        let view = context.view.borrow().clone();
        let pending = Pending::new(&context.machine.read());
        let settling = Settling::new(&context.group);
        let (lag_ms, term_start) = (view.settings.lag_time_max_ms, settling.term_start());
        let in_sync = InSync::new(context.broker_id, &view.group, lag_ms, term_start);
        Self {
            context,
            inbox,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            pending,
            in_flight: VecDeque::new(),
            settling,
            stages: Stages::new(),
            in_sync,
            handover: None,
            full: None,
            refused_full: metrics::counter!("raftmq_partition_refused_full_total"),
        }
    }

    /// Runs until the term is over. Gives the inbox back for the next session.
    pub(super) async fn run(mut self) -> (Ended, Inbox<Append>) {
        let raft = self.context.group.raft().clone();
        let mut server = raft.server_metrics();
        let mut data = raft.data_metrics();
        let mut flushed = raft.watch_log_progress();
        let mut view = self.context.view.clone();
        view.mark_changed();
        let mut tick = tokio::time::interval(ISR_TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let ended = loop {
            self.propose_what_waits().await;
            let watches = self.watches_replicas();
            let has_room = self.waiting_bytes < ENTRY_BYTES_TARGET;
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
                append = self.inbox.items.recv(), if has_room => match append {
                    Some(append) => self.take(append),
                    None => break Ended::Closed,
                },
                _ = tick.tick(), if watches => self.in_sync.tick(),
            }
            if watches || self.watches_replicas() {
                let own = flushed.get().and_then(|point| point.last_log_id);
                self.observe_replicas(&data, own).await;
            }
            self.look_at_handover();
        };
        self.fail_everything(ended).await;
        (ended, self.inbox)
    }

    /// Nothing proposed may be outstanding when another replica takes over: it would have to be
    /// answered by somebody who does not know what became of it.
    fn look_at_handover(&mut self) {
        if self.in_flight.is_empty()
            && self.settling.is_empty()
            && let Some(handover) = &mut self.handover
        {
            let applied = self.context.machine.read().applied();
            handover.look(&self.context.group, applied.get());
        }
    }

    /// Followers only matter while somebody waits for them or one of them is out of sync.
    fn watches_replicas(&self) -> bool {
        let is_complete = self.in_sync.is_complete(&self.context.view.borrow().group);
        !is_complete
            || !self.in_flight.is_empty()
            || !self.settling.is_empty()
            || self.handover.is_some()
    }

    fn take(&mut self, append: Append) {
        self.waiting_bytes += append.batch.len();
        self.waiting.push_back(append);
        // Whatever else has come in meanwhile rides along.
        while self.waiting_bytes < ENTRY_BYTES_TARGET {
            let Ok(append) = self.inbox.items.try_recv() else {
                return;
            };
            self.waiting_bytes += append.batch.len();
            self.waiting.push_back(append);
        }
    }

    /// Whether what waits is to be proposed now, not with more that comes meanwhile.
    fn is_worth_an_entry(&self) -> bool {
        let has_turn = self.in_flight.is_empty()
            || (self.in_flight.len() < ENTRIES_IN_FLIGHT_MAX
                && self.waiting_bytes >= ENTRY_BYTES_WORTH_PIPELINING);
        has_turn && self.handover.is_none()
    }

    async fn propose_what_waits(&mut self) {
        while self.is_worth_an_entry()
            && let Some(oldest) = self.waiting.front()
        {
            let (came_at, begun_at) = (oldest.came_at, Instant::now());
            let Some((command, entry)) = self.build_entry() else {
                continue;
            };
            let payload = command.clone();
            match self.context.group.propose(self.context.term, command).await {
                Ok(proposal) => {
                    let proposed_at = self.stages.proposed(came_at, begun_at);
                    self.settling.proposed(payload);
                    let mut entry = entry;
                    if planted::is_planted(Bug::AckBeforeCommit) {
                        let stamp = entry.log_append_time_ms;
                        entry
                            .answers
                            .drain(..)
                            .for_each(|answer| answer.succeed(stamp));
                    }
                    self.in_flight.push_back(InFlight {
                        proposal,
                        proposed_at,
                        entry,
                    });
                }
                Err(_stopped) => fail_all(entry.answers, &self.not_leader(None)),
            }
        }
    }

    /// Decides waiting appends and builds one entry of those that are to be written. `None` when
    /// none of them is.
    fn build_entry(&mut self) -> Option<(Bytes, Entry)> {
        let (term, settings) = (self.context.term, self.context.view.borrow().settings);
        let now_ms = self.context.env.clock.now_ms();
        let log_append_time_ms = settings.is_log_append_time.then_some(now_ms);
        let base_offset = self.pending.log_end();
        let mut prefix = BytesMut::new();
        put_envelope(&mut prefix, now_ms);
        let mut builder = AppendBuilder::with_prefix(
            &prefix,
            Term(term),
            base_offset,
            settings.segment_bytes,
            self.waiting_bytes,
        );
        let mut answers = Vec::new();
        let machine = self.context.machine.clone();
        let state = machine.read();
        self.pending.settle(&state);
        while builder.batches_bytes() < ENTRY_BYTES_TARGET {
            let Some(append) = self.waiting.pop_front() else {
                break;
            };
            self.waiting_bytes -= append.batch.len();
            if let Some(error) = self.refusal(append.acks) {
                Answer::new(append.acks, append.reply, append.permit).fail(error);
                continue;
            }
            let decision = state.decide(&self.pending, &append.header);
            let mut answer = Answer::new(append.acks, append.reply, append.permit);
            match decision {
                Ok(Decision::Append { base_offset }) => {
                    self.pending.record(&state, &append.header, base_offset);
                    builder.push(&append.batch, base_offset, log_append_time_ms);
                    answer.base_offset = base_offset;
                    answers.push(answer);
                }
                Ok(Decision::Duplicate {
                    base_offset,
                    log_append_time_ms,
                }) => {
                    answer.base_offset = base_offset;
                    answer.is_duplicate = true;
                    let applied = state.applied();
                    self.settling
                        .committed(applied, log_append_time_ms, vec![answer], None);
                }
                Ok(Decision::DuplicateInFlight { base_offset }) => {
                    answer.base_offset = base_offset;
                    answer.is_duplicate = true;
                    join_original(&mut self.in_flight, &mut answers, answer);
                }
                Err(error) => answer.fail(error.into()),
            }
        }
        drop(state);
        if builder.is_empty() {
            // Duplicates of what is in flight found their original there; none is left over.
            return None;
        }
        let end_offset = self.pending.log_end();
        Some((
            builder.finish(),
            Entry {
                answers,
                log_append_time_ms,
                end_offset,
            },
        ))
    }

    /// Why nothing may be written now.
    fn refusal(&self, acks: Acks) -> Option<ReplicaError> {
        if self.full.is_some() {
            self.refused_full.increment(1);
            return self.full.clone();
        }
        let too_few_for = |error| (acks == Acks::All).then(|| too_few(&error));
        self.in_sync
            .tracker()
            .check_before_write()
            .err()
            .and_then(too_few_for)
    }

    /// Takes the outcome of the oldest entry in flight. False: the session must end.
    fn settle_front(&mut self, result: Result<(u64, Reply), ProposeError>) -> bool {
        let Some(in_flight) = self.in_flight.pop_front() else {
            return true;
        };
        let entry = in_flight.entry;
        match result {
            Ok((log_index, Reply::Partition(partition::Reply::Appended { .. }))) => {
                self.settling.applied(log_index);
                self.in_sync.observe_leader_last(log_index);
                let (log_index, stamp) = (LogIndex(log_index), entry.log_append_time_ms);
                let committed_at = self.stages.committed(in_flight.proposed_at);
                self.settling
                    .committed(log_index, stamp, entry.answers, Some(committed_at));
                true
            }
            Ok(_void) => {
                fail_all(entry.answers, &ReplicaError::Void);
                false
            }
            Err(ProposeError::NotLeader { leader }) => {
                fail_all(entry.answers, &self.not_leader(leader));
                false
            }
            Err(ProposeError::Stopped) => {
                fail_all(entry.answers, &self.not_leader(None));
                false
            }
        }
    }

    /// Answers `acks=1` for entries that are on this broker's disk.
    async fn answer_leader_flushed(&mut self, flushed: u64) {
        let waits = |answer: &Answer| answer.acks() == Acks::Leader;
        if !self
            .in_flight
            .iter()
            .any(|in_flight| in_flight.entry.answers.iter().any(waits))
        {
            return;
        }
        let count = self
            .settling
            .flushed_ahead(&self.context.group, flushed)
            .await;
        for in_flight in self.in_flight.iter_mut().take(count) {
            let stamp = in_flight.entry.log_append_time_ms;
            let answers = std::mem::take(&mut in_flight.entry.answers);
            let (now, later): (Vec<_>, Vec<_>) = answers.into_iter().partition(waits);
            in_flight.entry.answers = later;
            now.into_iter().for_each(|answer| answer.succeed(stamp));
        }
    }

    async fn observe_replicas(&mut self, data: &DataMetrics, own: Option<LogId>) {
        self.in_sync.observe(&self.context.group, data, own);
        if let Some(own) = own {
            self.answer_leader_flushed(own.index).await;
        }
        self.settling
            .answer_in_sync(self.in_sync.tracker(), &self.stages);
        let Context { reports, group, .. } = &self.context;
        self.in_sync.report(reports, group, self.context.term);
    }

    fn follow_view(&mut self, view: &PartitionView) {
        let settings = view.settings;
        let (min_insync, lag_ms) = (settings.min_insync_replicas, settings.lag_time_max_ms);
        self.in_sync.follow(&view.group, min_insync, lag_ms);
        self.full = view.full_for(BrokerId(self.context.broker_id));
    }

    fn not_leader(&self, leader: Option<u32>) -> ReplicaError {
        let view = self.context.view.borrow();
        ReplicaError::NotLeader {
            topic: view.topic.clone(),
            partition: view.partition,
            this_broker: self.context.broker_id,
            leader: leader.filter(|id| *id != self.context.broker_id),
        }
    }

    /// Waits for what openraft still has, then answers everybody.
    async fn fail_everything(&mut self, ended: Ended) {
        while !self.in_flight.is_empty() {
            let outcome = next_outcome(&mut self.in_flight).await;
            self.settle_front(outcome);
        }
        let error = match ended {
            Ended::TermOver => self.not_leader(self.context.group.leader()),
            Ended::Refused | Ended::Closed => self.not_leader(None),
        };
        let forgets = planted::is_planted(Bug::HandoverAnswersWaiting) && self.handover.is_some();
        for append in self.waiting.drain(..) {
            let answer = Answer::new(append.acks, append.reply, append.permit);
            if forgets {
                answer.succeed(None);
            } else {
                answer.fail(error.clone());
            }
        }
        self.settling.fail(&error);
    }
}

async fn next_outcome(in_flight: &mut VecDeque<InFlight>) -> Result<(u64, Reply), ProposeError> {
    let Some(front) = in_flight.front_mut() else {
        return std::future::pending().await;
    };
    outcome((&mut front.proposal).await)
}

fn fail_all(answers: Vec<Answer>, error: &ReplicaError) {
    answers
        .into_iter()
        .for_each(|answer| answer.fail(error.clone()));
}

fn join_original(in_flight: &mut VecDeque<InFlight>, building: &mut Vec<Answer>, answer: Answer) {
    let holds = |in_flight: &&mut InFlight| answer.base_offset < in_flight.entry.end_offset;
    let original = in_flight.iter_mut().find(holds);
    match original {
        Some(in_flight) => in_flight.entry.answers.push(answer),
        None => building.push(answer),
    }
}
