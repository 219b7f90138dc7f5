//! The files of the project, read once: every file that git tracks or would track.
//!
//! Knows paths and text. Does not know any rule.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One text file of the project.
#[derive(Debug)]
pub(crate) struct File {
    /// Path from the project's root, with `/` between parts.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
}

/// The folder that holds `Cargo.toml` of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in a folder of the workspace")
        .to_path_buf()
}

/// Every text file, in the order of its path. Binary files are left out.
pub(crate) fn files() -> Vec<File> {
    let root = root();
    let mut paths = git_paths(&root).unwrap_or_else(|| walked_paths(&root));
    paths.sort();
    paths.dedup();
    paths
        .into_iter()
        .filter_map(|path| {
            let text = fs::read_to_string(root.join(&path)).ok()?;
            Some(File { path, text })
        })
        .collect()
}

/// The files whose path ends in `.rs`.
pub(crate) fn rust_files() -> Vec<File> {
    let mut files = files();
    files.retain(|file| file.path.ends_with(".rs"));
    assert!(
        files.len() > 20,
        "the sources were not found below {:?}",
        root()
    );
    files
}

/// The text of one file.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}

/// What `cargo metadata` says about the packages of the workspace.
pub(crate) fn cargo_metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

/// Tracked files and new ones that are not ignored; `None` in a tree without git.
fn git_paths(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split_terminator('\0').map(str::to_owned).collect())
}

fn walked_paths(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the project can be read") {
            let path = entry.expect("a folder's entry can be read").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if name != ".git" && name != "target" && name != "out" {
                    folders.push(path);
                }
            } else if let Ok(relative) = path.strip_prefix(root) {
                paths.push(relative.to_string_lossy().into_owned());
            }
        }
    }
    paths
}
