//! What a stream has to say and has not handed on yet, in order.

use std::collections::VecDeque;

use raftmq_proto::v1::ChannelResponse;
use raftmq_proto::v1::channel_response::Response;

use super::limits::{OUTBOX_BYTES_MAX, OUTBOX_COUNT_MAX, RESPONSE_OVERHEAD_BYTES};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<(ChannelResponse, usize)>,
    bytes: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, response: Response) {
        let bytes = RESPONSE_OVERHEAD_BYTES + body_bytes(&response);
        let response = Some(response);
        self.bytes += bytes;
        self.waiting
            .push_back((ChannelResponse { response }, bytes));
    }

    /// Bytes that the first one takes; `None` = there is none.
    pub(super) fn next_bytes(&self) -> Option<usize> {
        self.waiting.front().map(|(_, bytes)| *bytes)
    }

    pub(super) fn pop(&mut self) -> Option<ChannelResponse> {
        let (response, bytes) = self.waiting.pop_front()?;
        self.bytes -= bytes;
        Some(response)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether nothing more is to be taken that would be said.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= OUTBOX_COUNT_MAX || self.bytes >= OUTBOX_BYTES_MAX
    }
}

fn body_bytes(response: &Response) -> usize {
    let delivery = match response {
        Response::Delivery(delivery) => Some(delivery),
        Response::Got(got) => got.delivery.as_ref(),
        Response::Opened(_)
        | Response::Published(_)
        | Response::Started(_)
        | Response::Ended(_) => None,
    };
    let message = delivery.and_then(|delivery| delivery.message.as_ref());
    message.map_or(0, |message| message.body.len())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use raftmq_proto::v1::{ConsumerEnded, QueueDelivery, QueueMessage};

    use super::*;

    #[test]
    fn it_is_full_by_bytes_or_by_number_and_what_goes_in_first_comes_out_first() {
        let mut outbox = Outbox::default();
        outbox.push(Response::Ended(ConsumerEnded::default()));
        assert!(!outbox.is_full());
        outbox.push(Response::Delivery(QueueDelivery {
            message: Some(QueueMessage {
                body: Bytes::from(vec![0; OUTBOX_BYTES_MAX]),
                ..QueueMessage::default()
            }),
            ..QueueDelivery::default()
        }));
        assert!(outbox.is_full());
        assert_eq!(outbox.next_bytes(), Some(RESPONSE_OVERHEAD_BYTES));
        let first = outbox.pop().and_then(|first| first.response);
        assert!(matches!(first, Some(Response::Ended(_))));
        assert!(outbox.pop().is_some());
        assert!(outbox.is_empty() && outbox.next_bytes().is_none() && outbox.bytes == 0);
        for _ in 0..OUTBOX_COUNT_MAX {
            assert!(!outbox.is_full());
            outbox.push(Response::Ended(ConsumerEnded::default()));
        }
        assert!(outbox.is_full());
    }
}
