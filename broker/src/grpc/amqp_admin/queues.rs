//! Queues: listed with what their leaders count in them, deleted, and emptied.
//!
//! Whether a queue is unused and empty only its leader knows. A queue whose leader is out of reach can be
//! deleted all the same unless it was asked for: its messages go with it in any case.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use raftmq_core::cluster::Image;
use raftmq_core::cluster::amqp::{AmqpCommand, QueueInfo as Declared, Resource};
use raftmq_core::exchange::HeaderValue;
use raftmq_core::ids::{BrokerId, GroupNumber};
use raftmq_core::queue::{Command, Reply};
use raftmq_proto::into_status;
use raftmq_proto::v1::{
    DeleteQueueRequest, Error, ListQueuesRequest, ListQueuesResponse, PurgeQueueRequest,
    QueueCounts, QueueInfo,
};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Response, Status};

use super::declared::arguments;
use super::listing::{Divided, Listed, in_parts};
use super::vhosts::QUEUE_TYPE;
use super::{AmqpAdminFrontEnd, told, vhost};
use crate::grpc::error::{of_queue, of_queue_refusal};
use crate::queues::{QueueError, Queues};

/// Queues of one list that are asked for their counts at the same time.
const COUNTS_AT_ONCE: usize = 64;
/// Time for the counts of one list; what has not come by then is left out.
const COUNTS_WITHIN: Duration = Duration::from_secs(2);
/// Time for a queue's leader to do something: less than a client gives one attempt.
const QUEUE_WITHIN: Duration = Duration::from_secs(2);
/// The type of a queue that was declared without one.
const DEFAULT_KIND: &str = "classic";

impl AmqpAdminFrontEnd {
    pub(super) fn queues_listed(
        &self,
        request: &ListQueuesRequest,
    ) -> Result<Response<Listed<ListQueuesResponse>>, Status> {
        let image = self.image();
        let vhost = vhost(&image, &request.vhost)?;
        let groups = vhost.routing.queues().map(|(_, group)| group);
        let declared = groups.filter_map(|group| image.amqp.queues.get(&group).cloned());
        let declared: Vec<Arc<Declared>> = declared.collect();
        let infos = declared.into_iter().map(move |queue| info(&image, &queue));
        if request.without_counts {
            return Ok(in_parts(infos, |queues| ListQueuesResponse { queues }));
        }
        let service = self.parts().queues.clone();
        let deadline = Instant::now() + COUNTS_WITHIN;
        let parts = stream::iter(Divided::new(infos)).then(move |part| {
            let service = service.clone();
            async move {
                let queues = counted(&service, part, deadline).await;
                Ok(ListQueuesResponse { queues })
            }
        });
        Ok(Response::new(parts.boxed()))
    }

    /// Gives how many messages went with it; `None` = nobody could count them.
    pub(super) async fn remove_queue(
        &self,
        request: &DeleteQueueRequest,
    ) -> Result<Option<u64>, Status> {
        let queue = self.queue(&request.vhost, &request.name)?;
        let DeleteQueueRequest {
            if_unused,
            if_empty,
            ..
        } = *request;
        let command = Command::Delete {
            if_unused,
            if_empty,
        };
        let is_conditional = if_unused || if_empty;
        let messages_count = match self.run(&queue, command).await {
            Ok(reply) => Some(removed(&reply, &queue).map_err(into_status)?),
            // It has ended, and the metadata are still to be told.
            Err(QueueError::Gone) => Some(0),
            Err(error @ QueueError::Stopping) => return Err(failed(&error, &queue)),
            Err(error) if is_conditional => return Err(failed(&error, &queue)),
            Err(error) => {
                tracing::info!(queue = %queue.name, vhost = %queue.vhost, %error, "a queue is deleted without its leader");
                None
            }
        };
        let group = queue.group;
        self.propose(AmqpCommand::DeleteQueue { group }).await?;
        Ok(messages_count)
    }

    /// Gives how many messages went.
    pub(super) async fn empty_queue(&self, request: &PurgeQueueRequest) -> Result<u64, Status> {
        let queue = self.queue(&request.vhost, &request.name)?;
        let reply = self.run(&queue, Command::Purge).await;
        let reply = reply.map_err(|error| failed(&error, &queue))?;
        removed(&reply, &queue).map_err(into_status)
    }

    /// Finds a queue, as far as this broker knows it.
    fn queue(&self, vhost: &str, name: &str) -> Result<Arc<Declared>, Status> {
        let image = self.image();
        let found = image.amqp.queue(vhost, name).cloned();
        found.map_err(|error| told(&error))
    }

    /// Has a queue's leader do something. When that takes too long it may happen all the same.
    async fn run(&self, queue: &Declared, command: Command) -> Result<Reply, QueueError> {
        let done = self.parts().queues.run(queue.group, command);
        let done = timeout(QUEUE_WITHIN, done).await;
        done.unwrap_or(Err(QueueError::OutcomeUnknown))
    }
}

fn resource(queue: &Declared) -> Resource {
    Resource::queue(&queue.vhost, &queue.name)
}

fn failed(error: &QueueError, queue: &Declared) -> Status {
    into_status(of_queue(error, &resource(queue)))
}

fn removed(reply: &Reply, queue: &Declared) -> Result<u64, Error> {
    match reply {
        Reply::Removed { count } => Ok(*count),
        Reply::Refused(refusal) => Err(of_queue_refusal(refusal, &resource(queue))),
        Reply::Batch(_)
        | Reply::Published(_)
        | Reply::Attached { .. }
        | Reply::Settled { .. }
        | Reply::Got { .. }
        | Reply::Done => {
            let queue = resource(queue);
            Err(Error::internal(format!(
                "{queue}: unexpected reply {reply:?}"
            )))
        }
    }
}

fn info(image: &Image, queue: &Declared) -> QueueInfo {
    let numbers = |ids: &[BrokerId]| ids.iter().map(|id| id.get()).collect();
    let group = image.partition(queue.group);
    let leader = group.and_then(|group| group.leader.filter(|id| image.is_alive(*id)));
    QueueInfo {
        name: queue.name.to_string(),
        kind: kind(queue),
        durable: queue.is_durable,
        exclusive: queue.owner.is_some(),
        auto_delete: queue.is_auto_delete,
        arguments: arguments(&queue.arguments),
        group_id: queue.group.get(),
        leader_broker_id: leader.map_or(0, BrokerId::get),
        replicas: group.map_or_else(Vec::new, |group| numbers(&group.replicas)),
        in_sync_replicas: group.map_or_else(Vec::new, |group| numbers(&group.isr)),
        counts: None,
    }
}

fn kind(queue: &Declared) -> String {
    let mut all = queue.arguments.as_slice().iter();
    let named = all.find(|argument| argument.name.as_ref() == QUEUE_TYPE.as_bytes());
    if let Some(HeaderValue::Bytes(text)) = named.map(|argument| &argument.value) {
        return String::from_utf8_lossy(text).into_owned();
    }
    DEFAULT_KIND.to_owned()
}

/// Puts counts into queues, as far as their leaders answer in time. The order stays.
async fn counted(service: &Queues, part: Vec<QueueInfo>, deadline: Instant) -> Vec<QueueInfo> {
    let asked = part.into_iter().map(|mut info| async move {
        if info.leader_broker_id != 0 && Instant::now() < deadline {
            let counts = service.counts(GroupNumber(info.group_id));
            let counts = timeout_at(deadline, counts).await;
            info.counts = counts.ok().and_then(Result::ok).map(|counts| QueueCounts {
                ready_messages: counts.ready,
                consumers: counts.consumers,
            });
        }
        info
    });
    let asked: Vec<_> = asked.collect();
    stream::iter(asked).buffered(COUNTS_AT_ONCE).collect().await
}
