//! Client quotas: which limit holds for whom, and how long a client is to wait.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use raftmq_core::limits::QUOTA_RATES_COUNT_MAX;
use raftmq_core::quota::{
    ClientIdentity, EntityName, NameMatch, QuotaEntity, QuotaFilter, QuotaKind, QuotaValue, Quotas,
    Rate, Throttles, limit_of,
};

const PRODUCE: QuotaKind = QuotaKind::ProduceBytes;

fn who(user: &str, client_id: &str) -> ClientIdentity {
    ClientIdentity {
        user: user.into(),
        client_id: client_id.into(),
    }
}

/// A part of an entity: `-` absent, `*` the default, else a name.
fn part(text: &str) -> Option<EntityName> {
    match text {
        "-" => None,
        "*" => Some(EntityName::Default),
        name => Some(EntityName::Named(name.into())),
    }
}

fn entity(user: &str, client_id: &str) -> QuotaEntity {
    QuotaEntity {
        user: part(user),
        client_id: part(client_id),
    }
}

fn quotas(limits: &[(&str, &str, QuotaKind, f64)]) -> Quotas {
    let mut quotas = Quotas::new();
    for (user, client_id, kind, value) in limits {
        let values = [(*kind, QuotaValue::new(*value))].into();
        quotas.insert(entity(user, client_id), Arc::new(values));
    }
    quotas
}

#[test]
fn the_entity_that_names_the_most_decides_in_kafkas_order() {
    // KIP-55's order, first to last; each limit is its rank.
    let order = [
        ("jane", "app"),
        ("jane", "*"),
        ("jane", "-"),
        ("*", "app"),
        ("*", "*"),
        ("*", "-"),
        ("-", "app"),
        ("-", "*"),
    ];
    let ranked: Vec<_> = (1..).zip(order).collect();
    for first in 0..ranked.len() {
        let there: Vec<_> = ranked[first..]
            .iter()
            .map(|(rank, (user, client_id))| (*user, *client_id, PRODUCE, f64::from(*rank)))
            .collect();
        let limit = limit_of(&quotas(&there), &who("jane", "app"), PRODUCE).unwrap();
        assert_eq!(
            limit.value,
            f64::from(ranked[first].0),
            "{:?}",
            order[first]
        );
    }
}

#[test]
fn a_client_without_a_limit_of_this_kind_never_waits_and_is_not_remembered() {
    let limits = quotas(&[
        ("jane", "-", QuotaKind::FetchBytes, 1.0),
        ("-", "other", PRODUCE, 1.0),
    ]);
    let mut throttles = Throttles::default();

    let wait_ms = throttles.record(&limits, &who("jane", "app"), PRODUCE, u64::MAX, 5);

    assert_eq!(wait_ms, 0);
    assert_eq!(throttles.rates_count(), 0);
    assert_eq!(
        Throttles::amount_at_once_max(&limits, &who("jane", "app"), PRODUCE),
        u64::MAX
    );
}

#[test]
fn ten_seconds_worth_pass_at_once_and_what_is_over_waits_until_the_rate_fits() {
    let limits = quotas(&[("-", "app", PRODUCE, 1_000.0)]);
    let app = who("jane", "app");
    let mut throttles = Throttles::default();

    assert_eq!(throttles.record(&limits, &app, PRODUCE, 10_000, 0), 0);
    assert_eq!(throttles.record(&limits, &app, PRODUCE, 500, 0), 500);
    assert_eq!(throttles.record(&limits, &app, PRODUCE, 1_500, 10), 2_000);
    // Ten seconds later the window is as long as what was used.
    assert_eq!(throttles.record(&limits, &app, PRODUCE, 0, 12_100), 0);
}

#[test]
fn a_client_that_keeps_its_limit_never_waits() {
    let limits = quotas(&[("-", "*", PRODUCE, 1_000.0)]);
    let mut throttles = Throttles::default();
    for second in 0..100 {
        for part in 0..10 {
            let now_ms = second * 1_000 + part * 100;
            let wait_ms = throttles.record(&limits, &who("jane", "app"), PRODUCE, 99, now_ms);
            assert_eq!(wait_ms, 0, "second {second}");
        }
    }
}

#[test]
fn clients_share_a_users_limit_and_each_client_has_a_default_for_itself() {
    let limits = quotas(&[
        ("jane", "-", PRODUCE, 1_000.0),
        ("-", "*", PRODUCE, 1_000.0),
    ]);
    let mut throttles = Throttles::default();

    assert_eq!(
        throttles.record(&limits, &who("jane", "a"), PRODUCE, 10_000, 0),
        0
    );
    assert_eq!(
        throttles.record(&limits, &who("jane", "b"), PRODUCE, 1_000, 0),
        1_000
    );
    assert_eq!(
        throttles.record(&limits, &who("paul", "a"), PRODUCE, 10_000, 0),
        0
    );
    assert_eq!(
        throttles.record(&limits, &who("paul", "b"), PRODUCE, 10_000, 0),
        0
    );
    // The default names no user: paul's a and maria's a are one client.
    assert_eq!(
        throttles.record(&limits, &who("maria", "a"), PRODUCE, 1_000, 0),
        1_000
    );
}

#[test]
fn time_is_counted_in_percent_of_a_thread_and_waits_at_most_a_second() {
    const SECOND_NANOS: u64 = 1_000_000_000;
    let kind = QuotaKind::RequestPercentage;
    let limits = quotas(&[("-", "app", kind, 50.0)]);
    let app = who("jane", "app");
    let mut throttles = Throttles::default();

    assert_eq!(
        throttles.record(&limits, &app, kind, 5 * SECOND_NANOS, 0),
        0
    );
    assert_eq!(
        throttles.record(&limits, &app, kind, SECOND_NANOS / 4, 0),
        500
    );
    assert_eq!(
        throttles.record(&limits, &app, kind, 100 * SECOND_NANOS, 0),
        1_000
    );
}

#[test]
fn what_is_taken_back_was_never_used() {
    let limits = quotas(&[("-", "app", QuotaKind::FetchBytes, 1_000.0)]);
    let app = who("jane", "app");
    let mut throttles = Throttles::default();
    let kind = QuotaKind::FetchBytes;
    assert_eq!(throttles.record(&limits, &app, kind, 12_000, 0), 2_000);

    throttles.take_back(&limits, &app, kind, 12_000);

    assert_eq!(throttles.record(&limits, &app, kind, 10_000, 1), 0);
    assert_eq!(Throttles::amount_at_once_max(&limits, &app, kind), 10_000);
}

#[test]
fn the_number_of_remembered_rates_is_bounded_and_the_newest_stay() {
    let limits = quotas(&[("-", "*", PRODUCE, 1.0)]);
    let mut throttles = Throttles::default();
    let clients = QUOTA_RATES_COUNT_MAX as u64 + 10;
    for number in 0..clients {
        throttles.record(
            &limits,
            &who("u", &number.to_string()),
            PRODUCE,
            100,
            number,
        );
        assert!(throttles.rates_count() <= QUOTA_RATES_COUNT_MAX);
    }

    let newest = who("u", &(clients - 1).to_string());
    assert!(throttles.record(&limits, &newest, PRODUCE, 1, clients) > 0);
    let oldest = who("u", "0");
    assert_eq!(throttles.record(&limits, &oldest, PRODUCE, 1, clients), 0);
}

#[test]
fn a_filter_finds_what_kafkas_would() {
    let limits = quotas(&[
        ("jane", "app", PRODUCE, 1.0),
        ("jane", "-", PRODUCE, 2.0),
        ("*", "-", PRODUCE, 3.0),
        ("-", "app", PRODUCE, 4.0),
    ]);
    let found = |user: Option<NameMatch>, client_id: Option<NameMatch>, is_strict: bool| {
        let filter = QuotaFilter {
            user,
            client_id,
            is_strict,
        };
        let found = filter
            .select(&limits)
            .map(|(_, values)| values[&PRODUCE].get());
        let mut found: Vec<f64> = found.collect();
        found.sort_by(f64::total_cmp);
        found
    };
    let jane = || Some(NameMatch::Exact("jane".into()));

    assert_eq!(found(None, None, false), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(found(None, None, true), [0.0; 0]);
    assert_eq!(found(jane(), None, false), [1.0, 2.0]);
    assert_eq!(found(jane(), None, true), [2.0]);
    assert_eq!(found(Some(NameMatch::Default), None, false), [3.0]);
    assert_eq!(found(Some(NameMatch::Any), None, true), [2.0, 3.0]);
    assert_eq!(
        found(Some(NameMatch::Any), Some(NameMatch::Any), true),
        [1.0]
    );
}

#[test]
fn a_limit_of_bytes_is_whole_and_every_limit_is_above_nothing() {
    for kind in QuotaKind::ALL {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(
                QuotaValue::new(value).check(kind).is_err(),
                "{kind:?} {value}"
            );
        }
        assert_eq!(QuotaValue::new(1.0).check(kind), Ok(()));
        assert_eq!(QuotaKind::of_name(kind.name()), Some(kind));
    }
    assert!(QuotaValue::new(1.5).check(PRODUCE).is_err());
    assert!(QuotaValue::new(9.3e18).check(PRODUCE).is_err());
    assert_eq!(
        QuotaValue::new(1.5).check(QuotaKind::RequestPercentage),
        Ok(())
    );
}

proptest! {
    /// Against a model that keeps every event.
    #[test]
    fn the_window_holds_all_of_the_last_ten_seconds_and_nothing_older_than_eleven(
        events in vec((0_u64..3_000, 0_u64..1_000), 1..60),
    ) {
        let mut rate = Rate::default();
        let mut all = Vec::new();
        let mut now_ms = 0;
        for (pause_ms, amount) in events {
            now_ms += pause_ms;
            rate.record(amount, now_ms);
            all.push((now_ms, amount));
            let (total, window_ms) = rate.measure(now_ms);
            let since = |age_ms: u64| -> u64 {
                let young = |(at_ms, _): &&(u64, u64)| now_ms - at_ms < age_ms;
                all.iter().filter(young).map(|(_, amount)| amount).sum()
            };
            prop_assert!(total >= since(10_000), "{total} of {}", since(10_000));
            prop_assert!(total <= since(11_000), "{total} of {}", since(11_000));
            prop_assert!((10_000..11_000).contains(&window_ms), "{window_ms}");
        }
    }
}
