//! What the cluster holds, and Kafka's rules for it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raftmq_client::ErrorCode;
use raftmq_proto::v1::offset_query::At;
use raftmq_proto::v1::{
    Error, FetchPartition, FetchResult, OffsetQuery, OffsetResult, OffsetSpecial, PartitionBatch,
    PartitionInfo, ProduceResult, TopicInfo,
};
use raftmq_records::{DecodeLimits, batches, records, stamp, validate_batch};

use super::{ChannelFault, Fault};

const MAX_MESSAGE_BYTES: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) leader: u32,
    /// What metadata says, when it lags behind.
    pub(super) shown_leader: Option<u32>,
    pub(super) epoch: i64,
    pub(super) batches: Vec<Bytes>,
    pub(super) start: i64,
    pub(super) end: i64,
    /// Next sequence, and what was written under which sequence, by producer id.
    pub(super) producers: BTreeMap<i64, (i32, BTreeMap<i32, i64>)>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) endpoints: Vec<String>,
    pub(super) topics: BTreeMap<String, Vec<Log>>,
    pub(super) controller: u32,
    pub(super) faults: VecDeque<Fault>,
    pub(super) fetch_breaks: u32,
    pub(super) produce_requests: u32,
    pub(super) metadata_requests: u32,
    pub(super) refuses_metadata: bool,
    pub(super) producer_ids: i64,
    pub(super) append_time_ms: Option<i64>,
    pub(super) version: u64,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) vhosts: Vec<String>,
    /// Their tags.
    pub(super) users: BTreeMap<String, Vec<String>>,
    pub(super) list_breaks: u32,
    pub(super) queues: BTreeMap<String, super::queues::Queue>,
    pub(super) channel_faults: VecDeque<ChannelFault>,
    /// Streams of queues that were opened before the last time that all were broken.
    pub(super) channels_epoch: u64,
    pub(super) channels_count: u64,
    /// The newest metadata that a request on a stream of queues wanted.
    pub(super) metadata_wanted: u64,
}

impl State {
    pub(super) fn log(&mut self, topic: &str, partition: u32) -> Result<&mut Log, Error> {
        let logs = self
            .topics
            .get_mut(topic)
            .ok_or_else(|| Error::unknown_topic(topic))?;
        logs.get_mut(partition as usize)
            .ok_or_else(|| Error::unknown_partition(topic, partition))
    }

    fn led_log(&mut self, broker_id: u32, topic: &str, partition: u32) -> Result<&mut Log, Error> {
        let leader = self.log(topic, partition)?.leader;
        if leader != broker_id {
            let endpoint = self.endpoints[leader as usize - 1].clone();
            return Err(Error::not_leader("elsewhere", Some((leader, endpoint))));
        }
        self.log(topic, partition)
    }

    fn append(&mut self, broker_id: u32, batch: &PartitionBatch) -> Result<(i64, bool), Error> {
        let log = self.led_log(broker_id, &batch.topic, batch.partition)?;
        if batch.record_batch.len() > MAX_MESSAGE_BYTES {
            return Err(Error::new(ErrorCode::RecordTooLarge, "too large"));
        }
        let header = validate_batch(&batch.record_batch, MAX_MESSAGE_BYTES)
            .map_err(|error| Error::new(ErrorCode::CorruptRecord, error.to_string()))?;
        if header.has_producer() {
            let (next, written) = log.producers.entry(header.producer_id).or_default();
            if let Some(offset) = written.get(&header.base_sequence) {
                return Ok((*offset, true));
            }
            if header.base_sequence != *next {
                return Err(Error::new(ErrorCode::OutOfOrderSequence, "a gap"));
            }
            *next += header.records_count;
            written.insert(header.base_sequence, log.end);
        }
        let base_offset = log.end;
        let mut stamped = batch.record_batch.to_vec();
        stamp(&mut stamped, base_offset, 1);
        log.batches.push(Bytes::from(stamped));
        log.end += i64::from(header.records_count);
        Ok((base_offset, false))
    }

    pub(super) fn produce(&mut self, broker_id: u32, batch: &PartitionBatch) -> ProduceResult {
        let appended = self.append(broker_id, batch);
        let (base_offset, duplicate) = *appended.as_ref().unwrap_or(&(-1, false));
        ProduceResult {
            topic: batch.topic.clone(),
            partition: batch.partition,
            error: appended.err(),
            base_offset,
            log_append_time_ms: self.append_time_ms.unwrap_or(-1),
            log_start_offset: 0,
            duplicate,
        }
    }

    pub(super) fn fetch(&mut self, broker_id: u32, wanted: &FetchPartition) -> FetchResult {
        let mut result = FetchResult {
            topic: wanted.topic.clone(),
            partition: wanted.partition,
            ..FetchResult::default()
        };
        let log = match self.led_log(broker_id, &wanted.topic, wanted.partition) {
            Ok(log) => log,
            Err(error) => {
                result.error = Some(error);
                return result;
            }
        };
        let epoch = wanted.current_leader_epoch;
        if epoch >= 0 && epoch < log.epoch {
            result.error = Some(Error::new(ErrorCode::FencedLeaderEpoch, "old epoch"));
            return result;
        }
        if wanted.fetch_offset < log.start || wanted.fetch_offset > log.end {
            result.error = Some(Error::new(ErrorCode::OffsetOutOfRange, "out of range"));
            return result;
        }
        let mut bytes = Vec::new();
        for batch in &log.batches {
            let next = batches(batch)
                .filter_map(Result::ok)
                .map(|(h, _)| h.next_offset());
            let is_wanted = next.max().is_none_or(|next| next > wanted.fetch_offset);
            let has_room =
                bytes.is_empty() || bytes.len() + batch.len() <= wanted.max_bytes as usize;
            if is_wanted && !has_room {
                break;
            }
            if is_wanted {
                bytes.extend_from_slice(batch);
            }
        }
        result.record_batches = Bytes::from(bytes);
        result.high_watermark = log.end;
        result.log_start_offset = log.start;
        result.leader_epoch = log.epoch;
        result
    }

    pub(super) fn topic_info(&self, name: &str) -> TopicInfo {
        let Some(logs) = self.topics.get(name) else {
            return TopicInfo {
                name: name.to_owned(),
                error: Some(Error::unknown_topic(name)),
                ..TopicInfo::default()
            };
        };
        let partitions = logs.iter().zip(0..).map(|(log, partition)| PartitionInfo {
            partition,
            leader_broker_id: log.shown_leader.unwrap_or(log.leader),
            leader_epoch: log.epoch,
            ..PartitionInfo::default()
        });
        TopicInfo {
            name: name.to_owned(),
            partitions: partitions.collect(),
            ..TopicInfo::default()
        }
    }

    pub(super) fn list_offset(&mut self, broker_id: u32, query: &OffsetQuery) -> OffsetResult {
        let mut result = OffsetResult {
            topic: query.topic.clone(),
            partition: query.partition,
            timestamp_ms: -1,
            ..OffsetResult::default()
        };
        let log = match self.led_log(broker_id, &query.topic, query.partition) {
            Ok(log) => log,
            Err(error) => {
                result.error = Some(error);
                return result;
            }
        };
        result.leader_epoch = log.epoch;
        result.offset = match query.at {
            Some(At::Special(special)) if special == OffsetSpecial::Earliest as i32 => log.start,
            Some(At::Special(_)) | None => log.end,
            Some(At::TimestampMs(timestamp_ms)) => {
                let all = log
                    .batches
                    .iter()
                    .filter_map(|batch| records(batch, DecodeLimits::default()).ok());
                let found = all
                    .flatten()
                    .filter_map(Result::ok)
                    .find(|record| record.timestamp_ms >= timestamp_ms);
                found.map_or(-1, |record| record.offset)
            }
        };
        result
    }
}
