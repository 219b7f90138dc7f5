//! One partition of a fetch: who may answer it (KIP-392), whether the consumer's log is still a part
//! of ours (KIP-320), and the batches.

use std::sync::Arc;

use bytes::Bytes;
use raftmq_core::cluster::{Image, PartitionInfo};
use raftmq_core::ids::{BrokerId, PartitionIndex, Term};
use raftmq_kafka_protocol::ErrorCode;

use crate::kafka::context::Context;
use crate::kafka::error::of_replica;
use crate::kafka::sessions::{Told, Wanted};
use crate::kafka::wire::{NO_NODE, NONE, epoch, node_id};
use crate::replica::{Fetched, Replica, ReplicaError};

/// What a fetch found in one partition.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) error: ErrorCode,
    /// The topic, if it is known.
    pub(super) topic: Option<String>,
    pub(super) high_watermark: i64,
    pub(super) log_start: i64,
    pub(super) batches: Vec<Bytes>,
    /// Where the consumer's log and ours part: epoch and its end here.
    pub(super) diverging: Option<(i32, i64)>,
    /// A replica nearer to the consumer; [`NO_NODE`] = this one is to answer.
    pub(super) preferred_replica: i32,
    replica: Option<Arc<Replica>>,
}

impl Found {
    fn failed(error: ErrorCode) -> Self {
        Self {
            error,
            topic: None,
            high_watermark: NONE,
            log_start: NONE,
            batches: Vec::new(),
            diverging: None,
            preferred_replica: NO_NODE,
            replica: None,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.batches.iter().map(Bytes::len).sum()
    }

    /// Something that must not wait for more records.
    pub(super) fn is_urgent(&self) -> bool {
        self.error != ErrorCode::None
            || self.diverging.is_some()
            || self.preferred_replica != NO_NODE
    }

    pub(super) fn told(&self) -> Told {
        Told {
            high_watermark: self.high_watermark,
            log_start: self.log_start,
            must_be_told: self.is_urgent() || !self.batches.is_empty(),
        }
    }

    /// Completes when there is more than was found; `None` where nothing can come.
    pub(super) fn beyond(&self) -> Option<impl Future<Output = ()> + use<>> {
        let (replica, known) = (self.replica.clone()?, self.high_watermark);
        Some(async move { replica.wait_beyond(known).await })
    }
}

/// Reads one partition, at most `room` bytes, unless the first batch is larger.
pub(super) async fn read(
    context: &Context,
    image: &Image,
    wanted: &Wanted,
    rack: &str,
    room: usize,
) -> Found {
    let topic = match wanted.key.topic.find(image) {
        Ok(topic) => topic.name.clone(),
        Err(error) => return Found::failed(error),
    };
    let found = read_topic(context, image, wanted, &topic, rack, room).await;
    let found = found.unwrap_or_else(Found::failed);
    Found {
        topic: Some(topic),
        ..found
    }
}

async fn read_topic(
    context: &Context,
    image: &Image,
    wanted: &Wanted,
    topic: &str,
    rack: &str,
    room: usize,
) -> Result<Found, ErrorCode> {
    let of = |error: ReplicaError| of_replica(&error);
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let index = u32::try_from(wanted.key.partition).map_err(|_| unknown)?;
    let info = image
        .partition_of(topic, PartitionIndex(index))
        .ok_or(unknown)?;
    let replica = context.parts().replicas.find(topic, index).map_err(of)?;
    let bytes_max = usize::try_from(wanted.bytes_max).unwrap_or(0);
    let bytes_max = bytes_max.max(1).min(room);
    let requested = i64::from(wanted.current_leader_epoch);
    if replica.leading_term().is_none() {
        let may_answer = check_follower(image, info, requested, rack);
        may_answer.map_err(|error| error.unwrap_or_else(|| of(replica.not_leader())))?;
        let fetched = replica.read_committed(wanted.offset, bytes_max).await;
        return of_follower(fetched, replica);
    }
    replica.check_leader(requested).map_err(of)?;
    let nearer = nearer_replica(context, image, info, rack);
    let diverging = diverging(&replica, wanted)?;
    if nearer.is_some() || diverging.is_some() {
        let (high_watermark, log_start) = {
            let state = replica.machine().read();
            (state.log_end().get(), state.log_start().get())
        };
        return Ok(Found {
            high_watermark,
            log_start,
            preferred_replica: nearer.map_or(NO_NODE, node_id),
            diverging,
            ..Found::failed(ErrorCode::None)
        });
    }
    let fetched = replica.fetch(wanted.offset, bytes_max, requested).await;
    Ok(found(fetched.map_err(of)?, replica))
}

fn found(fetched: Fetched, replica: Arc<Replica>) -> Found {
    Found {
        high_watermark: fetched.high_watermark,
        log_start: fetched.log_start,
        batches: fetched.batches,
        replica: Some(replica),
        ..Found::failed(ErrorCode::None)
    }
}

/// A follower answers who says where it is and means the leader epoch that this broker knows.
fn check_follower(
    image: &Image,
    info: &PartitionInfo,
    requested: i64,
    rack: &str,
) -> Result<(), Option<ErrorCode>> {
    let known = i64::from(epoch(info.leader_epoch));
    let has_leader = info.leader.is_some_and(|id| image.is_alive(id));
    if rack.is_empty() || !has_leader {
        return Err(None);
    }
    match requested {
        requested if requested > known => Err(Some(ErrorCode::UnknownLeaderEpoch)),
        requested if requested >= 0 && requested < known => Err(Some(ErrorCode::FencedLeaderEpoch)),
        _ => Ok(()),
    }
}

/// A follower may be behind: what it does not have yet is not out of range.
fn of_follower(
    fetched: Result<Fetched, ReplicaError>,
    replica: Arc<Replica>,
) -> Result<Found, ErrorCode> {
    match fetched {
        Ok(fetched) => Ok(found(fetched, replica)),
        Err(ReplicaError::OffsetOutOfRange {
            offset, log_end, ..
        }) if offset > log_end => Err(ErrorCode::OffsetNotAvailable),
        Err(error) => Err(of_replica(&error)),
    }
}

/// An in-sync replica in the consumer's rack, unless this one is (KIP-392).
fn nearer_replica(
    context: &Context,
    image: &Image,
    info: &PartitionInfo,
    rack: &str,
) -> Option<BrokerId> {
    let rack_of = |id: BrokerId| image.broker(id).map(|broker| broker.rack.as_str());
    let me = context.me();
    if rack.is_empty() || rack_of(me) == Some(rack) {
        return None;
    }
    let mut replicas = info.isr.iter().copied();
    replicas.find(|id| {
        let broker = image.broker(*id).filter(|broker| !broker.is_fenced);
        let reachable = broker.is_some_and(|broker| context.address_of(broker).is_some());
        *id != me && reachable && rack_of(*id) == Some(rack)
    })
}

/// Where the consumer's log ends to be a part of ours, if it does (KIP-320): only an accepted loss can
/// bring that about.
fn diverging(replica: &Replica, wanted: &Wanted) -> Result<Option<(i32, i64)>, ErrorCode> {
    let Ok(last_fetched) = u64::try_from(wanted.last_fetched_epoch).map(Term) else {
        return Ok(None);
    };
    let end = replica.machine().read().epoch_end(last_fetched);
    let Some((found, end)) = end else {
        // Nothing was ever written here.
        return match wanted.offset {
            0 => Ok(None),
            _ => Err(ErrorCode::OffsetOutOfRange),
        };
    };
    let is_diverging = found < last_fetched || end.get() < wanted.offset;
    Ok(is_diverging.then(|| (epoch(found), end.get())))
}
