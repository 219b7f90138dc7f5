//! What a field is in Rust: its type, its default, its least size.

use super::model::{Base, Field, Message, Struct};
use super::names::snake;

/// The error is what the schema asks for and this generator cannot do.
pub(crate) type Emitted<T> = Result<T, String>;

/// Fewest bytes that a struct takes in a version.
pub(crate) fn bytes_min(message: &Message, owner: &Struct, version: i16) -> usize {
    let is_flexible = message.is_flexible(version);
    let mut bytes = usize::from(is_flexible);
    for field in &owner.fields {
        if field.tag.is_some() || !field.versions.contains(version) {
            continue;
        }
        let is_compact = is_flexible && !field.is_inflexible;
        bytes += match &field.base {
            _ if field.is_array => {
                if is_compact {
                    1
                } else {
                    4
                }
            }
            Base::Bool | Base::Int8 => 1,
            Base::Int16 | Base::Uint16 => 2,
            Base::Int32 => 4,
            Base::Int64 | Base::Float64 => 8,
            Base::Uuid => 16,
            Base::String => {
                if is_compact {
                    1
                } else {
                    2
                }
            }
            Base::Bytes | Base::Records => {
                if is_compact {
                    1
                } else {
                    4
                }
            }
            Base::Struct(_) if field.nullable.is_some() => 1,
            Base::Struct(name) => message
                .find(name)
                .map_or(0, |inner| bytes_min(message, inner, version)),
        };
    }
    bytes
}

/// The documentation of a field.
pub(crate) fn field_doc(field: &Field) -> String {
    let (name, type_text, versions) = (&field.name, &field.type_text, field.versions.text());
    let tag = field
        .tag
        .map(|tag| format!(", tag {tag}"))
        .unwrap_or_default();
    let null = match field.nullable {
        Some(nullable) if nullable != field.versions => {
            format!(", null in versions {}", nullable.text())
        }
        _ => String::new(),
    };
    let type_text = type_text.split('?').next().unwrap_or_default();
    format!("`{name}`: `{type_text}`, versions {versions}{null}{tag}.")
}

fn element_type(field: &Field) -> String {
    match &field.base {
        Base::Bool => "bool",
        Base::Int8 => "i8",
        Base::Int16 => "i16",
        Base::Uint16 => "u16",
        Base::Int32 => "i32",
        Base::Int64 => "i64",
        Base::Float64 => "f64",
        Base::Uuid => "crate::Uuid",
        Base::String => "::bytestring::ByteString",
        Base::Bytes => "::bytes::Bytes",
        Base::Records => "crate::RecordSet",
        Base::Struct(name) => name,
    }
    .to_owned()
}

/// The Rust type of a field.
pub(crate) fn rust_type(field: &Field) -> String {
    let element = element_type(field);
    let plain = if field.is_array {
        format!("Vec<{element}>")
    } else {
        element
    };
    if field.nullable.is_some() {
        format!("Option<{plain}>")
    } else {
        plain
    }
}

/// Kafka's default as a Rust expression.
pub(crate) fn default_value(field: &Field) -> Emitted<String> {
    let default = field.default.as_deref();
    // Of a nullable field the default is the empty value, unless the schema says null or the field
    // holds records.
    let is_null = default == Some("null") || field.base == Base::Records;
    if field.nullable.is_some() && is_null {
        return Ok("None".to_owned());
    }
    let plain = match (&field.base, default) {
        _ if field.is_array => "Vec::new()".to_owned(),
        (Base::Bool, None | Some("false")) => "false".to_owned(),
        (Base::Bool, Some("true")) => "true".to_owned(),
        (Base::Int8 | Base::Int16 | Base::Uint16 | Base::Int32 | Base::Int64, None) => {
            "0".to_owned()
        }
        (Base::Int8 | Base::Int16 | Base::Uint16 | Base::Int32 | Base::Int64, Some(number)) => {
            integer(number)?
        }
        (Base::Float64, None) => "0.0".to_owned(),
        (Base::Uuid, None) => "crate::Uuid::ZERO".to_owned(),
        (Base::String, None) => "::bytestring::ByteString::new()".to_owned(),
        (Base::Bytes, None) => "::bytes::Bytes::new()".to_owned(),
        (Base::Records, None) => "crate::RecordSet::new()".to_owned(),
        (Base::Struct(name), None) => format!("{name}::default()"),
        (_, Some(other)) => return Err(format!("{}: default {other}", field.name)),
    };
    Ok(if field.nullable.is_some() {
        format!("Some({plain})")
    } else {
        plain
    })
}

fn integer(text: &str) -> Emitted<String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    match parsed {
        Ok(i64::MAX) => Ok("i64::MAX".to_owned()),
        Ok(number) if number == i64::from(i32::MAX) => Ok("i32::MAX".to_owned()),
        Ok(number) if number == i64::from(i32::MIN) => Ok("i32::MIN".to_owned()),
        Ok(number) => Ok(number.to_string()),
        Err(_) => Err(format!("default {text} is not a number")),
    }
}

/// Whether the field has another value than its default.
pub(crate) fn is_set(field: &Field) -> Emitted<String> {
    let rust = snake(&field.name);
    let default = default_value(field)?;
    Ok(match (default.as_str(), &field.base) {
        ("None", _) => format!("self.{rust}.is_some()"),
        ("false", _) => format!("self.{rust}"),
        ("true", _) => format!("!self.{rust}"),
        (_, Base::String | Base::Bytes | Base::Records) if field.nullable.is_none() => {
            format!("!self.{rust}.is_empty()")
        }
        _ if field.is_array && field.nullable.is_none() => format!("!self.{rust}.is_empty()"),
        _ => format!("self.{rust} != {default}"),
    })
}
