//! The consumer of a session, between its stream and the application.
//!
//! Owns what waits for the application: nothing more is read from the stream while much does, which holds the
//! broker back. Does not know streams.

use std::collections::VecDeque;

use raftmq_proto::v1::{self, ConsumeQueue};
use tokio::sync::{mpsc, oneshot};

use super::delivery::QueueDelivery;
use super::session::{Event, WeakSession};
use crate::error::{Error, Result};
use crate::limits::CONSUMER_BUFFER_COUNT;

/// What waits for the application.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message, and the stream that it came on.
    Delivered(Box<v1::QueueDelivery>, u64),
    /// See [`Event`].
    Lost(Error),
    /// See [`Event`].
    Ended(Error),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Consuming {
    consume: ConsumeQueue,
    events: mpsc::Sender<Event>,
    waiting: VecDeque<Heard>,
    /// Who waits for the first start.
    told: Option<oneshot::Sender<Result<()>>>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is to be attached to its queue whenever there is a stream.
    Alive,
    /// The application takes nothing any more.
    Left,
    /// It has ended.
    Ended,
}

impl Consuming {
    pub(super) fn new(
        consume: ConsumeQueue,
        events: mpsc::Sender<Event>,
        told: oneshot::Sender<Result<()>>,
    ) -> Self {
        Self {
            consume,
            events,
            waiting: VecDeque::new(),
            told: Some(told),
            state: State::Alive,
        }
    }

    pub(super) fn queue(&self) -> &str {
        &self.consume.queue
    }

    pub(super) fn is_alive(&self) -> bool {
        self.state == State::Alive
    }

    /// What attaches it.
    pub(super) fn request(&self) -> Option<ConsumeQueue> {
        self.is_alive().then(|| self.consume.clone())
    }

    /// Whether more may be read for it.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < CONSUMER_BUFFER_COUNT
    }

    pub(super) fn started(&mut self) {
        if let Some(told) = self.told.take() {
            let _ = told.send(Ok(()));
        }
    }

    pub(super) fn heard(&mut self, heard: Heard) {
        if self.state == State::Alive {
            self.waiting.push_back(heard);
        }
    }

    /// The stream is lost: what waits from it comes again.
    pub(super) fn lost(&mut self, error: &Error) {
        let is_no_delivery = |heard: &Heard| !matches!(heard, Heard::Delivered(..));
        if !self.consume.no_ack {
            self.waiting.retain(is_no_delivery);
        }
        self.heard(Heard::Lost(error.clone()));
    }

    /// It has ended for good.
    pub(super) fn end(&mut self, error: Error) {
        if let Some(told) = self.told.take() {
            let _ = told.send(Err(error));
        } else {
            self.heard(Heard::Ended(error));
        }
        if self.state == State::Alive {
            self.state = State::Ended;
        }
    }

    /// Gives the tag to be cancelled once the application takes nothing any more.
    pub(super) fn leave(&mut self) -> Option<String> {
        if !self.events.is_closed() || self.state != State::Alive {
            return None;
        }
        self.state = State::Left;
        self.waiting.clear();
        Some(self.consume.consumer_tag.clone())
    }

    /// Hands one thing on, or notices that the application is gone. Cancel safe. Never completes while there
    /// is nothing to do.
    pub(super) async fn hand_on(consuming: &mut Option<Self>, own: &WeakSession) {
        let Some(consuming) = consuming.as_mut() else {
            return std::future::pending().await;
        };
        if consuming.waiting.is_empty() {
            if consuming.state == State::Alive {
                return consuming.events.closed().await;
            }
            return std::future::pending().await;
        }
        let Ok(room) = consuming.events.reserve().await else {
            // `leave` clears what waits.
            if consuming.state != State::Alive {
                consuming.waiting.clear();
            }
            return;
        };
        let event = match consuming.waiting.pop_front() {
            Some(Heard::Delivered(delivery, stream)) => {
                let session = own.upgrade().filter(|_| !consuming.consume.no_ack);
                let settling = session.map(|session| (session, stream));
                Event::Delivered(Box::new(QueueDelivery::new(*delivery, settling)))
            }
            Some(Heard::Lost(error)) => Event::Lost(error),
            Some(Heard::Ended(error)) => Event::Ended(error),
            None => return,
        };
        room.send(event);
    }
}
