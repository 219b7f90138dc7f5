//! ListOffsets: the offset of a time, and the specials (KIP-79, KIP-405, KIP-734, KIP-1005).

use futures_util::future::join_all;
use raftmq_core::ids::Offset;
use raftmq_kafka_protocol::ErrorCode;
use raftmq_kafka_protocol::messages::list_offsets::request::{
    ListOffsetsPartition, ListOffsetsTopic,
};
use raftmq_kafka_protocol::messages::list_offsets::response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use raftmq_kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::kafka::context::Context;
use crate::kafka::error::of_replica;
use crate::kafka::wire::{NO_EPOCH, NONE, epoch};
use crate::replica::OffsetAt;

/// What a timestamp below zero asks for, and the first version that may.
const LATEST: (i64, i16) = (-1, 1);
const EARLIEST: (i64, i16) = (-2, 1);
const MAX_TIMESTAMP: (i64, i16) = (-3, 7);
const EARLIEST_LOCAL: (i64, i16) = (-4, 8);
const LATEST_TIERED: (i64, i16) = (-5, 9);
const EARLIEST_PENDING_UPLOAD: (i64, i16) = (-6, 11);

/// First version whose answer has the offset's leader epoch.
const WITH_LEADER_EPOCH: i16 = 4;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    At(OffsetAt),
    /// Something about tiered storage: there is none.
    Tiered,
}

pub(in crate::kafka) async fn serve(
    context: Context,
    version: i16,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let topics = request.topics.into_iter();
    let topics = topics.map(|topic| of_topic(&context, version, topic));
    ListOffsetsResponse {
        topics: join_all(topics).await,
        ..ListOffsetsResponse::default()
    }
}

async fn of_topic(
    context: &Context,
    version: i16,
    topic: ListOffsetsTopic,
) -> ListOffsetsTopicResponse {
    let partitions = topic.partitions.iter();
    let partitions = partitions.map(|asked| of_partition(context, version, &topic.name, asked));
    ListOffsetsTopicResponse {
        partitions: join_all(partitions).await,
        name: topic.name.clone(),
    }
}

async fn of_partition(
    context: &Context,
    version: i16,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let found = find(context, version, topic, asked).await;
    let partition_index = asked.partition_index;
    found.map_or_else(
        |error| ListOffsetsPartitionResponse {
            partition_index,
            error_code: error.into(),
            ..ListOffsetsPartitionResponse::default()
        },
        |found| ListOffsetsPartitionResponse {
            partition_index,
            ..found
        },
    )
}

async fn find(
    context: &Context,
    version: i16,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
    let wanted = wanted(asked.timestamp, version)?;
    let partition = u32::try_from(asked.partition_index);
    let partition = partition.map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
    let replica = context.parts().replicas.find(topic, partition);
    let replica = replica.map_err(|error| of_replica(&error))?;
    let checked = replica.check_leader(i64::from(asked.current_leader_epoch));
    checked.map_err(|error| of_replica(&error))?;
    let Wanted::At(at) = wanted else {
        return Ok(ListOffsetsPartitionResponse::default());
    };
    let (found, _term) = replica
        .find_offset(at)
        .await
        .map_err(|error| of_replica(&error))?;
    let leader_epoch = {
        let state = replica.machine().read();
        match at {
            OffsetAt::Latest => state.latest_epoch(),
            OffsetAt::Earliest | OffsetAt::MaxTimestamp | OffsetAt::Timestamp(_) => {
                Some(found.offset)
                    .filter(|offset| *offset != NONE)
                    .and_then(|offset| state.epoch_at(Offset(offset)))
            }
        }
    };
    Ok(ListOffsetsPartitionResponse {
        timestamp: found.timestamp_ms,
        offset: found.offset,
        leader_epoch: leader_epoch
            .filter(|_| version >= WITH_LEADER_EPOCH)
            .map_or(NO_EPOCH, epoch),
        ..ListOffsetsPartitionResponse::default()
    })
}

fn wanted(timestamp: i64, version: i16) -> Result<Wanted, ErrorCode> {
    let specials = [
        (LATEST, Wanted::At(OffsetAt::Latest)),
        (EARLIEST, Wanted::At(OffsetAt::Earliest)),
        (MAX_TIMESTAMP, Wanted::At(OffsetAt::MaxTimestamp)),
        (EARLIEST_LOCAL, Wanted::At(OffsetAt::Earliest)),
        (LATEST_TIERED, Wanted::Tiered),
        (EARLIEST_PENDING_UPLOAD, Wanted::Tiered),
    ];
    if timestamp >= 0 {
        return Ok(Wanted::At(OffsetAt::Timestamp(timestamp)));
    }
    let known = specials.into_iter();
    let mut known = known.filter(|((special, from), _)| *special == timestamp && version >= *from);
    let found = known.next().map(|(_, wanted)| wanted);
    found.ok_or(ErrorCode::UnsupportedVersion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specials_are_known_from_their_version_on() {
        assert_eq!(wanted(-1, 1), Ok(Wanted::At(OffsetAt::Latest)));
        assert_eq!(wanted(-3, 6), Err(ErrorCode::UnsupportedVersion));
        assert_eq!(wanted(-3, 7), Ok(Wanted::At(OffsetAt::MaxTimestamp)));
        assert_eq!(wanted(-4, 8), Ok(Wanted::At(OffsetAt::Earliest)));
        assert_eq!(wanted(-5, 9), Ok(Wanted::Tiered));
        assert_eq!(wanted(-7, 11), Err(ErrorCode::UnsupportedVersion));
        assert_eq!(wanted(0, 1), Ok(Wanted::At(OffsetAt::Timestamp(0))));
    }
}
