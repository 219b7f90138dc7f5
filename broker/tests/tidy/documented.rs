//! Names that code and documents share: each stands in both, or the test says where it is missing.
//!
//! Metrics, error codes, configuration keys, decision records; methods and arguments of AMQP stand in
//! `documented_amqp`. Does not judge the wording.

use std::collections::{BTreeMap, BTreeSet};

use crate::exceptions::hold;
use crate::source::Source;
use crate::text::is_test_file;
use crate::tree;

/// The backticked first cells of a document's table rows.
fn documented_names(path: &str) -> BTreeSet<String> {
    tree::read(path)
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect()
}

/// Names that are only on one side, as violations.
fn differences(
    in_code: &BTreeSet<String>,
    in_docs: &BTreeSet<String>,
    docs: &str,
) -> Vec<(String, String)> {
    let undocumented = in_code
        .difference(in_docs)
        .map(|name| (name, format!("not in {docs}")));
    let unknown = in_docs
        .difference(in_code)
        .map(|name| (name, format!("in {docs}, but not in the code")));
    undocumented
        .chain(unknown)
        .map(|(name, wrong)| (name.clone(), wrong))
        .collect()
}

/// Whether a literal is spelt as a metric: `raftmq_<area>_<what>…`. Crate names have two parts.
fn is_metric_name(literal: &str) -> bool {
    literal.starts_with("raftmq_")
        && literal.split('_').count() >= 3
        && literal.split('_').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
}

fn metrics_in_code() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in tree::rust_files() {
        if !file.path.contains("/src/") || is_test_file(&file.path) {
            continue;
        }
        let source = Source::parse(&file.text);
        for (line, literal) in &source.literals {
            if is_metric_name(literal) && !source.is_test_line(*line) {
                names.insert(literal.clone());
            }
        }
    }
    names
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() {
    let docs = "docs/metrics.md";
    let in_docs = documented_names(docs);
    hold("metric", &differences(&metrics_in_code(), &in_docs, docs));
}

/// STYLE.md, section 2: counters end in `_total`, and nothing else does.
#[test]
fn metric_names_tell_their_type() {
    let violations: Vec<_> = tree::read("docs/metrics.md")
        .lines()
        .filter(|line| line.starts_with("| `raftmq_"))
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let name = cells[1].trim_matches('`');
            let is_counter = cells[2] == "counter";
            let wrong = format!("a {} must not be named so", cells[2]);
            (name.ends_with("_total") != is_counter).then(|| (name.to_owned(), wrong))
        })
        .collect();
    hold("metric-name", &violations);
}

#[test]
fn every_error_code_is_documented_and_every_documented_code_exists() {
    let proto = tree::read("proto/raftmq/v1/error.proto");
    let codes = proto
        .split_once("enum ErrorCode {")
        .expect("the enum is there")
        .1;
    let in_code: BTreeSet<String> = codes
        .lines()
        .filter_map(|line| line.trim().strip_prefix("ERROR_CODE_")?.split(' ').next())
        .filter(|name| *name != "UNSPECIFIED")
        .map(str::to_owned)
        .collect();
    assert!(in_code.len() >= 30, "the error codes were not found");
    let docs = "docs/errors.md";
    hold(
        "error-code",
        &differences(&in_code, &documented_names(docs), docs),
    );
}

/// Every key of the broker's configuration: the first arguments of `key("…", …)`, and the settings
/// of the cluster under the names of `KAFKA_BROKER_NAMES`.
pub(crate) fn config_keys() -> BTreeSet<String> {
    let text = tree::read("broker/src/config/keys.rs");
    let quoted_after = |line: &str, prefix: &str| -> Vec<String> {
        let rest = line.trim_start().strip_prefix(prefix);
        let parts = rest.map(|rest| rest.split('"').step_by(2).map(str::to_owned));
        parts.map(Iterator::collect).unwrap_or_default()
    };
    let mut keys: BTreeSet<String> = text
        .lines()
        .filter_map(|line| quoted_after(line, "key(\"").into_iter().next())
        .collect();
    assert!(keys.len() >= 10, "the configuration keys were not found");
    let broker_names: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| match quoted_after(line, "(\"").as_slice() {
            [broker_name, config_name, ..] => Some((config_name.clone(), broker_name.clone())),
            [_] | [] => None,
        })
        .collect();
    for name in cluster_settings().into_keys() {
        keys.insert(broker_names.get(&name).cloned().unwrap_or(name));
    }
    keys
}

#[test]
fn every_config_key_is_documented_and_every_documented_key_exists() {
    let docs = "docs/configuration.md";
    hold(
        "config-key",
        &differences(&config_keys(), &documented_names(docs), docs),
    );
}

/// Names and defaults of `CONFIG_KEYS`: entries `topic_key(NAME, type, …, "default", "text")`.
fn cluster_settings() -> BTreeMap<String, String> {
    let text = tree::read("broker/core/src/cluster/config_keys/table.rs");
    let (constants, table) = text
        .split_once("static CONFIG_KEYS")
        .expect("the table is there");
    let table = table.split("];").next().unwrap_or_default();
    let name_of = |constant: &str| {
        let definition = format!("pub const {constant}: &str =");
        let value = constants
            .split_once(&definition)
            .expect("the constant is there")
            .1;
        value.split('"').nth(1).unwrap_or_default().to_owned()
    };
    let settings: BTreeMap<String, String> = table
        .split("_key(")
        .skip(1)
        .map(|entry| {
            let constant = entry.split(',').next().unwrap_or_default().trim();
            let literals = Source::parse(entry).literals;
            let default = &literals[literals.len() - 2].1;
            (name_of(constant), default.clone())
        })
        .collect();
    assert!(settings.len() >= 10, "the settings were not found");
    settings
}

/// First and `column`-th cells of a document's table rows, without backticks.
fn documented_column(path: &str, column: usize) -> BTreeMap<String, String> {
    tree::read(path)
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line
                .split('|')
                .map(|cell| cell.trim().trim_matches('`'))
                .collect();
            (cells[1].to_owned(), cells[column].to_owned())
        })
        .collect()
}

#[test]
fn every_setting_of_topics_is_documented_with_its_default() {
    assert_eq!(
        documented_column("docs/topic-settings.md", 2),
        cluster_settings()
    );
}

/// The second column of docs/errors.md and `is_code_retriable` say the same.
#[test]
fn documented_errors_are_retriable_as_the_code_says() {
    let table = tree::read("proto/src/error.rs");
    let function = table
        .split_once("fn is_code_retriable")
        .expect("the table is there")
        .1;
    let retriable = function
        .split_once("=> true")
        .expect("some codes are retriable")
        .0;
    let retriable: BTreeSet<&str> = retriable
        .split("ErrorCode::")
        .skip(1)
        .map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric())
                .next()
                .unwrap_or_default()
        })
        .collect();
    let violations: Vec<_> = documented_column("docs/errors.md", 2)
        .into_iter()
        .filter_map(|(code, answer)| {
            let expected = if retriable.contains(camel_case(&code).as_str()) {
                "yes"
            } else {
                "no"
            };
            let wrong = format!("documented as {answer}, the code says {expected}");
            (answer != expected).then_some((code, wrong))
        })
        .collect();
    hold("error-retriable", &violations);
}

/// `NOT_LEADER` as Rust spells it: `NotLeader`.
fn camel_case(name: &str) -> String {
    name.split('_')
        .flat_map(|word| {
            let (first, rest) = word.split_at(1.min(word.len()));
            [first.to_owned(), rest.to_lowercase()]
        })
        .collect()
}

#[test]
fn decision_records_are_numbered_without_gaps_and_listed() {
    let index = tree::read("docs/adr/README.md");
    let mut numbers = Vec::new();
    let mut violations = Vec::new();
    for file in tree::files() {
        let Some(name) = file.path.strip_prefix("docs/adr/") else {
            continue;
        };
        if name == "README.md" {
            continue;
        }
        let number = name
            .get(..4)
            .and_then(|digits| digits.parse::<usize>().ok());
        numbers.extend(number);
        let is_named_well = number.is_some() && name[4..].starts_with('-') && name.ends_with(".md");
        if !is_named_well {
            violations.push((file.path.clone(), "is not named NNNN-title.md".to_owned()));
        }
        if !index.contains(&format!("]({name})")) {
            violations.push((file.path.clone(), "is not listed in README.md".to_owned()));
        }
        if !file.text.starts_with("# ") {
            violations.push((
                file.path.clone(),
                "does not start with its title".to_owned(),
            ));
        }
    }
    let expected: Vec<usize> = (1..=numbers.len()).collect();
    numbers.sort_unstable();
    assert_eq!(
        numbers, expected,
        "decision records are numbered 0001, 0002, … without gaps"
    );
    hold("adr", &violations);
}
