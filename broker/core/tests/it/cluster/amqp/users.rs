//! Commands about users and permissions.

use bytes::Bytes;
use raftmq_core::Effect;
use raftmq_core::cluster::amqp::{ChangeUser, PasswordHash, Permissions, PutUser, SetPermissions};
use raftmq_core::cluster::{AmqpCommand, ClusterError, Command};
use raftmq_core::limits::{AMQP_PATTERN_BYTES_MAX, PASSWORD_BYTES_MAX, USER_TAGS_COUNT_MAX};

use super::{create_vhost, refusal_text, seeded};

fn put(name: &str, hash: &'static [u8], tags: &[&str]) -> Command {
    Command::Amqp(AmqpCommand::PutUser(PutUser {
        name: name.to_owned(),
        password_hash: PasswordHash(Bytes::from_static(hash)),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    }))
}

fn change(name: &str, hash: Option<&'static [u8]>, tags: Option<&[&str]>) -> Command {
    let hash = hash.map(|hash| PasswordHash(Bytes::from_static(hash)));
    let tags = tags.map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect());
    Command::Amqp(AmqpCommand::ChangeUser(ChangeUser {
        name: name.to_owned(),
        password_hash: hash,
        tags,
    }))
}

fn allow(vhost: &str, user: &str, read: &str) -> Command {
    Command::Amqp(AmqpCommand::SetPermissions(SetPermissions {
        vhost: vhost.to_owned(),
        user: user.to_owned(),
        permissions: Permissions {
            configure: String::new(),
            write: String::new(),
            read: read.to_owned(),
        },
    }))
}

fn delete(name: &str) -> Command {
    Command::Amqp(AmqpCommand::DeleteUser {
        name: name.to_owned(),
    })
}

#[test]
fn a_user_is_made_and_changed_and_repetition_changes_nothing() {
    let mut harness = seeded();

    harness.accept(&put("jane", b"one", &[]));
    let change = put("jane", b"two", &["monitoring"]);
    assert_eq!(harness.commit(&change).effects, [Effect::ImageChanged]);

    let jane = &harness.image().amqp.users["jane"];
    assert_eq!(&*jane.password_hash.0, b"two");
    assert!(jane.tags.contains("monitoring"));
    assert_eq!(harness.commit(&change).effects, []);
}

#[test]
fn what_a_change_does_not_name_stays_as_it_was() {
    let mut harness = seeded();
    harness.accept(&put("jane", b"one", &["monitoring"]));

    harness.accept(&change("jane", None, Some(&["management"])));
    let jane = &harness.image().amqp.users["jane"];
    assert_eq!(&*jane.password_hash.0, b"one");
    assert_eq!(jane.tags, ["management".to_owned()].into());

    let password = change("jane", Some(b"two"), None);
    assert_eq!(harness.commit(&password).effects, [Effect::ImageChanged]);
    let jane = &harness.image().amqp.users["jane"];
    assert_eq!(&*jane.password_hash.0, b"two");
    assert_eq!(jane.tags, ["management".to_owned()].into());
    assert_eq!(harness.commit(&password).effects, []);
    let nothing = change("jane", None, None);
    assert_eq!(harness.commit(&nothing).effects, []);

    harness.accept(&change("jane", None, Some(&[])));
    assert!(harness.image().amqp.users["jane"].tags.is_empty());
}

#[test]
fn a_change_makes_a_user_only_with_a_password() {
    let mut harness = seeded();

    let refused = refusal_text(&mut harness, &change("jane", None, Some(&["management"])));
    assert_eq!(refused, "user 'jane' not found");
    assert!(!harness.image().amqp.users.contains_key("jane"));

    harness.accept(&change("jane", Some(b"one"), None));
    let jane = &harness.image().amqp.users["jane"];
    assert_eq!(&*jane.password_hash.0, b"one");
    assert!(jane.tags.is_empty());
}

#[test]
fn a_password_hash_is_never_shown() {
    let shown = format!("{:?}", put("jane", b"secret", &[]));

    assert!(shown.contains("PasswordHash(6 bytes)"), "{shown}");
}

#[test]
fn permissions_are_set_and_cleared_for_each_virtual_host() {
    let mut harness = seeded();
    harness.accept(&create_vhost("other"));
    harness.accept(&put("jane", b"", &[]));
    let set = allow("/", "jane", "^q");

    harness.accept(&set);

    let amqp = &harness.image().amqp;
    let (here, other) = (amqp.vhost("/").unwrap().id, amqp.vhost("other").unwrap().id);
    assert_eq!(amqp.permissions_of(here, "jane").unwrap().read, "^q");
    assert_eq!(amqp.permissions_of(other, "jane"), None);
    assert_eq!(harness.commit(&set).effects, []);

    let clear = Command::Amqp(AmqpCommand::ClearPermissions {
        vhost: "/".to_owned(),
        user: "jane".to_owned(),
    });
    harness.accept(&clear);
    assert_eq!(harness.image().amqp.permissions_of(here, "jane"), None);
    assert_eq!(harness.commit(&clear).effects, []);
}

#[test]
fn a_deleted_user_has_no_permissions_left() {
    let mut harness = seeded();
    harness.accept(&put("jane", b"", &[]));
    harness.accept(&allow("/", "jane", ".*"));

    harness.accept(&delete("jane"));

    assert_eq!(harness.image().amqp.permissions.len(), 1, "the guest's");
    // A new user of the same name may do nothing.
    harness.accept(&put("jane", b"", &[]));
    let vhost = harness.image().amqp.vhost("/").unwrap().id;
    assert_eq!(harness.image().amqp.permissions_of(vhost, "jane"), None);
}

#[test]
fn nobody_and_nowhere_are_refused() {
    let mut harness = seeded();
    let unknown = "user 'jane' not found";

    assert_eq!(refusal_text(&mut harness, &delete("jane")), unknown);
    assert_eq!(refusal_text(&mut harness, &allow("/", "jane", "")), unknown);
    assert_eq!(
        refusal_text(&mut harness, &allow("nowhere", "guest", "")),
        "vhost 'nowhere' not found"
    );
    assert_eq!(
        refusal_text(&mut harness, &put("", b"", &[])),
        "name of user is empty"
    );
}

#[test]
fn what_is_too_long_is_refused_in_bytes_and_in_the_machine() {
    let harness = seeded();
    let tags: Vec<String> = (0..=USER_TAGS_COUNT_MAX)
        .map(|tag| tag.to_string())
        .collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    static LONG: [u8; PASSWORD_BYTES_MAX + 1] = [0; PASSWORD_BYTES_MAX + 1];
    for command in [
        put("jane", &LONG, &[]),
        put("jane", b"", &tags),
        put(&"j".repeat(256), b"", &[]),
        change("jane", Some(&LONG), None),
        change("jane", Some(b""), Some(&tags)),
        allow("/", "guest", &".".repeat(AMQP_PATTERN_BYTES_MAX + 1)),
    ] {
        assert!(Command::decode(&command.encode()).is_err());
        let refused = harness.cluster.preview(command).unwrap_err();
        assert!(
            matches!(refused, ClusterError::LimitExceeded { .. }),
            "{refused}"
        );
    }
}
