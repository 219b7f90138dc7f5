//! Direct reply-to: from whoever answers, on any broker, to the channel or stream that asked.
//!
//! Owns the ids of connections, which are unique in the cluster for ever, and which of them are open
//! here. A reply whose asker is gone is dropped, as RabbitMQ does. Does not know what is in a reply.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use raftmq_amqp::{ChannelKey, Message, ReplyAddress};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::form::{self, Deaths};
use super::limits::{REPLIES_COUNT_MAX, REPLY_WAIT};
use crate::raft::METADATA_GROUP;
use crate::raft::transport::{Lane, Method, Refusal, Served, Transport};

/// Bytes of a call before the message: incarnation, connection, channel, opening.
const CALL_BYTES: usize = 26;
const IS_THERE: u8 = 1;
const IS_GONE: u8 = 0;

/// A reply for a channel of a connection of this broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) channel: ChannelKey,
    pub(crate) message: Box<Message>,
}

/// A connection, as addresses name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ConnectionName {
    broker: u32,
    /// Random, new at each start of a broker.
    incarnation: u64,
    number: u64,
}

/// What became of a reply, or of the question whether it could be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The connection has it, or is there.
    Taken,
    /// The connection is gone.
    Gone,
    /// Its broker did not answer.
    Unknown,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Replies {
    shared: Arc<Shared>,
}

struct Shared {
    transport: Transport,
    broker: u32,
    incarnation: u64,
    last_number: AtomicU64,
    inboxes: Mutex<BTreeMap<u64, mpsc::Sender<Reply>>>,
}

impl fmt::Debug for Replies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Replies").finish_non_exhaustive()
    }
}

/// An open connection; dropped, it gets no more replies.
pub(crate) struct Inbox {
    shared: Arc<Shared>,
    number: u64,
    pub(crate) replies: mpsc::Receiver<Reply>,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.shared.inboxes.lock().remove(&self.number);
    }
}

impl Replies {
    pub(crate) fn new(transport: Transport, broker: u32, incarnation: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                transport,
                broker,
                incarnation,
                last_number: AtomicU64::new(0),
                inboxes: Mutex::new(BTreeMap::new()),
            }),
        }
    }

    /// A number for a connection: unique in this process, and thereby in each registration of the
    /// broker.
    pub(crate) fn next_number(&self) -> u64 {
        self.shared.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The name under which a connection of this broker gets replies.
    pub(crate) fn connection_id(&self, number: u64) -> String {
        let name = ConnectionName {
            broker: self.shared.broker,
            incarnation: self.shared.incarnation,
            number,
        };
        name.to_text()
    }

    /// Lets a connection get replies.
    pub(crate) fn open(&self, number: u64) -> Inbox {
        let (sender, replies) = mpsc::channel(REPLIES_COUNT_MAX);
        self.shared.inboxes.lock().insert(number, sender);
        Inbox {
            shared: self.shared.clone(),
            number,
            replies,
        }
    }

    /// Brings a reply to its address; without a message only asks whether anybody is there.
    pub(crate) async fn send(&self, to: ReplyAddress, message: Option<Message>) -> Sent {
        let Some(name) = ConnectionName::parse(&to.connection_id) else {
            return Sent::Gone;
        };
        if name.broker == self.shared.broker {
            let is_here = self.take(name, to.channel, message);
            return if is_here { Sent::Taken } else { Sent::Gone };
        }
        let call = encode_call(name, to.channel, message.as_ref());
        let transport = &self.shared.transport;
        let (lane, method) = (Lane::Queues, Method::DirectReply);
        let call = transport.call(name.broker, lane, METADATA_GROUP, method, call);
        match timeout(REPLY_WAIT, call).await {
            Ok(Ok(answer)) if answer[..] == [IS_THERE] => Sent::Taken,
            Ok(Ok(_gone)) => Sent::Gone,
            Ok(Err(_)) | Err(_) => Sent::Unknown,
        }
    }

    /// Takes a reply that another broker brings.
    ///
    /// # Errors
    /// `Malformed`.
    pub(crate) fn serve(&self, call: Bytes) -> Served {
        let malformed = |reason: &str| (Refusal::Malformed, reason.to_owned());
        let (mut name, channel, form) =
            decode_call(call).ok_or_else(|| malformed("a reply without an address"))?;
        name.broker = self.shared.broker;
        let message = if form.is_empty() {
            None
        } else {
            let stored = form::decode(form);
            Some(
                stored
                    .map_err(|error| malformed(&error.to_string()))?
                    .message,
            )
        };
        let is_here = self.take(name, channel, message);
        let answer: &[u8] = if is_here { &[IS_THERE] } else { &[IS_GONE] };
        Ok(Bytes::from_static(answer))
    }

    fn take(&self, name: ConnectionName, channel: ChannelKey, message: Option<Message>) -> bool {
        if name.incarnation != self.shared.incarnation {
            return false;
        }
        let inboxes = self.shared.inboxes.lock();
        let Some(inbox) = inboxes.get(&name.number) else {
            return false;
        };
        let Some(message) = message else {
            return true;
        };
        let message = Box::new(message);
        let is_taken = inbox.try_send(Reply { channel, message }).is_ok();
        if !is_taken {
            tracing::debug!(
                connection = name.number,
                "a reply was dropped: too many wait"
            );
        }
        true
    }
}

impl ConnectionName {
    fn to_text(self) -> String {
        format!("{}-{:x}-{}", self.broker, self.incarnation, self.number)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (broker, incarnation, number) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        Some(Self {
            broker: broker.parse().ok()?,
            incarnation: u64::from_str_radix(incarnation, 16).ok()?,
            number: number.parse().ok()?,
        })
    }
}

fn encode_call(name: ConnectionName, channel: ChannelKey, message: Option<&Message>) -> Bytes {
    let form = message.map(|message| form::encode(message, Deaths::NotOurs));
    let form = form.unwrap_or_default();
    let mut call = BytesMut::with_capacity(CALL_BYTES + form.len());
    call.put_u64(name.incarnation);
    call.put_u64(name.number);
    call.put_u16(channel.number);
    call.put_u64(channel.opening);
    call.put_slice(&form);
    call.freeze()
}

fn decode_call(mut call: Bytes) -> Option<(ConnectionName, ChannelKey, Bytes)> {
    if call.len() < CALL_BYTES {
        return None;
    }
    let name = ConnectionName {
        broker: 0,
        incarnation: call.get_u64(),
        number: call.get_u64(),
    };
    let channel = ChannelKey {
        number: call.get_u16(),
        opening: call.get_u64(),
    };
    Some((name, channel, call))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: ChannelKey = ChannelKey {
        number: 3,
        opening: 9,
    };

    #[test]
    fn a_connections_name_is_read_as_it_was_written_and_others_are_none() {
        let name = ConnectionName {
            broker: 2,
            incarnation: u64::MAX,
            number: 7,
        };
        assert_eq!(name.to_text(), "2-ffffffffffffffff-7");
        assert_eq!(ConnectionName::parse(&name.to_text()), Some(name));
        for other in ["", "2", "2-f", "2-f-7-1", "x-f-7", "2-g-7", "2-f--7"] {
            assert_eq!(ConnectionName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_call_between_brokers_is_read_as_it_was_written_and_short_ones_are_refused() {
        let name = ConnectionName {
            broker: 0,
            incarnation: 5,
            number: 7,
        };
        let probe = encode_call(name, CHANNEL, None);
        assert_eq!(
            decode_call(probe.clone()),
            Some((name, CHANNEL, Bytes::new()))
        );
        for end in 0..probe.len() {
            assert_eq!(decode_call(probe.slice(..end)), None, "{end}");
        }
        let reply = encode_call(name, CHANNEL, Some(&Message::default()));
        let (_, _, form) = decode_call(reply).unwrap();
        let stored = form::decode(form).unwrap();
        assert_eq!(stored.message, Message::default());
    }
}
