//! Who may publish where: an AMQP client's permissions, then the way of every message.
//!
//! Pure: the image comes in, and a plan, or why there is none, comes out.

use raftmq_amqp::{Kind, Permission, Publish, Refusal};
use raftmq_amqp_protocol::{ShortString, Text};
use raftmq_core::cluster::Image;
use raftmq_core::cluster::amqp::Vhost;
use raftmq_core::exchange::{PublishError, Route};

use super::patterns::Patterns;
use crate::messages::publish::{self, Incoming, Plan};

/// Who publishes where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) image: &'a Image,
    pub(super) vhost: &'a Vhost,
    /// What the client may do there.
    pub(super) patterns: &'a Patterns,
}

/// Finds the way of a message. `route` is memory that is used again.
///
/// # Errors
/// `Denied`, `Unknown`, `InternalExchange`.
pub(super) fn plan(
    scene: Scene<'_>,
    publish: &Publish,
    route: &mut Route,
) -> Result<Plan, Refusal> {
    let Scene {
        image,
        vhost,
        patterns,
    } = scene;
    let message = &publish.message;
    let name = exchange_name(&message.exchange)?;
    patterns.check(Permission::Write, Kind::Exchange, name)?;
    let incoming = Incoming {
        message,
        ttl_ms: publish.ttl_ms,
        more_keys: &publish.more_keys,
    };
    publish::plan(image, vhost, name, incoming, route).map_err(|error| refuse_publish(&error, name))
}

fn exchange_name(name: &ShortString) -> Result<&str, Refusal> {
    // No exchange has a name that is not text.
    name.to_str().ok_or_else(|| {
        let shown = String::from_utf8_lossy(name).into_owned();
        Refusal::Unknown(Kind::Exchange, Text::try_from(shown).unwrap_or_default())
    })
}

fn refuse_publish(error: &PublishError, name: &str) -> Refusal {
    let name = Text::try_from(name).unwrap_or_default();
    match error {
        PublishError::UnknownExchange => Refusal::Unknown(Kind::Exchange, name),
        PublishError::Internal { .. } => Refusal::InternalExchange(name),
    }
}

#[cfg(test)]
mod tests {
    use raftmq_amqp::{ChannelKey, Message, PublishNumber, PublishTo};
    use raftmq_core::cluster::amqp::Permissions;
    use raftmq_core::exchange::ExchangeKind;

    use super::*;
    use crate::messages::world::{VHOST, World};

    fn publish(exchange: &str, key: &str) -> Publish {
        Publish {
            channel: ChannelKey {
                number: 1,
                opening: 1,
            },
            number: PublishNumber(1),
            to: PublishTo::Exchange,
            is_mandatory: false,
            is_confirmed: true,
            ttl_ms: None,
            more_keys: Vec::new(),
            message: Message {
                exchange: ShortString::try_from(exchange).unwrap(),
                routing_key: ShortString::try_from(key).unwrap(),
                ..Message::default()
            },
        }
    }

    fn planned(world: &World, write: &str, publish: &Publish) -> Result<Plan, Refusal> {
        let patterns = Patterns::new(&Permissions {
            write: write.to_owned(),
            ..Permissions::default()
        });
        let image = world.image();
        let scene = Scene {
            image,
            vhost: image.amqp.vhost(VHOST).unwrap(),
            patterns: &patterns,
        };
        plan(scene, publish, &mut Route::new())
    }

    #[test]
    fn who_may_not_write_or_names_no_exchange_is_refused_and_what_matches_nothing_is_unroutable() {
        let mut world = World::new();
        world.exchange("internal-x", ExchangeKind::Fanout, false);
        let plan = |write: &str, exchange: &str| {
            let publish = publish(exchange, "nowhere");
            planned(&world, write, &publish)
        };
        let name = Text::from_static("amq.default");
        let denied = Refusal::Denied(Permission::Write, Kind::Exchange, name);
        assert_eq!(plan("^amq.topic$", ""), Err(denied));
        assert_eq!(plan("^amq.topic$", "amq.topic"), Ok(Plan::Unroutable));
        assert_eq!(plan(".*", ""), Ok(Plan::Unroutable));
        let unknown = Refusal::Unknown(Kind::Exchange, Text::from_static("gone"));
        assert_eq!(plan(".*", "gone"), Err(unknown));
        let internal = Refusal::InternalExchange(Text::from_static("internal-x"));
        assert_eq!(plan(".*", "internal-x"), Err(internal));
    }
}
