//! Rules about one file at a time: length, header, open ends, things that must not be committed.
//!
//! Does not know which part of the project a file belongs to.

use crate::exceptions::hold;
use crate::source::Source;
use crate::tree;

/// Lines of a file that are not test code (STYLE.md, section 4).
const NON_TEST_LINES_MAX: usize = 500;

/// Whether a file holds nothing but test code or benchmarks.
pub(crate) fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path
            .split('/')
            .any(|part| part == "tests" || part == "benches" || part == "examples")
}

#[test]
fn no_file_has_more_than_500_lines_without_tests() {
    let violations: Vec<_> = tree::rust_files()
        .iter()
        .filter(|file| !is_test_file(&file.path))
        .filter_map(|file| {
            let count = Source::parse(&file.text).non_test_lines_count();
            let wrong = format!("{count} lines without tests, at most {NON_TEST_LINES_MAX}");
            (count > NON_TEST_LINES_MAX).then(|| (file.path.clone(), wrong))
        })
        .collect();
    hold("file-length", &violations);
}

#[test]
fn every_file_opens_with_what_it_owns() {
    let violations: Vec<_> = tree::rust_files()
        .iter()
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| {
            (
                file.path.clone(),
                "the first line is not a `//!` comment".to_owned(),
            )
        })
        .collect();
    hold("file-header", &violations);
}

#[test]
fn every_todo_carries_an_issue_number() {
    let word = concat!("TO", "DO");
    let mut violations = Vec::new();
    for file in tree::files() {
        // The two documents that state the rule.
        if matches!(file.path.as_str(), "STYLE.md" | "CONTRIBUTING.md") {
            continue;
        }
        for (line, text) in file.text.lines().enumerate() {
            for (at, _) in text.match_indices(word) {
                if !has_issue_number(&text[at + word.len()..]) {
                    violations.push((file.path.clone(), format!("line {}: {text}", line + 1)));
                }
            }
        }
    }
    hold("todo", &violations);
}

/// Whether `text` begins with `(#NUMBER)`.
fn has_issue_number(text: &str) -> bool {
    text.strip_prefix("(#")
        .and_then(|rest| rest.split_once(')'))
        .is_some_and(|(number, _)| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    let paths = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/tmp/ba", "sh_jobs"),
    ];
    let violations: Vec<_> = tree::files()
        .iter()
        .flat_map(|file| {
            let found = paths.iter().filter(|path| file.text.contains(**path));
            found
                .map(|path| (file.path.clone(), format!("names {path}")))
                .collect::<Vec<_>>()
        })
        .collect();
    hold("machine-path", &violations);
}

#[test]
fn no_test_is_ignored() {
    let violations: Vec<_> = tree::rust_files()
        .iter()
        .filter(|file| Source::parse(&file.text).code.contains("#[ignore"))
        .map(|file| (file.path.clone(), "has an ignored test".to_owned()))
        .collect();
    hold("ignored-test", &violations);
}

/// The order in which branches are polled is random otherwise, and a seed would not repeat.
#[test]
fn every_select_is_biased() {
    let mut violations = Vec::new();
    for file in tree::rust_files() {
        let code = Source::parse(&file.text).code;
        for (at, word) in code.match_indices("select!") {
            let body = code[at + word.len()..].trim_start();
            if !body
                .trim_start_matches(['{', '('])
                .trim_start()
                .starts_with("biased;")
            {
                let line = code[..at].matches('\n').count() + 1;
                violations.push((
                    file.path.clone(),
                    format!("line {line}: `biased;` is missing"),
                ));
            }
        }
    }
    hold("biased-select", &violations);
}

#[test]
fn every_relative_link_of_a_document_leads_somewhere() {
    let mut violations = Vec::new();
    for file in tree::files()
        .into_iter()
        .filter(|file| file.path.ends_with(".md"))
    {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (at, _) in file.text.match_indices("](") {
            let target = file.text[at + 2..].split(')').next().unwrap_or_default();
            let target = target.split('#').next().unwrap_or_default();
            let is_relative = !target.is_empty() && !target.contains("://");
            if is_relative && !tree::root().join(folder).join(target).exists() {
                violations.push((file.path.clone(), format!("no such file: {target}")));
            }
        }
    }
    hold("dead-link", &violations);
}

/// `broker/src/raft/` in a document must not outlive the folder.
#[test]
fn every_path_that_a_top_level_document_names_exists() {
    let tops = [
        ".ci/",
        "broker/",
        "chaos-tests/",
        "client/",
        "deploy/",
        "docs/",
        "proto/",
    ];
    let more_tops = ["raft-store/", "scripts/"];
    let mut violations = Vec::new();
    for path in ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"] {
        let text = tree::read(path);
        for name in text.split('`').skip(1).step_by(2) {
            let is_path = tops
                .iter()
                .chain(&more_tops)
                .any(|top| name.starts_with(top));
            if is_path && !tree::root().join(name).exists() {
                violations.push((path.to_owned(), format!("no such file or folder: {name}")));
            }
        }
    }
    hold("dead-path", &violations);
}

/// Notes that the code was written from, and that are not part of the project.
#[test]
fn no_comment_cites_a_text_that_readers_do_not_have() {
    let texts = ["DESIGN", "spike.md", "reliability.md", "ecosystem.md"];
    let mut violations = Vec::new();
    for file in tree::rust_files() {
        for (line, comment) in Source::parse(&file.text).comments {
            if let Some(text) = texts.iter().find(|text| comment.contains(**text)) {
                violations.push((file.path.clone(), format!("line {} cites {text}", line + 1)));
            }
        }
    }
    hold("dead-source", &violations);
}
