//! Incremental fetch sessions (KIP-227): what a consumer asked for last time, so that it need not say
//! it again, and what it was told, so that only news is sent.
//!
//! Pure: time and randomness are arguments. Does not read partitions.

use std::collections::BTreeMap;

use raftmq_kafka_protocol::ErrorCode;
use tokio::time::Instant;

use super::limits::{SESSION_IDLE_MIN, SESSION_PARTITIONS_MAX};
use super::topics::TopicName;
use crate::planted::{Bug, is_planted};

/// No session.
pub(super) const NO_SESSION: i32 = 0;
/// Epoch of a request that wants a new session.
const EPOCH_INITIAL: i32 = 0;
/// Epoch of a request that wants no session, or the end of one.
const EPOCH_FINAL: i32 = -1;

/// A partition as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) topic: TopicName,
    pub(super) partition: i32,
}

/// What a consumer wants of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) offset: i64,
    pub(super) bytes_max: i32,
    /// -1 = any.
    pub(super) current_leader_epoch: i32,
    /// Of the last record that the consumer has; -1 = it does not say (KIP-320).
    pub(super) last_fetched_epoch: i32,
}

/// What a consumer was told of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) high_watermark: i64,
    pub(super) log_start: i64,
    /// There are records, an error, or anything else that must be said each time.
    pub(super) must_be_told: bool,
}

/// What a request says of its session.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) session_id: i32,
    pub(super) epoch: i32,
    /// Its topics are named by ids.
    pub(super) has_ids: bool,
    pub(super) partitions: Vec<Wanted>,
    pub(super) forgotten: Vec<Key>,
}

/// What is to be fetched, and under which session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// [`NO_SESSION`], or the one that the answer names.
    pub(super) session_id: i32,
    /// Only news is sent.
    pub(super) is_incremental: bool,
    /// In the order in which they have a right to the answer's room.
    pub(super) wanted: Vec<Wanted>,
}

impl Plan {
    /// What an answer names that tells nothing of any partition (KIP-219).
    pub(super) const fn session_id_if_incremental(&self) -> i32 {
        if self.is_incremental {
            self.session_id
        } else {
            NO_SESSION
        }
    }
}

#[derive(Debug)]
struct Cached {
    wanted: Wanted,
    told: Option<(i64, i64)>,
    /// Partitions that were served go behind the others.
    turn: u64,
}

#[derive(Debug)]
struct Session {
    /// Of the next request.
    epoch: i32,
    has_ids: bool,
    partitions: BTreeMap<Key, Cached>,
    next_turn: u64,
    used_at: Instant,
}

/// Every session of a broker.
#[derive(Debug)]
pub(super) struct Sessions {
    sessions: BTreeMap<i32, Session>,
    count_max: usize,
}

impl Sessions {
    pub(super) const fn new(count_max: usize) -> Self {
        Self {
            sessions: BTreeMap::new(),
            count_max,
        }
    }

    /// Takes a request in. `random` names the new session, if there is to be one.
    ///
    /// # Errors
    ///
    /// `FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH`, `FETCH_SESSION_TOPIC_ID_ERROR`;
    /// nothing changed then.
    pub(super) fn begin(
        &mut self,
        asked: Asked,
        now: Instant,
        random: u64,
    ) -> Result<Plan, ErrorCode> {
        if asked.epoch == EPOCH_INITIAL || asked.epoch == EPOCH_FINAL {
            self.sessions.remove(&asked.session_id);
            let wanted = asked.partitions.clone();
            let session_id = match asked.epoch {
                EPOCH_INITIAL => self.create(asked, now, random),
                _ => NO_SESSION,
            };
            return Ok(Plan {
                session_id,
                is_incremental: false,
                wanted,
            });
        }
        let session_id = asked.session_id;
        let session = self.sessions.get_mut(&session_id);
        let session = session.ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != asked.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.has_ids != asked.has_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        let news = asked.partitions.iter();
        let new_count = news
            .filter(|wanted| !session.partitions.contains_key(&wanted.key))
            .count();
        if session.partitions.len().saturating_add(new_count) > SESSION_PARTITIONS_MAX {
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        session.update(asked, now);
        Ok(Plan {
            session_id,
            is_incremental: true,
            wanted: session.in_turn(),
        })
    }

    /// Remembers what the answer tells, and says for each partition of it whether it is to be told.
    /// A session that ended meanwhile changes nothing.
    pub(super) fn finish(&mut self, plan: &Plan, told: &[Told]) -> Vec<bool> {
        let mut session = self.sessions.get_mut(&plan.session_id);
        let results = plan.wanted.iter().zip(told);
        let tell = results.map(|(wanted, told)| {
            let cached = session
                .as_mut()
                .and_then(|session| session.note(&wanted.key, *told));
            let is_news =
                cached.is_none_or(|before| before != Some((told.high_watermark, told.log_start)));
            !plan.is_incremental || told.must_be_told || is_news
        });
        tell.collect()
    }

    /// The answer will tell nothing: a session that it would have begun is none.
    pub(super) fn abandon(&mut self, plan: &Plan) {
        if !plan.is_incremental {
            self.sessions.remove(&plan.session_id);
        }
    }

    /// [`NO_SESSION`] when there is no room.
    fn create(&mut self, asked: Asked, now: Instant, random: u64) -> i32 {
        if asked.partitions.len() > SESSION_PARTITIONS_MAX || !self.make_room(now) {
            return NO_SESSION;
        }
        let [a, b, c, d, ..] = random.to_be_bytes();
        let mut id = i32::from_be_bytes([a & 0x7f, b, c, d]).max(1);
        while self.sessions.contains_key(&id) {
            id = id.checked_add(1).unwrap_or(1);
        }
        let mut session = Session {
            epoch: EPOCH_INITIAL,
            has_ids: asked.has_ids,
            partitions: BTreeMap::new(),
            next_turn: 0,
            used_at: now,
        };
        session.update(asked, now);
        self.sessions.insert(id, session);
        id
    }

    /// Drops the session that was not used for longest, if there is one too many and it may go.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.sessions.len() < self.count_max {
            return true;
        }
        let oldest = self
            .sessions
            .iter()
            .min_by_key(|(_, session)| session.used_at);
        let Some((id, session)) = oldest else {
            return false;
        };
        let is_idle = now.duration_since(session.used_at) >= SESSION_IDLE_MIN;
        let id = *id;
        if is_idle {
            self.sessions.remove(&id);
        }
        is_idle
    }
}

impl Session {
    fn update(&mut self, asked: Asked, now: Instant) {
        for wanted in asked.partitions {
            match self.partitions.get_mut(&wanted.key) {
                Some(_) if is_planted(Bug::KafkaSessionKeepsOffsets) => {}
                Some(cached) => cached.wanted = wanted,
                None => {
                    let cached = Cached {
                        told: None,
                        turn: self.next_turn,
                        wanted,
                    };
                    self.next_turn += 1;
                    self.partitions.insert(cached.wanted.key.clone(), cached);
                }
            }
        }
        for key in asked.forgotten {
            self.partitions.remove(&key);
        }
        // After the largest comes 1: 0 would mean a new session.
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        self.used_at = now;
    }

    fn in_turn(&self) -> Vec<Wanted> {
        let mut cached: Vec<&Cached> = self.partitions.values().collect();
        cached.sort_by_key(|cached| cached.turn);
        cached
            .into_iter()
            .map(|cached| cached.wanted.clone())
            .collect()
    }

    /// What the consumer was told before; `None` for a partition that is not in the session.
    fn note(&mut self, key: &Key, told: Told) -> Option<Option<(i64, i64)>> {
        let cached = self.partitions.get_mut(key)?;
        let before = cached.told.replace((told.high_watermark, told.log_start));
        if told.must_be_told {
            cached.turn = self.next_turn;
            self.next_turn += 1;
        }
        Some(before)
    }
}
