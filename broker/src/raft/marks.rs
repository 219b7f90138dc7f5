//! What peers know that this broker acknowledged, asked for after an unclean stop and before the groups
//! are opened that it is about.
//!
//! A tail that was acknowledged and then vanished (a disk that lied about a flush, a file that somebody cut
//! short) leaves no trace where it was. Whoever leads a group remembers how far each replica had
//! flushed it; with that mark the replica is recovering, and votes for nobody who has less. The
//! leader's log index alone would not do: marks are compared as logs are, by term first.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::join_all;
use openraft::async_runtime::watch::WatchReceiver;
use raftmq_store::{GroupHealth, GroupId, LogId};
use tokio::time::timeout;

use super::host::RaftHost;
use super::serve::{decode_groups, encode_groups, put_count};
use super::transport::codec::{self, Malformed, Reader};
use super::transport::{Lane, Method, Refusal, Served};
use crate::planted::{self, Bug};

/// Time that the peers are given together. Who does not answer in it is not waited for: a cluster must
/// start again broker by broker.
const ASK_WITHIN: Duration = Duration::from_secs(1);
/// Bytes of one mark: group, a flag, term and index.
const MARK_BYTES: usize = 8 + 17;

type Marks = Vec<(GroupId, LogId)>;

impl RaftHost {
    /// Asks all peers at once what they know this broker to have flushed of those of its groups that
    /// are not open, and keeps it. Returns the groups that have less. Without an answer nothing changes.
    pub async fn ask_for_marks(&self, is_meant: impl Fn(GroupId) -> bool) -> Vec<GroupId> {
        let stored = self.stored_groups().into_iter();
        let groups: Vec<_> = stored
            .filter(|id| is_meant(*id) && self.get(*id).is_none())
            .collect();
        if groups.is_empty() || planted::is_planted(Bug::MarksNotAskedFor) {
            return Vec::new();
        }
        let body = encode_groups(&groups);
        let peers = self.transport().known_brokers().into_iter();
        let peers = peers.filter(|id| *id != self.broker_id());
        let asked = peers.map(|id| timeout(ASK_WITHIN, self.ask_one(id, body.clone())));
        let answers = join_all(asked).await.into_iter().flatten();
        let mut missing = Vec::new();
        for (id, log_id) in answers.flatten() {
            let group = self.store().group(id);
            let was_whole = group.health() == GroupHealth::Ok;
            group.note_acknowledged(log_id);
            if was_whole && group.health() != GroupHealth::Ok {
                let (raft_group, log_index) = (id.0, log_id.index);
                tracing::trace!(target: "raftmq::mark", name = "acknowledged_tail_missing");
                tracing::error!(raft_group, log_index, "an acknowledged tail is missing");
                missing.push(id);
            }
        }
        missing
    }

    async fn ask_one(&self, peer: u32, body: Bytes) -> Marks {
        let (lane, method) = (Lane::Control, Method::FlushedMarks);
        let call = self.transport().call(peer, lane, GroupId(0), method, body);
        let marks = call.await.ok().map(decode_marks);
        marks.and_then(Result::ok).unwrap_or_default()
    }

    /// Answers `asker` how far it has flushed the groups that are led here.
    ///
    /// # Errors
    ///
    /// The refusal to send back.
    pub(super) fn serve_flushed_marks(&self, asker: u32, body: Bytes) -> Served {
        let groups = decode_groups(body);
        let groups = groups.map_err(|error| (Refusal::Malformed, error.to_string()))?;
        let mark = |id: &GroupId| {
            let data = self.get(*id)?.raft().data_metrics();
            let data = data.borrow_watched();
            let matched = data.replication.as_ref()?.get(&u64::from(asker))?;
            matched.map(|log_id| (*id, log_id))
        };
        Ok(encode_marks(&groups.iter().filter_map(mark).collect()))
    }
}

fn encode_marks(marks: &Marks) -> Bytes {
    let mut buffer = BytesMut::with_capacity(4 + marks.len() * MARK_BYTES);
    put_count(&mut buffer, marks.len());
    for (group, log_id) in marks {
        buffer.put_u64(group.0);
        codec::put_log_id(&mut buffer, Some(log_id));
    }
    buffer.freeze()
}

fn decode_marks(body: Bytes) -> Result<Marks, Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.count(8 + 1)?;
    let mut marks = Vec::with_capacity(count);
    for _ in 0..count {
        let group = GroupId(reader.u64()?);
        marks.extend(reader.log_id()?.map(|log_id| (group, log_id)));
    }
    Ok(marks)
}

#[cfg(test)]
mod tests {
    use raftmq_store::log_id;

    use super::*;

    #[test]
    fn marks_survive_their_bytes() {
        let marks = vec![(GroupId(3), log_id(2, 70)), (GroupId(9), log_id(1, 0))];

        assert_eq!(decode_marks(encode_marks(&marks)).unwrap(), marks);
        assert_eq!(decode_marks(encode_marks(&Vec::new())).unwrap(), vec![]);
    }

    #[test]
    fn bytes_that_are_no_marks_are_refused() {
        let whole = encode_marks(&vec![(GroupId(3), log_id(2, 70))]);

        for length in 0..whole.len() {
            assert!(decode_marks(whole.slice(..length)).is_err(), "{length}");
        }
        assert!(
            decode_marks(Bytes::from_static(&[0xff; 8])).is_err(),
            "too many"
        );
    }
}
