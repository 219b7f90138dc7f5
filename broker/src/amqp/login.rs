//! Who a client is and which virtual host it enters, by the users in the image.
//!
//! Pure: the image comes in. Owns RabbitMQ's rules: `guest` only from this machine, and a user enters a
//! virtual host when it has permissions there, whatever they say.

use raftmq_amqp::{Identity, Login, Refusal};
use raftmq_core::cluster::Image;

use super::error::{of_amqp, text};
use crate::planted::{Bug, is_planted};
use crate::security::password;

/// The first user of a cluster, and its password.
pub(super) const GUEST: &str = "guest";
/// The tag of users whose messages may name somebody else as their `user-id`.
const IMPERSONATOR: &str = "impersonator";

/// How clients may come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) origin: Origin,
    /// Users who may come from this machine only (RabbitMQ: `loopback_users`).
    pub(super) loopback_users: &'a [String],
}

/// Where a client connects from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// This machine.
    Loopback,
    /// Anywhere else, or nobody knows.
    Remote,
}

impl Origin {
    /// Reads the address that an accepted connection comes from.
    pub(super) fn of(address: &str) -> Self {
        let parsed: Option<std::net::SocketAddr> = address.parse().ok();
        match parsed {
            Some(parsed) if parsed.ip().to_canonical().is_loopback() => Self::Loopback,
            Some(_) | None => Self::Remote,
        }
    }
}

/// Checks name and password.
///
/// # Errors
/// `Login`, whatever is wrong: who guesses learns nothing.
pub(super) fn authenticate(
    image: &Image,
    login: &Login,
    entry: Entry<'_>,
) -> Result<Identity, Refusal> {
    let name = std::str::from_utf8(&login.user).map_err(|_| Refusal::Login)?;
    let is_local = entry.origin == Origin::Loopback;
    if !is_local && entry.loopback_users.iter().any(|local| local == name) {
        return Err(Refusal::Login);
    }
    let user = image.amqp.users.get(name).ok_or(Refusal::Login)?;
    let is_right = password::verify(&user.password_hash, &login.password);
    if !is_right && !is_planted(Bug::AnyPasswordLogsIn) {
        return Err(Refusal::Login);
    }
    Ok(Identity {
        user: text(name.to_owned()),
        may_impersonate: user.tags.contains(IMPERSONATOR),
    })
}

/// Checks that a user may enter a virtual host.
///
/// # Errors
/// `UnknownVhost`, `VhostDenied`.
pub(super) fn open_vhost(image: &Image, user: &str, vhost: &str) -> Result<(), Refusal> {
    let vhost = image.amqp.vhost(vhost).map_err(of_amqp)?;
    let permissions = image.amqp.permissions_of(vhost.id, user);
    permissions.map(drop).ok_or(Refusal::VhostDenied)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use raftmq_amqp_protocol::{LongString, Table};
    use raftmq_core::cluster::amqp::{AmqpCommand, PutUser};

    use super::*;
    use crate::messages::world::World;

    fn image() -> Image {
        let mut world = World::new();
        world.amqp(AmqpCommand::PutUser(PutUser {
            name: "shop".to_owned(),
            password_hash: password::hash([2; 16], b"pw"),
            tags: [IMPERSONATOR.to_owned()].into(),
        }));
        world.image().clone()
    }

    fn from(address: &str, loopback_users: &'static [String]) -> Entry<'static> {
        Entry {
            origin: Origin::of(address),
            loopback_users,
        }
    }

    fn login(user: &'static [u8], password: &'static [u8]) -> Login {
        Login {
            user: LongString(Bytes::from_static(user)),
            password: LongString(Bytes::from_static(password)),
            client_properties: Table::default(),
        }
    }

    #[test]
    fn the_right_password_logs_in_and_nothing_else_does() {
        let image = image();
        let from_afar = from("192.0.2.7:40000", &[]);
        let shop = authenticate(&image, &login(b"shop", b"pw"), from_afar).unwrap();
        assert_eq!((shop.user.as_str(), shop.may_impersonate), ("shop", true));
        for (user, password) in [
            (&b"shop"[..], &b"PW"[..]),
            (b"shop", b""),
            (b"nobody", b"pw"),
            (b"\xff", b"pw"),
        ] {
            let refused = authenticate(&image, &login(user, password), from_afar);
            assert_eq!(refused, Err(Refusal::Login), "{user:?}");
        }
    }

    #[test]
    fn guest_logs_in_from_this_machine_only_unless_it_is_told_otherwise() {
        let image = image();
        for (address, is_let_in) in [
            ("127.0.0.1:5", true),
            ("[::1]:5", true),
            ("[::ffff:127.0.0.1]:5", true),
            ("192.0.2.7:5", false),
            ("somewhere", false),
        ] {
            let local: &'static [String] = Vec::leak(vec![GUEST.to_owned()]);
            let entered = authenticate(&image, &login(b"guest", b"guest"), from(address, local));
            assert_eq!(entered.is_ok(), is_let_in, "{address}");
            let entered = authenticate(&image, &login(b"guest", b"guest"), from(address, &[]));
            assert!(
                entered.is_ok(),
                "{address} when nobody is bound to this machine"
            );
        }
    }

    #[test]
    fn a_virtual_host_is_entered_by_those_with_permissions_there() {
        let image = image();
        assert_eq!(open_vhost(&image, GUEST, "/"), Ok(()));
        assert_eq!(open_vhost(&image, "shop", "/"), Err(Refusal::VhostDenied));
        let unknown = open_vhost(&image, GUEST, "none");
        assert_eq!(unknown, Err(Refusal::UnknownVhost));
    }
}
