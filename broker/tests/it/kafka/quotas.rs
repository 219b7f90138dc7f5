//! Client quotas (KIP-124): who uses too much is told so, and not read until its wait is over
//! (KIP-219).

use std::time::Duration;

use raftmq_kafka_protocol::messages::alter_client_quotas::request::{
    EntityData, EntryData, OpData,
};
use raftmq_kafka_protocol::messages::describe_client_quotas::request::ComponentData;
use raftmq_kafka_protocol::messages::{
    AlterClientQuotasRequest, DescribeClientQuotasRequest, DescribeClientQuotasResponse,
    ProduceResponse,
};
use raftmq_kafka_protocol::{ErrorCode, Response};
use tokio::time::Instant;

use super::wire::{FETCH, PRODUCE, Wire, batch, broker, fetch_request, produce_request, values};
use crate::support::wait_until;

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;
/// Clocks tick; a wait may look this much shorter than it was told.
const SLACK: Duration = Duration::from_millis(20);

type Part<'a> = (&'a str, Option<&'a str>);

/// Sets quotas, or removes those without a value. Gives the error code.
fn alter(wire: &mut Wire, entity: &[Part<'_>], ops: &[(&str, Option<f64>)]) -> i16 {
    let part = |(kind, name): &Part<'_>| EntityData {
        entity_type: (*kind).into(),
        entity_name: name.map(Into::into),
    };
    let op = |(key, value): &(&str, Option<f64>)| OpData {
        key: (*key).into(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    };
    let request = AlterClientQuotasRequest {
        entries: vec![EntryData {
            entity: entity.iter().map(part).collect(),
            ops: ops.iter().map(op).collect(),
        }],
        validate_only: false,
    };
    let Response::AlterClientQuotas(response) = wire.call(1, request) else {
        panic!("not an answer to AlterClientQuotas")
    };
    response.entries[0].error_code
}

fn ask(wire: &mut Wire, components: &[(&str, i8, Option<&str>)]) -> DescribeClientQuotasResponse {
    let component = |(kind, match_type, name): &(&str, i8, Option<&str>)| ComponentData {
        entity_type: (*kind).into(),
        match_type: *match_type,
        r#match: name.map(Into::into),
    };
    let request = DescribeClientQuotasRequest {
        components: components.iter().map(component).collect(),
        strict: false,
    };
    let Response::DescribeClientQuotas(response) = wire.call(1, request) else {
        panic!("not an answer to DescribeClientQuotas")
    };
    response
}

/// What is described, as `client-id=slow producer_byte_rate=7`.
fn describe(wire: &mut Wire, components: &[(&str, i8, Option<&str>)]) -> Vec<String> {
    let response = ask(wire, components);
    assert_eq!(response.error_code, 0, "{response:?}");
    let entries = response.entries.unwrap();
    let describe =
        |entry: &raftmq_kafka_protocol::messages::describe_client_quotas::response::EntryData| {
            let parts = entry.entity.iter().map(|part| {
                format!(
                    "{}={}",
                    part.entity_type,
                    part.entity_name.as_deref().unwrap_or("*")
                )
            });
            let limits = entry
                .values
                .iter()
                .map(|limit| format!("{}={}", limit.key, limit.value));
            parts.chain(limits).collect::<Vec<_>>().join(" ")
        };
    entries.iter().map(describe).collect()
}

fn produce(wire: &mut Wire, bytes: usize) -> ProduceResponse {
    let request = produce_request("t", -1, batch(&[&"x".repeat(bytes)]));
    let Response::Produce(response) = wire.call(PRODUCE, request) else {
        panic!("not an answer to Produce")
    };
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    response
}

/// How long the broker takes to answer the next request.
fn next_answer(wire: &mut Wire) -> Duration {
    let asked_at = Instant::now();
    wire.metadata("t");
    asked_at.elapsed()
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap())
}

#[test]
fn a_producer_above_its_rate_waits_and_nobody_else_does() {
    const HALF_OF_TEN_SECONDS: usize = 205_000;
    let (broker, mut wire) = broker(&[]);
    wire.topic("t");
    let slow = [("client-id", Some("slow"))];
    assert_eq!(
        alter(&mut wire, &slow, &[("producer_byte_rate", Some(40_000.0))]),
        0
    );
    let mut slow = Wire::connect_as(&broker.kafka(), "slow");
    assert_eq!(produce(&mut wire, HALF_OF_TEN_SECONDS).throttle_time_ms, 0);
    assert_eq!(produce(&mut wire, HALF_OF_TEN_SECONDS).throttle_time_ms, 0);

    assert_eq!(produce(&mut slow, HALF_OF_TEN_SECONDS).throttle_time_ms, 0);
    let told = millis(produce(&mut slow, HALF_OF_TEN_SECONDS).throttle_time_ms);
    assert!((1..=1_000).contains(&told.as_millis()), "{told:?}");
    let waited = next_answer(&mut slow);
    assert!(waited + SLACK >= told, "{waited:?} instead of {told:?}");

    // Without an answer the client is not told, and waits all the same.
    let mut slow = Wire::connect_as(&broker.kafka(), "slow");
    let sent_at = Instant::now();
    slow.send(PRODUCE, produce_request("t", 0, batch(&["v"])));
    // What comes close behind it may be in work already.
    next_answer(&mut slow);
    next_answer(&mut slow);
    let waited = sent_at.elapsed();
    assert!(waited + SLACK >= told, "{waited:?} instead of {told:?}");
}

#[test]
fn a_consumer_above_its_rate_gets_its_records_later() {
    let (broker, mut wire) = broker(&[]);
    wire.topic("t");
    for bytes in [90_000, 90_000, 30_000] {
        produce(&mut wire, bytes);
    }
    let reader = [("client-id", None)];
    assert_eq!(
        alter(
            &mut wire,
            &reader,
            &[("consumer_byte_rate", Some(20_000.0))]
        ),
        0
    );
    let mut reader = Wire::connect_as(&broker.kafka(), "reader");
    let fetch = |wire: &mut Wire, offset| {
        let request = fetch_request("t", offset);
        let Response::Fetch(response) = wire.call(FETCH, request) else {
            panic!("not an answer to Fetch")
        };
        response
    };

    let first = fetch(&mut reader, 0);
    assert_eq!(first.throttle_time_ms, 0);
    assert_eq!(values(&first.responses[0].partitions[0]).len(), 2);
    let throttled = fetch(&mut reader, 2);
    let told = millis(throttled.throttle_time_ms);
    assert!((1..=2_000).contains(&told.as_millis()), "{told:?}");
    assert!(throttled.responses.is_empty(), "{throttled:?}");
    let waited = next_answer(&mut reader);
    assert!(waited + SLACK >= told, "{waited:?} instead of {told:?}");

    let anybody = [("client-id", None)];
    assert_eq!(
        alter(&mut wire, &anybody, &[("consumer_byte_rate", None)]),
        0
    );
    let rest = fetch(&mut reader, 2);
    assert_eq!(rest.throttle_time_ms, 0);
    assert_eq!(values(&rest.responses[0].partitions[0]).len(), 1);
}

#[test]
fn a_client_that_keeps_the_broker_busy_waits_a_second_at_most() {
    let (broker, mut wire) = broker(&[]);
    wire.topic("t");
    let busy = [("user", Some("ANONYMOUS")), ("client-id", Some("busy"))];
    assert_eq!(
        alter(&mut wire, &busy, &[("request_percentage", Some(0.0001))]),
        0
    );
    let mut busy = Wire::connect_as(&broker.kafka(), "busy");

    let mut told = Duration::ZERO;
    wait_until(|| {
        told = millis(busy.metadata("t").throttle_time_ms);
        !told.is_zero()
    });
    assert!(told <= Duration::from_secs(1), "{told:?}");
    let waited = next_answer(&mut busy);
    assert!(waited + SLACK >= told, "{waited:?} instead of {told:?}");
}

#[test]
fn quotas_are_described_by_what_they_are_for() {
    let (_broker, mut wire) = broker(&[]);
    let rate = [("producer_byte_rate", Some(7.0))];
    assert_eq!(alter(&mut wire, &[("user", Some("u"))], &rate), 0);
    assert_eq!(
        alter(
            &mut wire,
            &[("user", None), ("client-id", Some("c"))],
            &rate
        ),
        0
    );
    let more = [
        ("request_percentage", Some(0.5)),
        ("producer_byte_rate", None),
    ];
    assert_eq!(alter(&mut wire, &[("user", Some("u"))], &more), 0);

    let of_u = "user=u request_percentage=0.5".to_owned();
    let of_c = "user=* client-id=c producer_byte_rate=7".to_owned();
    assert_eq!(describe(&mut wire, &[]), [of_c.clone(), of_u.clone()]);
    assert_eq!(describe(&mut wire, &[("user", EXACT, Some("u"))]), [of_u]);
    let of_default = describe(&mut wire, &[("user", DEFAULT, None)]);
    assert_eq!(of_default, std::slice::from_ref(&of_c));
    assert_eq!(describe(&mut wire, &[("client-id", ANY, None)]), [of_c]);
    assert!(describe(&mut wire, &[("ip", ANY, None)]).is_empty());
}

#[test]
fn bad_quotas_are_refused_and_change_nothing() {
    let (_broker, mut wire) = broker(&[]);
    let invalid = i16::from(ErrorCode::InvalidRequest);
    let user: [Part<'_>; 1] = [("user", Some("u"))];
    let twice: [Part<'_>; 2] = [("user", Some("u")), ("user", None)];
    for (entity, ops) in [
        (&user[..], &[("producer_byte_rate", Some(0.0))][..]),
        (&user[..], &[("producer_byte_rate", Some(1.5))][..]),
        (&user[..], &[("producer_byte_rate", Some(f64::NAN))][..]),
        (&user[..], &[("no_such_key", Some(1.0))][..]),
        (
            &user[..],
            &[
                ("producer_byte_rate", Some(1.0)),
                ("producer_byte_rate", None),
            ][..],
        ),
        (&[][..], &[("producer_byte_rate", Some(1.0))][..]),
        (&twice[..], &[("producer_byte_rate", Some(1.0))][..]),
        (
            &[("user", Some(""))][..],
            &[("producer_byte_rate", Some(1.0))][..],
        ),
        (
            &[("ip", Some("::1"))][..],
            &[("producer_byte_rate", Some(1.0))][..],
        ),
    ] {
        assert_eq!(alter(&mut wire, entity, ops), invalid, "{entity:?} {ops:?}");
    }
    for (components, code) in [
        (&[("user", EXACT, None)][..], invalid),
        (&[("user", ANY, Some("u"))][..], invalid),
        (&[("user", 9, None)][..], invalid),
        (&[("user", ANY, None), ("user", ANY, None)][..], invalid),
        (
            &[("color", ANY, None)][..],
            ErrorCode::UnsupportedVersion.into(),
        ),
    ] {
        let refused = ask(&mut wire, components);
        assert_eq!(refused.error_code, code, "{components:?}");
        assert!(refused.entries.is_none());
    }
    assert!(describe(&mut wire, &[]).is_empty());
}
