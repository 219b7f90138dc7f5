//! InitProducerId (KIP-98): a producer id that nobody else has.
//!
//! Deviation: transactional ids are refused until there are transactions.

use raftmq_kafka_protocol::ErrorCode;
use raftmq_kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::kafka::context::Context;
use crate::kafka::error::of_control;

/// No producer.
const NO_PRODUCER_ID: i64 = -1;
const NO_PRODUCER_EPOCH: i16 = -1;

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refused = |error: ErrorCode| InitProducerIdResponse {
        error_code: error.into(),
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        ..InitProducerIdResponse::default()
    };
    if request.transactional_id.is_some() {
        return refused(ErrorCode::InvalidRequest);
    }
    match context.parts().producer_ids.next().await {
        Ok(producer_id) => InitProducerIdResponse {
            producer_id,
            producer_epoch: 0,
            ..InitProducerIdResponse::default()
        },
        Err(error) => refused(of_control(&error)),
    }
}
