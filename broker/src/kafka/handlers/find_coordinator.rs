//! FindCoordinator: there are no consumer groups yet, and no transactions.
//!
//! For groups the error is one that clients try again after: a consumer with assigned partitions
//! works without a coordinator. For transactions it is one that they give up after.

use bytestring::ByteString;
use raftmq_kafka_protocol::ErrorCode;
use raftmq_kafka_protocol::messages::find_coordinator::response::Coordinator;
use raftmq_kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use crate::kafka::context::Context;
use crate::kafka::wire::{NO_NODE, text};

/// First version that asks for several coordinators at once.
const WITH_SEVERAL: i16 = 4;
/// `KeyType` of consumer groups.
const GROUP: i8 = 0;

pub(in crate::kafka) async fn serve(
    _context: Context,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let (error, message) = if request.key_type == GROUP {
        let message = "consumer groups are not served yet";
        (ErrorCode::CoordinatorNotAvailable, message)
    } else {
        let message = "transactions and share groups are not served yet";
        (ErrorCode::InvalidRequest, message)
    };
    if version < WITH_SEVERAL {
        return FindCoordinatorResponse {
            error_code: error.into(),
            error_message: Some(text(message)),
            node_id: NO_NODE,
            port: NO_NODE,
            ..FindCoordinatorResponse::default()
        };
    }
    let coordinator = |key: ByteString| Coordinator {
        key,
        node_id: NO_NODE,
        port: NO_NODE,
        error_code: error.into(),
        error_message: Some(text(message)),
        ..Coordinator::default()
    };
    FindCoordinatorResponse {
        coordinators: request
            .coordinator_keys
            .into_iter()
            .map(coordinator)
            .collect(),
        ..FindCoordinatorResponse::default()
    }
}
