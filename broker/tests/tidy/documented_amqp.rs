//! AMQP's methods and the arguments and headers that the code knows: docs/protocol-support.md names each.
//!
//! Does not judge what the page says of them.

use std::collections::BTreeSet;

use crate::exceptions::hold;
use crate::source::Source;
use crate::text::is_test_file;
use crate::tree;

const DOCS: &str = "docs/protocol-support.md";
const SCHEMA: &str = "proto/amqp/src/method/schema.rs";
/// Where arguments and headers are read and written.
const READERS: [&str; 5] = [
    "broker/amqp/src/",
    "broker/core/src/queue/",
    "broker/core/src/exchange/",
    "broker/src/amqp/",
    "broker/src/messages/",
];

/// The names in backticks of a line.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// `class.method` of every line of the schema.
fn methods_in_schema() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut class = String::new();
    for line in tree::read(SCHEMA).lines() {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("class ") {
            class = rest.split(' ').next().unwrap_or_default().to_owned();
        } else if let Some((method, _)) = line.strip_prefix('"').and_then(|it| it.split_once('"')) {
            names.insert(format!("{class}.{method}"));
        }
    }
    assert!(names.len() >= 60, "the methods were not found");
    names
}

/// `class.method` of the rows of the page: the first name of a row has the class.
fn methods_in_docs() -> BTreeSet<String> {
    let page = tree::read(DOCS);
    let rows = page.split_once("| method | status | notes |");
    let rows = rows.expect("the table of methods is there").1;
    let mut names = BTreeSet::new();
    for row in rows.lines().skip(2).take_while(|row| row.starts_with('|')) {
        let cell = row.split('|').nth(1).unwrap_or_default();
        let mut cell = quoted(cell).into_iter();
        let Some((class, first)) = cell.next().and_then(|name| name.split_once('.')) else {
            continue;
        };
        for method in std::iter::once(first).chain(cell) {
            names.insert(format!("{class}.{method}"));
        }
    }
    names
}

/// Whether a literal is spelt as an argument or a header of RabbitMQ's.
fn is_argument(literal: &str) -> bool {
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_lowercase());
    literal
        .strip_prefix("x-")
        .is_some_and(|rest| rest.split('-').all(is_word))
}

fn arguments_in_code() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in tree::rust_files() {
        let is_reader = READERS.iter().any(|folder| file.path.starts_with(folder));
        if !is_reader || is_test_file(&file.path) {
            continue;
        }
        let source = Source::parse(&file.text);
        for (line, literal) in &source.literals {
            if is_argument(literal) && !source.is_test_line(*line) {
                names.insert(literal.clone());
            }
        }
    }
    assert!(names.len() >= 20, "the arguments were not found: {names:?}");
    names
}

#[test]
fn every_method_of_amqp_is_in_the_table_and_every_one_of_the_table_exists() {
    let (in_schema, in_docs) = (methods_in_schema(), methods_in_docs());
    let missing = in_schema.difference(&in_docs);
    let missing = missing.map(|name| (name.clone(), format!("not in {DOCS}")));
    let unknown = in_docs.difference(&in_schema);
    let unknown = unknown.map(|name| (name.clone(), format!("in {DOCS}, but not in {SCHEMA}")));
    hold("amqp-method", &missing.chain(unknown).collect::<Vec<_>>());
}

#[test]
fn every_argument_and_header_that_the_code_knows_is_in_the_table() {
    let page = tree::read(DOCS);
    let rows = page.split_once("| argument, header or property | status | notes |");
    let rows = rows.expect("the table of arguments is there").1;
    let rows: Vec<&str> = rows
        .lines()
        .skip(2)
        .take_while(|row| row.starts_with('|'))
        .collect();
    let in_docs: BTreeSet<&str> = rows.iter().flat_map(|row| quoted(row)).collect();
    let violations: Vec<_> = arguments_in_code()
        .into_iter()
        .filter(|name| !in_docs.contains(name.as_str()))
        .map(|name| (name, format!("not in {DOCS}")))
        .collect();
    hold("amqp-argument", &violations);
}
