//! `raftmq demo` on small inputs of every awkward shape.

use std::fs;

use serde_json::Value;

use crate::support::{ok, refused};

#[test]
fn every_shape_of_file_comes_back_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("sub")).unwrap();
    fs::create_dir(root.join(".git")).unwrap();
    fs::write(root.join(".git/left-out"), "x\n").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join("no-newline-at-end"), "a\nb").unwrap();
    fs::write(root.join("blank-lines"), "\n\n\n").unwrap();
    fs::write(root.join("long-line"), vec![b'x'; 1_500_000]).unwrap();
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    fs::write(root.join("sub/binary"), &binary).unwrap();
    for number in 0..40 {
        let text: String = (0..250)
            .map(|line| format!("file {number} line {line}\n"))
            .collect();
        fs::write(root.join(format!("sub/text-{number}")), text).unwrap();
    }

    let summary = ok(&["demo", root.to_str().unwrap(), "-o", "json"]);

    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["files"], 45);
    for finding in ["lost", "duplicated", "out_of_order", "different", "foreign"] {
        assert_eq!(summary[finding], 0, "{summary}");
    }
    assert_eq!(summary["proven"], summary["lines"]);
    assert!(
        summary["killed_broker_led"].as_u64().unwrap() >= 4,
        "{summary}"
    );
}

#[test]
fn one_line_is_enough_and_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one-line");
    fs::write(&file, "only\n").unwrap();
    let summary = ok(&["demo", file.to_str().unwrap()]);
    assert!(
        summary.contains("lost 0") && summary.contains("duplicated 0"),
        "{summary}"
    );

    fs::write(&file, "").unwrap();
    refused(&["demo", file.to_str().unwrap()], 2, &["line to publish"]);
    let nowhere = folder.path().join("nowhere");
    refused(&["demo", nowhere.to_str().unwrap()], 1, &["nowhere"]);
}
