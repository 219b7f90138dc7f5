//! Just enough of Rust's syntax for the rules: comments, string literals, test code, `use` paths.
//!
//! Works on text; does not know macros, types or what a path resolves to in the end.

/// A source file, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// The text with comments and the inside of literals blanked; line breaks stay.
    pub(crate) code: String,
    /// String literals as (line, content), escapes as written.
    pub(crate) literals: Vec<(usize, String)>,
    /// Comments as (line of their start, text).
    pub(crate) comments: Vec<(usize, String)>,
    /// Lines of `#[cfg(test)]` items, 0-based.
    test_lines: Vec<bool>,
}

impl Source {
    /// Takes a file apart.
    pub(crate) fn parse(text: &str) -> Self {
        let mut source = Lexer::new(text).run();
        source.test_lines = test_lines(&source.code);
        source
    }

    /// Whether a 0-based line lies inside an item under `#[cfg(test)]`.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.test_lines.get(line).copied().unwrap_or(false)
    }

    /// Lines that are not test code, comments and blank lines included.
    pub(crate) fn non_test_lines_count(&self) -> usize {
        self.test_lines.iter().filter(|is_test| !**is_test).count()
    }

    /// Every path that a `use` names or that stands in the code and begins with `crate`, `super`
    /// or one of `roots`, with groups written out, as (0-based line, path).
    pub(crate) fn paths(&self, module: &[&str], roots: &[&str]) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices("use ") {
            let starts_a_word = !self.code[..at].ends_with(is_word);
            let statement = self.code[at + 4..].split(';').next().unwrap_or_default();
            if starts_a_word && !statement.contains("->") {
                let mut expanded = Vec::new();
                expand_use(statement.trim(), "", &mut expanded);
                let line = line_of(&self.code, at);
                found.extend(
                    expanded
                        .into_iter()
                        .map(|path| (line, resolve(&path, module))),
                );
            }
        }
        for root in ["crate", "super"].iter().chain(roots) {
            for (at, _) in self.code.match_indices(&format!("{root}::")) {
                if !self.code[..at].ends_with(|c: char| is_word(c) || c == ':') {
                    let path: String = self.code[at..]
                        .chars()
                        .take_while(|&c| is_word(c) || c == ':')
                        .collect();
                    found.push((line_of(&self.code, at), resolve(&path, module)));
                }
            }
        }
        found
    }
}

/// The module that a file below `src/` is, as its path from the crate's root.
pub(crate) fn module_of(path_below_src: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = path_below_src.trim_end_matches(".rs").split('/').collect();
    if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
        parts.pop();
    }
    parts
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count()
}

/// Replaces leading `super` parts by the module they stand for.
fn resolve(path: &str, module: &[&str]) -> String {
    let mut parts: Vec<&str> = path.split("::").map(str::trim).collect();
    let supers_count = parts.iter().take_while(|part| **part == "super").count();
    if supers_count == 0 {
        return parts.join("::");
    }
    let kept = module.len().saturating_sub(supers_count);
    let mut resolved = vec!["crate"];
    resolved.extend(&module[..kept]);
    resolved.extend(parts.drain(supers_count..));
    resolved.join("::")
}

/// Writes out the groups of a `use` tree: `a::{b, c::d}` gives `a::b` and `a::c::d`.
fn expand_use(tree: &str, prefix: &str, out: &mut Vec<String>) {
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        if !path.is_empty() {
            out.push(format!("{prefix}{}", path.trim_start_matches("::")));
        }
        return;
    };
    let prefix = format!("{prefix}{}", tree[..open].trim());
    let inner = tree[open + 1..].trim_end().trim_end_matches('}');
    let (mut depth, mut start) = (0_usize, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                expand_use(inner[start..at].trim(), &prefix, out);
                start = at + 1;
            }
            _ => {}
        }
    }
    expand_use(inner[start..].trim(), &prefix, out);
}

/// Marks the lines of each item that follows a `#[cfg(test)]`.
fn test_lines(code: &str) -> Vec<bool> {
    let mut marks = vec![false; code.lines().count()];
    for (at, _) in code.match_indices("#[cfg(test)]") {
        let mut depth = 0_usize;
        let mut end = code.len();
        for (offset, c) in code[at..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth <= 1 => {
                    end = at + offset;
                    break;
                }
                '}' => depth -= 1,
                ';' if depth == 0 => {
                    end = at + offset;
                    break;
                }
                _ => {}
            }
        }
        let last = line_of(code, end);
        for mark in marks.iter_mut().take(last + 1).skip(line_of(code, at)) {
            *mark = true;
        }
    }
    marks
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    out: Source,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            line: 0,
            out: Source::default(),
        }
    }

    fn run(mut self) -> Source {
        while let Some(c) = self.rest.chars().next() {
            if self.rest.starts_with("//") {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.comment(end);
            } else if self.rest.starts_with("/*") {
                let end = block_comment_len(self.rest);
                self.comment(end);
            } else if let Some((open, close)) = self.string_start() {
                self.string(open, &close);
            } else if c == '\'' {
                let len = char_literal_len(self.rest).unwrap_or(1);
                self.blank(len);
            } else {
                self.keep(c);
            }
        }
        self.out
    }

    fn keep(&mut self, c: char) {
        self.line += usize::from(c == '\n');
        self.out.code.push(c);
        self.rest = &self.rest[c.len_utf8()..];
    }

    /// Replaces the next `len` bytes by spaces; line breaks stay.
    fn blank(&mut self, len: usize) -> String {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.out
            .code
            .extend(taken.chars().map(|c| if c == '\n' { c } else { ' ' }));
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken.to_owned()
    }

    fn comment(&mut self, len: usize) {
        let line = self.line;
        let text = self.blank(len);
        self.out.comments.push((line, text));
    }

    /// Length of the opening of a string literal that starts here, and what closes it.
    fn string_start(&self) -> Option<(usize, String)> {
        if self.out.code.ends_with(is_word) {
            return None;
        }
        let prefix_len = self
            .rest
            .find(|c: char| !matches!(c, 'b' | 'c' | 'r'))
            .unwrap_or(0);
        let (prefix, after) = self.rest.split_at(prefix_len);
        if prefix_len > 2 {
            return None;
        }
        if !prefix.contains('r') {
            return after
                .starts_with('"')
                .then(|| (prefix_len + 1, "\"".to_owned()));
        }
        let hashes = after.len() - after.trim_start_matches('#').len();
        after[hashes..]
            .starts_with('"')
            .then(|| (prefix_len + hashes + 1, format!("\"{}", "#".repeat(hashes))))
    }

    fn string(&mut self, open: usize, close: &str) {
        let is_raw = self.rest[..open].contains('r');
        let line = self.line;
        let mut len = open;
        while len < self.rest.len() && !self.rest[len..].starts_with(close) {
            let skips = !is_raw && self.rest[len..].starts_with('\\');
            let c = self.rest[len..].chars().next().map_or(1, char::len_utf8);
            len += if skips { 2 } else { c };
        }
        let content = self.rest.get(open..len).unwrap_or_default().to_owned();
        self.out.literals.push((line, content));
        self.blank(len + close.len());
    }
}

fn block_comment_len(text: &str) -> usize {
    let (mut depth, mut len) = (0_usize, 0);
    while len < text.len() {
        if text[len..].starts_with("/*") {
            depth += 1;
            len += 2;
        } else if text[len..].starts_with("*/") {
            depth -= 1;
            len += 2;
            if depth == 0 {
                break;
            }
        } else {
            len += text[len..].chars().next().map_or(1, char::len_utf8);
        }
    }
    len
}

/// Length of a character literal that starts here; `None` when the quote begins a lifetime.
fn char_literal_len(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        // The escaped character itself may be a quote.
        let (_, _) = chars.next()?;
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 1);
    }
    chars
        .next()
        .and_then(|(at, c)| (c == '\'').then_some(at + 1))
}

#[test]
fn comments_literals_and_test_items_are_told_apart() {
    let source = Source::parse(
        "//! about\nuse crate::{grpc::A, raft::{B, C as D}};\nlet s = \"x // {\"; // note\n\
         let r = r#\"a\"b\"#; let c = '\"'; fn f<'a>() {}\n#[cfg(test)]\nmod tests {\n  use super::*;\n}\n",
    );

    assert_eq!(
        source.literals,
        [(2, "x // {".to_owned()), (3, "a\"b".to_owned())]
    );
    assert_eq!(
        source.comments,
        [(0, "//! about".to_owned()), (2, "// note".to_owned())]
    );
    assert_eq!(source.non_test_lines_count(), 4);
    assert!(source.is_test_line(6) && !source.is_test_line(3));
    let paths: Vec<String> = source
        .paths(&["replica", "fetch"], &[])
        .into_iter()
        .map(|(_, path)| path)
        .collect();
    for path in [
        "crate::grpc::A",
        "crate::raft::B",
        "crate::raft::C",
        "crate::replica::*",
    ] {
        assert!(
            paths.iter().any(|found| found == path),
            "{path} not in {paths:?}"
        );
    }
}
