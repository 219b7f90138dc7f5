//! The version table, the error table, the sessions and the reference page.

use std::time::Duration;

use raftmq_kafka_protocol::{ApiKey, ErrorCode, Uuid, supported};
use tokio::time::Instant;

use super::apis;
use super::error::of_replica;
use super::limits::{SESSION_IDLE_MIN, SESSION_PARTITIONS_MAX};
use super::sessions::{Asked, Key, NO_SESSION, Plan, Sessions, Told, Wanted};
use super::topics::TopicName;
use crate::replica::ReplicaError;

#[test]
fn what_is_advertised_is_what_is_served() {
    let told = apis::api_versions().api_keys;
    let mut keys: Vec<i16> = told.iter().map(|api| api.api_key).collect();
    assert!(keys.is_sorted());
    keys.dedup();
    assert_eq!(keys.len(), told.len());
    for api in told {
        let key = ApiKey::from_i16(api.api_key).unwrap();
        let served_from = if key == ApiKey::Produce {
            3
        } else {
            api.min_version
        };
        for version in served_from..=api.max_version {
            assert!(apis::find(key, version).is_some(), "{key:?} {version}");
            assert!(key.versions().contains(version), "{key:?} {version}");
        }
        assert!(apis::find(key, api.max_version + 1).is_none());
    }
}

#[test]
fn produce_is_advertised_from_0_and_served_from_3() {
    let told = apis::api_versions().api_keys;
    let produce = told.iter().find(|api| api.api_key == 0).unwrap();
    assert_eq!((produce.min_version, produce.max_version), (0, 13));
    assert!(apis::find(ApiKey::Produce, 2).is_none());
}

#[test]
fn keys_without_a_handler_are_not_found_in_any_version() {
    let served: Vec<ApiKey> = apis::served().map(|row| row.key).collect();
    let others = supported()
        .iter()
        .filter(|info| !served.contains(&info.key));
    for info in others {
        assert!(
            info.versions
                .iter()
                .all(|version| apis::find(info.key, version).is_none())
        );
    }
}

#[test]
fn errors_that_clients_try_again_after_are_told_apart() {
    let not_leader = ReplicaError::NotLeader {
        topic: "t".to_owned(),
        partition: 0,
        this_broker: 1,
        leader: None,
    };
    assert_eq!(of_replica(&not_leader), ErrorCode::NotLeaderOrFollower);
    assert_eq!(
        of_replica(&ReplicaError::Void),
        ErrorCode::NotLeaderOrFollower
    );
    assert_eq!(
        of_replica(&ReplicaError::TimedOut),
        ErrorCode::RequestTimedOut
    );
    let too_large = ReplicaError::TooLarge {
        bytes: 2,
        bytes_max: 1,
    };
    assert_eq!(of_replica(&too_large), ErrorCode::MessageTooLarge);
}

fn key(partition: i32) -> Key {
    Key {
        topic: TopicName::new("t", Uuid::ZERO, false),
        partition,
    }
}

fn wanted(partition: i32, offset: i64) -> Wanted {
    Wanted {
        key: key(partition),
        offset,
        bytes_max: 1,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
    }
}

fn asked(session_id: i32, epoch: i32, partitions: Vec<Wanted>) -> Asked {
    Asked {
        session_id,
        epoch,
        has_ids: false,
        partitions,
        forgotten: Vec::new(),
    }
}

fn told(high_watermark: i64, must_be_told: bool) -> Told {
    Told {
        high_watermark,
        log_start: 0,
        must_be_told,
    }
}

fn begin(sessions: &mut Sessions, asked: Asked) -> Result<Plan, ErrorCode> {
    sessions.begin(asked, Instant::now(), 7 << 32)
}

fn order(plan: &Plan) -> Vec<(i32, i64)> {
    let wanted = plan.wanted.iter();
    wanted.map(|one| (one.key.partition, one.offset)).collect()
}

#[tokio::test]
async fn a_session_remembers_what_was_asked_and_tells_only_news() {
    let mut sessions = Sessions::new(2);
    let full = vec![wanted(0, 5), wanted(1, 6)];
    let plan = begin(&mut sessions, asked(0, 0, full)).unwrap();
    let id = plan.session_id;
    assert_eq!((id, plan.is_incremental), (7, false));
    assert_eq!(
        sessions.finish(&plan, &[told(5, false), told(6, false)]),
        [true, true]
    );

    let plan = begin(&mut sessions, asked(id, 1, vec![])).unwrap();
    assert!(plan.is_incremental);
    assert_eq!(order(&plan), [(0, 5), (1, 6)]);
    assert_eq!(
        sessions.finish(&plan, &[told(5, false), told(6, false)]),
        [false, false]
    );

    let plan = begin(&mut sessions, asked(id, 2, vec![wanted(0, 8)])).unwrap();
    assert_eq!(order(&plan), [(0, 8), (1, 6)]);
    assert_eq!(
        sessions.finish(&plan, &[told(9, true), told(7, false)]),
        [true, true]
    );

    // Partition 0 had its turn.
    let plan = begin(&mut sessions, asked(id, 3, vec![])).unwrap();
    assert_eq!(order(&plan), [(1, 6), (0, 8)]);
}

#[tokio::test]
async fn forgotten_partitions_leave_the_session() {
    let mut sessions = Sessions::new(1);
    let plan = begin(&mut sessions, asked(0, 0, vec![wanted(0, 0), wanted(1, 0)])).unwrap();
    let forgetting = Asked {
        forgotten: vec![key(0)],
        ..asked(plan.session_id, 1, vec![])
    };
    let plan = begin(&mut sessions, forgetting).unwrap();
    assert_eq!(order(&plan), [(1, 0)]);
}

#[tokio::test]
async fn wrong_sessions_are_refused_and_change_nothing() {
    let mut sessions = Sessions::new(1);
    let id = begin(&mut sessions, asked(0, 0, vec![wanted(0, 0)]))
        .unwrap()
        .session_id;

    let unknown = begin(&mut sessions, asked(id + 1, 1, vec![]));
    assert_eq!(unknown, Err(ErrorCode::FetchSessionIdNotFound));
    let early = begin(&mut sessions, asked(id, 2, vec![wanted(1, 0)]));
    assert_eq!(early, Err(ErrorCode::InvalidFetchSessionEpoch));
    let with_ids = Asked {
        has_ids: true,
        ..asked(id, 1, vec![])
    };
    let with_ids = begin(&mut sessions, with_ids);
    assert_eq!(with_ids, Err(ErrorCode::FetchSessionTopicIdError));

    assert_eq!(
        order(&begin(&mut sessions, asked(id, 1, vec![])).unwrap()),
        [(0, 0)]
    );
}

#[tokio::test]
async fn a_session_ends_when_the_client_says_so() {
    let mut sessions = Sessions::new(1);
    let id = begin(&mut sessions, asked(0, 0, vec![wanted(0, 0)]))
        .unwrap()
        .session_id;
    let last = begin(&mut sessions, asked(id, -1, vec![wanted(0, 3)])).unwrap();
    assert_eq!((last.session_id, order(&last)), (NO_SESSION, vec![(0, 3)]));
    let gone = begin(&mut sessions, asked(id, 1, vec![]));
    assert_eq!(gone, Err(ErrorCode::FetchSessionIdNotFound));
}

#[tokio::test]
async fn an_answer_that_tells_nothing_begins_no_session_and_ends_none() {
    let mut sessions = Sessions::new(2);
    let full = begin(&mut sessions, asked(0, 0, vec![wanted(0, 0)])).unwrap();
    sessions.abandon(&full);
    assert_eq!(full.session_id_if_incremental(), NO_SESSION);
    let gone = begin(&mut sessions, asked(full.session_id, 1, vec![]));
    assert_eq!(gone, Err(ErrorCode::FetchSessionIdNotFound));

    let kept = begin(&mut sessions, asked(0, 0, vec![wanted(0, 0)])).unwrap();
    let incremental = begin(&mut sessions, asked(kept.session_id, 1, vec![])).unwrap();
    sessions.abandon(&incremental);
    assert_eq!(incremental.session_id_if_incremental(), kept.session_id);
    let next = begin(&mut sessions, asked(kept.session_id, 2, vec![])).unwrap();
    assert_eq!(order(&next), [(0, 0)]);
}

#[tokio::test]
async fn only_a_session_out_of_use_makes_room() {
    let mut sessions = Sessions::new(1);
    let now = Instant::now();
    let first = sessions
        .begin(asked(0, 0, vec![]), now, 1 << 32)
        .unwrap()
        .session_id;
    let second = sessions
        .begin(asked(0, 0, vec![]), now, 2 << 32)
        .unwrap()
        .session_id;
    assert_eq!((first, second), (1, NO_SESSION));

    let later = now + SESSION_IDLE_MIN + Duration::from_millis(1);
    let third = sessions
        .begin(asked(0, 0, vec![]), later, 3 << 32)
        .unwrap()
        .session_id;
    assert_eq!(third, 3);
    let evicted = sessions.begin(asked(first, 1, vec![]), later, 0);
    assert_eq!(evicted, Err(ErrorCode::FetchSessionIdNotFound));
}

#[tokio::test]
async fn an_enormous_session_is_not_kept() {
    let mut sessions = Sessions::new(1);
    let count = i32::try_from(SESSION_PARTITIONS_MAX).unwrap();
    let all = (0..=count).map(|partition| wanted(partition, 0)).collect();
    let plan = begin(&mut sessions, asked(0, 0, all)).unwrap();
    assert_eq!(plan.session_id, NO_SESSION);
    assert_eq!(plan.wanted.len(), SESSION_PARTITIONS_MAX + 1);
}

#[test]
fn the_reference_page_shows_what_is_served() {
    const BEGIN: &str = "<!-- Generated from broker/src/kafka/apis.rs and docs.rs. After a change: RAFTMQ_BLESS=1 cargo test -p raftmq kafka -->\n\n";
    const END: &str = "\n<!-- End of the generated table -->";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol-support.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (table, tail) = rest.split_once(END).unwrap();
    let rendered = super::render_support();
    if std::env::var_os("RAFTMQ_BLESS").is_some() {
        std::fs::write(path, [head, BEGIN, &rendered, END, tail].concat()).unwrap();
        return;
    }
    assert_eq!(table, rendered, "run with RAFTMQ_BLESS=1");
}
