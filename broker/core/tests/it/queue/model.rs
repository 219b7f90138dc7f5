//! A naive queue: everything in plain vectors, searched and sorted anew at each step.

use raftmq_core::queue::{
    AckMode, Arrival, Attach, Attempt, ChannelId, Command, DeadLetter, DeathReason, Delivery,
    EndReason, Message, MessageRef, Outcome, Overflow, Published, QueueEvent, Refusal, Reply,
    Settings, Span,
};
use raftmq_core::{ConsumerId, DeadLetterId, DeliveryId, LogIndex};

#[derive(Debug, Clone)]
pub(super) struct One {
    pub(super) at: MessageRef,
    size: u32,
    priority: u8,
    /// When it was first ready, among all.
    order: u64,
    expires_at_ms: Option<i64>,
    attempts: u32,
    was_delivered: bool,
}

#[derive(Debug, Clone)]
struct Late {
    due_ms: i64,
    at: MessageRef,
    message: Message,
}

#[derive(Debug, Clone)]
struct Held {
    delivery: Delivery,
    one: One,
    since_ms: i64,
}

#[derive(Debug, Clone)]
struct Taker {
    id: ConsumerId,
    attach: Attach,
    delivered: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    settings: Settings,
    now_ms: i64,
    entry: LogIndex,
    position: u32,
    order: u64,
    ready: Vec<One>,
    late: Vec<Late>,
    takers: Vec<Taker>,
    /// Those who can take a message, in the order in which they began to wait.
    line: Vec<ConsumerId>,
    last_taker: u64,
    held: Vec<Held>,
    last_delivery: u64,
    pub(super) letters: Vec<DeadLetter>,
    last_letter: u64,
    seen: Vec<(Vec<u8>, i64)>,
    last_used_ms: i64,
    pub(super) ended: Option<EndReason>,
    events: Vec<QueueEvent>,
}

impl Model {
    pub(super) fn apply(
        &mut self,
        log_index: u64,
        at_ms: i64,
        command: &Command,
    ) -> (Reply, Vec<QueueEvent>) {
        self.entry = LogIndex(log_index);
        self.position = 0;
        self.now_ms = self.now_ms.max(at_ms);
        self.let_time_pass();
        let reply = self.run(command);
        (reply, std::mem::take(&mut self.events))
    }

    pub(super) fn ready(&self) -> Vec<MessageRef> {
        self.ready.iter().map(|one| one.at).collect()
    }

    pub(super) fn deliveries(&self, channel: ChannelId) -> Vec<Delivery> {
        let held = self.held.iter().map(|held| held.delivery);
        held.filter(|one| one.channel == channel).collect()
    }

    pub(super) fn held_ids(&self) -> Vec<(ChannelId, DeliveryId)> {
        let held = self.held.iter().map(|held| held.delivery);
        held.map(|one| (one.channel, one.id)).collect()
    }

    pub(super) fn taker_ids(&self) -> Vec<ConsumerId> {
        self.takers.iter().map(|taker| taker.id).collect()
    }

    pub(super) fn late_count(&self) -> usize {
        self.late.len()
    }

    pub(super) fn seen_count(&self) -> usize {
        self.seen.len()
    }

    fn run(&mut self, command: &Command) -> Reply {
        if let Command::Batch(commands) = command {
            return Reply::Batch(commands.iter().map(|one| self.run(one)).collect());
        }
        let reply = if self.ended.is_some() {
            self.run_ended(command)
        } else {
            self.run_one(command)
        };
        self.deliver();
        reply
    }

    fn run_ended(&mut self, command: &Command) -> Reply {
        if matches!(
            command,
            Command::DeadLettersPublished(_)
                | Command::Tick
                | Command::Credit { .. }
                | Command::Detach { .. }
                | Command::CloseChannel { .. }
                | Command::CloseBroker { .. }
                | Command::Settle { .. }
        ) {
            return self.run_one(command);
        }
        Reply::Refused(Refusal::Gone)
    }

    fn run_one(&mut self, command: &Command) -> Reply {
        match command {
            Command::Publish(messages) => self.publish(messages),
            Command::Attach(attach) => self.attach(attach),
            Command::Credit {
                consumer,
                prefetch,
                granted,
            } => self.credit(*consumer, *prefetch, *granted),
            Command::Detach { consumer } => {
                let before = self.takers.len();
                self.takers.retain(|taker| taker.id != *consumer);
                self.look_who_waits();
                self.taker_left(before);
                Reply::Done
            }
            Command::CloseChannel { channel, attempt } => {
                self.close(|one| one == *channel, *attempt)
            }
            Command::CloseBroker {
                broker,
                broker_epoch,
                attempt,
            } => self.close(
                |one| one.broker == *broker && one.broker_epoch <= *broker_epoch,
                *attempt,
            ),
            Command::Settle {
                channel,
                spans,
                outcome,
            } => {
                let count = spans
                    .iter()
                    .map(|span| self.settle_span(*channel, *span, *outcome));
                Reply::Settled { count: count.sum() }
            }
            Command::Get { channel, ack_mode } => self.get(*channel, *ack_mode),
            Command::Purge => {
                let count = self.ready.len() as u64;
                self.ready.clear();
                Reply::Removed { count }
            }
            Command::Delete {
                if_unused,
                if_empty,
            } => self.delete(*if_unused, *if_empty),
            Command::Configure(settings) => {
                self.settings = settings.clone();
                if settings.dedup.is_none() {
                    self.seen.clear();
                }
                self.last_used_ms = self.now_ms;
                Reply::Done
            }
            Command::Touch => {
                self.last_used_ms = self.now_ms;
                Reply::Done
            }
            Command::DeadLettersPublished(ids) => {
                self.letters.retain(|letter| !ids.contains(&letter.id));
                Reply::Done
            }
            Command::Batch(_) | Command::Tick => Reply::Done,
        }
    }

    fn credit(&mut self, consumer: ConsumerId, prefetch: u32, granted: u64) -> Reply {
        for taker in self.takers.iter_mut().filter(|one| one.id == consumer) {
            taker.attach.prefetch = prefetch;
            taker.attach.granted = taker.attach.granted.max(granted);
        }
        self.look_who_waits();
        Reply::Done
    }

    fn settle_span(&mut self, channel: ChannelId, span: Span, outcome: Outcome) -> usize {
        let is_meant = |held: &Held| {
            let id = held.delivery.id;
            held.delivery.channel == channel && id >= span.first && id <= span.last
        };
        let mut count = 0;
        while let Some(at) = self.held.iter().position(is_meant) {
            let held = self.held.remove(at);
            self.look_who_waits();
            self.settle(held, outcome);
            count += 1;
        }
        count
    }

    fn get(&mut self, channel: ChannelId, ack_mode: AckMode) -> Reply {
        self.last_used_ms = self.now_ms;
        let one = self.take();
        let delivery = one.map(|one| self.assign(channel, None, ack_mode, one));
        Reply::Got {
            delivery,
            ready_count: self.ready.len() as u64,
        }
    }

    fn delete(&mut self, if_unused: bool, if_empty: bool) -> Reply {
        let consumers_count = self.takers.len();
        let count = self.ready.len() as u64;
        if if_unused && consumers_count > 0 {
            return Reply::Refused(Refusal::InUse { consumers_count });
        }
        if if_empty && count > 0 {
            return Reply::Refused(Refusal::NotEmpty { ready_count: count });
        }
        self.end(EndReason::Deleted);
        Reply::Removed { count }
    }

    fn publish(&mut self, messages: &[Message]) -> Reply {
        let mut published = Published {
            count: messages.len(),
            ..Published::default()
        };
        for (number, message) in messages.iter().enumerate() {
            let at = MessageRef {
                log_index: self.entry,
                position: self.position,
            };
            self.position += 1;
            if message.arrival == Arrival::DeadLetter {
                let one = self.one(at, message);
                self.die(&one, DeathReason::MaxLength);
                published.refused.push(number);
            } else if self.is_known(message) {
                published.duplicates.push(number);
            } else if message.delay_ms.is_some_and(|delay_ms| delay_ms > 0) {
                let delay_ms = i64::try_from(message.delay_ms.unwrap()).unwrap();
                self.late.push(Late {
                    due_ms: self.now_ms + delay_ms,
                    at,
                    message: message.clone(),
                });
            } else {
                let one = self.one(at, message);
                self.add(one);
            }
            self.deliver();
        }
        Reply::Published(published)
    }

    fn is_known(&mut self, message: &Message) -> bool {
        let (Some(id), Some(dedup)) = (&message.dedup_id, self.settings.dedup) else {
            return false;
        };
        self.forget_ids();
        if self.seen.iter().any(|(seen, _)| seen == id) {
            return true;
        }
        self.seen.push((id.to_vec(), self.now_ms));
        if self.seen.len() > dedup.ids_count_max as usize {
            self.seen.remove(0);
        }
        false
    }

    fn forget_ids(&mut self) {
        if let Some(dedup) = self.settings.dedup {
            let window_ms = i64::try_from(dedup.window_ms).unwrap();
            let now_ms = self.now_ms;
            self.seen.retain(|(_, at_ms)| now_ms - at_ms < window_ms);
        }
    }

    fn one(&mut self, at: MessageRef, message: &Message) -> One {
        let own = message.ttl_ms.into_iter();
        let ttl_ms = own.chain(self.settings.message_ttl_ms).min();
        self.order += 1;
        One {
            at,
            size: u32::try_from(message.body.len()).unwrap(),
            priority: message.priority.min(self.settings.priority_max),
            order: self.order,
            expires_at_ms: ttl_ms.map(|ms| self.now_ms + i64::try_from(ms).unwrap()),
            attempts: 0,
            was_delivered: false,
        }
    }

    fn add(&mut self, one: One) {
        self.ready.push(one);
        self.ready
            .sort_by_key(|one| (std::cmp::Reverse(one.priority), one.order));
    }

    fn attach(&mut self, attach: &Attach) -> Reply {
        let same = |taker: &&Taker| {
            taker.attach.channel == attach.channel && taker.attach.tag == attach.tag
        };
        if let Some(taker) = self.takers.iter().find(same) {
            return Reply::Attached { consumer: taker.id };
        }
        let has_exclusive = self.takers.iter().any(|taker| taker.attach.is_exclusive);
        if has_exclusive || (attach.is_exclusive && !self.takers.is_empty()) {
            return Reply::Refused(Refusal::ExclusiveConsumer);
        }
        self.last_taker += 1;
        let id = ConsumerId(self.last_taker);
        self.takers.push(Taker {
            id,
            attach: attach.clone(),
            delivered: 0,
        });
        self.look_who_waits();
        Reply::Attached { consumer: id }
    }

    fn held_by(&self, id: ConsumerId) -> usize {
        let mine = |held: &&Held| held.delivery.consumer == Some(id);
        self.held.iter().filter(mine).count()
    }

    fn can_take(&self, taker: &Taker) -> bool {
        let prefetch = taker.attach.prefetch as usize;
        (prefetch == 0 || self.held_by(taker.id) < prefetch)
            && taker.delivered < taker.attach.granted
    }

    fn look_who_waits(&mut self) {
        let able = self.takers.iter().filter(|taker| self.can_take(taker));
        let able: Vec<ConsumerId> = able.map(|taker| taker.id).collect();
        self.line.retain(|id| able.contains(id));
        let new = able.into_iter().filter(|id| !self.line.contains(id));
        let new: Vec<ConsumerId> = new.collect();
        self.line.extend(new);
    }

    fn whose_turn(&self) -> Option<ConsumerId> {
        let priority = |id: &ConsumerId| {
            let taker = self.takers.iter().find(|taker| taker.id == *id).unwrap();
            std::cmp::Reverse(taker.attach.priority)
        };
        if !self.settings.is_single_active_consumer {
            return self.line.iter().copied().min_by_key(priority);
        }
        let ids = self.takers.iter().map(|taker| taker.id);
        let active = ids.min_by_key(priority)?;
        let by_consumers = self
            .held
            .iter()
            .filter(|held| held.delivery.consumer.is_some());
        let nobody_else_holds = by_consumers.count() == self.held_by(active);
        (self.line.contains(&active) && nobody_else_holds).then_some(active)
    }

    fn deliver(&mut self) {
        while let Some(id) = self.whose_turn() {
            let Some(one) = self.take() else {
                break;
            };
            let taker = self.takers.iter_mut().find(|taker| taker.id == id).unwrap();
            taker.delivered += 1;
            let (channel, ack_mode) = (taker.attach.channel, taker.attach.ack_mode);
            let delivery = self.assign(channel, Some(id), ack_mode, one);
            self.events.push(QueueEvent::Delivered(delivery));
            self.line.retain(|other| *other != id);
            self.look_who_waits();
        }
        while self.settings.overflow == Overflow::DropHead && self.is_too_long() {
            let one = self.ready.remove(0);
            self.die(&one, DeathReason::MaxLength);
        }
    }

    fn is_too_long(&self) -> bool {
        let bytes = self.ready.iter().map(|one| u64::from(one.size)).sum();
        self.settings.is_over(self.ready.len() as u64, bytes)
    }

    fn take(&mut self) -> Option<One> {
        while !self.ready.is_empty() {
            let one = self.ready.remove(0);
            let is_over = one.expires_at_ms.is_some_and(|at_ms| at_ms <= self.now_ms);
            if !is_over || one.at.log_index == self.entry {
                return Some(one);
            }
            self.die(&one, DeathReason::Expired);
        }
        None
    }

    fn assign(
        &mut self,
        channel: ChannelId,
        consumer: Option<ConsumerId>,
        ack_mode: AckMode,
        mut one: One,
    ) -> Delivery {
        self.last_delivery += 1;
        let mut delivery = Delivery {
            id: DeliveryId(self.last_delivery),
            channel,
            consumer,
            message: one.at,
            size: one.size,
            attempts: one.attempts,
            is_redelivered: one.was_delivered,
            is_settled: false,
        };
        one.was_delivered = true;
        if ack_mode == AckMode::Automatic {
            delivery.is_settled = true;
            return delivery;
        }
        self.held.push(Held {
            delivery,
            one,
            since_ms: self.now_ms,
        });
        delivery
    }

    fn settle(&mut self, held: Held, outcome: Outcome) {
        let mut one = held.one;
        match outcome {
            Outcome::Acked => {}
            Outcome::Rejected => self.die(&one, DeathReason::Rejected),
            Outcome::Returned(attempt) => {
                let limit = self.settings.delivery_limit;
                if attempt == Attempt::Counts {
                    one.attempts += 1;
                    if limit.is_some_and(|limit| one.attempts > limit) {
                        self.die(&one, DeathReason::DeliveryLimit);
                        return;
                    }
                }
                self.add(one);
            }
        }
    }

    fn close(&mut self, is_closed: impl Fn(ChannelId) -> bool, attempt: Attempt) -> Reply {
        let before = self.takers.len();
        self.takers.retain(|taker| !is_closed(taker.attach.channel));
        let held = std::mem::take(&mut self.held);
        let (mut closed, kept): (Vec<Held>, Vec<Held>) = held
            .into_iter()
            .partition(|held| is_closed(held.delivery.channel));
        self.held = kept;
        self.look_who_waits();
        closed.sort_by_key(|held| (held.delivery.channel, held.delivery.id));
        let count = closed.len();
        for held in closed {
            self.settle(held, Outcome::Returned(attempt));
        }
        self.taker_left(before);
        Reply::Settled { count }
    }

    fn taker_left(&mut self, before: usize) {
        if before > 0 && self.takers.is_empty() {
            self.last_used_ms = self.now_ms;
            if self.settings.is_auto_delete {
                self.end(EndReason::Unused);
            }
        }
    }

    fn die(&mut self, one: &One, reason: DeathReason) {
        if !self.settings.has_dead_letters {
            self.events.push(QueueEvent::Dropped { reason });
            return;
        }
        let letter = DeadLetter {
            id: DeadLetterId(self.last_letter),
            message: one.at,
            size: one.size,
            reason,
            attempts: one.attempts,
        };
        self.last_letter += 1;
        self.letters.push(letter);
        self.events.push(QueueEvent::DeadLettered(letter));
    }

    fn end(&mut self, reason: EndReason) {
        self.ended = Some(reason);
        for taker in std::mem::take(&mut self.takers) {
            self.events.push(QueueEvent::ConsumerCancelled {
                channel: taker.attach.channel,
                consumer: taker.id,
            });
        }
        self.line.clear();
        self.ready.clear();
        self.late.clear();
        self.held.clear();
        self.seen.clear();
        self.events.push(QueueEvent::Ended { reason });
    }

    fn let_time_pass(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let ms = |ms: u64| i64::try_from(ms).unwrap();
        let unused_ms = self.now_ms - self.last_used_ms;
        let expires_ms = self.settings.expires_ms;
        if self.takers.is_empty() && expires_ms.is_some_and(|after| unused_ms >= ms(after)) {
            self.end(EndReason::Expired);
            return;
        }
        if let Some(timeout_ms) = self.settings.consumer_timeout_ms {
            let now_ms = self.now_ms;
            let is_over = |held: &Held| held.since_ms + ms(timeout_ms) <= now_ms;
            while let Some(at) = self.held.iter().position(is_over) {
                let held = self.held.remove(at);
                self.events.push(QueueEvent::TakenBack {
                    channel: held.delivery.channel,
                    delivery: held.delivery.id,
                });
                self.look_who_waits();
                self.settle(held, Outcome::Returned(Attempt::CountsNot));
            }
        }
        self.late.sort_by_key(|late| (late.due_ms, late.at));
        while self
            .late
            .first()
            .is_some_and(|late| late.due_ms <= self.now_ms)
        {
            let late = self.late.remove(0);
            let one = self.one(late.at, &late.message);
            self.add(one);
            self.deliver();
        }
        while let Some(one) = self.ready.first() {
            if one.expires_at_ms.is_none_or(|at_ms| at_ms > self.now_ms) {
                break;
            }
            let one = self.ready.remove(0);
            self.die(&one, DeathReason::Expired);
        }
        self.forget_ids();
    }
}
