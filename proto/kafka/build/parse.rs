//! Reads the schema's text format (schema/README.md) into the model, and refuses what does not add
//! up: unknown words, versions outside the message, duplicate or missing structs, cycles.
//!
//! Knows nothing of Rust code. An error names the line.

use std::fmt;

use super::model::{Api, Base, Declared, ErrorLine, Field, Message, Struct, Versions};

/// A line of a schema that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SchemaError {
    /// 1-based; 0 where no single line is at fault.
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for SchemaError {}

fn fail<T>(line: usize, what: impl Into<String>) -> Result<T, SchemaError> {
    Err(SchemaError {
        line,
        what: what.into(),
    })
}

/// A line that is neither blank nor a comment.
struct Line<'a> {
    number: usize,
    depth: usize,
    words: Vec<&'a str>,
}

fn lines(text: &str) -> Result<Vec<Line<'_>>, SchemaError> {
    let mut lines = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let number = index + 1;
        let content = raw.trim_start_matches(' ');
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let indent = raw.len() - content.len();
        if indent % 2 != 0 {
            return fail(number, "indented by an odd number of spaces");
        }
        lines.push(Line {
            number,
            depth: indent / 2,
            words: content.split_whitespace().collect(),
        });
    }
    Ok(lines)
}

/// Parses one `.kmsg` file.
pub(crate) fn parse(text: &str) -> Result<Declared, SchemaError> {
    let lines = lines(text)?;
    let Some((first, rest)) = lines.split_first() else {
        return fail(0, "empty schema");
    };
    match first.words.as_slice() {
        ["api", key, name] => parse_api(first.number, key, name, rest),
        ["message", name, header @ ..] => {
            let message = parse_message(name, first.number, header, rest)?;
            Ok(Declared::Message(message))
        }
        other => fail(
            first.number,
            format!("expected `api` or `message`, got {other:?}"),
        ),
    }
}

fn parse_api(
    number: usize,
    key: &str,
    name: &str,
    rest: &[Line<'_>],
) -> Result<Declared, SchemaError> {
    let Ok(key) = key.parse() else {
        return fail(number, format!("bad API key {key}"));
    };
    let Some(split) = rest
        .iter()
        .position(|line| line.words.first() == Some(&"response"))
    else {
        return fail(number, "no response");
    };
    let (request, response) = rest.split_at(split);
    let side = |lines: &[Line<'_>], word: &str| match lines.split_first() {
        Some((head, body)) if head.depth == 0 && head.words.first() == Some(&word) => {
            let full_name = format!("{name}{}{}", word[..1].to_uppercase(), &word[1..]);
            parse_message(&full_name, head.number, &head.words[1..], body)
        }
        Some((head, _)) => fail(head.number, format!("expected `{word}`")),
        None => fail(number, format!("no {word}")),
    };
    let request = side(request, "request")?;
    let response = side(response, "response")?;
    if (request.versions, request.flexible_from) != (response.versions, response.flexible_from) {
        return fail(number, "request and response differ in their versions");
    }
    Ok(Declared::Api(Box::new(Api {
        key,
        name: name.to_owned(),
        request,
        response,
    })))
}

fn parse_message(
    name: &str,
    number: usize,
    header: &[&str],
    body: &[Line<'_>],
) -> Result<Message, SchemaError> {
    let (versions, flexible_from) = match header {
        [versions] => (versions, None),
        [versions, "flexible", from] => (versions, Some(open_range(number, from)?.min)),
        other => return fail(number, format!("expected versions, got {other:?}")),
    };
    let all = Versions {
        min: 0,
        max: i16::MAX,
    };
    let versions = closed_range(number, versions, all)?;
    let root = Struct {
        name: name.to_owned(),
        versions,
        fields: Vec::new(),
    };
    let mut message = Message {
        name: name.to_owned(),
        versions,
        flexible_from,
        structs: vec![root],
    };
    parse_body(&mut message, body)?;
    for at in 0..message.structs.len() {
        check_struct(&message, at)?;
    }
    Ok(message)
}

/// Walks the indented lines; `open[d]` is the struct to which a line of depth `d + 1` belongs.
fn parse_body(message: &mut Message, body: &[Line<'_>]) -> Result<(), SchemaError> {
    let mut open = vec![0_usize];
    for (at, line) in body.iter().enumerate() {
        let (number, depth) = (line.number, line.depth);
        if depth == 0 || depth > open.len() {
            return fail(
                number,
                format!("indented {depth} deep under {}", open.len() - 1),
            );
        }
        open.truncate(depth);
        if let ["struct", name, versions] = line.words.as_slice() {
            let versions = closed_range(number, versions, message.versions)?;
            open.push(add_struct(message, number, name, versions)?);
            continue;
        }
        let owner = open[depth - 1];
        let field = parse_field(line, message.structs[owner].versions)?;
        // Lines below this one, if they are deeper, declare the struct that it names.
        let has_lines = body.get(at + 1).is_some_and(|next| next.depth > depth);
        let child = if let Base::Struct(name) = &field.base
            && has_lines
        {
            Some(add_struct(message, number, name, field.versions)?)
        } else {
            None
        };
        message.structs[owner].fields.push(field);
        open.extend(child);
    }
    Ok(())
}

fn add_struct(
    message: &mut Message,
    number: usize,
    name: &str,
    versions: Versions,
) -> Result<usize, SchemaError> {
    if message.find(name).is_some() {
        return fail(number, format!("struct {name} is declared twice"));
    }
    message.structs.push(Struct {
        name: name.to_owned(),
        versions,
        fields: Vec::new(),
    });
    Ok(message.structs.len() - 1)
}

fn parse_field(line: &Line<'_>, outer: Versions) -> Result<Field, SchemaError> {
    let number = line.number;
    let [name, type_text, versions, attributes @ ..] = line.words.as_slice() else {
        return fail(number, "expected `Name type versions`");
    };
    let versions = closed_range(number, versions, outer)?;
    let (type_name, nullable) = match type_text.split_once('?') {
        None => (*type_text, None),
        Some((type_name, "")) => (type_name, Some(versions)),
        Some((type_name, from)) => (type_name, Some(closed_range(number, from, versions)?)),
    };
    let base_name = type_name.strip_prefix("[]").unwrap_or(type_name);
    let mut field = Field {
        name: (*name).to_owned(),
        base: parse_base(number, base_name)?,
        is_array: base_name.len() < type_name.len(),
        type_text: (*type_text).to_owned(),
        versions,
        nullable,
        tag: None,
        default: None,
        is_ignorable: false,
        is_inflexible: false,
        is_secret: false,
    };
    let mut words = attributes.iter();
    while let Some(word) = words.next() {
        match *word {
            "tag" => match words.next().and_then(|tag| tag.parse().ok()) {
                Some(tag) => field.tag = Some(tag),
                None => return fail(number, "`tag` needs a number"),
            },
            "=" => match words.next() {
                Some(default) => field.default = Some((*default).to_owned()),
                None => return fail(number, "`=` needs a value"),
            },
            "ignorable" => field.is_ignorable = true,
            "inflexible" => field.is_inflexible = true,
            "secret" => field.is_secret = true,
            other => return fail(number, format!("unknown word {other}")),
        }
    }
    Ok(field)
}

fn parse_base(number: usize, name: &str) -> Result<Base, SchemaError> {
    Ok(match name {
        "bool" => Base::Bool,
        "int8" => Base::Int8,
        "int16" => Base::Int16,
        "uint16" => Base::Uint16,
        "int32" => Base::Int32,
        "int64" => Base::Int64,
        "float64" => Base::Float64,
        "uuid" => Base::Uuid,
        "string" => Base::String,
        "bytes" => Base::Bytes,
        "records" => Base::Records,
        name if name.starts_with(|first: char| first.is_ascii_uppercase()) => {
            Base::Struct(name.to_owned())
        }
        other => return fail(number, format!("unknown type {other}")),
    })
}

/// `3+`, `3-7` or `3`.
fn open_range(number: usize, text: &str) -> Result<Versions, SchemaError> {
    let parts = match (text.strip_suffix('+'), text.split_once('-')) {
        (Some(min), _) => (min.parse(), Ok(i16::MAX)),
        (None, Some((min, max))) => (min.parse(), max.parse()),
        (None, None) => (text.parse(), text.parse()),
    };
    match parts {
        (Ok(min), Ok(max)) if min <= max => Ok(Versions { min, max }),
        _ => fail(number, format!("bad versions {text}")),
    }
}

/// As [`open_range`], cut to what the enclosing struct has; must not be empty.
fn closed_range(number: usize, text: &str, outer: Versions) -> Result<Versions, SchemaError> {
    match open_range(number, text)?.clip(outer) {
        Some(versions) => Ok(versions),
        None => fail(
            number,
            format!("versions {text} lie outside {}", outer.text()),
        ),
    }
}

/// Every struct is declared, none contains itself, and tags are 0, 1, 2 ... in flexible versions.
fn check_struct(message: &Message, at: usize) -> Result<(), SchemaError> {
    let owner = &message.structs[at];
    let mut tags: Vec<u32> = owner.fields.iter().filter_map(|field| field.tag).collect();
    tags.sort_unstable();
    if tags.iter().zip(0..).any(|(tag, due)| *tag != due) {
        return fail(
            0,
            format!("tags of {} are not 0, 1, 2 ...: {tags:?}", owner.name),
        );
    }
    for field in &owner.fields {
        if field.tag.is_some() && !message.is_flexible(field.versions.min) {
            return fail(
                0,
                format!("{}.{} is tagged before flexible", owner.name, field.name),
            );
        }
    }
    for field in &owner.fields {
        if let Base::Struct(child) = &field.base {
            check_child(message, child, &mut vec![&owner.name])?;
        }
    }
    Ok(())
}

/// `name` is declared, and neither it nor anything below it stands in `above`.
fn check_child<'a>(
    message: &'a Message,
    name: &'a str,
    above: &mut Vec<&'a str>,
) -> Result<(), SchemaError> {
    let Some(found) = message.find(name) else {
        return fail(0, format!("struct {name} is not declared"));
    };
    if above.contains(&name) {
        return fail(0, format!("{name} contains itself"));
    }
    above.push(name);
    for field in &found.fields {
        if let Base::Struct(child) = &field.base {
            check_child(message, child, above)?;
        }
    }
    above.pop();
    Ok(())
}

/// Parses `errors.kerr`: codes ascend, names are unlike.
pub(crate) fn parse_errors(text: &str) -> Result<Vec<ErrorLine>, SchemaError> {
    let mut errors: Vec<ErrorLine> = Vec::new();
    for line in lines(text)? {
        let (code, name, is_retriable) = match line.words.as_slice() {
            [code, name] => (code, name, false),
            [code, name, "retriable"] => (code, name, true),
            other => return fail(line.number, format!("expected `code NAME`, got {other:?}")),
        };
        let Ok(code) = code.parse() else {
            return fail(line.number, "bad code");
        };
        if errors
            .iter()
            .any(|error| error.code >= code || error.name == **name)
        {
            return fail(
                line.number,
                format!("{code} {name} is out of order or there twice"),
            );
        }
        errors.push(ErrorLine {
            code,
            name: (*name).to_owned(),
            is_retriable,
        });
    }
    Ok(errors)
}
