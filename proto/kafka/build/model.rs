//! What a schema file says, as data: messages, structs, fields, version ranges.
//!
//! Knows neither the text format (`parse`) nor the Rust that comes of it (`emit`).

/// An inclusive range of versions of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

impl Versions {
    pub(crate) fn contains(self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// The versions that lie in both ranges.
    pub(crate) fn clip(self, outer: Self) -> Option<Self> {
        let clipped = Self {
            min: self.min.max(outer.min),
            max: self.max.min(outer.max),
        };
        (clipped.min <= clipped.max).then_some(clipped)
    }

    /// `4-12` for people; one number where the range has one version.
    pub(crate) fn text(self) -> String {
        if self.min == self.max {
            self.min.to_string()
        } else {
            format!("{}-{}", self.min, self.max)
        }
    }
}

/// What one element of a field is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
}

/// One field of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Kafka's own name, in CamelCase.
    pub(crate) name: String,
    pub(crate) base: Base,
    pub(crate) is_array: bool,
    /// The type as the schema spells it, for the documentation of the Rust field.
    pub(crate) type_text: String,
    pub(crate) versions: Versions,
    /// In which of `versions` null is a value.
    pub(crate) nullable: Option<Versions>,
    pub(crate) tag: Option<u32>,
    pub(crate) default: Option<String>,
    /// A value that the version cannot carry is dropped instead of refused.
    pub(crate) is_ignorable: bool,
    /// Classic lengths in flexible versions too (the client id of the request header).
    pub(crate) is_inflexible: bool,
    /// Never printed.
    pub(crate) is_secret: bool,
}

/// A struct: the body of a message, or one that fields of it name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) versions: Versions,
    pub(crate) fields: Vec<Field>,
}

/// One message: its body is `structs[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) versions: Versions,
    pub(crate) flexible_from: Option<i16>,
    pub(crate) structs: Vec<Struct>,
}

impl Message {
    pub(crate) fn is_flexible(&self, version: i16) -> bool {
        self.flexible_from.is_some_and(|from| version >= from)
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Struct> {
        self.structs.iter().find(|candidate| candidate.name == name)
    }
}

/// A request and its response under one API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Api {
    pub(crate) key: i16,
    pub(crate) name: String,
    pub(crate) request: Message,
    pub(crate) response: Message,
}

/// What one schema file declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Declared {
    Api(Box<Api>),
    Message(Message),
}

/// One line of the error table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorLine {
    pub(crate) code: i16,
    pub(crate) name: String,
    pub(crate) is_retriable: bool,
}
