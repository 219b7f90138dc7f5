//! Every planted bug is planted by a test: a bug that nobody plants proves nothing about any checker.
//!
//! Does not judge whether the test finds it.

use crate::exceptions::hold;
use crate::text::is_test_file;
use crate::tree;

/// Variants and names that a crate's `planted.rs` lists: `Variant = "name",`.
fn bugs_of(text: &str) -> Vec<(String, String)> {
    let bug = |line: &str| {
        let (variant, name) = line.trim().strip_suffix("\",")?.split_once(" = \"")?;
        Some((variant.to_owned(), name.to_owned()))
    };
    text.lines().filter_map(bug).collect()
}

/// Whether `text` has `word`, and no letter or digit behind it.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let behind = text[at + word.len()..].chars().next();
        behind.is_none_or(|letter| !letter.is_alphanumeric())
    })
}

#[test]
fn every_planted_bug_is_planted_by_a_test() {
    let files = tree::rust_files();
    let is_test = |path: &str| is_test_file(path) && !path.starts_with("broker/tests/tidy/");
    let tests = files.iter().filter(|file| is_test(&file.path));
    let tests: Vec<&str> = tests.map(|file| file.text.as_str()).collect();
    let lists = files
        .iter()
        .filter(|file| file.path.ends_with("/src/planted.rs"));
    let bugs: Vec<_> = lists.flat_map(|file| bugs_of(&file.text)).collect();
    assert!(bugs.len() >= 50, "the planted bugs were not found");
    let violations: Vec<_> = bugs
        .into_iter()
        .filter(|(variant, name)| {
            let (by_name, by_variant) = (format!("\"{name}\""), format!("Bug::{variant}"));
            let plants = |text: &&str| text.contains(&by_name) || has_word(text, &by_variant);
            !tests.iter().any(plants)
        })
        .map(|(_, name)| (name, "no test plants it".to_owned()))
        .collect();
    hold("planted", &violations);
}
