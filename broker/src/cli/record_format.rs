//! The format string of `consume -f`, as kcat spells it.
//!
//! `%t` topic, `%p` partition, `%o` offset, `%k` key, `%s` or `%v` value, `%S` value length, `%K`
//! key length (-1 = none), `%T` timestamp in milliseconds, `%h` headers (`a=1,b=2`), `%%` a
//! percent sign; `\n`, `\t`, `\r`, `\0`, `\\` and `\xHH` escapes. Values are written as they are.

use std::io::{self, Write};

/// What a format string can show of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: u32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// A parsed format string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordFormat {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeyLength,
    Value,
    ValueLength,
    Headers,
}

impl RecordFormat {
    /// Parses a format string.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            match char {
                '%' => {
                    flush_literal(&mut literal, &mut pieces);
                    pieces.push(directive(chars.next())?);
                }
                '\\' => literal.push(escape(&mut chars)?),
                other => literal.extend(other.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        flush_literal(&mut literal, &mut pieces);
        Ok(Self { pieces })
    }

    /// Writes one record.
    pub(crate) fn write(&self, out: &mut impl Write, view: View<'_>) -> io::Result<()> {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(bytes) => out.write_all(bytes)?,
                Piece::Topic => out.write_all(view.topic.as_bytes())?,
                Piece::Partition => write!(out, "{}", view.partition)?,
                Piece::Offset => write!(out, "{}", view.offset)?,
                Piece::Timestamp => write!(out, "{}", view.timestamp_ms)?,
                Piece::Key => out.write_all(view.key.unwrap_or_default())?,
                Piece::KeyLength => write_length(out, view.key)?,
                Piece::Value => out.write_all(view.value.unwrap_or_default())?,
                Piece::ValueLength => write_length(out, view.value)?,
                Piece::Headers => write_headers(out, view.headers)?,
            }
        }
        Ok(())
    }
}

fn flush_literal(literal: &mut Vec<u8>, pieces: &mut Vec<Piece>) {
    if !literal.is_empty() {
        pieces.push(Piece::Literal(std::mem::take(literal)));
    }
}

fn directive(char: Option<char>) -> Result<Piece, String> {
    Ok(match char {
        Some('%') => Piece::Literal(b"%".to_vec()),
        Some('t') => Piece::Topic,
        Some('p') => Piece::Partition,
        Some('o') => Piece::Offset,
        Some('T') => Piece::Timestamp,
        Some('k') => Piece::Key,
        Some('K') => Piece::KeyLength,
        Some('v' | 's') => Piece::Value,
        Some('S') => Piece::ValueLength,
        Some('h') => Piece::Headers,
        Some(other) => {
            return Err(format!(
                "expected one of %t %p %o %T %k %K %v %s %S %h %%, got %{other}"
            ));
        }
        None => return Err("expected a letter after the last %".to_owned()),
    })
}

fn escape(chars: &mut std::str::Chars<'_>) -> Result<u8, String> {
    Ok(match chars.next() {
        Some('n') => b'\n',
        Some('t') => b'\t',
        Some('r') => b'\r',
        Some('0') => 0,
        Some('\\') => b'\\',
        Some('x') => {
            let digits: String = chars.take(2).collect();
            u8::from_str_radix(&digits, 16)
                .map_err(|_| format!("expected two hexadecimal digits after \\x, got {digits:?}"))?
        }
        Some(other) => {
            return Err(format!(
                "expected one of \\n \\t \\r \\0 \\\\ \\xHH, got \\{other}"
            ));
        }
        None => return Err("expected a letter after the last \\".to_owned()),
    })
}

fn write_length(out: &mut impl Write, bytes: Option<&[u8]>) -> io::Result<()> {
    match bytes {
        Some(bytes) => write!(out, "{}", bytes.len()),
        None => write!(out, "-1"),
    }
}

fn write_headers(out: &mut impl Write, headers: &[(&[u8], Option<&[u8]>)]) -> io::Result<()> {
    for (index, (name, value)) in headers.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        out.write_all(name)?;
        out.write_all(b"=")?;
        out.write_all(value.unwrap_or_default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: &str) -> String {
        let headers = [(&b"a"[..], Some(&b"1"[..])), (&b"b"[..], None)];
        let view = View {
            topic: "orders",
            partition: 3,
            offset: 42,
            timestamp_ms: 1_700_000_000_000,
            key: None,
            value: Some(b"hello"),
            headers: &headers,
        };
        let mut out = Vec::new();
        RecordFormat::parse(format)
            .unwrap()
            .write(&mut out, view)
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_directive_shows_its_part_of_the_record() {
        assert_eq!(shown("%t %p %o %k %v\\n"), "orders 3 42  hello\n");
        assert_eq!(
            shown("%T|%K|%S|%h|%%|%s"),
            "1700000000000|-1|5|a=1,b=|%|hello"
        );
        assert_eq!(shown("é\\t\\x41\\\\"), "é\tA\\");
    }

    #[test]
    fn an_unknown_directive_or_escape_is_refused_by_name() {
        assert!(RecordFormat::parse("%z").unwrap_err().contains("%z"));
        assert!(RecordFormat::parse("\\q").unwrap_err().contains("\\q"));
        assert!(RecordFormat::parse("\\xZZ").unwrap_err().contains("ZZ"));
        assert!(RecordFormat::parse("100%").is_err());
    }
}
