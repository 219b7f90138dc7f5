//! OffsetForLeaderEpoch (KIP-101, KIP-320): where a leader epoch ends.

use raftmq_core::ids::Term;
use raftmq_kafka_protocol::ErrorCode;
use raftmq_kafka_protocol::messages::offset_for_leader_epoch::request::OffsetForLeaderPartition;
use raftmq_kafka_protocol::messages::offset_for_leader_epoch::response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use raftmq_kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::kafka::context::Context;
use crate::kafka::error::of_replica;
use crate::kafka::wire::epoch;

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter();
        let partitions = partitions.map(|asked| {
            let found = find(&context, &topic.topic, asked);
            let found = found.unwrap_or_else(|error| EpochEndOffset {
                error_code: error.into(),
                ..EpochEndOffset::default()
            });
            EpochEndOffset {
                partition: asked.partition,
                ..found
            }
        });
        OffsetForLeaderTopicResult {
            partitions: partitions.collect(),
            topic: topic.topic.clone(),
        }
    });
    OffsetForLeaderEpochResponse {
        topics: topics.collect(),
        ..OffsetForLeaderEpochResponse::default()
    }
}

fn find(
    context: &Context,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<EpochEndOffset, ErrorCode> {
    let partition = u32::try_from(asked.partition);
    let partition = partition.map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
    let replica = context.parts().replicas.find(topic, partition);
    let replica = replica.map_err(|error| of_replica(&error))?;
    let current = replica.check_leader(i64::from(asked.current_leader_epoch));
    let current = Term(current.map_err(|error| of_replica(&error))?);
    let Ok(wanted) = u64::try_from(asked.leader_epoch).map(Term) else {
        return Ok(EpochEndOffset::default());
    };
    let state = replica.machine().read();
    if wanted > current {
        return Ok(EpochEndOffset::default());
    }
    let (found, end) = if wanted == current {
        // It may have no records yet.
        (current, state.log_end())
    } else {
        let known = state.epoch_end(wanted);
        known.unwrap_or_else(|| (wanted, state.log_end()))
    };
    Ok(EpochEndOffset {
        leader_epoch: epoch(found),
        end_offset: end.get(),
        ..EpochEndOffset::default()
    })
}
