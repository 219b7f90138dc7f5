//! Direct reply-to: the address under which a client waits for replies without a queue.
//!
//! A client consumes from [`PSEUDO_QUEUE`] and publishes requests whose `reply-to` is that name. It is
//! replaced by the address of the channel; who answers publishes to it through the default
//! exchange. Owns the form of an address. Does not know where connections live: the id in it is the
//! host's.

use raftmq_amqp_protocol::{ShortString, Text};

use crate::request::ChannelKey;

/// The name that clients consume from, and put into `reply-to`.
pub const PSEUDO_QUEUE: &str = "amq.rabbitmq.reply-to";
/// Length of a connection id, bytes, inclusive: an address with it is a short string.
pub const CONNECTION_ID_BYTES_MAX: usize = 128;

/// The address of a channel's consumer of replies: `amq.rabbitmq.reply-to.<connection>.<channel>.
/// <opening>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyAddress {
    /// `Settings::connection_id` of its connection.
    pub connection_id: String,
    /// Its channel.
    pub channel: ChannelKey,
}

impl ReplyAddress {
    /// Reads a name; `None` if it is no address.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        let rest = name.strip_prefix(PSEUDO_QUEUE)?.strip_prefix('.')?;
        let (rest, opening) = rest.rsplit_once('.')?;
        let (connection_id, number) = rest.rsplit_once('.')?;
        let is_id = !connection_id.is_empty() && connection_id.len() <= CONNECTION_ID_BYTES_MAX;
        Some(Self {
            connection_id: is_id.then(|| connection_id.to_owned())?,
            channel: ChannelKey {
                number: number.parse().ok()?,
                opening: opening.parse().ok()?,
            },
        })
    }

    /// Writes the address down.
    #[must_use]
    pub fn to_text(&self) -> Text {
        let ChannelKey { number, opening } = self.channel;
        let id = &self.connection_id;
        Text::try_from(format!("{PSEUDO_QUEUE}.{id}.{number}.{opening}")).unwrap_or_default()
    }

    /// Writes the address down as a routing key.
    #[must_use]
    pub fn to_short(&self) -> ShortString {
        self.to_text().into()
    }
}

/// Whether a name is the pseudo queue or an address.
pub(crate) fn is_reply_name(name: &str) -> bool {
    name.strip_prefix(PSEUDO_QUEUE)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written_and_others_are_none() {
        let address = ReplyAddress {
            connection_id: "b1.7-x".to_owned(),
            channel: ChannelKey {
                number: 3,
                opening: 9,
            },
        };
        let text = address.to_text();
        assert_eq!(text.as_str(), "amq.rabbitmq.reply-to.b1.7-x.3.9");
        assert_eq!(ReplyAddress::parse(text.as_bytes()), Some(address));
        for other in [
            "",
            "amq.rabbitmq.reply-to",
            "amq.rabbitmq.reply-to.x",
            "q.1.2.3",
            "amq.rabbitmq.reply-to..1.1",
            "amq.rabbitmq.reply-to.x.70000.1",
        ] {
            assert_eq!(ReplyAddress::parse(other.as_bytes()), None, "{other}");
        }
        assert!(is_reply_name(PSEUDO_QUEUE) && !is_reply_name("amq.rabbitmq.reply-tomato"));
    }
}
