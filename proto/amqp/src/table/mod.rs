//! Field tables: names with typed values, as RabbitMQ reads and writes them.
//!
//! A [`Table`] keeps the bytes it came in, checked once; values are read from them when somebody
//! asks, and writing it out again gives the same bytes. Types follow RabbitMQ where it and the
//! standard disagree: `l` and `L` are both signed 64 bit, `s` is a signed short, `x` are bytes.
//! Does not know what any name means.

mod builder;
mod validate;
mod value;

use std::fmt;

use bytes::Bytes;

pub use self::builder::{ArrayBuilder, TableBuilder};
pub(crate) use self::validate::check_table;
pub use self::value::Value;

use self::value::take_value;

use crate::error::SyntaxCause;
use crate::slice::take_short;

/// A checked field table, shared with the buffer that it came in.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Table(Bytes);

impl Table {
    /// Checks the bytes of a table, its four-byte length not included.
    ///
    /// # Errors
    /// `Truncated` when a length or value reaches past the end; `UnknownValueType`; `TooDeep`.
    pub fn validate(bytes: Bytes) -> Result<Self, SyntaxCause> {
        check_table(&bytes)?;
        Ok(Self(bytes))
    }

    /// Takes what the builder or a reader has checked.
    pub(crate) const fn trusted(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Shows the bytes, the four-byte length not included.
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.0
    }

    /// Borrows the table.
    #[must_use]
    pub fn as_ref(&self) -> TableRef<'_> {
        TableRef(&self.0)
    }

    /// Tells whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds a value by its name; the first one when a name comes twice, as RabbitMQ does.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        self.as_ref().get(name)
    }

    /// Shows the entries in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Value<'_>)> {
        self.as_ref().iter()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_ref(), f)
    }
}

/// A checked field table in somebody else's bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TableRef<'a>(&'a [u8]);

impl<'a> TableRef<'a> {
    /// Takes a part of checked bytes.
    pub(crate) const fn trusted(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Shows the bytes, the four-byte length not included.
    #[must_use]
    pub const fn raw(self) -> &'a [u8] {
        self.0
    }

    /// Finds a value by its name; the first one when a name comes twice.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        let found = self.iter().find(|(key, _)| *key == name.as_bytes());
        found.map(|(_, value)| value)
    }

    /// Shows the entries in their order.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        let mut rest = self.0;
        // The bytes were checked, so the walk ends where they end.
        std::iter::from_fn(move || Some((take_short(&mut rest).ok()?, take_value(&mut rest)?)))
    }

    /// Shows each name with the bytes of its whole entry.
    fn raw_entries(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let before = rest;
            let name = take_short(&mut rest).ok()?;
            take_value(&mut rest)?;
            let entry_bytes = before.len().checked_sub(rest.len())?;
            Some((name, before.get(..entry_bytes)?))
        })
    }

    /// Copies the table into bytes of its own.
    #[must_use]
    pub fn to_table(self) -> Table {
        Table(Bytes::copy_from_slice(self.0))
    }
}

impl fmt::Debug for TableRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.iter();
        f.debug_map()
            .entries(entries.map(|(name, value)| (String::from_utf8_lossy(name), value)))
            .finish()
    }
}

/// A checked array of values in somebody else's bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ArrayRef<'a>(&'a [u8]);

impl<'a> ArrayRef<'a> {
    /// Shows the bytes, the four-byte length not included.
    #[must_use]
    pub const fn raw(self) -> &'a [u8] {
        self.0
    }

    /// Shows the values in their order.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || take_value(&mut rest))
    }
}

impl fmt::Debug for ArrayRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
