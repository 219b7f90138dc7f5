//! Lists in parts: however long a list is, one message of it is small.
//!
//! A part is made when the one before it is on its way, from the image with which the list began. Does not
//! know what is listed.

use futures_util::stream::{self, BoxStream, StreamExt};
use prost::Message;
use tonic::{Response, Status};

/// Things in one part, inclusive.
const PART_COUNT_MAX: usize = 256;
/// Size of its things, bytes, after which a part is sent. One thing is smaller than that.
const PART_BYTES_TARGET: usize = 1 << 20;

/// A list on its way to a client.
pub(super) type Listed<M> = BoxStream<'static, Result<M, Status>>;

/// Divides a list into parts.
#[derive(Debug)]
pub(super) struct Divided<I> {
    items: I,
}

impl<I> Divided<I> {
    pub(super) const fn new(items: I) -> Self {
        Self { items }
    }
}

impl<I: Iterator<Item: Message>> Iterator for Divided<I> {
    type Item = Vec<I::Item>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut part, mut part_bytes) = (Vec::new(), 0);
        while part.len() < PART_COUNT_MAX && part_bytes < PART_BYTES_TARGET {
            let Some(item) = self.items.next() else {
                break;
            };
            part_bytes += item.encoded_len();
            part.push(item);
        }
        (!part.is_empty()).then_some(part)
    }
}

/// Sends a list; `message` makes a message of a part.
pub(super) fn in_parts<I, M>(items: I, message: fn(Vec<I::Item>) -> M) -> Response<Listed<M>>
where
    I: Iterator<Item: Message> + Send + 'static,
    M: Send + 'static,
{
    let messages = Divided::new(items).map(move |part| Ok(message(part)));
    Response::new(stream::iter(messages).boxed())
}

#[cfg(test)]
mod tests {
    use raftmq_proto::v1::VhostInfo;

    use super::*;

    fn vhosts(count: usize, description_bytes: usize) -> Vec<VhostInfo> {
        let one = |number: usize| VhostInfo {
            name: number.to_string(),
            description: "x".repeat(description_bytes),
            ..VhostInfo::default()
        };
        (0..count).map(one).collect()
    }

    fn sizes(all: Vec<VhostInfo>) -> Vec<usize> {
        Divided::new(all.into_iter())
            .map(|part| part.len())
            .collect()
    }

    #[test]
    fn a_part_ends_at_its_count_or_its_bytes() {
        assert_eq!(sizes(vhosts(0, 0)), [0_usize; 0]);
        assert_eq!(sizes(vhosts(1, 0)), [1]);
        assert_eq!(sizes(vhosts(PART_COUNT_MAX, 0)), [PART_COUNT_MAX]);
        assert_eq!(sizes(vhosts(PART_COUNT_MAX + 1, 0)), [PART_COUNT_MAX, 1]);
        assert_eq!(sizes(vhosts(5, PART_BYTES_TARGET / 2)), [2, 2, 1]);
    }

    #[test]
    fn nothing_is_left_out_and_the_order_stays() {
        let all = vhosts(3 * PART_COUNT_MAX, 10);
        let together: Vec<VhostInfo> = Divided::new(all.clone().into_iter()).flatten().collect();
        assert_eq!(together, all);
    }
}
