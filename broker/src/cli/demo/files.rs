//! The input of the demo: every regular file below a path, cut into lines as bytes.
//!
//! A piece is what one record carries: a line without its newline, or a part of a line that is
//! too long for one record. Pieces joined again give the file's bytes, whatever is in it. Knows
//! nothing of brokers.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::cli::error::{CliError, CliResult, io_failure};

/// Longest piece in bytes; half of the default `max.message.bytes`.
const PIECE_BYTES_MAX: usize = 512 << 10;
/// Files of one demo at most.
const FILES_COUNT_MAX: usize = 1_000_000;
/// Folders that hold what can be made again.
const SKIPPED_FOLDERS: [&str; 2] = [".git", "target"];

/// One input file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceFile {
    /// Where it is read.
    pub(crate) path: PathBuf,
    /// Its name below the scanned path: the key of its records.
    pub(crate) name: String,
    /// Its size when it was found; what is appended later is not part of the demo.
    pub(crate) size_bytes: u64,
}

/// What was found below a path.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The files in order of their names.
    pub(crate) files: Vec<SourceFile>,
    /// Files and folders that may not be read.
    pub(crate) unreadable: Vec<PathBuf>,
}

impl Scan {
    /// Bytes of all files.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}

/// Finds every regular file at or below `root`; does not follow symbolic links.
pub(crate) fn scan(root: &Path) -> CliResult<Scan> {
    let metadata = fs::metadata(root)
        .map_err(|error| io_failure(format!("read {}", root.display()), &error))?;
    let mut scan = Scan::default();
    if metadata.is_file() {
        let name = root
            .file_name()
            .unwrap_or(root.as_os_str())
            .to_string_lossy()
            .into_owned();
        let path = root.to_owned();
        scan.files.push(SourceFile {
            path,
            name,
            size_bytes: metadata.len(),
        });
        return Ok(scan);
    }
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            scan.unreadable.push(folder);
            continue;
        };
        for entry in entries.flatten() {
            visit(root, &entry, &mut folders, &mut scan);
        }
        if scan.files.len() > FILES_COUNT_MAX {
            return Err(CliError::usage(format!(
                "expected at most {FILES_COUNT_MAX} files below {}, got more",
                root.display()
            )));
        }
    }
    scan.files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(scan)
}

fn visit(root: &Path, entry: &fs::DirEntry, folders: &mut Vec<PathBuf>, scan: &mut Scan) {
    let path = entry.path();
    let Ok(metadata) = entry.metadata() else {
        scan.unreadable.push(path);
        return;
    };
    if metadata.is_dir() {
        let is_skipped = SKIPPED_FOLDERS
            .iter()
            .any(|name| entry.file_name() == *name);
        if !is_skipped {
            folders.push(path);
        }
    } else if metadata.is_file() {
        if File::open(&path).is_err() {
            scan.unreadable.push(path);
            return;
        }
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        scan.files.push(SourceFile {
            path,
            name,
            size_bytes: metadata.len(),
        });
    }
}

/// One line of a file, or a part of a very long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The bytes, without the newline.
    pub(crate) bytes: Vec<u8>,
    /// Whether a newline follows.
    pub(crate) has_newline: bool,
}

impl Piece {
    /// Bytes of the file that this piece stands for.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64 + u64::from(self.has_newline)
    }
}

/// Reads a file piece by piece.
#[derive(Debug)]
pub(crate) struct PieceReader {
    reader: BufReader<io::Take<File>>,
}

impl PieceReader {
    /// Opens a file at `offset`, which must be the start of a piece.
    pub(crate) fn open(file: &SourceFile, offset: u64) -> io::Result<Self> {
        let mut handle = File::open(&file.path)?;
        handle.seek(SeekFrom::Start(offset))?;
        let left = file.size_bytes.saturating_sub(offset);
        Ok(Self {
            reader: BufReader::with_capacity(64 << 10, handle.take(left)),
        })
    }

    /// The next piece; `None` at the end.
    pub(crate) fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        let mut bytes = Vec::new();
        (&mut self.reader)
            .take(PIECE_BYTES_MAX as u64)
            .read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let has_newline = bytes.last() == Some(&b'\n');
        if has_newline {
            bytes.pop();
        }
        Ok(Some(Piece { bytes, has_newline }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(content: &[u8]) -> Vec<Piece> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, content).unwrap();
        let file = SourceFile {
            path,
            name: "file".to_owned(),
            size_bytes: content.len() as u64,
        };
        let mut reader = PieceReader::open(&file, 0).unwrap();
        std::iter::from_fn(|| reader.next_piece().unwrap()).collect()
    }

    fn joined(pieces: &[Piece]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in pieces {
            bytes.extend(&piece.bytes);
            if piece.has_newline {
                bytes.push(b'\n');
            }
        }
        bytes
    }

    #[test]
    fn joined_pieces_are_the_file_whatever_is_in_it() {
        let long = vec![b'x'; 2 * PIECE_BYTES_MAX + 7];
        let long_line = [&long[..], b"\nend"].concat();
        let exact = [&long[..PIECE_BYTES_MAX], b"\n"].concat();
        let contents: [&[u8]; 7] = [b"", b"\n", b"\n\n", b"a\nb\n", b"a\nb", &long_line, &exact];
        for content in contents {
            let pieces = pieces(content);
            assert_eq!(joined(&pieces), content);
            assert_eq!(
                pieces.iter().map(Piece::size_bytes).sum::<u64>(),
                content.len() as u64
            );
            assert!(
                pieces
                    .iter()
                    .all(|piece| piece.bytes.len() <= PIECE_BYTES_MAX)
            );
        }
        let binary: Vec<u8> = (0..=255).cycle().take(5_000).collect();
        assert_eq!(joined(&pieces(&binary)), binary);
    }

    #[test]
    fn a_scan_skips_git_and_target_and_does_not_follow_links() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in [".git", "target", "src"] {
            fs::create_dir(root.join(name)).unwrap();
            fs::write(root.join(name).join("file"), "x\n").unwrap();
        }
        fs::write(root.join("b"), "").unwrap();
        std::os::unix::fs::symlink(root.join("src"), root.join("link")).unwrap();

        let scan = scan(root).unwrap();

        let names: Vec<_> = scan.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["b", "src/file"]);
        assert_eq!(scan.total_bytes(), 2);
        assert!(scan.unreadable.is_empty());
    }

    #[test]
    fn a_single_file_is_its_own_tree_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("only.txt");
        fs::write(&path, "1\n2\n").unwrap();

        assert_eq!(scan(&path).unwrap().files[0].name, "only.txt");
        let error = scan(&folder.path().join("nowhere")).unwrap_err();
        assert!(error.message.contains("nowhere"), "{error}");
    }
}
