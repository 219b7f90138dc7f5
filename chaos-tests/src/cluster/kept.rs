//! The client crate as a [`Keeper`]: topics from which records go.
//!
//! Owns their settings, which make everything happen within a run.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use raftmq_client::{Acks, Admin, Client, ErrorKind, OffsetAt, OutOfRange, Record, Start};
use tokio::time::timeout;

use super::clients::{DELIVERY_TIMEOUT, REPLICATION_FACTOR, RETENTION_MS, send};
use crate::history::{Cleanup, KeptRecord};
use crate::system::{Delivery, Keeper, SendFailure};

/// Payload between two checkpoints.
const SEGMENT_BYTES: &str = "16384";
/// Share of a compacted log that must be obsolete before it is cleaned.
const DIRTY_RATIO: &str = "0.05";
/// Bytes of a value; its first eight tell it from others.
const VALUE_BYTES: usize = 512;
const READ_TIMEOUT: Duration = Duration::from_secs(4);

/// See [`Keeper`].
pub(super) struct SimKeeper {
    topic: &'static str,
    client: Client,
    admin: Admin,
    producer: Rc<raftmq_client::Producer>,
}

impl SimKeeper {
    pub(super) async fn new(client: Client, cleanup: Cleanup) -> Result<Self, String> {
        let admin = client.admin();
        let topic = cleanup.topic();
        let mut configs = BTreeMap::from([
            ("retention.ms", RETENTION_MS),
            ("segment.bytes", SEGMENT_BYTES),
        ]);
        if cleanup == Cleanup::Compact {
            configs.insert("cleanup.policy", "compact");
            configs.insert("min.cleanable.dirty.ratio", DIRTY_RATIO);
        }
        let mut creation = admin
            .create_topic(topic)
            .partitions(1)
            .replication_factor(REPLICATION_FACTOR);
        for (name, value) in configs {
            creation = creation.config(name, value);
        }
        match creation.send().await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.to_string()),
        }
        let producer = client
            .producer()
            .acks(Acks::All)
            .idempotence(true)
            .delivery_timeout(DELIVERY_TIMEOUT)
            .build()
            .await
            .map_err(|error| error.to_string())?;
        Ok(Self {
            topic,
            admin,
            client,
            producer: Rc::new(producer),
        })
    }

    async fn offset(&self, at: OffsetAt) -> Result<i64, String> {
        let listed = self.admin.list_offsets(&[(self.topic, 0, at)]).await;
        let listed = listed.map_err(|error| error.to_string())?;
        let offset = listed.first().and_then(|listed| listed.offset);
        offset.ok_or_else(|| "no offset".to_owned())
    }

    async fn read_to(&self, end: i64) -> Result<Vec<KeptRecord>, String> {
        let consumer = self
            .client
            .consumer()
            .assign_from(self.topic, 0, Start::Beginning)
            .out_of_range(OutOfRange::Earliest)
            .build();
        let mut consumer = consumer.await.map_err(|error| error.to_string())?;
        let mut records = Vec::new();
        loop {
            let record = consumer.next().await.ok_or("the consumer ended")?;
            let record = record.map_err(|error| error.to_string())?;
            let is_last = record.offset + 1 >= end;
            records.push(KeptRecord {
                offset: record.offset,
                key: number(record.key.as_ref())
                    .and_then(|key| u32::try_from(key).ok())
                    .unwrap_or(u32::MAX),
                value: number(record.value.as_ref()).unwrap_or(u64::MAX),
            });
            if is_last {
                return Ok(records);
            }
        }
    }
}

/// The number at the start of a key or a value.
fn number(bytes: Option<&Bytes>) -> Option<u64> {
    let head = bytes?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*head))
}

impl Keeper for SimKeeper {
    fn send(&self, key: u32, value: u64) -> LocalBoxFuture<'_, Result<Delivery, SendFailure>> {
        Box::pin(async move {
            let mut bytes = value.to_be_bytes().to_vec();
            bytes.resize(VALUE_BYTES, 0);
            let key = Bytes::copy_from_slice(&u64::from(key).to_be_bytes());
            let record = Record::to(self.topic).partition(0).key(key).value(bytes);
            send(&self.producer, record).await
        })
    }

    fn delete_before(&self, offset: i64) -> LocalBoxFuture<'_, Result<i64, String>> {
        Box::pin(async move {
            let deleted = self.admin.delete_records(self.topic, 0, offset).await;
            deleted.map_err(|error| error.to_string())
        })
    }

    fn bounds(&self) -> LocalBoxFuture<'_, Result<(i64, i64), String>> {
        Box::pin(async move {
            let start = self.offset(OffsetAt::Beginning).await?;
            Ok((start, self.offset(OffsetAt::End).await?))
        })
    }

    fn reassign(&self, replicas: Vec<u32>) -> LocalBoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let moved = self.admin.alter_replicas(self.topic, 0, &replicas).await;
            moved.map_err(|error| error.to_string())
        })
    }

    fn read(&self) -> LocalBoxFuture<'_, Result<Vec<KeptRecord>, String>> {
        Box::pin(async move {
            let (start, end) = self.bounds().await?;
            if start >= end {
                return Ok(Vec::new());
            }
            let read = timeout(READ_TIMEOUT, self.read_to(end)).await;
            read.map_err(|_| "reading took too long".to_owned())?
        })
    }
}
