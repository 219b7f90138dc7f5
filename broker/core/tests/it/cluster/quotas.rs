//! The command that sets and removes client quotas.

use bytes::Bytes;
use raftmq_core::cluster::{AlterClientQuotas, Cluster, ClusterError, Command, Outcome};
use raftmq_core::codec::RestoreError;
use raftmq_core::limits::CLIENT_QUOTAS_COUNT_MAX;
use raftmq_core::quota::{EntityName, QuotaEntity, QuotaError, QuotaKind, QuotaValue};
use raftmq_core::{Effect, Machine};

use crate::support::Rows;
use crate::support::cluster::Harness;

fn client(name: &str) -> QuotaEntity {
    QuotaEntity {
        user: None,
        client_id: Some(EntityName::Named(name.into())),
    }
}

fn alter(entity: QuotaEntity, set: &[(QuotaKind, f64)], unset: &[QuotaKind]) -> Command {
    let value = |(kind, value): &(QuotaKind, f64)| (*kind, QuotaValue::new(*value));
    Command::AlterClientQuotas(AlterClientQuotas {
        entity,
        set: set.iter().map(value).collect(),
        unset: unset.iter().copied().collect(),
    })
}

#[test]
fn quotas_are_set_changed_and_removed_and_repetition_changes_nothing() {
    let mut harness = Harness::created();
    let set = alter(
        client("app"),
        &[
            (QuotaKind::ProduceBytes, 1_000.0),
            (QuotaKind::FetchBytes, 2_000.0),
        ],
        &[],
    );

    let applied = harness.commit(&set);

    assert_eq!(applied.reply, Ok(Outcome::Done));
    assert_eq!(applied.effects, [Effect::ImageChanged]);
    let values = &harness.image().client_quotas[&client("app")];
    assert_eq!(values[&QuotaKind::ProduceBytes].get(), 1_000.0);
    assert_eq!(values[&QuotaKind::FetchBytes].get(), 2_000.0);
    assert_eq!(harness.commit(&set).effects, []);

    let change = alter(
        client("app"),
        &[(QuotaKind::RequestPercentage, 12.5)],
        &[QuotaKind::FetchBytes],
    );
    harness.accept(&change);
    let kinds: Vec<_> = harness.image().client_quotas[&client("app")]
        .keys()
        .copied()
        .collect();
    assert_eq!(
        kinds,
        [QuotaKind::ProduceBytes, QuotaKind::RequestPercentage]
    );

    harness.accept(&alter(client("app"), &[], &QuotaKind::ALL));
    assert!(harness.image().client_quotas.is_empty());
    assert_eq!(
        harness
            .commit(&alter(client("app"), &[], &QuotaKind::ALL))
            .effects,
        []
    );
}

#[test]
fn what_is_no_quota_is_refused_and_changes_nothing() {
    let mut harness = Harness::created();
    let nobody = QuotaEntity {
        user: None,
        client_id: None,
    };
    let some = [(QuotaKind::ProduceBytes, 1.0)];
    let refused = |harness: &mut Harness, command| {
        let refused = harness.refuse(&command);
        let ClusterError::InvalidQuota(error) = refused else {
            panic!("{refused}")
        };
        error
    };

    let error = refused(&mut harness, alter(nobody, &some, &[]));
    assert_eq!(error, QuotaError::NoEntity);
    let error = refused(&mut harness, alter(client(""), &some, &[]));
    assert_eq!(
        error,
        QuotaError::EntityName {
            actual: 0,
            max: 255
        }
    );
    let error = refused(
        &mut harness,
        alter(client("a"), &some, &[QuotaKind::ProduceBytes]),
    );
    let kind = QuotaKind::ProduceBytes;
    assert_eq!(error, QuotaError::SetAndUnset { kind });
    let error = refused(&mut harness, alter(client("a"), &[(kind, 0.5)], &[]));
    let value = "0.5".to_owned();
    assert_eq!(error, QuotaError::Value { kind, value });
}

#[test]
fn entities_are_bounded_and_those_that_are_there_can_still_change() {
    let mut harness = Harness::created();
    for number in 0..CLIENT_QUOTAS_COUNT_MAX {
        let entity = client(&number.to_string());
        harness.accept(&alter(entity, &[(QuotaKind::FetchBytes, 1.0)], &[]));
    }

    let refused = harness.refuse(&alter(client("more"), &[(QuotaKind::FetchBytes, 1.0)], &[]));

    let max = CLIENT_QUOTAS_COUNT_MAX;
    assert_eq!(
        refused,
        ClusterError::InvalidQuota(QuotaError::TooMany { max })
    );
    harness.accept(&alter(client("7"), &[(QuotaKind::FetchBytes, 2.0)], &[]));
    harness.accept(&alter(client("8"), &[], &[QuotaKind::FetchBytes]));
    harness.accept(&alter(client("more"), &[(QuotaKind::FetchBytes, 1.0)], &[]));
}

/// Some quotas, one of a default.
fn with_quotas() -> Harness {
    let mut harness = Harness::created();
    harness.accept(&alter(client("app"), &[(QuotaKind::FetchBytes, 2.0)], &[]));
    let of_users = QuotaEntity {
        user: Some(EntityName::Default),
        client_id: Some(EntityName::Named("é".into())),
    };
    harness.accept(&alter(
        of_users,
        &[(QuotaKind::RequestPercentage, 0.5)],
        &[],
    ));
    harness.persist();
    harness
}

#[test]
fn quotas_survive_a_restart_and_a_checkpoint() {
    let harness = with_quotas();

    assert_eq!(
        Cluster::restore(harness.rows.iter()).as_ref(),
        Ok(&harness.cluster)
    );
    let mut restored = Cluster::restore_checkpoint(&harness.cluster.checkpoint()).unwrap();
    assert_eq!(restored, harness.cluster);
    let mut rows = Rows::default();
    rows.update(restored.dirty_rows());
    assert_eq!(Cluster::restore(rows.rows.into_iter()), Ok(restored));
}

#[test]
fn the_rows_have_the_bytes_that_were_agreed_on_and_go_with_the_last_limit() {
    let mut harness = with_quotas();
    let of_app = b"q\0\x02\0\0\0\x03app";
    let of_users = [&b"q\x01\x02\0\0\0\x02"[..], "é".as_bytes()].concat();
    let row = |kind: u8, value: f64| {
        [&[1, 0, 0, 0, 1, kind][..], &value.to_bits().to_be_bytes()].concat()
    };
    assert_eq!(harness.rows.rows[&of_app[..]][..], row(2, 2.0));
    assert_eq!(harness.rows.rows[&of_users[..]][..], row(3, 0.5));

    harness.accept(&alter(client("app"), &[], &[QuotaKind::FetchBytes]));
    harness.persist();

    assert!(!harness.rows.rows.contains_key(&of_app[..]));
    assert_eq!(Cluster::restore(harness.rows.iter()), Ok(harness.cluster));
}

#[test]
fn rows_that_are_no_quotas_are_noticed() {
    let harness = with_quotas();
    let rows = |key: &[u8], value: &[u8]| {
        let mut rows = harness.rows.rows.clone();
        rows.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        Cluster::restore(rows.into_iter())
    };
    let what = "client quotas without an entity or without a limit";
    let contradiction = Err(RestoreError::Contradiction { what });

    assert_eq!(
        rows(b"q\0\0", &[1, 0, 0, 0, 1, 2, 0x40, 0, 0, 0, 0, 0, 0, 0]),
        contradiction
    );
    assert_eq!(rows(b"q\0\x01", &[1, 0, 0, 0, 0]), contradiction);
    assert!(
        rows(b"q\0\x03", &[1, 0, 0, 0, 0]).is_err(),
        "an unknown part"
    );
    assert!(rows(b"q\0", &[1, 0, 0, 0, 0]).is_err(), "half an entity");
    assert!(
        rows(b"q\0\x01", &[1, 0, 0, 0, 1, 9]).is_err(),
        "an unknown kind"
    );
    assert!(
        rows(b"q\0\x01", &[2, 0, 0, 0, 0]).is_err(),
        "an unknown version"
    );
}
