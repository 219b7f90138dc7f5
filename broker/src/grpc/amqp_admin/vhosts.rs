//! Virtual hosts: which type of queues one may have by default, and what a list shows.

use std::sync::Arc;

use bytes::Bytes;
use raftmq_core::cluster::Image;
use raftmq_core::cluster::amqp::{AmqpCommand, CreateVhost, Vhost};
use raftmq_core::exchange::{Argument, Arguments, HeaderValue};
use raftmq_core::queue::arguments::parse;
use raftmq_proto::into_status;
use raftmq_proto::v1::{CreateVhostRequest, Error, ListVhostsResponse, VhostInfo};
use tonic::{Response, Status};

use super::AmqpAdminFrontEnd;
use super::listing::{Listed, in_parts};

/// The argument that names a queue's type.
pub(super) const QUEUE_TYPE: &str = "x-queue-type";
/// AMQP's octet for text.
const TEXT_TAG: u8 = b'S';

impl AmqpAdminFrontEnd {
    pub(super) async fn make_vhost(&self, request: CreateVhostRequest) -> Result<(), Status> {
        let CreateVhostRequest {
            name,
            description,
            default_queue_type,
        } = request;
        check_queue_type(&default_queue_type).map_err(into_status)?;
        let create = CreateVhost {
            name,
            description,
            default_queue_type,
        };
        self.propose(AmqpCommand::CreateVhost(create)).await
    }
}

/// Refuses a type with which no queue could be declared then.
fn check_queue_type(queue_type: &str) -> Result<(), Error> {
    if queue_type.is_empty() {
        return Ok(());
    }
    let argument = Argument {
        name: Bytes::from_static(QUEUE_TYPE.as_bytes()),
        tag: TEXT_TAG,
        value: HeaderValue::Bytes(Bytes::copy_from_slice(queue_type.as_bytes())),
    };
    let parsed = parse(&Arguments::new(vec![argument]), "", "");
    parsed.map(drop).map_err(|_| {
        let text = format!("default queue type must be classic or quorum, got {queue_type:?}");
        Error::invalid_request(text)
    })
}

pub(super) fn list(image: &Image) -> Response<Listed<ListVhostsResponse>> {
    let amqp = &image.amqp;
    let by_name = amqp.vhost_ids.values();
    let vhosts = by_name.filter_map(|id| amqp.vhosts.get(id)).cloned();
    let vhosts: Vec<Arc<Vhost>> = vhosts.collect();
    let infos = vhosts.into_iter().map(|vhost| info(&vhost));
    in_parts(infos, |vhosts| ListVhostsResponse { vhosts })
}

fn info(vhost: &Vhost) -> VhostInfo {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    VhostInfo {
        name: vhost.name.to_string(),
        description: vhost.description.clone(),
        default_queue_type: vhost.default_queue_type.clone(),
        queues_count: count(vhost.routing.queues().count()),
        exchanges_count: count(vhost.exchanges.len()),
        bindings_count: count(vhost.bindings_count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_type_is_one_that_queues_may_have() {
        for good in ["", "classic", "quorum"] {
            assert_eq!(check_queue_type(good), Ok(()), "{good}");
        }
        for bad in ["stream", "Quorum", " "] {
            let refused = check_queue_type(bad).unwrap_err();
            assert!(refused.message.contains(&format!("{bad:?}")), "{refused}");
        }
    }
}
