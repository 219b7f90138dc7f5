//! The order of eviction: bounded by the groups, oldest submission first.

use bytes::Bytes;

use super::*;
use crate::group_inner::CachedEntry;
use crate::types::{Command, Entry, GroupId, Payload, log_id};

const PAYLOAD_BYTES: usize = 100;

fn cache(budget: usize) -> TailCache {
    TailCache::new(budget, StoreMetrics::register())
}

fn group(id: u64) -> Arc<GroupShared> {
    Arc::new(GroupShared {
        id: GroupId(id),
        inner: Mutex::new(GroupInner::default()),
        survivors: crate::survivors::SurvivorCache::default(),
    })
}

fn append(cache: &TailCache, group: &Arc<GroupShared>, index: u64) {
    let submission = cache.next_submission();
    let mut inner = group.inner.lock();
    let cached = CachedEntry {
        entry: Entry {
            log_id: log_id(1, index),
            payload: Payload::Normal(Command(Bytes::from(vec![0; PAYLOAD_BYTES]))),
        },
        bytes_before: 0,
        payload_bytes: PAYLOAD_BYTES,
        submission,
    };
    let cost = cached.cost();
    inner.tail.push_back(cached);
    inner.durable_index = Some(index);
    cache.added(group, &mut inner, submission, cost);
}

fn purge(cache: &TailCache, group: &Arc<GroupShared>, upto: u64) {
    let freed = group.inner.lock().cut_tail_to(upto);
    cache.removed(freed);
}

fn cached(group: &Arc<GroupShared>) -> Vec<u64> {
    let inner = group.inner.lock();
    let indexes = inner.tail.iter().map(|cached| cached.entry.log_id.index);
    indexes.collect()
}

#[test]
fn the_order_never_holds_more_than_the_groups_however_long_they_append_below_the_budget() {
    let cache = cache(usize::MAX);
    let (idle, busy) = (group(1), group(2));
    append(&cache, &idle, 1);

    for index in 1..=10_000 {
        append(&cache, &busy, index);
        purge(&cache, &busy, index);
        cache.evict();
    }

    assert!(cache.order.lock().len() <= 2);
    assert_eq!((cached(&idle), cached(&busy)), (vec![1], vec![]));
}

#[test]
fn the_oldest_append_over_all_groups_goes_first() {
    let cost = PAYLOAD_BYTES + ENTRY_OVERHEAD_BYTES;
    let cache = cache(3 * cost);
    let (first, second) = (group(1), group(2));
    append(&cache, &first, 1);
    append(&cache, &second, 1);
    append(&cache, &first, 2);
    append(&cache, &second, 2);
    append(&cache, &first, 3);

    cache.evict();

    assert_eq!((cached(&first), cached(&second)), (vec![2, 3], vec![2]));
    assert_eq!(cache.used(), 3 * cost);
}

#[test]
fn entries_that_are_not_durable_stay_and_are_evicted_once_they_are() {
    let cache = cache(0);
    let group = group(1);
    append(&cache, &group, 1);
    append(&cache, &group, 2);
    group.inner.lock().durable_index = None;

    cache.evict();
    assert_eq!(cached(&group), [1, 2]);

    group.inner.lock().durable_index = Some(1);
    cache.evict();
    assert_eq!(cached(&group), [2]);

    group.inner.lock().durable_index = Some(2);
    cache.evict();
    assert_eq!((cached(&group).len(), cache.used()), (0, 0));
    assert!(cache.order.lock().is_empty());
}

#[test]
fn a_forgotten_group_is_neither_counted_nor_kept() {
    let cache = cache(usize::MAX);
    let group = group(1);
    append(&cache, &group, 1);

    cache.forget(&mut group.inner.lock());

    assert_eq!((cache.used(), cached(&group).len()), (0, 0));
    assert!(cache.order.lock().is_empty());
    assert_eq!(Arc::strong_count(&group), 1);
}
