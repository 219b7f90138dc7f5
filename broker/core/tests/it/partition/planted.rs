//! The planted bugs: named, and absent unless they are compiled in and chosen.

use raftmq_core::planted::{Bug, is_planted};

#[test]
fn nothing_is_planted_unless_it_was_chosen() {
    for (name, bug) in Bug::ALL {
        assert!(!is_planted(*bug), "{name}");
    }
}

#[test]
fn every_bug_has_a_name_of_its_own() {
    let mut names: Vec<&str> = Bug::ALL.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Bug::ALL.len());
}
