//! Queues of one broker: streams that break as they are told, messages that come again.
//!
//! The routing key is the queue, whatever the exchange. Replies are messages to a queue named as the request's
//! `reply_to`.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;

use futures_util::Stream;
use raftmq_client::ErrorCode;
use raftmq_proto::v1::channel_request::Request as Asked;
use raftmq_proto::v1::channel_response::Response as Told;
use raftmq_proto::v1::queues_server::Queues;
use raftmq_proto::v1::{
    ChannelOpened, ChannelRequest, ChannelResponse, ConsumeQueue, ConsumerEnded, ConsumerStarted,
    Error, MessageGot, MessagePublished, PublishMessage, PublishVerdict, QueueDelivery,
    QueueMessage, SettleOutcome,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::state::State;
use super::{ChannelFault, Server};

/// A message and whether it was delivered before.
type Ready = (QueueMessage, bool);

#[derive(Debug, Default)]
pub(crate) struct Queue {
    ready: VecDeque<Ready>,
    pub(crate) stored: Vec<QueueMessage>,
}

/// One stream.
#[derive(Debug, Default)]
struct Channel {
    consume: Option<ConsumeQueue>,
    unsettled: BTreeMap<u64, (String, QueueMessage)>,
    last_tag: u64,
    is_broken: bool,
}

impl Channel {
    fn carry_out(&mut self, state: &mut State, asked: Asked) -> Option<Told> {
        match asked {
            Asked::Open(_) => Some(Told::Opened(ChannelOpened {})),
            Asked::Publish(publish) => self.publish(state, publish).map(Told::Published),
            Asked::Consume(consume) => {
                let is_there = state.queues.contains_key(&consume.queue)
                    || consume.queue == "amq.rabbitmq.reply-to";
                let error = (!is_there).then(|| Error::new(ErrorCode::UnknownQueue, "unknown"));
                let consumer_tag = consume.consumer_tag.clone();
                self.consume = is_there.then_some(consume);
                Some(Told::Started(ConsumerStarted {
                    consumer_tag,
                    error,
                }))
            }
            Asked::Cancel(cancel) => {
                self.consume = None;
                let consumer_tag = cancel.consumer_tag;
                Some(Told::Ended(ConsumerEnded {
                    consumer_tag,
                    queue_is_gone: false,
                }))
            }
            Asked::Get(get) => {
                let delivery = self.take(state, &get.queue, String::new());
                Some(Told::Got(MessageGot {
                    number: get.number,
                    delivery,
                    ..MessageGot::default()
                }))
            }
            Asked::Settle(settle) => {
                let (queue, message) = self.unsettled.remove(&settle.delivery_tag)?;
                if settle.outcome() == SettleOutcome::Requeued {
                    give_back(state, &queue, message);
                }
                None
            }
        }
    }

    fn publish(&mut self, state: &mut State, publish: PublishMessage) -> Option<MessagePublished> {
        let fault = state.channel_faults.pop_front();
        let key = String::from_utf8(publish.routing_key.to_vec()).expect("text");
        let message = publish.message.unwrap_or_default();
        let mut answer = MessagePublished {
            number: publish.number,
            verdict: PublishVerdict::Confirmed.into(),
            error: None,
        };
        match fault {
            Some(ChannelFault::Break) => {
                self.is_broken = true;
                return None;
            }
            Some(ChannelFault::Refuse(code)) => {
                answer.verdict = PublishVerdict::Failed.into();
                answer.error = Some(Error::new(code, "scripted"));
                return Some(answer);
            }
            Some(ChannelFault::StoreThenBreak | ChannelFault::StoreThenSilence) | None => {}
        }
        let Some(queue) = state.queues.get_mut(&key) else {
            answer.verdict = PublishVerdict::Unroutable.into();
            return Some(answer);
        };
        queue.stored.push(message.clone());
        queue.ready.push_back((message, false));
        self.is_broken = matches!(fault, Some(ChannelFault::StoreThenBreak));
        fault.is_none().then_some(answer)
    }

    fn take(&mut self, state: &mut State, queue: &str, tag: String) -> Option<QueueDelivery> {
        let (message, redelivered) = state.queues.get_mut(queue)?.ready.pop_front()?;
        self.last_tag += 1;
        self.unsettled
            .insert(self.last_tag, (queue.to_owned(), message.clone()));
        Some(QueueDelivery {
            delivery_tag: self.last_tag,
            consumer_tag: tag,
            routing_key: queue.to_owned().into(),
            redelivered,
            message: Some(message),
            ..QueueDelivery::default()
        })
    }

    /// What its consumer may have.
    fn deliver(&mut self, state: &mut State) -> Option<QueueDelivery> {
        let consume = self.consume.clone()?;
        let prefetch = usize::try_from(consume.prefetch).expect("small");
        if self.unsettled.len() >= prefetch {
            return None;
        }
        self.take(state, &consume.queue, consume.consumer_tag)
    }
}

fn give_back(state: &mut State, queue: &str, message: QueueMessage) {
    let queue = state.queues.get_mut(queue).expect("it was there");
    queue.ready.push_front((message, true));
}

impl Server {
    async fn serve_channel(
        self,
        mut requests: Streaming<ChannelRequest>,
        answers: mpsc::Sender<Result<ChannelResponse, Status>>,
    ) {
        let mut channel = Channel::default();
        let epoch = {
            let mut state = self.cluster.state.lock();
            state.channels_count += 1;
            state.channels_epoch
        };
        while !channel.is_broken {
            let changed = self.cluster.appended.notified();
            let told = {
                let mut state = self.cluster.state.lock();
                if state.channels_epoch != epoch {
                    break;
                }
                channel.deliver(&mut state).map(Told::Delivery)
            };
            let told = match told {
                Some(told) => Some(told),
                None => tokio::select! {
                    biased;
                    request = requests.message() => {
                        let Ok(Some(request)) = request else {
                            break;
                        };
                        let mut state = self.cluster.state.lock();
                        state.metadata_wanted = state.metadata_wanted.max(request.metadata_version);
                        let asked = request.request.expect("content");
                        let told = channel.carry_out(&mut state, asked);
                        drop(state);
                        self.cluster.appended.notify_waiters();
                        told
                    }
                    () = answers.closed() => break,
                    () = changed => None,
                },
            };
            if let Some(response) = told {
                let response = Some(response);
                if answers
                    .send(Ok(ChannelResponse { response }))
                    .await
                    .is_err()
                {
                    break;
                }
            }
        }
        let unsettled = std::mem::take(&mut channel.unsettled).into_values().rev();
        for (queue, message) in unsettled {
            give_back(&mut self.cluster.state.lock(), &queue, message);
        }
        self.cluster.appended.notify_waiters();
        let _ = answers.send(Err(Status::unavailable("scripted"))).await;
    }
}

#[tonic::async_trait]
impl Queues for Server {
    type ChannelStream = Pin<Box<dyn Stream<Item = Result<ChannelResponse, Status>> + Send>>;

    async fn channel(
        &self,
        request: Request<Streaming<ChannelRequest>>,
    ) -> Result<Response<Self::ChannelStream>, Status> {
        let (sender, answers) = mpsc::channel(64);
        tokio::spawn(self.clone().serve_channel(request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}
