//! Topic exchanges against a naive matcher, and the corners by hand.

use std::collections::BTreeSet;
use std::fmt::Write;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{bind, queue, routed_by_key, with_one};
use crate::exchange::{Binding, ExchangeId, ExchangeKind, Routing};

const ID: ExchangeId = ExchangeId(1);

/// What the words of the standard say, word by word.
fn matches(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern, key) {
        ([], []) => true,
        (["#", rest @ ..], _) => {
            matches(rest, key) || (!key.is_empty() && matches(pattern, &key[1..]))
        }
        (["*", rest @ ..], [_, behind @ ..]) => matches(rest, behind),
        ([word, rest @ ..], [other, behind @ ..]) => word == other && matches(rest, behind),
        ([], _) | (_, []) => false,
    }
}

fn words(key: &str) -> Vec<&str> {
    if key.is_empty() {
        return Vec::new();
    }
    key.split('.').collect()
}

#[test]
fn words_match_as_in_rabbitmq() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("", &[""], &["a", ".", "#"]),
        ("#", &["", "a", "a.b", ".", "..", "#", "*"], &[]),
        ("*", &["a", "*", "#"], &["", "a.b", "."]),
        ("*.*", &["a.b", ".", "a."], &["a", "", ".."]),
        ("a", &["a"], &["", "b", "a.", ".a", "A"]),
        ("a.", &["a."], &["a", "a.b"]),
        (
            "audit.#",
            &["audit", "audit.", "audit.a", "audit.a.b"],
            &["", "b.audit"],
        ),
        ("audit.*", &["audit.a", "audit."], &["audit", "audit.a.b"]),
        ("#.a", &["a", "b.a", ".a", "a.a"], &["", "a.b", "a."]),
        (
            "#.a.#",
            &["a", "a.b", "b.a", "b.a.b", "a.a"],
            &["", "b", "b.b"],
        ),
        ("#.#", &["", "a", "a.b"], &[]),
        ("*.#", &["a", "a.b", "."], &[""]),
        ("#.*", &["a", "a.b", "."], &[""]),
        (
            "a.#.b",
            &["a.b", "a.a.b", "a.b.b", "a..b"],
            &["a", "b", "a.b.a"],
        ),
        ("a.*.#.b", &["a.b.b", "a..b", "a.x.y.b"], &["a.b", "a.x.y"]),
        ("a*", &["a*"], &["ab", "a"]),
    ];
    for (pattern, good, bad) in table {
        let mut routing = with_one(ExchangeKind::Topic);
        bind(&mut routing, ID, queue(7), pattern);
        for (key, expected) in good
            .iter()
            .map(|key| (key, true))
            .chain(bad.iter().map(|key| (key, false)))
        {
            assert_eq!(
                matches(&words(pattern), &words(key)),
                expected,
                "naive: {pattern} {key}"
            );
            let is_routed = routed_by_key(&routing, "x1", key) == [7];
            assert_eq!(is_routed, expected, "{pattern:?} and {key:?}");
        }
    }
}

/// A key of a few words out of few, so that many match.
fn key(alphabet: &'static [&'static str], words_max: usize) -> impl Strategy<Value = String> {
    vec(select(alphabet), 0..=words_max).prop_map(|words| words.join("."))
}

/// Binds (true) or unbinds a pattern and a queue.
fn changes() -> impl Strategy<Value = Vec<(bool, String, u64)>> {
    let pattern = key(&["a", "b", "", "*", "#", "#"], 6);
    vec((proptest::bool::weighted(0.7), pattern, 0_u64..6), 0..60)
}

fn expected(model: &BTreeSet<(String, u64)>, key: &str) -> Vec<u64> {
    let matched = model
        .iter()
        .filter(|(pattern, _)| matches(&words(pattern), &words(key)));
    let queues: BTreeSet<u64> = matched.map(|(_, queue)| *queue).collect();
    queues.into_iter().collect()
}

fn change(routing: &mut Routing, model: &mut BTreeSet<(String, u64)>, step: (bool, String, u64)) {
    let (is_bind, pattern, number) = step;
    if is_bind {
        bind(routing, ID, queue(number), &pattern);
        model.insert((pattern, number));
    } else {
        let binding = Binding::new(queue(number), pattern.as_bytes());
        let was_there = model.remove(&(pattern, number));
        assert_eq!(routing.unbind(ID, &binding), was_there);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_trie_agrees_with_the_naive_matcher(
        first in changes(),
        second in changes(),
        keys in vec(key(&["a", "b", "", "*", "#", "c"], 7), 1..20),
    ) {
        let (mut routing, mut model) = (with_one(ExchangeKind::Topic), BTreeSet::new());
        for step in first {
            change(&mut routing, &mut model, step);
        }
        let (published, model_then) = (routing.clone(), model.clone());
        for step in second {
            change(&mut routing, &mut model, step);
        }
        for key in &keys {
            prop_assert_eq!(routed_by_key(&routing, "x1", key), expected(&model, key), "{}", key);
            let then = routed_by_key(&published, "x1", key);
            prop_assert_eq!(then, expected(&model_then, key), "a clone saw a later change");
        }
        prop_assert_eq!(routing.exchange(ID).unwrap().bindings_count(), model.len());
        // The same bindings in another order make the same trie; none leave nothing behind.
        let mut again = with_one(ExchangeKind::Topic);
        for (pattern, number) in model.iter().rev() {
            bind(&mut again, ID, queue(*number), pattern);
        }
        prop_assert!(again == routing);
        for (pattern, number) in &model {
            let binding = Binding::new(queue(*number), pattern.as_bytes());
            prop_assert!(routing.unbind(ID, &binding));
        }
        prop_assert!(routing == with_one(ExchangeKind::Topic));
    }
}

#[test]
fn hundreds_of_children_are_found_added_and_removed() {
    let mut routing = with_one(ExchangeKind::Topic);
    for number in 0..500 {
        bind(&mut routing, ID, queue(number), &format!("k{number}.#"));
    }
    for number in (0..500).step_by(7) {
        let key = format!("k{number}.a.b");
        assert_eq!(routed_by_key(&routing, "x1", &key), [number]);
    }
    for number in 0..500 {
        let binding = Binding::new(queue(number), format!("k{number}.#").as_bytes());
        assert!(routing.unbind(ID, &binding));
        assert_eq!(routed_by_key(&routing, "x1", &format!("k{number}")), []);
    }
    assert_eq!(routing, with_one(ExchangeKind::Topic));
}

/// With plain backtracking these would run for longer than the universe exists.
#[test]
fn patterns_of_many_hashes_stay_cheap() {
    let mut routing = with_one(ExchangeKind::Topic);
    bind(&mut routing, ID, queue(1), &["#.a"; 63].join("."));
    bind(&mut routing, ID, queue(2), &["#", "*"].repeat(60).join("."));
    bind(&mut routing, ID, queue(3), &["#"; 127].join("."));
    bind(
        &mut routing,
        ID,
        queue(4),
        &format!("{}.b", ["#.a"; 60].join(".")),
    );
    let key = ["a"; 128].join(".");
    assert_eq!(key.len(), 255);
    assert_eq!(routed_by_key(&routing, "x1", &key), [1, 2, 3]);
    assert_eq!(routed_by_key(&routing, "x1", &".".repeat(255)), [2, 3]);
}

#[test]
fn a_routing_key_longer_than_any_binding_key_matches_nothing() {
    let mut routing = with_one(ExchangeKind::Topic);
    bind(&mut routing, ID, queue(1), "#");
    let mut key = "a".to_owned();
    write!(key, "{}", ".".repeat(255)).unwrap();
    assert_eq!(routed_by_key(&routing, "x1", &key[..255]), [1]);
    assert_eq!(routed_by_key(&routing, "x1", &key), []);
}
