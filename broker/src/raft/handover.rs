//! Handing the leadership of a group to another replica: who is ordered to, what the leader tells
//! the one that takes over, and how that one campaigns.
//!
//! The leader stops proposing and waits until the other replica has everything; then it names its
//! own vote and its last entry to it, and that one campaigns with the leader's permission: voters
//! grant it although the leader's lease lasts (Raft dissertation, section 3.10; openraft's
//! `leadership_transfer`). Never `trigger().transfer_leader()`, after which a leader whose target is
//! out of reach writes nothing for the rest of its term. Does not know who decides on a move, nor
//! what waits to be proposed (`replica::handover`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use parking_lot::Mutex;
use raftmq_store::{GroupId, Vote};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::group::Group;
use super::serve::{current_vote, missing_mark, put_count};
use super::transport::codec::{self, Malformed, Reader};
use super::types::LogId;

/// Time that the one that takes over is given to flush the leader's last entry.
const FLUSH_WITHIN: Duration = Duration::from_millis(500);
const HAND_OVER_BYTES: usize = 8 + 8 + 4;

/// One leadership to be handed over by the broker that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandOver {
    /// The group.
    pub group: GroupId,
    /// The term of the leadership that is meant; an order for another one is ignored.
    pub term: u64,
    /// Broker id of the replica that is to lead.
    pub to: u32,
}

/// Encodes the order of [`Method::HandOver`](super::transport::Method::HandOver).
#[must_use]
pub fn encode_hand_overs(orders: &[HandOver]) -> Bytes {
    let mut buffer = BytesMut::with_capacity(4 + orders.len() * HAND_OVER_BYTES);
    put_count(&mut buffer, orders.len());
    for order in orders {
        buffer.put_u64(order.group.0);
        buffer.put_u64(order.term);
        buffer.put_u32(order.to);
    }
    buffer.freeze()
}

/// Decodes the order of [`Method::HandOver`](super::transport::Method::HandOver).
///
/// # Errors
///
/// See [`Malformed`].
pub fn decode_hand_overs(body: Bytes) -> Result<Vec<HandOver>, Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.count(HAND_OVER_BYTES)?;
    let read = |reader: &mut Reader| {
        Ok(HandOver {
            group: GroupId(reader.u64()?),
            term: reader.u64()?,
            to: reader.u32()?,
        })
    };
    (0..count).map(|_| read(&mut reader)).collect()
}

/// A leader has stopped proposing: its vote and the last entry of its log, which the one that takes
/// over must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The leader's vote.
    pub vote: Vote,
    /// Its last entry.
    pub last_log: Option<LogId>,
}

impl Ready {
    /// Encodes the body of [`Method::TakeLeadership`](super::transport::Method::TakeLeadership).
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut buffer = BytesMut::new();
        codec::put_vote(&mut buffer, &self.vote);
        codec::put_log_id(&mut buffer, self.last_log.as_ref());
        buffer.freeze()
    }

    /// Decodes the body of [`Method::TakeLeadership`](super::transport::Method::TakeLeadership).
    ///
    /// # Errors
    ///
    /// See [`Malformed`].
    pub fn decode(body: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        Ok(Self {
            vote: reader.vote()?,
            last_log: reader.log_id()?,
        })
    }
}

/// What a leader could tell `to` at this moment, if that replica has the whole log; `None` when it
/// has not, when the log goes on beyond what openraft has told of it (`applied` is further), or
/// when this replica does not lead.
#[must_use]
pub fn ready_for(group: &Group, to: u32, applied: u64) -> Option<Ready> {
    let vote = current_vote(group);
    let data = group.raft().data_metrics();
    let data = data.borrow_watched();
    let matched = data.replication.as_ref()?.get(&u64::from(to))?.as_ref();
    let last_log = data.last_log;
    let knows_its_end = last_log.map_or(0, |last| last.index) >= applied;
    (knows_its_end && matched >= last_log.as_ref()).then_some(Ready { vote, last_log })
}

/// Lets this replica campaign in the place of the leader that hands over. Returns before the
/// election is decided. Does nothing when another vote than the leader's is known here.
///
/// # Errors
///
/// In words: this replica misses entries, is not a voter of the group as far as it knows, or has
/// stopped.
pub(super) async fn take_leadership(group: &Group, ready: Ready) -> Result<(), String> {
    if missing_mark(group).is_some() {
        return Err("this replica is recovering".to_owned());
    }
    let raft = group.raft();
    let me = *raft.node_id();
    if !raft.voter_ids().any(|id| id == me) {
        return Err("this replica does not vote".to_owned());
    }
    let request = TransferLeaderRequest::new(ready.vote, me, ready.last_log);
    match timeout(FLUSH_WITHIN, raft.handle_transfer_leader(request)).await {
        Ok(Ok(Ok(()))) => {
            tracing::trace!(target: "raftmq::mark", name = "leadership_taken_over");
            Ok(())
        }
        Ok(Ok(Err(refused))) => Err(refused.to_string()),
        Ok(Err(fatal)) => Err(fatal.to_string()),
        Err(_elapsed) => Err("the leader's last entry did not get here".to_owned()),
    }
}

/// Leaderships that this broker is to hand over; the newest order of a group counts, so that there
/// are never more than groups. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct HandOvers {
    inner: Arc<(Mutex<BTreeMap<GroupId, HandOver>>, Notify)>,
}

impl HandOvers {
    /// Takes orders in.
    pub fn order(&self, orders: Vec<HandOver>) {
        let mut waiting = self.inner.0.lock();
        waiting.extend(orders.into_iter().map(|order| (order.group, order)));
        self.inner.1.notify_one();
    }

    /// Waits for orders and takes them all. Cancel safe.
    pub async fn next(&self) -> Vec<HandOver> {
        loop {
            let taken = std::mem::take(&mut *self.inner.0.lock());
            if !taken.is_empty() {
                return taken.into_values().collect();
            }
            self.inner.1.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use raftmq_store::log_id;

    use super::*;

    fn orders() -> Vec<HandOver> {
        let order = |group| HandOver {
            group: GroupId(group),
            term: 7 * group,
            to: 3,
        };
        (1..4).map(order).collect()
    }

    #[test]
    fn orders_survive_their_bytes() {
        assert_eq!(
            decode_hand_overs(encode_hand_overs(&orders())),
            Ok(orders())
        );
        assert_eq!(decode_hand_overs(encode_hand_overs(&[])), Ok(vec![]));
    }

    #[test]
    fn orders_that_are_cut_anywhere_are_refused() {
        let whole = encode_hand_overs(&orders());
        for length in 0..whole.len() {
            assert!(
                decode_hand_overs(whole.slice(..length)).is_err(),
                "{length}"
            );
        }
    }

    #[test]
    fn a_count_that_cannot_be_there_takes_no_memory() {
        let count = Bytes::from_static(&[0xff; 24]);

        assert!(decode_hand_overs(count).is_err());
    }

    #[test]
    fn what_a_leader_tells_survives_its_bytes_and_is_refused_when_cut() {
        for last_log in [None, Some(log_id(4, 9))] {
            let vote = Vote::new_committed(4, 2);
            let ready = Ready { vote, last_log };
            let whole = ready.encode();
            assert_eq!(Ready::decode(whole.clone()), Ok(ready));
            for length in 0..whole.len() {
                assert!(Ready::decode(whole.slice(..length)).is_err(), "{length}");
            }
        }
    }

    #[tokio::test]
    async fn the_newest_order_of_a_group_counts() {
        let hand_overs = HandOvers::default();
        let newer = HandOver {
            to: 9,
            ..orders()[0]
        };

        hand_overs.order(orders());
        hand_overs.order(vec![newer]);

        let mut expected = orders();
        expected[0] = newer;
        assert_eq!(hand_overs.next().await, expected);
    }
}
