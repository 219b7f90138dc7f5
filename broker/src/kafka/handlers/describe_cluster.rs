//! DescribeCluster (KIP-700, KIP-919, KIP-1073): the brokers, fenced ones too where they are asked for.

use raftmq_kafka_protocol::ErrorCode;
use raftmq_kafka_protocol::messages::describe_cluster::response::DescribeClusterBroker;
use raftmq_kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use super::metadata::controller_id;
use super::{CLUSTER_OPERATIONS, OPERATIONS_OMITTED};
use crate::kafka::context::Context;
use crate::kafka::wire::{NO_NODE, text};

/// `EndpointType` of brokers.
const BROKERS: i8 = 1;
/// `EndpointType` of controllers.
const CONTROLLERS: i8 = 2;

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let endpoint_type = request.endpoint_type;
    if endpoint_type != BROKERS {
        let error = match endpoint_type {
            CONTROLLERS => ErrorCode::MismatchedEndpointType,
            _ => ErrorCode::UnsupportedEndpointType,
        };
        return DescribeClusterResponse {
            error_code: error.into(),
            error_message: Some(text("this listener is for clients of brokers")),
            endpoint_type: BROKERS,
            controller_id: NO_NODE,
            ..DescribeClusterResponse::default()
        };
    }
    let image = context.image();
    let brokers = image.brokers.values();
    let nodes = brokers.filter_map(|broker| context.address_of(broker));
    let nodes = nodes.filter(|node| request.include_fenced_brokers || !node.is_fenced);
    let brokers = nodes.map(|node| DescribeClusterBroker {
        broker_id: node.id,
        host: node.host,
        port: node.port,
        rack: node.rack,
        is_fenced: node.is_fenced,
    });
    DescribeClusterResponse {
        endpoint_type,
        cluster_id: text(image.cluster_id.as_deref().unwrap_or_default()),
        controller_id: controller_id(&context, &image),
        brokers: brokers.collect(),
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            OPERATIONS_OMITTED
        },
        ..DescribeClusterResponse::default()
    }
}
