//! The planted bugs of client quotas do harm.

use std::sync::Arc;

use raftmq_core::planted::{Bug, plant};
use raftmq_core::quota::{
    ClientIdentity, EntityName, QuotaEntity, QuotaKind, QuotaValue, Quotas, Throttles, limit_of,
};

pub(super) fn each_bug_of_quotas_breaks_its_promise() {
    let who = ClientIdentity {
        user: "jane".into(),
        client_id: "app".into(),
    };
    let of_client = |name| QuotaEntity {
        user: None,
        client_id: Some(name),
    };
    let limit = |value| Arc::new([(QuotaKind::ProduceBytes, QuotaValue::new(value))].into());
    let quotas: Quotas = [
        (of_client(EntityName::Named("app".into())), limit(1.0)),
        (of_client(EntityName::Default), limit(2.0)),
    ]
    .into_iter()
    .collect();
    let value = || limit_of(&quotas, &who, QuotaKind::ProduceBytes).map(|limit| limit.value);
    assert_eq!(value(), Some(1.0));
    plant(Bug::QuotaDefaultsFirst);
    assert_eq!(value(), Some(2.0), "its own limit is ignored");

    let wait_ms = || Throttles::default().record(&quotas, &who, QuotaKind::ProduceBytes, 100, 0);
    assert!(wait_ms() > 0);
    plant(Bug::QuotaNeverThrottles);
    assert_eq!(wait_ms(), 0, "nobody waits");
}
