//! Carries out what the machine of a connection wants.
//!
//! What only looks at the image is answered at once; what changes metadata or asks a queue begins here,
//! in the order of the requests, and is waited for in `work`. Does not wait itself.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use raftmq_amqp::{
    Answer, Ask, AskId, ChannelKey, Consume, ConsumerKey, Kind, Login, Permission, Publish,
    PublishOutcome, PublishTo, Refusal, Request,
};
use raftmq_amqp_protocol::{Body, Text};
use raftmq_core::GroupNumber;
use raftmq_core::exchange::Route;
use raftmq_core::ids::BrokerEpoch;
use raftmq_core::queue::{AckMode, Attach, Command, Outcome, Span};

use super::connection::{Connection, Leaving};
use super::context::Client;
use super::error::About;
use super::login;
use super::work::{self, Done, misplaced};
use crate::messages::publish::Plan;
use crate::messages::replies::Sent;
use crate::planted::{Bug, is_planted};

impl Connection {
    pub(super) fn carry_out(&mut self, request: Request) {
        match request {
            Request::Ask {
                id,
                channel: None,
                ask,
            } => self.ask_connection(id, ask),
            Request::Ask {
                id,
                channel: Some(channel),
                ask,
            } => {
                let asked = self.ask_channel(channel, id, ask);
                if let Err(refusal) = asked {
                    self.machine
                        .answer(Some(channel), id, Answer::Refused(refusal));
                }
            }
            Request::Publish(publish) => self.publish(publish),
            Request::Settle {
                channel,
                queue,
                spans,
                outcome,
            } => self.settle(channel, queue, spans, outcome),
            Request::Credit {
                channel,
                consumer,
                prefetch,
                granted,
            } => self.give_credit(channel, consumer, prefetch, granted),
        }
    }

    fn ask_connection(&mut self, id: AskId, ask: Ask) {
        let answered = match ask {
            Ask::Authenticate(login) => {
                self.authenticate(id, login);
                return;
            }
            Ask::CloseConnection => {
                self.close_connection(id);
                return;
            }
            Ask::OpenVhost { vhost } => self.open_vhost(&vhost),
            Ask::RenewSecret => self.renew_secret(),
            Ask::DeclareExchange(_)
            | Ask::DeleteExchange { .. }
            | Ask::DeclareQueue(_)
            | Ask::DeleteQueue { .. }
            | Ask::PurgeQueue { .. }
            | Ask::Bind(_)
            | Ask::Unbind(_)
            | Ask::Consume(_)
            | Ask::Cancel { .. }
            | Ask::Get { .. }
            | Ask::ProbeReply { .. }
            | Ask::CloseChannel => Err(misplaced()),
        };
        let answer = answered.map_or_else(Answer::Refused, |()| Answer::Done);
        self.machine.answer(None, id, answer);
    }

    fn ask_channel(&mut self, channel: ChannelKey, id: AskId, ask: Ask) -> Result<(), Refusal> {
        match ask {
            Ask::CloseChannel => {
                self.close_channel(channel, id);
                Ok(())
            }
            Ask::Consume(consume) => self.consume(channel, id, &consume),
            Ask::Cancel { consumer } => self.cancel(channel, id, consumer),
            Ask::Get { queue, ack_mode } => self.get(channel, id, queue, ack_mode),
            ask @ (Ask::DeclareExchange(_)
            | Ask::DeleteExchange { .. }
            | Ask::DeclareQueue(_)
            | Ask::DeleteQueue { .. }
            | Ask::PurgeQueue { .. }
            | Ask::Bind(_)
            | Ask::Unbind(_)
            | Ask::ProbeReply { .. }) => self.ask_topology(channel, id, ask),
            Ask::Authenticate(_)
            | Ask::OpenVhost { .. }
            | Ask::RenewSecret
            | Ask::CloseConnection => Err(misplaced()),
        }
    }

    fn authenticate(&mut self, id: AskId, login: Login) {
        let looking = work::authenticate(self.shared.clone(), id, login, self.origin);
        self.begin(looking.boxed());
    }

    fn open_vhost(&mut self, vhost: &Text) -> Result<(), Refusal> {
        login::open_vhost(&self.shared.image(), &self.user, vhost)?;
        // Exclusive queues are those of this registration of the broker.
        let epoch = self.shared.parts.controller.session().broker_epoch();
        self.id.broker_epoch = BrokerEpoch(epoch);
        let (user, vhost): (Arc<str>, Arc<str>) = (self.user.as_str().into(), (&**vhost).into());
        let client = Client::new(self.shared.clone(), self.id, user, vhost);
        self.client = Some(Arc::new(client));
        Ok(())
    }

    /// A password does not expire, so there is no secret to look at; as in RabbitMQ, who may still enter
    /// goes on.
    fn renew_secret(&self) -> Result<(), Refusal> {
        let client = self.client()?;
        login::open_vhost(&self.shared.image(), &self.user, &client.vhost)
    }

    fn client(&self) -> Result<Arc<Client>, Refusal> {
        self.client.clone().ok_or_else(misplaced)
    }

    /// The channel is known from its first request to its end.
    fn note_channel(&mut self, channel: ChannelKey) {
        let before = self.channels.len();
        self.channels.entry(channel);
        if self.channels.len() > before {
            self.shared.metrics.channels.increment(1.0);
        }
    }

    fn ask_topology(&mut self, channel: ChannelKey, id: AskId, ask: Ask) -> Result<(), Refusal> {
        let client = self.client()?;
        self.note_channel(channel);
        if let Ask::DeclareQueue(declare) = &ask {
            self.may_own_queues |= declare.is_exclusive;
        }
        let asked = work::topology(client, channel, id, ask);
        self.begin(asked.boxed());
        Ok(())
    }

    fn consume(
        &mut self,
        channel: ChannelKey,
        id: AskId,
        consume: &Consume,
    ) -> Result<(), Refusal> {
        let client = self.client()?;
        self.note_channel(channel);
        let about = About::queue(consume.queue.clone());
        let queue = readable(&client, &consume.queue)?;
        let queues = self.shared.queues();
        let channel_id = self.channels.open(channel, queues);
        let attach = Command::Attach(Attach {
            channel: channel_id.map_err(|error| about.refuse_queue(&error))?,
            tag: consume.tag.to_string(),
            priority: consume.priority,
            is_exclusive: consume.is_exclusive,
            ack_mode: consume.ack_mode,
            prefetch: consume.prefetch,
            granted: consume.granted,
        });
        let reply = queues.run(queue, attach);
        let names = (channel, id, consume.consumer, queue);
        self.begin(work::attach(reply, about, names));
        self.channels.entry(channel).is_attaching = true;
        Ok(())
    }

    fn cancel(
        &mut self,
        channel: ChannelKey,
        id: AskId,
        consumer: ConsumerKey,
    ) -> Result<(), Refusal> {
        let known = self.channels.get_mut(channel);
        let Some((queue, consumer_id)) = known.and_then(|known| known.id_of(consumer)) else {
            // Its queue was quicker.
            self.machine.answer(Some(channel), id, Answer::Done);
            return Ok(());
        };
        let detach = Command::Detach {
            consumer: consumer_id,
        };
        let queues = self.shared.queues().clone();
        let run = move || queues.run(queue, detach.clone());
        // Whatever the queue says: for the client the consumer is gone.
        let ended = Done::Detached {
            channel,
            id,
            consumer,
        };
        let told = work::until_taken(run(), run, ended);
        self.begin(told.boxed());
        Ok(())
    }

    fn get(
        &mut self,
        channel: ChannelKey,
        id: AskId,
        name: Text,
        ack_mode: AckMode,
    ) -> Result<(), Refusal> {
        let client = self.client()?;
        self.note_channel(channel);
        let queue = readable(&client, &name)?;
        let about = About::queue(name);
        let queues = self.shared.queues();
        let channel_id = self.channels.open(channel, queues);
        let channel_id = channel_id.map_err(|error| about.refuse_queue(&error))?;
        let got = queues.get(queue, channel_id, ack_mode);
        let names = (channel, id, queue);
        self.begin(work::get(got, client, about, names));
        Ok(())
    }

    fn publish(&mut self, publish: Box<Publish>) {
        let (channel, number) = (publish.channel, publish.number);
        self.note_channel(channel);
        self.shared.metrics.published.increment(1);
        let outcome = match &publish.to {
            PublishTo::Reply(_) => {
                self.reply(publish);
                return;
            }
            PublishTo::Exchange => self.enqueue(publish),
        };
        if let Some(outcome) = outcome {
            self.machine.published(channel, number, outcome);
        }
    }

    /// Brings a message to its queues; gives the outcome if that is known at once.
    fn enqueue(&mut self, mut publish: Box<Publish>) -> Option<PublishOutcome> {
        let Ok(client) = self.client() else {
            return Some(PublishOutcome::Refused(misplaced()));
        };
        let planned = client.plan(&publish, &mut self.route);
        let (queues, message) = match planned {
            Ok(Plan::Enqueue(queues, message)) => (queues, message),
            Ok(Plan::Unroutable) => {
                self.shared.metrics.unroutable.increment(1);
                return Some(work::unroutable(publish));
            }
            Err(refusal) => return Some(PublishOutcome::Refused(refusal)),
        };
        if !publish.is_mandatory {
            // It will not come back.
            publish.message.body = Body::default();
        }
        let (channel, number) = (publish.channel, publish.number);
        let bytes = message.body.len().max(1) * queues.len();
        let unanswered = self.shared.load.publish(bytes);
        self.own.count += 1;
        self.own.bytes += bytes;
        let published = self.shared.queues().publish(&queues, message);
        self.channels.entry(channel).publishes_count += 1;
        let outcome = move |published| {
            drop(unanswered);
            Done::Published {
                channel,
                number,
                outcome: work::outcome_of(publish, &published, |publish| {
                    client.plan(publish, &mut Route::new())
                }),
                bytes,
            }
        };
        self.begin(published.map(outcome).boxed());
        None
    }

    /// Brings an answer to whoever asked.
    fn reply(&mut self, publish: Box<Publish>) {
        let PublishTo::Reply(to) = publish.to.clone() else {
            return;
        };
        let (channel, number) = (publish.channel, publish.number);
        self.channels.entry(channel).publishes_count += 1;
        let replies = self.shared.parts.replies.clone();
        let sending = async move {
            let message = publish.message.clone();
            let outcome = match replies.send(to, Some(message)).await {
                Sent::Taken => PublishOutcome::Committed,
                Sent::Gone => work::unroutable(publish),
                Sent::Unknown => PublishOutcome::Failed,
            };
            Done::Published {
                channel,
                number,
                outcome,
                bytes: 0,
            }
        };
        self.begin(sending.boxed());
    }

    fn settle(
        &mut self,
        channel: ChannelKey,
        queue: GroupNumber,
        spans: Vec<Span>,
        outcome: Outcome,
    ) {
        let Some(channel) = self.channels.get_mut(channel).and_then(|known| known.id()) else {
            return;
        };
        self.shared.metrics.settled.increment(1);
        self.tell_queue(
            queue,
            Command::Settle {
                channel,
                spans,
                outcome,
            },
        );
    }

    fn give_credit(
        &mut self,
        channel: ChannelKey,
        consumer: ConsumerKey,
        prefetch: u32,
        granted: u64,
    ) {
        let known = self.channels.get_mut(channel);
        let Some((queue, consumer)) = known.and_then(|known| known.id_of(consumer)) else {
            return;
        };
        self.tell_queue(
            queue,
            Command::Credit {
                consumer,
                prefetch,
                granted,
            },
        );
    }

    /// Has a queue do something whose outcome nobody waits for.
    pub(super) fn tell_queue(&mut self, queue: GroupNumber, command: Command) {
        let queues = self.shared.queues().clone();
        let run = move || queues.run(queue, command.clone());
        let told = work::until_taken(run(), run, Done::Told);
        self.works.push(told.boxed());
    }

    /// Ends a channel: what it holds returns at once, the answer comes once its publishes are answered.
    fn close_channel(&mut self, channel: ChannelKey, id: AskId) {
        self.channels.release(channel, self.attempt);
        let known = self.channels.get_mut(channel);
        match known {
            Some(known) if known.publishes_count > 0 => known.closing = Some(id),
            Some(_) => self.end_channel(channel, id),
            None => self.machine.answer(Some(channel), id, Answer::Done),
        }
    }

    pub(super) fn end_channel(&mut self, channel: ChannelKey, id: AskId) {
        self.shared.metrics.channels.decrement(1.0);
        self.channels.close(channel, self.attempt);
        self.machine.answer(Some(channel), id, Answer::Done);
    }

    /// What the channels hold returns at once; the rest waits for what was begun before.
    fn close_connection(&mut self, id: AskId) {
        self.close_channels();
        self.leaving = Leaving::Wanted(id);
        self.works.push(work::patience().boxed());
        self.leave_if_done();
    }

    /// Ends the connection once everything that the client asked for before is done.
    pub(super) fn leave_if_done(&mut self) {
        if self.unfinished_count == 0 {
            self.leave();
        }
    }

    /// Ends the connection: queues of its own go.
    pub(super) fn leave(&mut self) {
        let Leaving::Wanted(id) = self.leaving else {
            return;
        };
        self.leaving = Leaving::Going;
        if self.may_own_queues && !is_planted(Bug::OwnQueuesOutliveConnection) {
            let leaving = work::leave(self.shared.clone(), self.id, id);
            self.works.push(leaving.boxed());
        } else {
            self.left(id);
        }
    }

    /// Begins a piece of work that the end of the connection waits for.
    fn begin(&mut self, work: BoxFuture<'static, Done>) {
        self.unfinished_count += 1;
        self.works.push(work);
    }

    pub(super) fn left(&mut self, id: AskId) {
        self.leaving = Leaving::Gone;
        self.machine.answer(None, id, Answer::Done);
    }
}

/// Finds a queue that the client may read from.
fn readable(client: &Client, name: &Text) -> Result<GroupNumber, Refusal> {
    let image = client.image();
    client.check(&image, Permission::Read, Kind::Queue, name)?;
    Ok(client.queue(&image, name)?.group)
}
