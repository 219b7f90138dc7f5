//! The host's side of what its answers promise (`raftmq_core::cluster::vouches`): the clock, and the orders to
//! drop leases on the wire.
//!
//! Does not know who is fenced; orders and the caller say so.

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use raftmq_core::cluster::vouches::{Replaced, Vouches};
use raftmq_core::ids::{BrokerEpoch, BrokerId};
use raftmq_store::{GroupId, Vote};
use tokio::time::Instant;

use super::host::RaftHost;
use super::serve::put_count;
use super::transport::codec::{self, Malformed, Reader};

/// One group of an order to drop leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseDrop {
    /// The group.
    pub group: GroupId,
    /// The vote whose lease is to be dropped.
    pub vote: Vote,
    /// Its leader, where that one may still lead without knowing of its fence.
    pub replaced: Option<Replaced>,
}

/// An order to drop leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseDrops {
    /// The session timeout, in milliseconds: how long an answer holds.
    pub session_ms: u64,
    /// The leases.
    pub drops: Vec<LeaseDrop>,
}

const LEASE_DROP_BYTES: usize = 8 + 17 + 4 + 8;

/// What this broker's answers have promised, and since when it answers.
pub(super) struct Vouching {
    started: Instant,
    vouches: Mutex<Vouches>,
}

impl Vouching {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            vouches: Mutex::default(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl RaftHost {
    /// Whether a broker may be answered as one in service; then it counts as answered.
    pub fn vouch(&self, broker: BrokerId, epoch: BrokerEpoch) -> bool {
        let vouching = self.vouching();
        let now_ms = vouching.now_ms();
        vouching.vouches.lock().vouch(broker, epoch, now_ms)
    }

    /// Whether this broker may help to replace a leader now. From now on it answers that one no more.
    pub(super) fn may_replace(&self, replaced: Replaced, session_ms: u64) -> bool {
        let vouching = self.vouching();
        let now_ms = vouching.now_ms();
        let is_gone = self.transport().is_gone(replaced.broker.get());
        let mut vouches = vouching.vouches.lock();
        if is_gone {
            vouches.forget(replaced.broker);
        }
        vouches.may_replace(replaced, now_ms, session_ms)
    }
}

/// Encodes the order of [`Method::DropLeases`](super::transport::Method::DropLeases).
#[must_use]
pub fn encode_lease_drops(order: &LeaseDrops) -> Bytes {
    let mut buffer = BytesMut::with_capacity(12 + order.drops.len() * LEASE_DROP_BYTES);
    buffer.put_u64(order.session_ms);
    put_count(&mut buffer, order.drops.len());
    for drop in &order.drops {
        buffer.put_u64(drop.group.0);
        codec::put_vote(&mut buffer, &drop.vote);
        // No broker has the id 0.
        buffer.put_u32(drop.replaced.map_or(0, |replaced| replaced.broker.get()));
        buffer.put_u64(drop.replaced.map_or(0, |replaced| replaced.fenced_at.get()));
    }
    buffer.freeze()
}

pub(super) fn decode_lease_drops(body: Bytes) -> Result<LeaseDrops, Malformed> {
    let mut reader = Reader::new(body);
    let session_ms = reader.u64()?;
    let count = reader.count(LEASE_DROP_BYTES)?;
    let drop = |reader: &mut Reader| {
        let (group, vote) = (GroupId(reader.u64()?), reader.vote()?);
        let (broker, fenced_at) = (BrokerId(reader.u32()?), BrokerEpoch(reader.u64()?));
        let replaced = (broker.get() != 0).then_some(Replaced { broker, fenced_at });
        Ok(LeaseDrop {
            group,
            vote,
            replaced,
        })
    };
    let drops: Result<Vec<LeaseDrop>, Malformed> = (0..count).map(|_| drop(&mut reader)).collect();
    Ok(LeaseDrops {
        session_ms,
        drops: drops?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_reads_back_as_it_was_written_and_a_cut_one_is_malformed() {
        let replaced = Replaced {
            broker: BrokerId(3),
            fenced_at: BrokerEpoch(77),
        };
        let drop = |group: u64, replaced: Option<Replaced>| LeaseDrop {
            group: GroupId(group),
            vote: Vote::new_committed(4, 3),
            replaced,
        };
        let order = LeaseDrops {
            session_ms: 1_000,
            drops: vec![drop(1, Some(replaced)), drop(2, None)],
        };
        let body = encode_lease_drops(&order);

        for len in 0..body.len() {
            assert!(
                decode_lease_drops(body.slice(..len)).is_err(),
                "{len} bytes"
            );
        }
        assert_eq!(decode_lease_drops(body), Ok(order));
    }
}
