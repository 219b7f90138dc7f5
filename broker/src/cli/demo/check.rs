//! The proof: compares what was consumed with the files on disk, byte for byte, line for line.
//!
//! Each file is read again while its records arrive, so nothing of it is kept in memory. Knows
//! nothing of brokers; a record is a file name, a line number and a piece.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use serde::Serialize;

use super::files::{Piece, PieceReader, SourceFile};

/// Files kept open at a time.
const OPEN_FILES_MAX: usize = 128;
/// Missing lines remembered per file; beyond it, a late line counts as a duplicate, not as late.
const MISSING_LINES_MAX: usize = 10_000;
/// Complaints kept as text.
const COMPLAINTS_MAX: usize = 10;

/// What the comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Findings {
    /// Lines that came, once, in order, with the right bytes.
    pub(crate) proven: u64,
    /// Lines that never came.
    pub(crate) lost: u64,
    /// Lines that came more than once.
    pub(crate) duplicated: u64,
    /// Lines that came after a later line of their file.
    pub(crate) out_of_order: u64,
    /// Lines with other bytes than the file.
    pub(crate) different: u64,
    /// Records that belong to no file.
    pub(crate) foreign: u64,
    /// The first few findings, for people.
    pub(crate) complaints: Vec<String>,
}

impl Findings {
    /// Whether everything came as it was sent.
    pub(crate) fn is_clean(&self) -> bool {
        let Self {
            proven: _,
            lost,
            duplicated,
            out_of_order,
            different,
            foreign,
            complaints: _,
        } = self;
        lost + duplicated + out_of_order + different + foreign == 0
    }

    fn complain(&mut self, complaint: String) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(complaint);
        }
    }
}

/// Compares records with files.
#[derive(Debug)]
pub(crate) struct Checker<'a> {
    files: &'a [SourceFile],
    progress: Vec<Progress>,
    by_name: BTreeMap<&'a [u8], usize>,
    open: BTreeMap<usize, PieceReader>,
    opened: VecDeque<usize>,
    findings: Findings,
}

#[derive(Debug, Clone, Default)]
struct Progress {
    next_line: u64,
    offset: u64,
    missing: BTreeSet<u64>,
}

impl<'a> Checker<'a> {
    /// Starts with nothing consumed.
    pub(crate) fn new(files: &'a [SourceFile]) -> Self {
        let names = files.iter().enumerate();
        Self {
            files,
            progress: vec![Progress::default(); files.len()],
            by_name: names
                .map(|(index, file)| (file.name.as_bytes(), index))
                .collect(),
            open: BTreeMap::new(),
            opened: VecDeque::new(),
            findings: Findings::default(),
        }
    }

    /// Takes one consumed record.
    pub(crate) fn record(&mut self, name: &[u8], line: u64, piece: &Piece) -> io::Result<()> {
        let Some(&index) = self.by_name.get(name) else {
            self.findings.foreign += 1;
            self.findings
                .complain(format!("{:?} is no file", String::from_utf8_lossy(name)));
            return Ok(());
        };
        if line < self.progress[index].next_line {
            self.late_line(index, line);
            return Ok(());
        }
        while self.progress[index].next_line < line {
            if self.next_piece(index)?.is_none() {
                break;
            }
            let progress = &mut self.progress[index];
            if progress.missing.len() < MISSING_LINES_MAX {
                progress.missing.insert(progress.next_line - 1);
            }
            self.findings.lost += 1;
        }
        let expected = self.next_piece(index)?;
        if expected.as_ref() == Some(piece) {
            self.findings.proven += 1;
        } else {
            self.findings.different += 1;
            let name = &self.files[index].name;
            self.findings
                .complain(format!("{name}:{} differs from the file", line + 1));
        }
        Ok(())
    }

    /// Counts what never came, and gives the findings.
    pub(crate) fn finish(mut self) -> io::Result<Findings> {
        for index in 0..self.files.len() {
            let first = self.progress[index].next_line + 1;
            let lost_before = self.findings.lost;
            while self.next_piece(index)?.is_some() {
                self.findings.lost += 1;
            }
            let count = self.findings.lost - lost_before;
            if count > 0 {
                let name = &self.files[index].name;
                self.findings
                    .complain(format!("{name}: {count} lines from {first} are missing"));
            }
            let missing = &self.progress[index].missing;
            if let Some(line) = missing.first() {
                let name = &self.files[index].name;
                self.findings
                    .complain(format!("{name}:{} is missing", line + 1));
            }
            self.open.remove(&index);
        }
        Ok(self.findings)
    }

    fn late_line(&mut self, index: usize, line: u64) {
        let name = &self.files[index].name;
        if self.progress[index].missing.remove(&line) {
            self.findings.lost -= 1;
            self.findings.out_of_order += 1;
            self.findings
                .complain(format!("{name}:{} came late", line + 1));
        } else {
            self.findings.duplicated += 1;
            self.findings
                .complain(format!("{name}:{} came twice", line + 1));
        }
    }

    /// Reads the next piece of a file from the disk and steps over it.
    fn next_piece(&mut self, index: usize) -> io::Result<Option<Piece>> {
        if !self.open.contains_key(&index) {
            if self.open.len() >= OPEN_FILES_MAX
                && let Some(oldest) = self.opened.pop_front()
            {
                self.open.remove(&oldest);
            }
            let reader = PieceReader::open(&self.files[index], self.progress[index].offset)?;
            self.open.insert(index, reader);
            self.opened.push_back(index);
        }
        let reader = self.open.get_mut(&index).expect("it was opened above");
        let piece = reader.next_piece()?;
        if let Some(piece) = &piece {
            self.progress[index].next_line += 1;
            self.progress[index].offset += piece.size_bytes();
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn files(folder: &Path, contents: &[&str]) -> Vec<SourceFile> {
        let write = |(index, content): (usize, &&str)| {
            let name = format!("file-{index}");
            let path = folder.join(&name);
            std::fs::write(&path, content).unwrap();
            SourceFile {
                path,
                name,
                size_bytes: content.len() as u64,
            }
        };
        contents.iter().enumerate().map(write).collect()
    }

    fn findings(content: &str, records: &[(u64, &str, bool)]) -> Findings {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), &[content]);
        let mut checker = Checker::new(&files);
        for (line, text, has_newline) in records {
            let piece = Piece {
                bytes: text.as_bytes().to_vec(),
                has_newline: *has_newline,
            };
            checker.record(b"file-0", *line, &piece).unwrap();
        }
        checker.finish().unwrap()
    }

    #[test]
    fn a_file_that_came_back_whole_is_proven() {
        let found = findings(
            "a\nb\nc",
            &[(0, "a", true), (1, "b", true), (2, "c", false)],
        );
        assert!(found.is_clean());
        assert_eq!(found.proven, 3);
    }

    #[test]
    fn a_missing_line_is_lost_in_the_middle_and_at_the_end() {
        let found = findings("a\nb\nc\nd\n", &[(0, "a", true), (2, "c", true)]);
        assert_eq!((found.proven, found.lost), (2, 2));
        assert!(!found.is_clean());
    }

    #[test]
    fn a_repeated_line_is_a_duplicate_and_a_late_one_is_out_of_order() {
        let found = findings("a\nb\n", &[(0, "a", true), (0, "a", true), (1, "b", true)]);
        assert_eq!(
            (found.duplicated, found.lost, found.out_of_order),
            (1, 0, 0)
        );
        let found = findings("a\nb\n", &[(1, "b", true), (0, "a", true)]);
        assert_eq!(
            (found.duplicated, found.lost, found.out_of_order),
            (0, 0, 1)
        );
    }

    #[test]
    fn other_bytes_a_missing_newline_and_an_extra_line_are_differences() {
        assert_eq!(findings("a\n", &[(0, "b", true)]).different, 1);
        assert_eq!(findings("a\n", &[(0, "a", false)]).different, 1);
        assert_eq!(
            findings("a\n", &[(0, "a", true), (1, "x", true)]).different,
            1
        );
    }

    #[test]
    fn more_files_than_may_be_open_are_all_compared() {
        let folder = tempfile::tempdir().unwrap();
        let contents = vec!["1\n2\n"; OPEN_FILES_MAX * 2 + 3];
        let files = files(folder.path(), &contents);
        let mut checker = Checker::new(&files);
        for (line, text) in [(0, "1"), (1, "2")] {
            for file in &files {
                let piece = Piece {
                    bytes: text.as_bytes().to_vec(),
                    has_newline: true,
                };
                checker.record(file.name.as_bytes(), line, &piece).unwrap();
            }
        }
        checker
            .record(
                b"stranger",
                0,
                &Piece {
                    bytes: vec![],
                    has_newline: true,
                },
            )
            .unwrap();

        let found = checker.finish().unwrap();

        assert_eq!(
            (found.proven, found.lost, found.foreign),
            (2 * contents.len() as u64, 0, 1)
        );
    }
}
