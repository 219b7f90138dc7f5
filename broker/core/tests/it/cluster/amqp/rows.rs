//! The rows of AMQP's world: restarts, checkpoints, golden bytes, rows that do not fit.

use bytes::Bytes;
use proptest::prelude::{any, proptest};
use raftmq_core::Machine;
use raftmq_core::cluster::Cluster;
use raftmq_core::cluster::amqp::{DeclareExchange, DeclareQueue};
use raftmq_core::codec::RestoreError;
use raftmq_core::exchange::{Arguments, ExchangeKind};

use super::{
    add_queue, bind, connection, declare_exchange, delete_exchange, delete_queue, exchange, queue,
    routed, seeded, text_argument, to_exchange, to_queue, unbind,
};
use crate::support::Rows;
use crate::support::cluster::Harness;

/// One of everything, persisted.
fn with_everything() -> Harness {
    let mut harness = seeded();
    let owner = Some(connection(&harness, 1, 7));
    add_queue(&mut harness, queue("q"));
    add_queue(
        &mut harness,
        DeclareQueue {
            owner,
            ..queue("mine")
        },
    );
    harness.accept(&declare_exchange(DeclareExchange {
        is_auto_delete: true,
        is_delayed: true,
        arguments: Arguments::new(vec![text_argument("alternate-exchange", "amq.fanout")]),
        ..exchange("x", ExchangeKind::Topic)
    }));
    harness.accept(&bind(to_queue("x", "q", "a.#")));
    harness.accept(&bind(to_exchange("amq.fanout", "x", "")));
    harness.persist();
    harness
}

#[test]
fn everything_survives_a_restart_and_a_checkpoint() {
    let harness = with_everything();

    let restored = Cluster::restore(harness.rows.iter()).unwrap();
    assert_eq!(restored, harness.cluster);
    let mut restored = Cluster::restore_checkpoint(&harness.cluster.checkpoint()).unwrap();
    assert_eq!(restored, harness.cluster);
    let mut rows = Rows::default();
    rows.update(restored.dirty_rows());
    assert_eq!(Cluster::restore(rows.iter()), Ok(restored));
}

#[test]
fn a_restored_table_routes_as_before() {
    let mut harness = with_everything();
    let before = routed(&harness, "x", "a.b");
    assert_eq!(before.len(), 1);

    harness.cluster = Cluster::restore(harness.rows.iter()).unwrap();

    assert_eq!(routed(&harness, "x", "a.b"), before);
    harness.accept(&unbind(to_queue("x", "q", "a.#")));
    assert_eq!(routed(&harness, "x", "a.b"), []);
}

#[test]
fn the_rows_have_the_bytes_that_were_agreed_on() {
    let harness = with_everything();
    let row = |key: &[&[u8]]| harness.rows.rows[&key.concat()[..]].clone();
    let id = u64::to_be_bytes;

    assert_eq!(row(&[b"a\x01"])[..], [&[1][..], &id(8), &[1]].concat());
    assert_eq!(
        row(&[b"a\x02", &id(1)])[..],
        *b"\x01\0\0\0\x01/\0\0\0\0\0\0\0\0"
    );
    let exchange: &[&[u8]] = &[
        b"\x01\0\0\0\x01x\x03\0\x01\x01\x01",
        b"\0\0\0\x01\0\0\0\x12alternate-exchangeS\x06\0\0\0\x0aamq.fanout",
    ];
    assert_eq!(row(&[b"a\x03", &id(1), &id(8)])[..], exchange.concat());
    let plain: &[&[u8]] = &[&[1], &id(1), b"\0\0\0\x01q\x01\0\0\0\0\0\0"];
    assert_eq!(row(&[b"a\x04", &id(1)])[..], plain.concat());
    let binding: &[&[u8]] = &[
        b"a\x05",
        &id(1),
        &id(8),
        &[1],
        &id(1),
        b"\0\0\0\x03a.#\0\0\0\0",
    ];
    assert_eq!(row(binding)[..], [1]);
    assert_eq!(
        row(&[b"a\x06guest"])[..],
        *b"\x01\0\0\0\x04hash\0\0\0\x01\0\0\0\x0dadministrator"
    );
    assert_eq!(
        row(&[b"a\x07", &id(1), b"guest"])[..],
        *b"\x01\0\0\0\x02.*\0\0\0\x02.*\0\0\0\x02.*"
    );
}

#[test]
fn what_is_deleted_leaves_no_row() {
    let mut harness = with_everything();
    let rows_of = |harness: &Harness, kind: u8| {
        let keys = harness.rows.rows.keys();
        keys.filter(|key| key.starts_with(&[b'a', kind])).count()
    };
    let queues: Vec<_> = harness.image().amqp.queues.keys().copied().collect();
    assert_eq!((rows_of(&harness, 4), rows_of(&harness, 5)), (2, 2));

    harness.accept(&delete_exchange("x", false));
    for group in queues {
        harness.accept(&delete_queue(group));
    }
    harness.persist();

    assert_eq!((rows_of(&harness, 4), rows_of(&harness, 5)), (0, 0));
    assert_eq!(rows_of(&harness, 3), 6, "those of every virtual host");
    let restored = Cluster::restore(harness.rows.iter());
    assert_eq!(restored, Ok(harness.cluster));
}

#[test]
fn updates_come_in_ascending_order_of_keys() {
    let mut harness = with_everything();
    for key in ["long key", "k", "", "zz"] {
        harness.accept(&bind(to_queue("x", "q", key)));
    }

    let updates = harness.cluster.dirty_rows();

    assert!(updates.puts.is_sorted_by_key(|(key, _)| key.clone()));
    let all = Cluster::restore_checkpoint(&harness.cluster.checkpoint());
    let all = all.unwrap().dirty_rows();
    let of_amqp = all.puts.iter().filter(|(key, _)| key[0] == b'a');
    assert!(of_amqp.is_sorted_by_key(|(key, _)| key.clone()));
}

#[test]
fn rows_that_do_not_belong_together_are_noticed() {
    let harness = with_everything();
    let id = u64::to_be_bytes;
    let without = |key: &[&[u8]]| {
        let mut rows = harness.rows.rows.clone();
        assert!(rows.remove(&key.concat()[..]).is_some());
        Cluster::restore(rows.into_iter()).unwrap_err()
    };
    let with = |key: &[&[u8]], value: &[u8]| {
        let mut rows = harness.rows.rows.clone();
        rows.insert(key.concat().into(), Bytes::copy_from_slice(value));
        Cluster::restore(rows.into_iter()).unwrap_err()
    };
    let contradicts = |error: RestoreError, expected: &str| {
        let RestoreError::Contradiction { what } = error else {
            panic!("{error}")
        };
        assert_eq!(what, expected);
    };
    let nowhere = "a binding has no source or no destination";

    contradicts(
        without(&[b"a\x02", &id(1)]),
        "something belongs to a virtual host that is not there",
    );
    contradicts(without(&[b"a\x03", &id(1), &id(8)]), nowhere);
    contradicts(without(&[b"a\x04", &id(1)]), nowhere);
    contradicts(without(&[b"a\x04", &id(2)]), "a partition has no topic");
    contradicts(without(&[b"p", &id(2)]), "a queue has no group");
    contradicts(
        without(&[b"a\x06guest"]),
        "permissions of nobody, or for nothing",
    );
    contradicts(
        without(&[b"a\x01"]),
        "an id of AMQP's world above the last one",
    );
    contradicts(
        with(&[b"a\x02", &id(2)], b"\x01\0\0\0\x01/\0\0\0\0\0\0\0\0"),
        "two virtual hosts have one name",
    );
    let unknown = with(&[b"a\x09"], &[1]);
    assert!(matches!(
        unknown,
        RestoreError::UnknownRow { family: b'a', .. }
    ));
    let newer = with(&[b"a\x06jane"], &[2]);
    assert!(matches!(newer, RestoreError::Codec(_)), "{newer}");
}

proptest! {
    #[test]
    fn no_row_makes_a_restart_panic(
        kind in 0..9_u8,
        key in proptest::collection::vec(any::<u8>(), 0..60),
        value in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut rows = with_everything().rows.rows;
        let key = [&[b'a', kind][..], &key].concat();
        rows.insert(key.into(), [&[1][..], &value].concat().into());
        let _ = Cluster::restore(rows.into_iter());
    }
}
