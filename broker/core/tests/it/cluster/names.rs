//! Kafka's rules for topic names.

use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use raftmq_core::cluster::{ClusterError, check_topic_name, collides_with, is_internal_topic};

fn reason(name: &str) -> String {
    match check_topic_name(name) {
        Err(ClusterError::InvalidTopicName { reason, .. }) => reason,
        other => panic!("{name:?}: {other:?}"),
    }
}

#[test]
fn letters_digits_and_three_signs_are_allowed() {
    for name in [
        "a",
        "A-Z_0.9",
        "__consumer_offsets",
        "...",
        "-",
        &"x".repeat(249),
    ] {
        assert_eq!(check_topic_name(name), Ok(()), "{name}");
    }
}

#[test]
fn only_the_topics_of_a_brokers_own_are_internal() {
    assert!(is_internal_topic("__consumer_offsets"));
    assert!(is_internal_topic("__transaction_state"));
    assert!(!is_internal_topic("__mine"));
    assert!(!is_internal_topic("consumer_offsets"));
}

#[test]
fn names_collide_where_dots_and_underscores_are_one() {
    assert!(collides_with("a.b_c", "a_b.c"));
    assert!(collides_with("a.b", "a_b"));
    assert!(!collides_with("a.b", "a.b"), "it is the same topic");
    assert!(!collides_with("a.b", "a-b"));
    assert!(!collides_with("a.b", "a.b.c"));
}

#[test]
fn an_empty_name_is_refused() {
    assert_eq!(reason(""), "it is empty");
}

#[test]
fn names_of_folders_are_refused() {
    assert_eq!(reason("."), reason(".."));
}

#[test]
fn a_long_name_is_refused_with_its_length() {
    assert_eq!(
        reason(&"x".repeat(250)),
        "250 bytes, at most 249 are allowed"
    );
}

#[test]
fn other_signs_are_refused() {
    for name in ["a b", "a/b", "ä", "a\n", "a:b", "名"] {
        assert!(reason(name).starts_with("only ASCII letters"), "{name}");
    }
}

#[test]
fn a_refusal_never_repeats_more_than_a_name_may_have() {
    let Err(ClusterError::InvalidTopicName { name, .. }) = check_topic_name(&"ü".repeat(10_000))
    else {
        panic!("a long name")
    };
    assert_eq!(name.chars().count(), 249);
}

proptest! {
    #[test]
    fn every_name_of_legal_signs_is_allowed(name in "[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,248}") {
        prop_assert_eq!(check_topic_name(&name), Ok(()));
    }

    #[test]
    fn no_text_makes_the_check_panic(name in ".{0,400}") {
        let is_legal = !name.is_empty()
            && name != "."
            && name != ".."
            && name.len() <= 249
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        prop_assert!(check_topic_name(&name).is_ok() == is_legal);
    }
}
