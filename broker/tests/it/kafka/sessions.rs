//! Fetch sessions over the wire (KIP-227).

use raftmq_kafka_protocol::messages::{FetchRequest, FetchResponse};
use raftmq_kafka_protocol::{ErrorCode, Response};

use super::wire::{Wire, batch, broker, fetch_request, values};

fn fetch(wire: &mut Wire, request: FetchRequest) -> FetchResponse {
    let Response::Fetch(response) = wire.call(12, request) else {
        panic!("not an answer to Fetch")
    };
    response
}

fn incremental(session_id: i32, session_epoch: i32) -> FetchRequest {
    FetchRequest {
        session_id,
        session_epoch,
        topics: vec![],
        max_wait_ms: 0,
        ..fetch_request("t", 0)
    }
}

#[test]
fn a_session_answers_only_with_news() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    let full = FetchRequest {
        session_epoch: 0,
        max_wait_ms: 0,
        ..fetch_request("t", 0)
    };
    let begun = fetch(&mut wire, full);
    let session = begun.session_id;
    assert!(session > 0);
    assert_eq!(begun.responses[0].partitions.len(), 1);

    let quiet = fetch(&mut wire, incremental(session, 1));
    assert_eq!((quiet.error_code, quiet.session_id), (0, session));
    assert!(quiet.responses.is_empty());

    wire.produce("t", batch(&["news"]));
    let news = fetch(&mut wire, incremental(session, 2));
    assert_eq!(
        values(&news.responses[0].partitions[0]),
        [(0, "news".to_owned())]
    );

    let again = fetch(&mut wire, incremental(session, 2));
    assert_eq!(
        again.error_code,
        i16::from(ErrorCode::InvalidFetchSessionEpoch)
    );
    let unknown = fetch(&mut wire, incremental(session ^ 1, 3));
    assert_eq!(
        unknown.error_code,
        i16::from(ErrorCode::FetchSessionIdNotFound)
    );
    // Refusals changed nothing.
    let third = fetch(&mut wire, incremental(session, 3));
    assert_eq!(third.error_code, 0);
}

#[test]
fn a_session_ends_with_its_last_request() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    let full = FetchRequest {
        session_epoch: 0,
        max_wait_ms: 0,
        ..fetch_request("t", 0)
    };
    let session = fetch(&mut wire, full).session_id;
    let last = fetch(&mut wire, incremental(session, -1));
    assert_eq!((last.error_code, last.session_id), (0, 0));
    let gone = fetch(&mut wire, incremental(session, 1));
    assert_eq!(
        gone.error_code,
        i16::from(ErrorCode::FetchSessionIdNotFound)
    );
}
