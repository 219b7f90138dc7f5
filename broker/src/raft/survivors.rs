//! Survivors on their way: a snapshot of a compacted group is its checkpoint and what is left of
//! the log below it, which travels first, some megabytes a call, and takes effect with it.
//!
//! Does not know what a survivor holds. A receiver keeps what comes in aside, under a number of its
//! own, so that a sender that was cut off, or is not the leader any more, changes nothing.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use openraft::errors::{NetworkError, RPCError, Unreachable};
use raftmq_store::{GroupId, GroupStore, SurvivorIndex, SurvivorRow, Vote};

use super::state_machine::{Snapshot, SnapshotData, SnapshotSurvivors};
use super::throttle::Pace;
use super::transport::codec::{self, Malformed, Reader};
use super::transport::{Lane, Method, Refusal, Transport};
use super::types::TypeConfig;
use crate::planted::{self, Bug};

/// Bytes of rows after which a call is sent.
const CALL_BYTES_TARGET: usize = 4 << 20;
/// Smallest encoded row: its key and two lengths.
const ROW_BYTES_MIN: usize = 8 + 4 + 4;
/// Asks for a new set instead of naming one.
const BEGIN: u64 = 0;

type SendError = RPCError<TypeConfig>;

/// Where a snapshot goes.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) transport: Transport,
    pub(super) broker_id: u32,
    pub(super) group: GroupId,
    pub(super) pace: Pace,
}

fn later(reason: impl std::fmt::Display) -> SendError {
    RPCError::Unreachable(Unreachable::new(&io::Error::other(reason.to_string())))
}

fn broken(error: Malformed) -> SendError {
    RPCError::Network(NetworkError::new(&error))
}

impl Target {
    async fn call(&self, method: Method, body: Bytes) -> Result<Bytes, SendError> {
        self.pace.admit(body.len() as u64).await;
        let call = self
            .transport
            .call(self.broker_id, Lane::Bulk, self.group, method, body);
        call.await.map_err(later)
    }

    /// Sends a snapshot, with the survivors where the group has some; answers the receiver's vote.
    /// The survivors may reach further than the checkpoint: that log is committed, too.
    pub(super) async fn send(
        &self,
        store: &GroupStore,
        vote: Vote,
        snapshot: Snapshot,
    ) -> Result<Vote, SendError> {
        let body = codec::encode_snapshot(&vote, &snapshot.meta, &snapshot.snapshot.body);
        let held = store
            .hold_survivors()
            .ok_or_else(|| later("the survivors are being cleaned"))?;
        let index = store.survivors().await.map_err(later)?;
        let has_none = index.heads.is_empty() && index.note.is_empty();
        let answer = if has_none || planted::is_planted(Bug::SurvivorsNotSent) {
            self.call(Method::Snapshot, body).await?
        } else {
            let generation = self.stage(store, &index).await?;
            let body = encode_staged(generation, &index, &body);
            self.call(Method::SnapshotWithSurvivors, body).await?
        };
        drop(held);
        Reader::new(answer).vote().map_err(broken)
    }

    /// Sends every row; answers the number under which the receiver keeps them.
    async fn stage(&self, store: &GroupStore, index: &SurvivorIndex) -> Result<u64, SendError> {
        tracing::trace!(target: "raftmq::mark", name = "survivors_sent");
        let mut generation = self.stage_rows(BEGIN, &[]).await?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for (key, note) in &index.heads {
            let body = store.read_survivor(index.generation, *key).await;
            let body = body.map_err(later)?;
            let body = body.ok_or_else(|| later("a survivor went while it was sent"))?;
            bytes += body.len();
            rows.push(SurvivorRow {
                key: *key,
                note: note.clone(),
                body,
            });
            if bytes >= CALL_BYTES_TARGET {
                generation = self.stage_rows(generation, &rows).await?;
                (rows, bytes) = (Vec::new(), 0);
            }
        }
        if !rows.is_empty() {
            generation = self.stage_rows(generation, &rows).await?;
        }
        Ok(generation)
    }

    async fn stage_rows(&self, generation: u64, rows: &[SurvivorRow]) -> Result<u64, SendError> {
        let body = encode_rows(generation, rows);
        let answer = self.call(Method::StageSurvivors, body).await?;
        Reader::new(answer).u64().map_err(broken)
    }
}

fn put_bytes(buffer: &mut BytesMut, bytes: &[u8]) {
    buffer.put_u32(u32::try_from(bytes.len()).expect("a row is smaller than 4 GiB"));
    buffer.put_slice(bytes);
}

fn encode_rows(generation: u64, rows: &[SurvivorRow]) -> Bytes {
    let bytes: usize = rows
        .iter()
        .map(|row| ROW_BYTES_MIN + row.note.len() + row.body.len())
        .sum();
    let mut buffer = BytesMut::with_capacity(8 + 4 + bytes);
    buffer.put_u64(generation);
    super::serve::put_count(&mut buffer, rows.len());
    for row in rows {
        buffer.put_u64(row.key);
        put_bytes(&mut buffer, &row.note);
        put_bytes(&mut buffer, &row.body);
    }
    buffer.freeze()
}

fn decode_rows(body: Bytes) -> Result<(u64, Vec<SurvivorRow>), Malformed> {
    let mut reader = Reader::new(body);
    let generation = reader.u64()?;
    let count = reader.count(ROW_BYTES_MIN)?;
    let read = |reader: &mut Reader| {
        Ok(SurvivorRow {
            key: reader.u64()?,
            note: reader.bytes()?,
            body: reader.bytes()?,
        })
    };
    let rows = (0..count).map(|_| read(&mut reader));
    Ok((generation, rows.collect::<Result<_, Malformed>>()?))
}

fn encode_staged(generation: u64, index: &SurvivorIndex, snapshot: &[u8]) -> Bytes {
    let mut buffer = BytesMut::with_capacity(snapshot.len() + index.note.len() + 32);
    buffer.put_u64(generation);
    buffer.put_u64(index.heads.len() as u64);
    put_bytes(&mut buffer, &index.note);
    put_bytes(&mut buffer, snapshot);
    buffer.freeze()
}

/// Takes in rows of survivors; answers the number of the set they belong to.
pub(super) async fn serve_stage(
    store: &GroupStore,
    body: Bytes,
) -> Result<Bytes, (Refusal, String)> {
    let (named, rows) =
        decode_rows(body).map_err(|error| (Refusal::Malformed, error.to_string()))?;
    let stopped = |error: raftmq_store::StoreError| (Refusal::Stopped, error.to_string());
    let generation = match named {
        BEGIN => store.begin_survivors().await.map_err(stopped)?,
        named => named,
    };
    let is_taken = store.stage_survivors(generation, rows).await;
    if !is_taken.map_err(stopped)? {
        let reason = format!("survivors {generation} are not those that come in");
        return Err((Refusal::Failed, reason));
    }
    Ok(Bytes::copy_from_slice(&generation.to_be_bytes()))
}

/// Reads a snapshot whose survivors came before it.
///
/// # Errors
///
/// The refusal to send back: it is malformed, or not all of its survivors are here.
pub(super) fn decode_staged(
    store: &GroupStore,
    body: Bytes,
) -> Result<(Vote, Snapshot), (Refusal, String)> {
    let malformed = |error: Malformed| (Refusal::Malformed, error.to_string());
    let mut reader = Reader::new(body);
    let generation = reader.u64().map_err(malformed)?;
    let rows_count = reader.u64().map_err(malformed)?;
    let note = reader.bytes().map_err(malformed)?;
    let snapshot = reader.bytes().map_err(malformed)?;
    let (vote, meta, body) = codec::decode_snapshot(snapshot).map_err(malformed)?;
    if !store.complete_survivors(generation, rows_count) {
        let reason = format!("not all of {rows_count} survivors came");
        return Err((Refusal::Failed, reason));
    }
    let survivors = SnapshotSurvivors::Staged { generation, note };
    let snapshot = Snapshot {
        meta,
        snapshot: SnapshotData { body, survivors },
    };
    Ok((vote, snapshot))
}
