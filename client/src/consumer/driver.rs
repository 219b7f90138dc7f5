//! The consumer's one task: asks leaders for records and queues what comes.
//!
//! Owns the fetch streams and every partition's fetch offset. Reading what was fetched is the
//! consumer's business (`mod.rs`, `decode.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use raftmq_proto::v1::{ErrorCode, FetchResponse, FetchResult};
use raftmq_records::batches;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Core;
use super::buffer::{Chunk, Item};
use super::builder::OutOfRange;
use super::fetcher::{Asked, FetchEvent, Fetcher};
use super::position::{Need, Position};
use crate::admin::{ListedOffset, OffsetAt, query_leader};
use crate::error::{Error, Result};
use crate::limits::{EVENTS_MAX, REDIRECTS_AT_ONCE_MAX, REFUSED_METADATA_FAILURES};
use crate::metadata::follows_hint;

/// Results of the driver's own calls.
#[derive(Debug)]
pub(super) enum CallEvent {
    Metadata(Result<()>),
    Offsets(Vec<Asked>, Result<Vec<Result<ListedOffset>>>),
}

/// The task's state.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(super) core: Arc<Core>,
    pub(super) positions: Vec<Position>,
    pub(super) fetchers: BTreeMap<Arc<str>, Fetcher>,
    pub(super) next_id: u64,
    pub(super) tasks: JoinSet<()>,
    pub(super) fetch_events: mpsc::Sender<(u64, Arc<str>, FetchEvent)>,
    call_events: mpsc::Sender<CallEvent>,
    is_refreshing: bool,
    /// Which partition comes first in the next request.
    pub(super) first_slot: usize,
}

#[derive(Debug)]
struct Inbox {
    fetches: mpsc::Receiver<(u64, Arc<str>, FetchEvent)>,
    calls: mpsc::Receiver<CallEvent>,
}

/// Runs a consumer until it is dropped.
pub(crate) async fn run(core: Arc<Core>, dropped: CancellationToken) {
    let (fetch_events, fetches) = mpsc::channel(EVENTS_MAX);
    let (call_events, calls) = mpsc::channel(EVENTS_MAX);
    let mut inbox = Inbox { fetches, calls };
    let partitions = core.partitions.iter();
    let positions = partitions.map(|(topic, number)| Position::new(Arc::clone(topic), *number));
    let mut driver = Driver {
        positions: positions.collect(),
        core,
        fetchers: BTreeMap::new(),
        next_id: 0,
        tasks: JoinSet::new(),
        fetch_events,
        call_events,
        is_refreshing: false,
        first_slot: 0,
    };
    while driver.step(&mut inbox, &dropped).await {}
}

impl Driver {
    async fn step(&mut self, inbox: &mut Inbox, dropped: &CancellationToken) -> bool {
        let wake_at = self.dispatch();
        let news = Arc::clone(&self.core.buffer.news);
        tokio::select! {
            biased;
            () = dropped.cancelled() => return false,
            Some((id, endpoint, event)) = inbox.fetches.recv() => {
                self.on_fetch(id, &endpoint, event);
            }
            Some(event) = inbox.calls.recv() => self.on_call(event),
            () = news.notified() => {}
            () = tokio::time::sleep_until(wake_at) => {}
            Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
        }
        true
    }

    fn on_fetch(&mut self, id: u64, endpoint: &Arc<str>, event: FetchEvent) {
        let is_current = self
            .fetchers
            .get(endpoint)
            .is_some_and(|fetcher| fetcher.id == id);
        if !is_current {
            return;
        }
        match event {
            FetchEvent::Response(response) => self.on_response(endpoint, response),
            FetchEvent::Broken(error) => self.give_up_fetcher(endpoint, &error),
        }
    }

    /// Closes a stream; what it was asked for is asked again after a pause.
    pub(super) fn give_up_fetcher(&mut self, endpoint: &Arc<str>, error: &Error) {
        let Some(mut fetcher) = self.fetchers.remove(endpoint) else {
            return;
        };
        tracing::debug!(endpoint = &**endpoint, %error, "fetch stream given up");
        for asked in fetcher.open.take().into_iter().flat_map(|open| open.asked) {
            self.fail(asked, error.clone());
        }
        self.refresh_metadata();
    }

    fn on_response(&mut self, endpoint: &Arc<str>, response: FetchResponse) {
        let open = self
            .fetchers
            .get_mut(endpoint)
            .and_then(|fetcher| fetcher.open.take());
        let Some(open) = open else {
            return;
        };
        let is_fitting = response.correlation_id == open.correlation_id
            && response.results.len() == open.asked.len();
        if !is_fitting {
            let error = Error::ConnectionLost {
                endpoint: endpoint.to_string(),
                reason: format!(
                    "answer {} with {} results to request {} for {} partitions",
                    response.correlation_id,
                    response.results.len(),
                    open.correlation_id,
                    open.asked.len()
                ),
            };
            if let Some(fetcher) = self.fetchers.get_mut(endpoint) {
                fetcher.open = Some(open);
            }
            self.give_up_fetcher(endpoint, &error);
            return;
        }
        for (asked, result) in open.asked.into_iter().zip(response.results) {
            self.on_result(asked, result);
        }
    }

    fn on_result(&mut self, asked: Asked, result: FetchResult) {
        let Some(position) = self.positions.get_mut(asked.slot) else {
            return;
        };
        if position.generation != asked.generation {
            return;
        }
        if let Some(error) = result.error {
            self.fail(asked, error.into());
            return;
        }
        if !position.accept_epoch(result.leader_epoch) {
            let stale = raftmq_proto::v1::Error::unavailable("an older leader answered");
            self.fail(asked, stale.into());
            return;
        }
        position.succeed();
        self.core
            .buffer
            .set_high_watermark(asked.slot, result.high_watermark);
        if result.record_batches.is_empty() {
            return;
        }
        let chunk = Chunk {
            slot: asked.slot,
            from_offset: asked.offset,
            next_offset: asked.offset,
            bytes: result.record_batches,
        };
        self.queue(asked, chunk);
    }

    /// Queues fetched batches and moves the fetch offset behind them.
    fn queue(&mut self, asked: Asked, mut chunk: Chunk) {
        let Some(position) = self.positions.get_mut(asked.slot) else {
            return;
        };
        let mut damage = None;
        for batch in batches(&chunk.bytes) {
            match batch {
                Ok((header, _)) => chunk.next_offset = chunk.next_offset.max(header.next_offset()),
                Err(error) => damage = Some(error),
            }
        }
        if let Some(reason) = damage {
            let error = Error::Corrupt {
                topic: position.topic.to_string(),
                partition: position.partition,
                offset: asked.offset,
                reason,
            };
            self.stop(asked, error);
            return;
        }
        if chunk.next_offset <= asked.offset {
            let error = Error::Protocol {
                endpoint: "leader".to_owned(),
                reason: format!("batches below the fetch offset {}", asked.offset),
            };
            self.stop(asked, error);
            return;
        }
        position.need = Need::Records(chunk.next_offset);
        self.core
            .buffer
            .push(asked.slot, asked.generation, Item::Records(chunk));
    }

    /// Acts on the failure of one partition: another leader, another offset, a pause, or the end.
    fn fail(&mut self, asked: Asked, error: Error) {
        let Some(position) = self.positions.get_mut(asked.slot) else {
            return;
        };
        if position.generation != asked.generation {
            return;
        }
        if let Need::LookingUp(at) = position.need {
            position.need = Need::Lookup(at);
        }
        if error.code() == Some(ErrorCode::OffsetOutOfRange) {
            match self.core.settings.out_of_range {
                OutOfRange::Earliest => position.need = Need::Lookup(OffsetAt::Beginning),
                OutOfRange::Latest => position.need = Need::Lookup(OffsetAt::End),
                OutOfRange::Error => self.stop(asked, error),
            }
            return;
        }
        let now = Instant::now();
        let client = &self.core.client;
        if !position.fail(&error, now, client.timeouts.topic_wait) {
            self.stop(asked, error);
            return;
        }
        let (topic, number) = (&position.topic, position.partition);
        tracing::debug!(topic = &**topic, partition = number, %error, "fetch is tried again");
        let failures = position.failures;
        position.retry_at = Some(now + client.random.backoff_after(&error, failures));
        match error.leader_endpoint() {
            Some(leader) if follows_hint(failures) => {
                client.metadata.hint(topic, number, leader);
                if failures <= REDIRECTS_AT_ONCE_MAX {
                    position.retry_at = None;
                }
            }
            Some(_) | None => {
                if error.wants_metadata() {
                    self.refresh_metadata();
                }
            }
        }
    }

    /// Hands the error to the consumer and fetches no more of the partition until a seek.
    fn stop(&mut self, asked: Asked, error: Error) {
        if let Some(position) = self.positions.get_mut(asked.slot) {
            position.need = Need::Nothing;
        }
        self.core
            .buffer
            .push(asked.slot, asked.generation, Item::Failed(error));
    }

    /// Looks offsets up at one leader, in a task.
    pub(super) fn look_up(&mut self, endpoint: Arc<str>, lookups: Vec<(Asked, OffsetAt)>) {
        let client = Arc::clone(&self.core.client);
        let core = Arc::clone(&self.core);
        let events = self.call_events.clone();
        let deadline = Instant::now() + client.timeouts.request;
        self.tasks.spawn(async move {
            let mut queries = Vec::new();
            for (asked, at) in &lookups {
                if let Some((topic, partition)) = core.partitions.get(asked.slot) {
                    queries.push((&**topic, *partition, *at));
                }
            }
            let found = query_leader(&client, &endpoint, &queries, deadline).await;
            let asked = lookups.iter().map(|(asked, _)| *asked).collect();
            // The driver is gone only when the consumer is.
            let _ = events.send(CallEvent::Offsets(asked, found)).await;
        });
    }

    /// Asks for fresh metadata, once at a time.
    pub(super) fn refresh_metadata(&mut self) {
        if std::mem::replace(&mut self.is_refreshing, true) {
            return;
        }
        let client = Arc::clone(&self.core.client);
        let events = self.call_events.clone();
        self.tasks.spawn(async move {
            let refreshed = client.refresh_metadata().await;
            if refreshed.is_err() {
                // Refused at once, perhaps: do not ask as fast as brokers can refuse.
                let pause = client.random.backoff(REFUSED_METADATA_FAILURES);
                tokio::time::sleep(pause).await;
            }
            // The driver is gone only when the consumer is.
            let _ = events.send(CallEvent::Metadata(refreshed)).await;
        });
    }

    fn on_call(&mut self, event: CallEvent) {
        match event {
            CallEvent::Metadata(refreshed) => {
                self.is_refreshing = false;
                match refreshed {
                    Ok(()) => self.leave_moved(),
                    Err(error) => tracing::warn!(%error, "metadata could not be refreshed"),
                }
            }
            CallEvent::Offsets(asked, Err(error)) => {
                for asked in asked {
                    self.fail(asked, error.clone());
                }
            }
            CallEvent::Offsets(asked, Ok(found)) => {
                for (asked, found) in asked.into_iter().zip(found) {
                    self.on_offset(asked, found);
                }
            }
        }
    }

    fn on_offset(&mut self, asked: Asked, found: Result<ListedOffset>) {
        let Some(position) = self.positions.get_mut(asked.slot) else {
            return;
        };
        if position.generation != asked.generation {
            return;
        }
        match found {
            Err(error) => self.fail(asked, error),
            Ok(ListedOffset {
                offset: Some(offset),
                ..
            }) => {
                position.succeed();
                position.need = Need::Records(offset);
            }
            // No record is that new: go on at the end.
            Ok(ListedOffset { offset: None, .. }) => position.need = Need::Lookup(OffsetAt::End),
        }
    }

    /// Stops waiting for leaders that lead no more; one that hangs would hold its partitions.
    fn leave_moved(&mut self) {
        let metadata = &self.core.client.metadata;
        let has_moved = |endpoint: &Arc<str>, asked: &Asked| {
            let position = self.positions.get(asked.slot);
            let leader =
                position.and_then(|position| metadata.leader(&position.topic, position.partition));
            leader.is_some_and(|leader| leader.endpoint != *endpoint)
        };
        let left = self.fetchers.iter().filter(|(endpoint, fetcher)| {
            let asked = fetcher.open.iter().flat_map(|open| &open.asked);
            asked.into_iter().any(|asked| has_moved(endpoint, asked))
        });
        let left: Vec<_> = left.map(|(endpoint, _)| Arc::clone(endpoint)).collect();
        for endpoint in left {
            // Nothing was read from the open request yet, so dropping it loses nothing.
            self.fetchers.remove(&endpoint);
        }
    }
}
