//! The bytes of commands about AMQP's world: round trips, golden bytes, hostile input.

use bytes::Bytes;
use proptest::prelude::{any, prop, prop_assert_eq, proptest};
use raftmq_core::cluster::amqp::{
    BindingChange, ChangeUser, ConnectionId, CreateVhost, DeclareExchange, DeclareQueue,
    PasswordHash, Permissions, PutUser, Seed, SetPermissions,
};
use raftmq_core::cluster::{AmqpCommand, Command};
use raftmq_core::codec::CodecError;
use raftmq_core::exchange::{Argument, Arguments, ExchangeKind, HeaderValue};
use raftmq_core::limits::AMQP_ARGUMENTS_BYTES_MAX;
use raftmq_core::{BrokerEpoch, BrokerId, GroupNumber};

use super::{exchange, queue, to_exchange, to_queue};

const CONNECTION: ConnectionId = ConnectionId {
    broker: BrokerId(1),
    broker_epoch: BrokerEpoch(2),
    number: 3,
};

/// One argument of each kind.
fn arguments() -> Arguments {
    let values = [
        (b'V', HeaderValue::Void),
        (b't', HeaderValue::Bool(true)),
        (b'l', HeaderValue::Integer(-5)),
        (b'd', HeaderValue::Float(1.5_f64.to_bits())),
        (b'D', HeaderValue::Decimal(2, 314)),
        (b'T', HeaderValue::Timestamp(1_700_000_000)),
        (b'S', HeaderValue::Bytes(Bytes::from_static(b"\xfftext"))),
        (b'F', HeaderValue::Nested(Bytes::from_static(b"table"))),
    ];
    let argument = |(tag, value): (u8, HeaderValue)| Argument {
        name: Bytes::copy_from_slice(&[b'x', tag]),
        tag,
        value,
    };
    Arguments::new(values.into_iter().map(argument).collect())
}

/// One of each by tag, with every field filled.
fn one_of_each() -> Vec<AmqpCommand> {
    let text = str::to_owned;
    let hash = || PasswordHash(Bytes::from_static(b"hash"));
    let change = BindingChange {
        arguments: arguments(),
        connection: Some(CONNECTION),
        ..to_queue("x", "q", "key")
    };
    vec![
        AmqpCommand::CreateVhost(CreateVhost {
            name: text("v"),
            description: text("what for"),
            default_queue_type: text("quorum"),
        }),
        AmqpCommand::DeleteVhost { vhost: text("v") },
        AmqpCommand::DeclareExchange(DeclareExchange {
            is_delayed: true,
            is_internal: true,
            arguments: arguments(),
            ..exchange("x", ExchangeKind::Headers)
        }),
        AmqpCommand::DeleteExchange {
            vhost: text("v"),
            name: text("x"),
            if_unused: true,
        },
        AmqpCommand::DeclareQueue(DeclareQueue {
            owner: Some(CONNECTION),
            is_server_named: true,
            arguments: arguments(),
            ..queue("q")
        }),
        AmqpCommand::DeleteQueue {
            group: GroupNumber(9),
        },
        AmqpCommand::Bind(change),
        AmqpCommand::Unbind(to_exchange("x", "y", "\u{fe}")),
        AmqpCommand::CloseConnection {
            connection: CONNECTION,
        },
        AmqpCommand::PutUser(PutUser {
            name: text("jane"),
            password_hash: hash(),
            tags: [text("monitoring"), text("management")].into(),
        }),
        AmqpCommand::DeleteUser { name: text("jane") },
        AmqpCommand::SetPermissions(SetPermissions {
            vhost: text("/"),
            user: text("jane"),
            permissions: Permissions {
                configure: text("^a"),
                write: text("^b"),
                read: text("^c"),
            },
        }),
        AmqpCommand::ClearPermissions {
            vhost: text("/"),
            user: text("jane"),
        },
        AmqpCommand::Seed(Seed {
            user: text("guest"),
            password_hash: hash(),
        }),
        AmqpCommand::ChangeUser(ChangeUser {
            name: text("jane"),
            password_hash: Some(hash()),
            tags: Some([text("monitoring")].into()),
        }),
    ]
}

fn encoded() -> impl Iterator<Item = (Command, Bytes)> {
    one_of_each().into_iter().map(|command| {
        let command = Command::Amqp(command);
        let bytes = command.encode();
        (command, bytes)
    })
}

/// Says that every variant is in the list: a new one stops the build here.
fn tag_of(command: &AmqpCommand) -> u8 {
    match command {
        AmqpCommand::CreateVhost(_) => 65,
        AmqpCommand::DeleteVhost { .. } => 66,
        AmqpCommand::DeclareExchange(_) => 67,
        AmqpCommand::DeleteExchange { .. } => 68,
        AmqpCommand::DeclareQueue(_) => 69,
        AmqpCommand::DeleteQueue { .. } => 70,
        AmqpCommand::Bind(_) => 71,
        AmqpCommand::Unbind(_) => 72,
        AmqpCommand::CloseConnection { .. } => 73,
        AmqpCommand::PutUser(_) => 74,
        AmqpCommand::DeleteUser { .. } => 75,
        AmqpCommand::SetPermissions(_) => 76,
        AmqpCommand::ClearPermissions { .. } => 77,
        AmqpCommand::Seed(_) => 78,
        AmqpCommand::ChangeUser(_) => 79,
    }
}

#[test]
fn tags_never_change_and_the_list_holds_one_of_each() {
    let tags: Vec<u8> = one_of_each().iter().map(tag_of).collect();
    assert_eq!(tags, (65..=79).collect::<Vec<_>>());
    for (tag, (_, bytes)) in tags.iter().zip(encoded()) {
        assert_eq!(bytes[..2], [1, *tag]);
    }
}

#[test]
fn every_command_survives_its_bytes_and_no_shorter_or_longer_ones() {
    for (command, bytes) in encoded() {
        assert_eq!(Command::decode(&bytes), Ok(command.clone()));
        for length in 0..bytes.len() {
            let cut = Command::decode(&bytes.slice(..length));
            assert!(cut.is_err(), "{command:?} cut after {length}");
        }
        let more = [&bytes[..], &[0]].concat();
        let remaining = 1;
        assert_eq!(
            Command::decode(&more.into()),
            Err(CodecError::LeftOver { remaining })
        );
    }
}

#[test]
fn a_queue_has_the_bytes_that_were_agreed_on() {
    let command = Command::Amqp(AmqpCommand::DeclareQueue(DeclareQueue {
        owner: Some(CONNECTION),
        arguments: Arguments::new(vec![super::number_argument("x-expires", 7)]),
        ..queue("q")
    }));

    let expected: &[&[u8]] = &[
        &[1, 69],
        b"\0\0\0\x01/",
        b"\0\0\0\x01q",
        &[0, 1, 0],
        &[
            1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3,
        ],
        &[0, 0, 0, 1],
        b"\0\0\0\x09x-expires",
        &[b'l', 2, 0, 0, 0, 0, 0, 0, 0, 7],
    ];
    assert_eq!(command.encode()[..], expected.concat());
}

#[test]
fn a_change_of_a_user_has_the_bytes_that_were_agreed_on() {
    let change = |password_hash, tags| {
        let name = "jane".to_owned();
        let command = AmqpCommand::ChangeUser(ChangeUser {
            name,
            password_hash,
            tags,
        });
        Command::Amqp(command).encode()
    };

    let nothing: &[&[u8]] = &[&[1, 79], b"\0\0\0\x04jane", &[0, 0]];
    assert_eq!(change(None, None)[..], nothing.concat());
    let hash = PasswordHash(Bytes::from_static(b"hash"));
    let both: &[&[u8]] = &[
        &[1, 79],
        b"\0\0\0\x04jane",
        b"\x01\0\0\0\x04hash",
        b"\x01\0\0\0\x01\0\0\0\x01t",
    ];
    let tags = [String::from("t")].into();
    assert_eq!(change(Some(hash), Some(tags))[..], both.concat());
}

#[test]
fn too_many_bytes_of_arguments_are_refused() {
    let big = |length: usize| {
        let argument = |name: &'static [u8]| Argument {
            name: Bytes::from_static(name),
            tag: b'S',
            value: HeaderValue::Bytes(vec![0; length].into()),
        };
        Command::Amqp(AmqpCommand::DeclareQueue(DeclareQueue {
            arguments: Arguments::new(vec![argument(b"a"), argument(b"b")]),
            ..queue("q")
        }))
    };
    let decoded = |command: Command| Command::decode(&command.encode());

    assert!(decoded(big(AMQP_ARGUMENTS_BYTES_MAX / 2 - 100)).is_ok());
    let refused = decoded(big(AMQP_ARGUMENTS_BYTES_MAX / 2)).unwrap_err();
    assert!(matches!(refused, CodecError::OverLimit { .. }), "{refused}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        tag in 64..81_u8,
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes: Bytes = [&[1, tag][..], &bytes].concat().into();
        if let Ok(command) = Command::decode(&bytes) {
            prop_assert_eq!(Command::decode(&command.encode()), Ok(command));
        }
    }

    #[test]
    fn no_changed_byte_makes_the_decoder_panic(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let all: Vec<_> = encoded().collect();
        let mut bytes = all[which.index(all.len())].1.to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(command) = Command::decode(&bytes.into()) {
            prop_assert_eq!(Command::decode(&command.encode()), Ok(command));
        }
    }
}
